"""Notes files that libraries open in C, where Python's audit hook sees nothing; used by the trial process.

The functions that are given the path are wrapped after their library's import. `write_guard.py` does so for writers.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from itertools import islice
from types import ModuleType
from typing import Any

#: module → (function or Class.__init__ there, position of its path argument, its name)
_READERS: dict[str, list[tuple[str, int, str]]] = {
    "pyarrow.parquet": [
        ("read_table", 0, "source"),
        ("ParquetFile.__init__", 1, "source"),
        ("ParquetDataset.__init__", 1, "path_or_paths"),
    ],
    "pyarrow.dataset": [("dataset", 0, "source")],
    "h5py": [("File.__init__", 1, "name")],
    "safetensors.torch": [("load_file", 0, "filename")],
    "cv2": [("imread", 0, "filename")],
    "polars": [
        (f"{verb}_{kind}", 0, "source") for verb in ("read", "scan") for kind in ("csv", "parquet", "ipc", "ndjson")
    ],
}
#: Modes of `h5py.File` that begin with an empty file, and those that may write.
_MAKES = ("w", "w-", "x")
_WRITES = (*_MAKES, "a", "r+")
#: Of a folder so many files are looked for.
_MAX_FILES = 10_000


class NativeReaders:
    """The wrappers of one trial process; they stay until it ends."""

    def __init__(self, note_read: Callable[[str], None], note_write: Callable[[str], None]) -> None:
        """Nothing is wrapped yet.

        Args:
            note_read: called with each path that is opened for reading, before that happens.
            note_write: the same, for writing.
        """
        self._note_read = note_read
        self._note_write = note_write

    def actions(self) -> dict[str, Callable[[ModuleType], None]]:
        """What to do after the import of each library, for `AfterImport`."""
        return dict.fromkeys(_READERS, self._wrap)

    def _wrap(self, module: ModuleType) -> None:
        for dotted, position, name in _READERS[module.__name__]:
            *owners, last = dotted.split(".")
            owner: Any = module
            for part in owners:
                owner = getattr(owner, part, None)
            if hasattr(owner, last):
                setattr(owner, last, self._noting(getattr(owner, last), position, name))

    def _noting(self, reader: Callable[..., Any], position: int, name: str) -> Callable[..., Any]:
        is_h5py = reader.__module__.startswith("h5py")

        @functools.wraps(reader)
        def noting(*args: Any, **kwargs: Any) -> Any:
            given = args[position] if len(args) > position else kwargs.get(name)
            mode = kwargs.get("mode", args[2] if len(args) > 2 else "r") if is_h5py else "r"
            for path in _files_of(given):
                if mode not in _MAKES and (mode != "a" or os.path.exists(path)):
                    self._note_read(path)
                if mode in _WRITES:
                    self._note_write(path)
            return reader(*args, **kwargs)

        return noting


def _files_of(given: Any) -> Iterator[str]:
    """The local files that an argument names: a path, a folder, or a list of them; none of anything else."""
    for item in given if isinstance(given, (list, tuple)) else (given,):
        if isinstance(item, (str, os.PathLike)):
            path = os.fspath(item)
            path = path.removeprefix("file://") if isinstance(path, str) else os.fsdecode(path)
            if "://" in path or "\0" in path:
                continue
            if os.path.isdir(path):
                found = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
                yield from islice((file for file in found if os.path.basename(file)[:1] not in "._"), _MAX_FILES)
            else:
                yield path
