"""Notes which data files a trial opens, for the fact `FilesUsed`; used by the trial process.

The process's audit hook (`audit_hook.py`) sees every file that Python opens, and only puts its name into a list. What
the names are is looked up when the trial has ended. Left out, because it is no data: the interpreter, packages and
code, the system's folders, our own, what a trial writes to folders of its own (those files are kept anyway), and what
is gone at its end.
"""

from __future__ import annotations

import functools
import json
import os
import stat
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple

from lagom_magic.worker.own_links import OwnLinks
from lagom_magic.worker.workdir import FILES_FOLDER, FILES_ORIGINS, Workdir
from lagom_magic.worker.write_guard import files_of_database

#: Entries for reading, and for writing. Of more files those in the fullest folders are named by their folder.
MAX_NAMED = 1_000
#: Different names that are remembered while a trial runs; what is beyond is counted, one file perhaps repeatedly.
_MAX_NAMES = 100_000
#: What is noted before equal names among it are made one.
MAX_PENDING = 20_000
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
#: Names as they were given → of one that was read, how many were written before; of one that was written, its number.
_Names = dict[str, int]
#: The current directory, and names that count from it.
_Noted = tuple[str, _Names]
#: Flags of whatever does more than read; and those of a file that is made new.
_NOT_READ_ONLY = os.O_WRONLY | os.O_RDWR | os.O_TRUNC
_IS_NEW = os.O_CREAT | os.O_EXCL
#: The number of what was never written.
_NEVER = sys.maxsize


class _Opened(NamedTuple):
    """A file was opened, not for reading alone."""

    path: str
    flags: int


class _Left(NamedTuple):
    """The current directory is about to be another one."""

    folder: str


class OpenedFiles:
    """What one trial process has opened; `begin` and `end` enclose a trial."""

    def __init__(self, workdir: Workdir, user_code: str, scratch: str) -> None:
        """Nothing was opened yet.

        Args:
            workdir: whose links lead to the notebook's files.
            user_code: what was shipped; the files of `--files` in it count as the notebook's.
            scratch: the worker's own folder.
        """
        self._workdir = workdir
        self._places = _Places(workdir, user_code, scratch)
        #: Names of files that were opened for reading, in order, since they were last gathered. The hook appends to
        #: it, in any thread; it is always this list.
        self.pending: list[str] = []
        #: What else happened, and how many names, with those that are gathered, came before.
        self._others: list[tuple[int, _Opened | _Left]] = []
        self._n_gathered = 0
        #: Held while what is pending is gathered; nothing else takes anything away from it.
        self._gathering = threading.Lock()
        #: In the current directory, since it is that.
        self._reads: _Names = {}
        self._writes: _Names = {}
        #: Current directory → reads and writes, of before it was changed.
        self._earlier: dict[str, tuple[_Names, _Names]] = {}
        self._n_names = self._n_beyond = self._n_written = 0
        #: Absolute path of a database → what it was when the trial first connected to it.
        self._databases: dict[str, _State] = {}
        #: What modules read while they were imported, for all trials; None until the first one begins.
        self._read_at_import: _Names | None = None
        #: (path, size, mtime in ns) → SHA-256
        self._hashes: dict[tuple[str, int, int], str] = {}

    def survive_forks(self) -> None:
        """From now on a fork of this process need not wait for a thread that it does not have."""
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._gathering = threading.Lock()

    def note_read(self, path: str) -> None:
        """A library reads a file without Python's knowledge."""
        self._note(path, os.O_RDONLY)

    def note_write(self, path: str) -> None:
        """A library writes a file without Python's knowledge."""
        self._note(path, os.O_WRONLY)

    def on_event(self, event: str, args: tuple[Any, ...]) -> None:
        """Notes an audit event; the hook does the most frequent ones itself."""
        if event == "open":
            path, _, flags = args
            self._note(path, flags)
        elif event == "os.chdir":
            self.leave_folder()
        elif event == "os.rename":
            source, target, _, folder = args
            if folder == -1 and not os.path.islink(source):  # else the target counts from an open folder
                self._note(target, os.O_WRONLY)
        elif event == "sqlite3.connect":
            self._note_database(args[0])

    def leave_folder(self) -> None:
        """The current directory is about to be another one, or to be removed: names up to now count from it."""
        self._put_other(_Left(self._current_folder()))

    def begin(self) -> None:
        """A trial begins, in the working directory. What was noted since the last one is nobody's."""
        self._gather(waits=True)
        if self._read_at_import is None:
            self._leave(self._current_folder())
            self._read_at_import = self._places.data_among(self._noted()[0])
        self._reads, self._writes = self._read_at_import.copy(), {}
        self._earlier.clear()
        self._databases.clear()
        self._n_names, self._n_beyond, self._n_written = len(self._reads), 0, 0

    def end(self) -> dict[str, Any] | None:
        """The trial's files as fields of `FilesUsed`, None without any.

        Called when its working directory is empty again: what it wrote there is no longer there, and the links are;
        where its own ones led is remembered.
        """
        self._gather(waits=True)
        if not (self._n_names or self._databases):
            return None
        self._leave(self._current_folder())
        look_up = _LookUp(self._places, self._hashes)
        links = OwnLinks(self._workdir.own_links)
        read, written = (_followed(noted, links) for noted in self._noted())
        reads, n_more_reads = look_up.entries(read, own=look_up.places_of(written))
        databases = {links.follow(path): state for path, state in self._databases.items()}
        changed = [path for path, state in databases.items() if _state_of(path) != state]
        writes, n_more_writes = look_up.entries([*written, (os.sep, dict.fromkeys(changed, 0))], are_writes=True)
        n_more = n_more_reads + n_more_writes + self._n_beyond
        return {"reads": reads, "writes": writes, "n_more": n_more} if reads or writes or n_more else None

    def _noted(self) -> tuple[list[_Noted], list[_Noted]]:
        """What was read and what was written in each directory that was the current one."""
        read = [(folder, reads) for folder, (reads, _) in self._earlier.items()]
        return read, [(folder, writes) for folder, (_, writes) in self._earlier.items() if writes]

    def _note(self, name: Any, flags: int) -> None:
        path = _text_of(name)
        if path and flags & _NOT_READ_ONLY:
            self._put_other(_Opened(path, flags))
        elif path:
            self._put(path)

    def _note_database(self, name: Any) -> None:
        """Of a database only what has become of it tells whether it was written."""
        for given in files_of_database(name)[0]:
            path = os.path.join(self._current_folder(), given)
            if given and path not in self._databases and len(self._databases) < _MAX_NAMES:
                self._databases[path] = state = _state_of(path)
                if any(state):
                    self._put(path)

    def _put(self, path: str) -> None:
        self.pending.append(path)
        if len(self.pending) >= MAX_PENDING:
            self._gather()

    def _put_other(self, entry: _Opened | _Left) -> None:
        # In this order another thread that gathers now makes the sum too large, never too small: what was read before
        # it was written stays known as read.
        position = len(self.pending) + self._n_gathered
        self._others.append((position, entry))
        if len(self._others) >= MAX_PENDING:
            self._gather()

    def _gather(self, *, waits: bool = False) -> None:
        """Makes equal names one. While that goes on, nobody who opens a file waits for it."""
        if not (self.pending or self._others) or not self._gathering.acquire(blocking=waits):
            return
        try:
            n_others = len(self._others)  # the names before them are there, whatever other threads do
            n_names = len(self.pending)
            names, n_before = islice(self.pending, n_names), self._n_gathered
            for position, entry in islice(self._others, n_others):
                if position > n_before:
                    self._add_reads(islice(names, position - n_before))
                    n_before = position
                self._add_other(entry)
            self._add_reads(names)
            self._n_gathered += n_names
            del self.pending[:n_names]
            del self._others[:n_others]
        finally:
            self._gathering.release()

    def _add_reads(self, paths: Iterable[str]) -> None:
        fresh = dict.fromkeys(paths, self._n_written)
        if self._reads:
            fresh = {path: number for path, number in fresh.items() if path not in self._reads}
        n_beyond = max(0, self._n_names + len(fresh) - _MAX_NAMES)
        if n_beyond:
            fresh = dict(islice(fresh.items(), len(fresh) - n_beyond))
            self._n_beyond += n_beyond
        self._n_names += len(fresh)
        if self._reads:
            self._reads.update(fresh)
        else:
            self._reads = fresh

    def _add_other(self, entry: _Opened | _Left) -> None:
        if isinstance(entry, _Left):
            self._leave(entry.folder)
            return
        path, flags = entry
        has_content = not flags & os.O_TRUNC and flags & _IS_NEW != _IS_NEW
        reads = flags & os.O_ACCMODE != os.O_WRONLY and has_content and path not in self._reads
        writes = flags & os.O_ACCMODE != os.O_RDONLY and path not in self._writes
        if (reads or writes) and self._n_names >= _MAX_NAMES:
            self._n_beyond += 1
            return
        if reads:
            self._reads[path] = self._n_written
        if writes:
            self._n_written += 1
            self._writes[path] = self._n_written
        self._n_names += reads + writes

    def _leave(self, folder: str) -> None:
        """Relative names up to now count from a directory that will not be the current one any more."""
        fresh = self._reads, self._writes
        if not any(fresh):
            return
        self._reads, self._writes = {}, {}
        earlier = self._earlier.setdefault(folder, fresh)
        if earlier is not fresh:
            self._n_names -= sum(_add_to(names, more) for names, more in zip(earlier, fresh, strict=True))

    def _current_folder(self) -> str:
        try:
            return os.getcwd()
        except FileNotFoundError:  # it was removed, with what was in it
            return self._workdir.path


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
        if self.is_in_workdir(folder):
            return are_writes
        return f"{folder}/".startswith(self._ignored)

    def is_in_workdir(self, folder: str) -> bool:
        """Whether a folder, as it was named, is the working directory or in it."""
        return f"{folder}/".startswith(f"{self._workdir}/")

    def data_among(self, noted: list[_Noted]) -> _Names:
        """Absolute names of those that may be the user's data."""
        return {
            os.path.join(current, folder, name): 0
            for current, paths in noted
            for folder, files in _by_folder(paths).items()
            if not self.is_passed_over(os.path.normpath(os.path.join(current, folder)), are_writes=False)
            for name in files.names()
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
        #: Folder as it was named → where it really is.
        self._real_paths: dict[str, str | None] = {}
        self._bytes_left = _MAX_HASHED_BYTES
        self._deadline = time.monotonic() + _MAX_HASHED_S

    def places_of(self, written: list[_Noted]) -> dict[str, _Names]:
        """Folder → what was written in it, however it was named."""
        places: dict[str, _Names] = {}
        for current, names in written:
            for folder, files in _by_folder(names).items():
                place = places.setdefault(self._place_of(os.path.join(current, folder)), {})
                for name in files.names():
                    number = names.get(_path_of(folder, name), _NEVER)
                    place[name] = min(number, place.get(name, number))
        return places

    def entries(
        self, noted: list[_Noted], *, are_writes: bool = False, own: Mapping[str, _Names] | None = None
    ) -> tuple[tuple[Entry, ...], int]:
        """One for each file or folder that is there; and how many files were too many.

        Args:
            noted: names and where they count from.
            are_writes: those in the working directory are the trial's own, and kept with it.
            own: what the trial wrote, by folder. What was read after that is left out.
        """
        groups, n_more = self._groups(noted, are_writes, own or {})
        most = _most_files_named(groups)
        found: dict[str, Entry] = {}
        for folder, files in groups.items():
            if len(found) >= MAX_NAMED:
                n_more += len(files)
            elif len(files) > most:
                self._add_folder(found, folder, len(files))
            else:
                for i, name in enumerate(files.names()):
                    if len(found) >= MAX_NAMED:
                        n_more += len(files) - i
                        break
                    self._add_file(found, f"{folder}/{name}")
        return tuple(found.values()), n_more

    def _groups(
        self, noted: list[_Noted], are_writes: bool, own: Mapping[str, _Names]
    ) -> tuple[dict[str, _Files], int]:
        """Real folder → the files in it, for at most `MAX_NAMED` folders; and how many files the others have."""
        groups: dict[str, list[_Files]] = {}
        n_more = 0
        for current, names in noted:
            for folder, files in _by_folder(names).items():
                whole = os.path.join(current, folder)
                if self._places.is_passed_over(os.path.normpath(whole), are_writes):
                    continue
                is_beyond = len(groups) >= MAX_NAMED
                written = own.get(self._place_of(whole)) if own and not is_beyond else None
                data = _not_own(files, folder, names, written) if written else files
                if len(data) <= MAX_NAMED:  # of more only the folder will be named
                    data = data.without_code()
                if is_beyond:
                    n_more += len(data)
                elif len(data) and (real := self._real_path(whole)) is not None:
                    groups.setdefault(real, []).append(data)
        return {real: _joined(several) for real, several in groups.items()}, n_more

    def _real_path(self, folder: str) -> str | None:
        """Where a folder really is, without a slash at its end; None for a name that no file system takes."""
        if folder not in self._real_paths:
            try:
                self._real_paths[folder] = os.path.realpath(folder).rstrip("/")
            except ValueError:
                self._real_paths[folder] = None
        return self._real_paths[folder]

    def _place_of(self, folder: str) -> str:
        """Where a folder was for the trial: links in the working directory make way for what it writes."""
        normal = os.path.normpath(folder)
        return normal if self._places.is_in_workdir(normal) else self._real_path(folder) or ""

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


class _Files:
    """Files of one folder; of thousands the names are not even made, because only the folder will be named."""

    def __init__(self, paths: Collection[str], start: int = 0) -> None:
        """Name them.

        Args:
            paths: of different files.
            start: where in each of them its last part begins.
        """
        self._paths = paths
        self._start = start

    def __len__(self) -> int:
        return len(self._paths)

    def names(self) -> list[str]:
        return [path[self._start :] for path in self._paths] if self._start else list(self._paths)

    def without(self, names: Collection[str]) -> _Files:
        return _Files([name for name in self.names() if name not in names])

    def without_code(self) -> _Files:
        return _Files([name for name in self.names() if not name.endswith(_CODE)])


def _by_folder(paths: Collection[str]) -> dict[str, _Files]:
    """Folder → files in it; "" is the current one."""
    only = _only_folder(paths) if len(paths) > MAX_NAMED else None
    if only is not None:
        return {only[:-1] or only: _Files(paths, len(only))}
    groups: dict[str, list[str]] = {}
    before, group = None, []
    for path in paths:
        folder, slash, name = path.rpartition("/")
        if folder != before:
            before, group = folder, groups.setdefault(folder or slash, [])
        group.append(name)
    return {folder: _Files(names) for folder, names in groups.items()}


def _only_folder(paths: Collection[str]) -> str | None:
    """The folder that all files are in, with its slash, "" for the current one; None when there are several."""
    first = next(iter(paths))
    folder = first[: first.rfind("/") + 1]
    text = "\0" + "\0".join(paths)  # searched at once that is faster than each by itself
    n = len(paths)
    is_only = text.count("\0") == n == text.count(f"\0{folder}") and text.count("/") == n * folder.count("/")
    return folder if is_only else None


def _joined(several: list[_Files]) -> _Files:
    """Files that are all in one folder."""
    return several[0] if len(several) == 1 else _Files(dict.fromkeys(chain(*(files.names() for files in several))))


def _followed(noted: list[_Noted], links: OwnLinks) -> list[_Noted]:
    """The same names; those that went another way through the trial's own links are told as what that led to."""
    if not links:
        return noted
    kept: list[_Noted] = []
    followed: _Names = {}
    for current, names in noted:
        paths = {name: os.path.join(current, name) for name in names}
        led = {name: target for name, path in paths.items() if (target := links.follow(path)) != path}
        for name, target in led.items():
            followed[target] = min(names[name], followed.get(target, _NEVER))
        kept.append((current, {name: number for name, number in names.items() if name not in led}))
    return [*kept, (os.sep, followed)]


def _path_of(folder: str, name: str) -> str:
    """How a file was named, of which `_by_folder` has told the folder."""
    return f"{folder.rstrip('/')}/{name}" if folder else name


def _not_own(files: _Files, folder: str, read: _Names, written: _Names) -> _Files:
    """Those that the trial had not written itself before it read them."""
    own = {name for name, number in written.items() if number <= read.get(_path_of(folder, name), -1)}
    return files.without(own) if own else files


def _add_to(names: _Names, more: _Names) -> int:
    """Adds those that are not there yet; returns how many were."""
    n_both = len(names) + len(more)
    for name, number in more.items():
        names.setdefault(name, number)
    return n_both - len(names)


def _most_files_named(groups: dict[str, _Files]) -> int:
    """Of a folder with more files than this only the folder is named, so that there are at most `MAX_NAMED` names."""
    sizes = sorted(map(len, groups.values()), reverse=True)
    n_names, most = sum(sizes), MAX_NAMED
    for size in sizes:
        if n_names <= MAX_NAMED or size == 1:
            break
        n_names -= size - 1
        most = size - 1
    return most


#: (size, mtime in ns) of a database's file and of its write-ahead log, None for one that is not there.
_State = tuple[tuple[int, int] | None, ...]


def _state_of(database: str) -> _State:
    return tuple(_size_and_time(f"{database}{end}") for end in ("", "-wal"))


def _size_and_time(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # it is not there, or its name holds a NUL
        return None
    return status.st_size, status.st_mtime_ns


def _text_of(name: Any) -> str:
    """A path as text alone; "" for a number, which is an open file's, and for what is no path."""
    try:
        return "" if isinstance(name, int) else str.__str__(os.fsdecode(name))  # a class of the user's may hold more
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
