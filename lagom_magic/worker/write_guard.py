"""Keeps the trial process from writing through the links of its working directory.

Python's audit events tell of every file that it opens (`audit_hook.py`). Libraries that open files in C are wrapped
after their import.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from lagom_magic.worker.workdir import Workdir

#: Flags of an open file through which something may be changed.
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_REPLACES = os.O_CREAT | os.O_TRUNC
#: Audit events whose n-th argument is a path that is changed itself …
_CHANGES = {"os.truncate": 0, "os.chmod": 0, "os.utime": 0, "os.chdir": 0, "shutil.rmtree": 0}
#: … or made, moved or removed in its folder.
_ENTRIES = {
    "os.mkdir": (0,),
    "os.rmdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.link": (1,),
    "os.symlink": (1,),
}
#: The audit events that matter beside "open".
EVENTS = frozenset({*_CHANGES, *_ENTRIES, "sqlite3.connect"})
#: module → (function or Class.method there, position of its path argument, its name) that writes a file in C.
_NATIVE_WRITERS: dict[str, list[tuple[str, int, str]]] = {
    "torch": [("serialization._open_zipfile_writer_file.__init__", 1, "name"), ("jit.ScriptModule.save", 1, "f")],
    "h5py": [("File.__init__", 1, "name")],
    "xgboost": [("Booster.save_model", 1, "fname"), ("Booster.dump_model", 1, "fout")],
    "lightgbm": [("Booster.save_model", 1, "filename")],
    "catboost": [("CatBoost.save_model", 1, "fname")],
    "safetensors.torch": [("save_file", 1, "filename")],
    "cv2": [("imwrite", 0, "filename")],
    "pyarrow.parquet": [("ParquetWriter.__init__", 1, "where")],
}


class WriteGuard:
    """What guards one trial process, until it ends."""

    def __init__(self, workdir: Workdir) -> None:
        self._workdir = workdir
        #: `is_busy` is set in a thread that copies up: what that opens and moves itself needs no guard.
        self._here = threading.local()
        self._lock = threading.Lock()

    def survive_forks(self) -> None:
        """From now on a fork of this process is guarded as well."""
        os.register_at_fork(after_in_child=self._renew_lock)  # another thread may have held it

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def actions(self) -> dict[str, Callable[[ModuleType], None]]:
        """What to do after the import of each library that writes files in C, for `AfterImport`."""
        return dict.fromkeys(_NATIVE_WRITERS, self._guard)

    def on_event(self, event: str, args: tuple[Any, ...]) -> None:
        """Makes the trial's own what is about to be changed."""
        if event == "open":
            path, _, flags = args
            if flags & WRITES and not isinstance(path, int):
                self._make_own(path, keep_content=flags & _REPLACES != _REPLACES)
        elif event in _CHANGES:
            self._make_own(args[_CHANGES[event]], keep_content=True)
        elif event == "sqlite3.connect":
            paths, may_write = files_of_database(args[0])
            for path in paths if may_write else ():
                self._make_own(path, keep_content=True)
        elif event in _ENTRIES and not _is_relative_to_fd(args):
            for i in _ENTRIES[event]:
                self._make_own(args[i], keep_content=True, parent_only=True)

    def _make_own(self, path: Any, *, keep_content: bool, parent_only: bool = False) -> None:
        if getattr(self._here, "is_busy", False) or isinstance(path, int) or path is None:
            return
        self._here.is_busy = True
        try:
            name = os.fsdecode(path)
            with self._lock:  # of two threads that write to one link, the second finds it copied up
                if parent_only:
                    self._workdir.make_parent_own(name)
                else:
                    self._workdir.make_own(name, keep_content=keep_content)
        finally:
            self._here.is_busy = False

    def _guard(self, module: ModuleType) -> None:
        for dotted, position, name in _NATIVE_WRITERS[module.__name__]:
            *owners, last = dotted.split(".")
            owner: Any = module
            for part in owners:
                owner = getattr(owner, part, None)
            if hasattr(owner, last):
                setattr(owner, last, self._guarded(getattr(owner, last), position, name))

    def _guarded(self, writer: Callable[..., Any], position: int, name: str) -> Callable[..., Any]:
        @functools.wraps(writer)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            path = args[position] if len(args) > position else kwargs.get(name)
            is_read = kwargs.get("mode", args[2] if writer.__name__ == "__init__" and len(args) > 2 else "w") == "r"
            if isinstance(path, (str, bytes, os.PathLike)) and not is_read:
                self._make_own(path, keep_content=True)
            return writer(*args, **kwargs)

        return guarded


def _is_relative_to_fd(args: tuple[Any, ...]) -> bool:
    """Whether a path counts from an open folder, which was made the trial's own by its path before."""
    return isinstance(args[-1], int) and args[-1] != -1 and len(args) > 1


def files_of_database(given: Any) -> tuple[list[str], bool]:
    """What `sqlite3.connect` is given as a path, and as the URI that it may be; and whether it may be written."""
    if not isinstance(given, (str, bytes, os.PathLike)):
        return [], False
    name = os.fsdecode(given)
    if not name.startswith("file:"):
        return [name], True
    from urllib.parse import parse_qs, unquote, urlsplit

    try:
        uri = urlsplit(name)
    except ValueError:  # SQLite will say so
        return [name], True
    return [name, unquote(uri.path)], parse_qs(uri.query).get("mode") not in (["ro"], ["memory"])
