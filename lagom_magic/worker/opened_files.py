"""Notes which data files a trial opens, for the fact `FilesUsed`; used by the trial process.

An audit hook sees every file that Python opens in this process, and only puts names into a set. What they are is
looked up when the trial has ended. Left out, because it is no data: the interpreter, packages and code, the
system's folders, our own, what a trial writes to folders of its own (those files are kept anyway), and what is gone
at its end.
"""

from __future__ import annotations

import functools
import json
import os
import stat
import sys
import time
from collections.abc import Callable
from typing import Any

from lagom_magic.worker.workdir import FILES_FOLDER, FILES_ORIGINS, Workdir

#: Entries for reading, and for writing. Of more files those in the fullest folders are named by their folder.
MAX_NAMED = 1_000
#: Names that are remembered while a trial runs; what is beyond is counted, each time it is opened.
_MAX_NAMES = 100_000
#: How much is hashed after a trial, and for how long.
_MAX_HASHED_BYTES = 64 << 20
_MAX_HASHED_S = 0.5
_PIECE_BYTES = 1 << 20
#: Hashes that a process remembers, so that its next trial need not read the same files again.
_MAX_REMEMBERED = 10_000

_SYSTEM = (
    "/proc/",
    "/sys/",
    "/dev/",
    "/etc/",
    "/usr/",
    "/lib/",
    "/lib64/",
    "/bin/",
    "/sbin/",
    "/run/user/",
    "/System/",
)
_SYSTEM_OF_HOME = (".config", ".cache/matplotlib", ".cache/fontconfig", ".matplotlib", ".ipython", ".jupyter")
_OF_INTERPRETER = ("bin", "lib", "lib64", "share", "etc", "ssl", "include")
_CODE = (".py", ".pyc", ".so")

#: {"path", "size_bytes", "mtime", "sha256"} of a file, {"path": "…/", "mtime", "n_files"} of a folder.
Entry = dict[str, Any]
#: The current directory, and names as they were given → whether the trial had written the file before.
_Noted = tuple[str, dict[str, bool]]
#: Flags of whatever does more than read.
_NOT_READ_ONLY = os.O_WRONLY | os.O_RDWR | os.O_TRUNC


class OpenedFiles:
    """The hook of one trial process; once installed it stays until that ends."""

    def __init__(self, workdir: Workdir, user_code: str, scratch: str) -> None:
        """Nothing is watched yet.

        Args:
            workdir: whose links lead to the notebook's files.
            user_code: what was shipped; the files of `--files` in it count as the notebook's.
            scratch: the worker's own folder.
        """
        self._workdir = workdir.path
        self._places = _Places(workdir, user_code, scratch)
        #: Name as it was given → whether the trial had written the file before.
        self._reads: dict[str, bool] = {}
        self._writes: dict[str, bool] = {}
        #: (current directory, reads, writes) of before the current directory was changed.
        self._earlier: list[tuple[str, dict[str, bool], dict[str, bool]]] = []
        self._n_earlier = self._n_beyond = 0
        #: What modules read while they were imported, for all trials; None until the first one begins.
        self._read_at_import: dict[str, bool] | None = None
        #: (path, size, mtime in ns) → SHA-256
        self._hashes: dict[tuple[str, int, int], str] = {}
        #: What Python calls at each of its events.
        self.on_event = self._hook()

    def install(self) -> None:
        """Begins to watch; Python cannot take an audit hook away again."""
        sys.addaudithook(self.on_event)

    def note_read(self, path: str) -> None:
        """A library reads a file without Python's knowledge."""
        self._note(path, os.O_RDONLY)

    def begin(self) -> None:
        """A trial begins, in the working directory. What was noted since the last one is nobody's."""
        if self._read_at_import is None:
            self._settle()
            self._read_at_import = self._places.data_among([(folder, names) for folder, names, _ in self._earlier])
        self._reads.clear()
        self._writes.clear()
        self._earlier.clear()
        self._n_earlier = self._n_beyond = 0
        self._reads.update(self._read_at_import)

    def end(self) -> dict[str, Any] | None:
        """The trial's files as fields of `FilesUsed`, None without any.

        Called when its working directory is empty again: what it wrote there is no longer there, and the links are.
        """
        if not self._reads and not self._writes and not self._earlier:
            return None
        self._settle()
        look_up = _LookUp(self._places, self._hashes)
        reads, n_more_reads = look_up.entries([(folder, names) for folder, names, _ in self._earlier])
        written = [(folder, names) for folder, _, names in self._earlier]
        writes, n_more_writes = look_up.entries(written, are_writes=True)
        n_more = n_more_reads + n_more_writes + self._n_beyond
        return {"reads": reads, "writes": writes, "n_more": n_more} if reads or writes or n_more else None

    def _hook(self) -> Callable[[str, tuple[Any, ...]], None]:
        """Notes the files that are opened, and does as little as can be."""
        reads, writes, note = self._reads, self._writes, self._note

        def on_event(event: str, args: tuple[Any, ...]) -> None:
            if event == "open":
                path, _, flags = args
                if flags & _NOT_READ_ONLY or path.__class__ is not str:
                    note(path, flags)
                elif path not in reads:
                    if len(reads) < _MAX_NAMES:
                        reads[path] = path in writes
                    else:
                        note(path, flags)
            elif event == "os.chdir":
                self._settle()
            elif event == "sqlite3.connect":
                note(args[0], os.O_RDONLY)

        return on_event

    def _note(self, name: Any, flags: int) -> None:
        """The rarer cases."""
        path = _text_of(name)
        if not path or (path in self._reads and not flags & _NOT_READ_ONLY):
            return
        if len(self._reads) + len(self._writes) + self._n_earlier >= _MAX_NAMES:
            self._n_beyond += 1
            return
        if flags & os.O_ACCMODE != os.O_WRONLY and not flags & os.O_TRUNC and path not in self._reads:
            self._reads[path] = path in self._writes
        if flags & os.O_ACCMODE != os.O_RDONLY:
            self._writes[path] = True

    def _settle(self) -> None:
        """Relative names count from the directory that is the current one up to now."""
        try:
            folder = os.getcwd()
        except FileNotFoundError:  # it was removed, with what was in it
            folder = self._workdir
        n_names = len(self._reads) + len(self._writes)
        if self._n_earlier + n_names > _MAX_NAMES:
            self._n_beyond += n_names
        elif n_names:
            self._earlier.append((folder, self._reads.copy(), self._writes.copy()))
            self._n_earlier += n_names
        self._reads.clear()
        self._writes.clear()


class _Places:
    """Which folders are whose."""

    def __init__(self, workdir: Workdir, user_code: str, scratch: str) -> None:
        self._notebook_dir = workdir.notebook_dir
        self._workdir = workdir.path
        self._shipped = os.path.join(os.path.realpath(user_code), FILES_FOLDER)
        ours = {os.path.dirname(scratch), os.path.dirname(os.path.realpath(scratch)), os.path.realpath(user_code)}
        self._ignored = (*_ignored_prefixes(self._notebook_dir), *(folder + os.sep for folder in ours))

    def is_passed_over(self, folder: str, are_writes: bool) -> bool:
        """Whether nothing is to be told of files in a folder, as it was named."""
        if f"{folder}/".startswith(f"{self._workdir}/"):
            return are_writes
        return f"{folder}/".startswith(self._ignored)

    def data_among(self, noted: list[_Noted]) -> dict[str, bool]:
        """Absolute names of those that may be the user's data."""
        return {
            os.path.join(current, folder, name): False
            for current, names in noted
            for folder, files in _by_folder(names, are_writes=False).items()
            if not self.is_passed_over(os.path.normpath(os.path.join(current, folder)), are_writes=False)
            for name in files
            if not name.endswith(_CODE)
        }

    def behind(self, folder: str) -> str:
        """The notebook's folder for the working directory, whose links lead there; else the folder itself."""
        return self._notebook_dir if folder == self._workdir else folder

    @functools.cached_property
    def _origins(self) -> dict[str, str]:
        """What `--files` named → where it was."""
        try:
            with open(os.path.join(os.path.dirname(self._shipped), FILES_ORIGINS), "rb") as file:
                return dict(json.load(file))
        except OSError:
            return {}

    def name_of(self, real_path: str) -> str:
        """What to call a file or folder; "" when it is none of the user's."""
        if f"{real_path}/".startswith(f"{self._shipped}/"):
            first, slash, rest = real_path[len(self._shipped) + 1 :].partition("/")
            return self._origins.get(first, os.path.join(self._notebook_dir, first)) + slash + rest
        return "" if f"{real_path}/".startswith(self._ignored) else real_path


class _LookUp:
    """What the names of one trial are: sizes, times and, while that costs little, hashes."""

    def __init__(self, places: _Places, hashes: dict[tuple[str, int, int], str]) -> None:
        self._places = places
        self._hashes = hashes
        self._bytes_left = _MAX_HASHED_BYTES
        self._deadline = time.monotonic() + _MAX_HASHED_S

    def entries(self, noted: list[_Noted], *, are_writes: bool = False) -> tuple[tuple[Entry, ...], int]:
        """One for each file or folder that is there; and how many files were too many.

        Args:
            noted: names and where they count from.
            are_writes: those in the working directory are the trial's own, and kept with it.
        """
        groups, n_more = self._groups(noted, are_writes)
        most = _most_files_named(groups)
        found: dict[str, Entry] = {}
        for folder, files in groups.items():
            if len(found) >= MAX_NAMED:
                n_more += len(files)
            elif len(files) > most:
                self._add_folder(found, folder, len(files))
            else:
                for i, name in enumerate(files):
                    if len(found) >= MAX_NAMED:
                        n_more += len(files) - i
                        break
                    self._add_file(found, f"{folder}/{name}")
        return tuple(found.values()), n_more

    def _groups(self, noted: list[_Noted], are_writes: bool) -> tuple[dict[str, list[str]], int]:
        """Real folder → names of files in it, for at most `MAX_NAMED` folders; and how many files the others have."""
        groups: dict[str, list[str]] = {}
        n_more = 0
        for current, names in noted:
            for folder, files in _by_folder(names, are_writes).items():
                whole = os.path.join(current, folder)
                if self._places.is_passed_over(os.path.normpath(whole), are_writes):
                    continue
                # Of so many only the folder will be named.
                data = files if len(files) > MAX_NAMED else [name for name in files if not name.endswith(_CODE)]
                if len(groups) >= MAX_NAMED:
                    n_more += len(data)
                elif data and (real := _real_path(whole)) is not None:
                    groups[real] = list(dict.fromkeys(groups[real] + data)) if real in groups else data
        return groups, n_more

    def _add_folder(self, found: dict[str, Entry], folder: str, n_files: int) -> None:
        real = self._places.behind(folder)
        name = self._places.name_of(real)
        try:
            status = os.stat(real)
        except OSError:  # it was a temporary one
            return
        if name:
            found[real] = {"path": f"{name}/", "mtime": status.st_mtime, "n_files": n_files}

    def _add_file(self, found: dict[str, Entry], path: str) -> None:
        try:
            if stat.S_ISLNK(os.lstat(path).st_mode):
                path = os.path.realpath(path)
            status = os.stat(path)
        except (OSError, ValueError):  # it was a temporary one, or its name holds a NUL
            return
        name = self._places.name_of(path)
        if name and path not in found and stat.S_ISREG(status.st_mode):
            found[path] = {
                "path": name,
                "size_bytes": status.st_size,
                "mtime": status.st_mtime,
                "sha256": self._hash_of(path, status),
            }

    def _hash_of(self, path: str, status: os.stat_result) -> str:
        """SHA-256; "" beyond a limit, and of what cannot be read."""
        key = (path, status.st_size, status.st_mtime_ns)
        known = self._hashes.get(key)
        if known is not None:
            return known
        if status.st_size > self._bytes_left or time.monotonic() > self._deadline:
            return ""
        self._bytes_left -= status.st_size
        try:
            sha256 = self._digest(path)
        except OSError:
            return ""
        if sha256 and len(self._hashes) < _MAX_REMEMBERED:
            self._hashes[key] = sha256
        return sha256

    def _digest(self, path: str) -> str:
        """SHA-256 of the content; "" when reading it takes too long."""
        import hashlib  # takes longer to import than a trial without files lasts

        digest = hashlib.sha256()
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
                if time.monotonic() > self._deadline:
                    return ""
        return digest.hexdigest()


def _by_folder(names: dict[str, bool], are_writes: bool) -> dict[str, list[str]]:
    """Folder → names in it; "" is the current one. Of reads not what the trial had written itself."""
    groups: dict[str, list[str]] = {}
    for path, is_own in names.items():
        if not is_own or are_writes:
            folder, slash, name = path.rpartition("/")
            try:
                groups[folder or slash].append(name)
            except KeyError:
                groups[folder or slash] = [name]
    return groups


def _most_files_named(groups: dict[str, list[str]]) -> int:
    """Of a folder with more files than this only the folder is named, so that there are at most `MAX_NAMED` names."""
    sizes = sorted(map(len, groups.values()), reverse=True)
    n_names, most = sum(sizes), MAX_NAMED
    for size in sizes:
        if n_names <= MAX_NAMED or size == 1:
            break
        n_names -= size - 1
        most = size - 1
    return most


def _real_path(folder: str) -> str | None:
    """Where a folder really is, without a slash at its end; None for a name that no file system takes."""
    try:
        return os.path.realpath(folder).rstrip("/")
    except ValueError:
        return None


def _text_of(name: Any) -> str:
    """A path as text; "" for a number, which is an open file's, and for what is no path."""
    try:
        return "" if isinstance(name, int) else os.fsdecode(name)
    except TypeError:
        return ""


def _ignored_prefixes(notebook_dir: str) -> list[str]:
    """Folders whose files are no data, each with its slash at the end; none that the notebook's folder is in."""
    home = os.path.expanduser("~")
    folders = {prefix.rstrip("/") for prefix in _SYSTEM} | {os.path.join(home, name) for name in _SYSTEM_OF_HOME}
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix}:
        folders |= {prefix, *(os.path.join(prefix, name) for name in _OF_INTERPRETER)}
    folders |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    folders |= {os.path.realpath(folder) for folder in folders}
    return sorted(
        f"{folder}/" for folder in folders if folder != "/" and not f"{notebook_dir}/".startswith(f"{folder}/")
    )
