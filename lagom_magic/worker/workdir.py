"""A trial's working directory: what lies beside the notebook appears as links, what a trial writes stays its own.

Reads go through the links. A write must not: before a file is opened for writing, its link gives way to a file
of the trial's own, and a linked folder on the way gives way to a real one with links inside (as an overlay file
system copies up). `write_guard.py` calls `make_own` for that: its audit hook for files that Python opens, its
wrappers where C code opens them itself. A subprocess that writes to a link by itself still writes through.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

#: Below a worker's folder of user code: what `--files` named; `cluster` packs it there.
FILES_FOLDER = "__files__"
#: Beside it: {entry of that folder: the path that it had}, as JSON.
FILES_ORIGINS = "__files__.json"
#: Not linked: Python would write its caches through the link.
_UNLINKED = frozenset({"__pycache__"})
#: A folder's time stamp has the kernel's tick as its grain; a change within it may not show.
_TIMESTAMP_GRAIN_NS = 50_000_000


class Workdir:
    """One worker's working directory. The supervisor creates it; both it and the trial process use it."""

    def __init__(self, path: str, notebook_dir: str, user_code: str | None = None) -> None:
        """Name the folders.

        Args:
            path: of the working directory.
            notebook_dir: whose entries appear in it, where this machine sees it.
            user_code: what was shipped; the files of `--files` in it win over the notebook's.
        """
        self.path = os.path.realpath(path)
        self.notebook_dir = os.path.abspath(notebook_dir)
        shipped = [os.path.join(os.path.abspath(user_code), FILES_FOLDER)] if user_code else []
        #: Folders whose entries appear here; of equal names the first one's.
        self._sources = [*shipped, self.notebook_dir]
        self._clean_at_ns = -1

    def create(self) -> None:
        """Makes the folder, with its links if the notebook's folder can be seen from here."""
        os.makedirs(self.path, exist_ok=True)
        self._link_sources()

    def make_own(self, path: str, *, keep_content: bool) -> None:
        """Makes sure that writing to `path` cannot reach the notebook's folder.

        Args:
            path: as the program gave it, relative to the current directory or absolute.
            keep_content: False when the file is about to be truncated or replaced; else a file is copied.
        """
        parts = self._parts_below(path)
        current = self.path
        for i, part in enumerate(parts):
            current = os.path.join(current, part)
            target = self._link_target(current)
            if target is not None:
                self._replace_link(current, target, keep_content or i < len(parts) - 1)

    def make_parent_own(self, path: str) -> None:
        """The same for the folder that `path` is in: its entry is about to be made, moved or removed."""
        self.make_own(os.path.dirname(path) or os.curdir, keep_content=True)

    def collect(self, into: str) -> None:
        """Moves everything that a trial wrote to the folder `into` (made if needed) and restores the links.

        Costs one system call when nothing was written.
        """
        changed_ns = os.stat(self.path).st_mtime_ns
        if changed_ns == self._clean_at_ns:
            return
        self._move_own_files(self.path, into)
        self._link_sources()
        changed_ns = os.stat(self.path).st_mtime_ns
        self._clean_at_ns = changed_ns if time.time_ns() - changed_ns > _TIMESTAMP_GRAIN_NS else -1

    def _parts_below(self, path: str) -> list[str]:
        """The components of `path` below this folder; [] when it is elsewhere."""
        if os.path.isabs(path):
            whole = os.path.normpath(path)
        else:
            try:
                whole = os.path.normpath(os.path.join(os.getcwd(), path))
            except FileNotFoundError:  # the current directory was removed
                return []
        if not whole.startswith(self.path + os.sep):
            return []
        return whole[len(self.path) + 1 :].split(os.sep)

    def _link_target(self, path: str) -> str | None:
        """Where one of our links points; None for everything else."""
        try:
            target = os.readlink(path)
        except OSError:
            return None
        for source in self._sources:
            if target == source or target.startswith(source.rstrip(os.sep) + os.sep):
                return target
        return None

    def _replace_link(self, link: str, target: str, keep_content: bool) -> None:
        import shutil  # slow to import, and few trials write where a link is

        beside = f"{link}.lagom-{os.getpid()}"
        if os.path.isdir(target):
            os.mkdir(beside)
            self._link_entries(target, beside)
            os.unlink(link)
            os.rename(beside, link)
        elif keep_content and os.path.exists(target):
            shutil.copy2(target, beside)
            os.chmod(beside, os.stat(beside).st_mode | 0o200)
            os.replace(beside, link)
        else:
            os.unlink(link)

    def _link_sources(self) -> None:
        for source in self._sources:
            self._link_entries(source, self.path)

    def _link_entries(self, source: str, into: str) -> None:
        try:
            names = os.listdir(source)
        except OSError:  # this machine does not see the notebook's folder
            return
        for name in names:
            if name not in _UNLINKED:
                with contextlib.suppress(FileExistsError):
                    os.symlink(os.path.join(source, name), os.path.join(into, name))

    def _move_own_files(self, folder: str, into: str) -> None:
        """Empties a real folder: files of the trial move, links of ours go. The top one keeps its links."""
        import shutil

        with os.scandir(folder) as entries:
            for entry in list(entries):
                if entry.name in _UNLINKED:
                    continue
                is_ours = entry.is_symlink() and self._link_target(entry.path) is not None
                if is_ours and folder == self.path and os.readlink(entry.path) in self._homes_of(entry.name):
                    continue
                if is_ours:
                    os.unlink(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    self._move_own_files(entry.path, os.path.join(into, entry.name))
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.makedirs(into, exist_ok=True)
                    shutil.move(entry.path, os.path.join(into, entry.name))

    def _homes_of(self, name: str) -> list[str]:
        return [os.path.join(source, name) for source in self._sources]


def files_below(folder: str) -> Iterator[str]:
    """The regular files in a folder, relative to it, sorted; links that lead out of it are left out."""
    root = os.path.realpath(folder)
    for path, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            whole = os.path.join(path, name)
            if os.path.isfile(whole) and os.path.realpath(whole).startswith(root + os.sep):
                yield os.path.relpath(whole, root)
