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
from typing import Any, NamedTuple

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


class _Writer(NamedTuple):
    """A function, a `Class.method` or a class of a library, which writes a file in C.

    Attributes:
        dotted: where it is in its module.
        position: of the argument that is the path.
        name: of that argument.
        mode: of the argument that tells reading from writing: position, and what it is when it is not given.
        makes: what of the path becomes the trial's own: itself, the folder that it is in, or a whole tree.
    """

    dotted: str
    position: int
    name: str
    mode: tuple[int, str] | None = None
    makes: str = "itself"


#: By the module after whose import they are wrapped.
_NATIVE_WRITERS: dict[str, list[_Writer]] = {
    "torch": [
        _Writer("serialization._open_zipfile_writer_file.__init__", 1, "name"),
        _Writer("jit.ScriptModule.save", 1, "f"),
        _Writer("jit.RecursiveScriptModule.save", 1, "f"),
        _Writer("jit.ScriptFunction.save", 1, "filename"),
        _Writer("jit.save", 1, "f"),
        _Writer("export.save", 1, "f"),
    ],
    "h5py": [_Writer("File.__init__", 1, "name", mode=(2, "r"))],
    "xgboost": [
        _Writer("Booster.save_model", 1, "fname"),
        _Writer("Booster.dump_model", 1, "fout"),
        _Writer("DMatrix.save_binary", 1, "fname"),
    ],
    "lightgbm": [_Writer("Booster.save_model", 1, "filename")],
    "catboost": [_Writer("CatBoost.save_model", 1, "fname")],
    "safetensors.torch": [_Writer("save_file", 1, "filename")],
    "safetensors.numpy": [_Writer("save_file", 1, "filename")],
    "safetensors.tensorflow": [_Writer("save_file", 1, "filename")],
    "safetensors.flax": [_Writer("save_file", 1, "filename")],
    "cv2": [_Writer("imwrite", 0, "filename")],
    "pyarrow": [_Writer("OSFile", 0, "path", mode=(1, "r")), _Writer("output_stream", 0, "source")],
    "pyarrow.ipc": [
        _Writer("RecordBatchFileWriter.__init__", 1, "sink"),
        _Writer("RecordBatchStreamWriter.__init__", 1, "sink"),
    ],
    "pyarrow.csv": [_Writer("write_csv", 1, "output_file")],
    "pyarrow.feather": [_Writer("write_feather", 1, "dest")],
    "pyarrow.orc": [_Writer("ORCWriter.__init__", 1, "where")],
    "pyarrow.parquet": [_Writer("ParquetWriter.__init__", 1, "where")],
    # What `tf.io` and `tf.io.gfile` take their functions from, and GFile its methods.
    "tensorflow.python.lib.io.file_io": [
        _Writer("FileIO.__init__", 1, "name", mode=(2, "r")),
        _Writer("copy_v2", 1, "dst"),
        _Writer("create_dir_v2", 0, "path"),
        _Writer("recursive_create_dir_v2", 0, "path"),
        _Writer("rename_v2", 0, "src", makes="parent"),
        _Writer("rename_v2", 1, "dst", makes="parent"),
        _Writer("delete_file_v2", 0, "path", makes="parent"),
        _Writer("delete_recursively_v2", 0, "path", makes="tree"),
    ],
    "tensorflow.python.lib.io.tf_record": [_Writer("TFRecordWriter.__init__", 1, "path")],
    "tensorflow.python.ops.gen_io_ops": [_Writer("write_file", 0, "filename")],
    "tensorflow.python.ops.summary_ops_v2": [_Writer("create_file_writer_v2", 0, "logdir")],
    # Of checkpoints and saved models; it writes beside `file_prefix` and renames.
    "tensorflow.python.checkpoint.checkpoint": [_Writer("TrackableSaver.save", 1, "file_prefix")],
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
                self._make_own(args[i], makes="parent")

    def _make_own(self, path: Any, *, keep_content: bool = True, makes: str = "itself") -> None:
        if getattr(self._here, "is_busy", False) or isinstance(path, int) or path is None:
            return
        self._here.is_busy = True
        try:
            name = os.fsdecode(path)
            with self._lock:  # of two threads that write to one link, the second finds it copied up
                if makes == "parent":
                    self._workdir.make_parent_own(name)
                elif makes == "tree":
                    self._workdir.make_tree_own(name)
                else:
                    self._workdir.make_own(name, keep_content=keep_content)
        finally:
            self._here.is_busy = False

    def _guard(self, module: ModuleType) -> None:
        for writer in _NATIVE_WRITERS[module.__name__]:
            *owners, last = writer.dotted.split(".")
            owner: Any = module
            for part in owners:
                owner = getattr(owner, part, None)
            found = getattr(owner, last, None)
            if isinstance(found, type):
                setattr(owner, last, self._guarded_class(found, writer))
            elif found is not None:
                setattr(owner, last, self._guarded(found, writer))

    def _guarded(self, function: Callable[..., Any], writer: _Writer) -> Callable[..., Any]:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self._before(writer, args, kwargs)
            return function(*args, **kwargs)

        return guarded

    def _guarded_class(self, cls: Any, writer: _Writer) -> type:
        """Of a class in C, which takes no new `__init__`, one of the same name below it."""
        before = self._before

        def new(made: type, *args: Any, **kwargs: Any) -> Any:
            before(writer, args, kwargs)
            return cls.__new__(made, *args, **kwargs)

        return type(cls.__name__, (cls,), {"__new__": new, "__module__": cls.__module__, "__doc__": cls.__doc__})

    def _before(self, writer: _Writer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        path: Any = args[writer.position] if len(args) > writer.position else kwargs.get(writer.name)
        if writer.mode is not None:
            position, default = writer.mode
            mode = args[position] if len(args) > position else kwargs.get("mode", default)
            if mode in ("r", "rb"):
                return
        if hasattr(path, "numpy"):  # a tensor of TensorFlow's; one in a graph has no value yet
            try:
                path = path.numpy()
            except Exception:  # whichever the library has for that; the documented gap
                return
        if isinstance(path, (str, bytes, os.PathLike)):
            self._make_own(path, makes=writer.makes)


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
