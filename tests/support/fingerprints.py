"""A hash over all that a training function sees of a dataset, column names included; works inside of it."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def fingerprint(data: Any) -> str:
    """SHA-256 of names, types, shapes, values and their order; equal for equal data, wherever they are."""
    digest = hashlib.sha256()
    for piece in _pieces(data):
        digest.update(len(piece).to_bytes(8, "big") + piece)
    return digest.hexdigest()


def _pieces(data: Any) -> Iterator[bytes]:
    kind = f"{type(data).__module__.partition('.')[0]}.{type(data).__name__}"
    if isinstance(data, Mapping):
        yield b"dict"
        for name, value in data.items():
            yield repr(name).encode()
            yield from _pieces(value)
    elif kind == "pandas.DataFrame":
        yield from _pieces({name: data.iloc[:, index] for index, name in enumerate(data.columns)})
    elif kind in ("pandas.Series", "pandas.Index"):
        yield from _pieces(data.to_numpy())
    elif kind == "polars.DataFrame":
        yield from _pieces(data.to_dict(as_series=False))
    elif kind == "pyarrow.Table":
        yield from _pieces({name: data.column(name).to_pylist() for name in data.column_names})
    elif isinstance(data, (str, os.PathLike)) and os.path.exists(data):
        yield from _of_files(Path(data))
    elif _is(data, "torch.utils.data", "Dataset"):
        yield b"items"
        is_stream = _is(data, "torch.utils.data", "IterableDataset")
        items = data if is_stream else (data[index] for index in range(len(data)))
        for item in items:
            yield from _pieces(item)
    elif _is(data, "tensorflow", "data.Dataset"):
        yield b"elements"
        for element in data:
            yield from _pieces(element)
    elif hasattr(data, "toarray"):
        yield from _pieces(data.toarray())
    elif hasattr(data, "shape") and hasattr(data, "__array__"):
        yield from _of_array(data)
    elif isinstance(data, (tuple, list)):
        yield f"{kind} {len(data)}".encode()
        for part in data:
            yield from _pieces(part)
    else:
        yield repr(data).encode()


def _is(data: Any, module: str, name: str) -> bool:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return isinstance(found, type) and isinstance(data, found)


def _of_array(data: Any) -> Iterator[bytes]:
    import numpy as np

    array = np.asarray(data)
    yield f"{array.dtype.descr if array.dtype.names else array.dtype} {array.shape}".encode()
    yield repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()


def _of_files(path: Path) -> Iterator[bytes]:
    """What files hold, and how they are called below the path."""
    import pyarrow.parquet as pq

    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and not file.name.startswith(("_", ".")):
            yield file.relative_to(path).as_posix().encode()
            is_text = file.suffix == ".csv"
            yield from [file.read_bytes()] if is_text else _pieces(pq.read_table(file, partitioning=None))
