"""A trial's working directory: what lies beside the notebook appears as links, what a trial writes stays its own.

Reads go through the links. A write must not: before a file is opened for writing, its link gives way to a file
of the trial's own, and a linked folder on the way gives way to a real one with links inside (as an overlay file
system copies up). `write_guard.py` calls `make_own` for that: its audit hook for files that Python opens, its
wrappers where C code opens them itself. A subprocess that writes to a link by itself still writes through.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator

#: Below a worker's folder of user code: what `--files` named; `cluster` packs it there.
FILES_FOLDER = "__files__"
#: Beside it: {entry of that folder: the path that it had}, as JSON.
FILES_ORIGINS = "__files__.json"
#: Not linked: Python would write its caches through the link.
_UNLINKED = frozenset({"__pycache__"})
#: Of what could not be kept so much is named.
_MAX_NAMED = 10
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
        # A trial may have made it a link, which must not be followed.
        self.path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        self.notebook_dir = os.path.abspath(notebook_dir)
        shipped = [os.path.join(os.path.abspath(user_code), FILES_FOLDER)] if user_code else []
        #: Folders whose entries appear here; of equal names the first one's.
        self._sources = [*shipped, self.notebook_dir]
        self._clean_at_ns = -1
        #: Why the next trial would see what an earlier one wrote; "" = it would not.
        self.leftover = ""
        #: Path → target of the links that the trial had made itself, when it was last collected.
        self.own_links: dict[str, str] = {}

    def create(self) -> None:
        """Makes the folder, with its links if the notebook's folder can be seen from here."""
        os.makedirs(self.path, exist_ok=True)
        self._link_sources()

    @property
    def is_in_place(self) -> bool:
        """Whether the folder is there: a trial may have removed it, or put something else in its place."""
        return not self._found_instead()

    @property
    def is_current(self) -> bool:
        """Whether the folder is in place and this process's current one.

        Asking costs less than `os.chdir`, which is audited.
        """
        try:
            return os.path.samestat(os.stat("."), os.lstat(self.path))
        except OSError:
            return False

    def restore(self) -> str:
        """Makes the folder anew unless it is in place. What is there instead is removed, and never followed.

        Returns:
            What was there, for a person; "" when the folder was in place.

        Raises:
            OSError: when it cannot be made.
        """
        found = self._found_instead()
        if not found:
            return ""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self._clean_at_ns, self.leftover = -1, ""
        self.create()
        return f"the trial left {found} in the place of its working directory; what it wrote there before was lost."

    def _found_instead(self) -> str:
        """What is in the folder's place, for a person; "" when that is in place itself."""
        try:
            mode = os.lstat(self.path).st_mode
        except FileNotFoundError:
            return "nothing"
        if stat.S_ISDIR(mode):
            return ""
        return f"a link to {os.readlink(self.path)!r}" if stat.S_ISLNK(mode) else "a file"

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
            target = self.link_target(current)
            if target is not None:
                self._replace_link(current, target, keep_content or i < len(parts) - 1)

    def make_parent_own(self, path: str) -> None:
        """The same for the folder that `path` is in: its entry is about to be made, moved or removed."""
        self.make_own(os.path.dirname(path) or os.curdir, keep_content=True)

    def make_tree_own(self, path: str) -> None:
        """The same as `make_own` for a folder and all folders in it, at any depth."""
        if not self._parts_below(path):
            return
        self.make_own(path, keep_content=True)
        seen: set[str] = set()  # a link may lead round in a circle
        for folder, names, _ in os.walk(path):
            for name in names:
                below = os.path.join(folder, name)
                real = os.path.realpath(below)
                if real not in seen:
                    seen.add(real)
                    self.make_own(below, keep_content=True)

    def collect(self, into: str) -> str:
        """Moves everything that a trial wrote to the folder `into` (made if needed) and restores the links.

        Costs two system calls when nothing was written. A copy that was made of a file beside the notebook, and is as
        that still is, counts as not written. What cannot be moved is removed. Sets `leftover` and `own_links`.

        Returns:
            What was not kept, and why, for a person; "" when all was.

        Raises:
            OSError: when the folder is gone and cannot be made anew.
        """
        self.own_links = {}
        if lost := self.restore():
            return lost
        status = os.stat(self.path)
        if status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(self.path, status.st_mode | stat.S_IRWXU)
        if status.st_mtime_ns == self._clean_at_ns:
            return ""
        self.leftover = ""
        emptying = _Emptying(self)
        emptying.take_all(self.path, into, self._sources)
        if emptying.is_stuck:
            self._set_aside()
        self._link_sources()
        changed_ns = os.stat(self.path).st_mtime_ns
        is_settled = not self.leftover and time.time_ns() - changed_ns > _TIMESTAMP_GRAIN_NS
        self._clean_at_ns = changed_ns if is_settled else -1
        return emptying.explain()

    def _set_aside(self) -> None:
        """Begins with a new folder, because this one cannot be emptied."""
        try:
            os.rename(self.path, free_name(os.path.dirname(self.path), f"{os.path.basename(self.path)}.left"))
            os.mkdir(self.path)
        except OSError as error:
            self.leftover = f"files in the working directory that cannot be removed: {error}"

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

    def link_target(self, path: str) -> str | None:
        """Where one of our links points; None for everything else."""
        try:
            target = os.readlink(path)
        except OSError:
            return None
        return target if self.is_shown(target) else None

    def is_shown(self, target: str) -> bool:
        """Whether what a link points to is, or lies in, one of the folders whose entries appear here."""
        return any(target == source or target.startswith(source.rstrip(os.sep) + os.sep) for source in self._sources)

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


class _Emptying:
    """One collection: each entry is moved or removed by itself, so one that cannot be costs no other."""

    def __init__(self, workdir: Workdir) -> None:
        self._workdir = workdir
        #: Names and reasons, of the first ones.
        self._lost: list[str] = []
        self._n_lost = 0
        #: Whether something could not even be removed.
        self.is_stuck = False

    def explain(self) -> str:
        """What was not kept, for a person; "" when all was."""
        if not self._n_lost:
            return ""
        more = f" and {self._n_lost - len(self._lost):,} more" if self._n_lost > len(self._lost) else ""
        return f"of what the trial wrote, this could not be kept: {', '.join(self._lost)}{more}."

    def take_all(self, folder: str, into: str, homes: list[str]) -> None:
        """Empties a real folder: files of the trial move, links of ours go. The top one keeps its links.

        Args:
            folder: below the working directory, or that itself.
            into: where its files go; made if needed.
            homes: the folders that it shows, if any.
        """
        with os.scandir(folder) as found:
            entries = [entry for entry in found if entry.name not in _UNLINKED]
        for entry in entries:
            try:
                self._take(entry, folder, into, homes)
            except (OSError, RecursionError) as error:
                self._give_up(entry, error)

    def _take(self, entry: os.DirEntry[str], folder: str, into: str, homes: list[str]) -> None:
        target = os.readlink(entry.path) if entry.is_symlink() else None
        is_home = target in [os.path.join(home, entry.name) for home in homes]
        if target is not None and not is_home:
            self._workdir.own_links[entry.path] = target
        if is_home and folder == self._workdir.path:
            return
        if target is not None and self._workdir.is_shown(target):
            os.unlink(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            mode = entry.stat(follow_symlinks=False).st_mode
            if mode & stat.S_IRWXU != stat.S_IRWXU:
                os.chmod(entry.path, stat.S_IMODE(mode) | stat.S_IRWXU)
            inner = [home for source in homes if os.path.isdir(home := os.path.join(source, entry.name))]
            self.take_all(entry.path, _folder_for(into, entry.name), inner)
            self._remove(entry)
        elif _is_copy(entry, homes):
            os.unlink(entry.path)
        else:
            os.makedirs(into, exist_ok=True)
            target = free_name(into, entry.name)
            try:
                os.rename(entry.path, target)
            except OSError:  # another disk, or in a folder of another user's
                _copy(entry.path, target)
                self._remove(entry)

    def _give_up(self, entry: os.DirEntry[str], error: Exception) -> None:
        self._n_lost += 1
        if len(self._lost) < _MAX_NAMED:
            why = getattr(error, "strerror", None) or error
            name = os.path.relpath(entry.path, self._workdir.path)
            self._lost.append(f"{name!r} ({type(error).__name__}: {why})")
        self._remove(entry)

    def _remove(self, entry: os.DirEntry[str]) -> None:
        import shutil  # slow to import

        try:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
        except (OSError, RecursionError):
            self.is_stuck = True


def _is_copy(entry: os.DirEntry[str], homes: list[str]) -> bool:
    """Whether it is what `make_own` copied, unchanged: size and time are those of the file that it was made of."""
    for home in homes:
        try:
            source = os.stat(f"{home}/{entry.name}")
        except OSError:
            continue
        own = entry.stat(follow_symlinks=False)
        is_same = (own.st_size, own.st_mtime_ns) == (source.st_size, source.st_mtime_ns)
        return is_same and stat.S_ISREG(own.st_mode)
    return False


def _folder_for(into: str, name: str) -> str:
    """The folder of this name in `into`, or another one's where a file has the name."""
    path = os.path.join(into, name)
    is_free = not os.path.lexists(path) or (os.path.isdir(path) and not os.path.islink(path))
    return path if is_free else free_name(into, name)


def _copy(path: str, target: str) -> None:
    import shutil  # slow to import

    try:
        shutil.copy2(path, target, follow_symlinks=False)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(target)  # half a file
        raise


def free_name(folder: str, name: str) -> str:
    """A path in `folder` that does not exist: `name`, or with a counter before its suffix."""
    stem, suffix = os.path.splitext(name)
    path, n = os.path.join(folder, name), 2
    while os.path.lexists(path):
        path, n = os.path.join(folder, f"{stem}_{n}{suffix}"), n + 1
    return path


def files_below(folder: str) -> Iterator[str]:
    """The regular files in a folder, relative to it, sorted; links that lead out of it are left out."""
    root = os.path.realpath(folder)
    for path, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            whole = os.path.join(path, name)
            if os.path.isfile(whole) and os.path.realpath(whole).startswith(root + os.sep):
                yield os.path.relpath(whole, root)
