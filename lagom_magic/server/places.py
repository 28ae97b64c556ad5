"""Which folders a page may name: runs that really lie below the server's root.

Used by every handler before it touches anything. Symbolic links are followed first, so none leads out.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from lagom_magic.errors import LagomError
from lagom_magic.store.layout import RunLayout, is_run_id


class NotAPlaceError(LagomError):
    """A page named a folder that it may not see, or that is not there; it is not told which."""


class Places:
    """The folders below one root."""

    def __init__(self, root: Path) -> None:
        """Confine to a folder.

        Args:
            root: the server's root, or the folder that stands for it.
        """
        self.root = Path(os.path.realpath(root))

    def folder(self, text: str) -> Path:
        """The real folder that a page names.

        Args:
            text: relative to the root, or absolute below it; '' is the root.

        Raises:
            NotAPlaceError: when it is not below the root, or no folder.
        """
        try:
            real = Path(os.path.realpath(self.root / text))
            is_there = real.is_relative_to(self.root) and real.is_dir()
        except (ValueError, OSError) as error:  # a NUL in it, too long a name, a folder of another user's
            raise NotAPlaceError("There is no such folder below the server's root.") from error
        if not is_there:
            raise NotAPlaceError("There is no such folder below the server's root.")
        return real

    def run_folder(self, text: str) -> Path:
        """The real folder of the run that a page names.

        Raises:
            NotAPlaceError: when it is not below the root, or holds no run.
        """
        folder = self.folder(text)
        layout = RunLayout(folder)
        files = (layout.run_json, layout.journal, layout.console, layout.older_console)
        try:
            is_run = folder != self.root and layout.run_json.is_file()
            is_whole = all(_is_file_or_nothing(path) for path in files)
        except OSError as error:  # another user's
            raise NotAPlaceError("There is no run in such a folder below the server's root.") from error
        if not is_run:
            raise NotAPlaceError("There is no run in such a folder below the server's root.")
        if not is_whole:
            raise NotAPlaceError("The folder is not as a run's folder is made.")
        return folder

    def deletable_run_folder(self, text: str) -> Path:
        """The real folder of the run that a page wants deleted: one that also bears a run's name.

        Raises:
            NotAPlaceError: for any other, such as a person's own folder that happens to hold a `run.json`.
        """
        folder = self.run_folder(text)
        if not is_run_id(folder.name):
            raise NotAPlaceError("The folder does not bear a run's name, so it is not deleted from here.")
        return folder

    def shown(self, folder: Path) -> str:
        """A real folder as pages name it: relative to the root, with slashes."""
        return folder.relative_to(self.root).as_posix()


def _is_file_or_nothing(path: Path) -> bool:
    """Whether a regular file lies there, or nothing; a link might lead out, and a pipe hold up whoever reads it."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True
