"""Which folders a page may name: runs that really lie below the server's root.

Used by every handler before it touches anything. Symbolic links are followed first, so none leads out.
"""

from __future__ import annotations

import os
from pathlib import Path

from lagom_magic.errors import LagomError
from lagom_magic.store.layout import RunLayout


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
        except ValueError as error:  # a NUL in it
            raise NotAPlaceError("There is no such folder below the server's root.") from error
        if not real.is_relative_to(self.root) or not real.is_dir():
            raise NotAPlaceError("There is no such folder below the server's root.")
        return real

    def run_folder(self, text: str) -> Path:
        """The real folder of the run that a page names.

        Raises:
            NotAPlaceError: when it is not below the root, or holds no run.
        """
        folder = self.folder(text)
        layout = RunLayout(folder)
        files = (layout.run_json, layout.journal, layout.console)
        if folder == self.root or not layout.run_json.is_file():
            raise NotAPlaceError("There is no run in such a folder below the server's root.")
        if any(path.is_symlink() or (path.exists() and not path.is_file()) for path in files):
            raise NotAPlaceError("The folder is not as a run's folder is made.")
        return folder

    def shown(self, folder: Path) -> str:
        """A real folder as pages name it: relative to the root, with slashes."""
        return folder.relative_to(self.root).as_posix()
