"""What kind of thing a dataset is, and its shape, by looking only at packages that are loaded; for `datasets.py`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any, Literal

from lagom_magic.spec.dataset_files import looks_like_path

Kind = Literal[
    "pandas", "polars", "arrow", "records", "array", "dict", "path", "torch", "tensorflow", "parts", "unknown"
]

#: (module, class in it, kind); a module that is not loaded is not looked into.
_CLASSES: tuple[tuple[str, str, Kind], ...] = (
    ("pandas", "DataFrame", "pandas"),
    ("polars", "DataFrame", "polars"),
    ("polars", "LazyFrame", "polars"),
    ("pyarrow", "Table", "arrow"),
    ("torch", "utils.data.Dataset", "torch"),
    ("tensorflow", "data.Dataset", "tensorflow"),
)


def kind_of(data: object) -> Kind:
    """How a dataset is read; "array" is all that has rows and no names, "parts" a tuple or list of datasets."""
    if is_spark(data):
        return "unknown"
    for module, name, kind in _CLASSES:
        if is_instance(data, module, name):
            return kind
    if isinstance(data, Mapping):
        return "dict"
    if isinstance(data, (str, os.PathLike)):
        return "path"
    if isinstance(data, (tuple, list)):
        return "parts" if _is_container(data) else "array"
    if getattr(getattr(data, "dtype", None), "names", None):
        return "records"
    return "array" if hasattr(data, "shape") and hasattr(data, "__getitem__") else "unknown"


def shape_of(value: object) -> tuple[int | None, ...] | None:
    """The shape of an array, a tensor, or lists in lists; () of a single value; None where TensorFlow does not know."""
    shape: Any = getattr(value, "shape", None)
    if shape is not None:
        return None if getattr(shape, "rank", 0) is None else tuple(shape)
    if isinstance(value, (list, tuple)):
        return (len(value), *(shape_of(value[0]) or ())) if value else (0,)
    return ()


def is_instance(data: object, module: str, name: str) -> bool:
    """Whether an object is of a class of a module, which is not loaded for that."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return isinstance(found, type) and isinstance(data, found)


def is_spark(data: object) -> bool:
    """Whether it is a DataFrame of Spark, of Spark Connect or of pandas on Spark."""
    return any(cls.__name__ == "DataFrame" and cls.__module__.startswith("pyspark.") for cls in type(data).__mro__)


def is_pair(item: object) -> bool:
    """Whether an item of a dataset is (values, label, …), and not the values alone."""
    return isinstance(item, tuple) or (isinstance(item, list) and kind_of(item) != "array")


def _is_container(data: Sequence[Any]) -> bool:
    """Whether a tuple or list holds datasets and labels, and is not itself rows of values."""
    if data and isinstance(data[0], str):
        return isinstance(data, tuple) or looks_like_path(data[0])
    if isinstance(data, tuple):
        return not data or not all(_is_single_value(part) for part in data)
    if not data or _is_single_value(data[0]):
        return not data
    are_rows = isinstance(data[0], (list, tuple)) and len(shape_of(data[0]) or ()) == len(shape_of(data[-1]) or ())
    return not (are_rows and kind_of(data[0]) == "array")


def _is_single_value(value: object) -> bool:
    if value is None or isinstance(value, (str, bytes, Number)):
        return True
    return not is_spark(value) and hasattr(value, "shape") and not shape_of(value)
