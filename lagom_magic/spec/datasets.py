"""What the features of a dataset are called, whatever kind of dataset it is.

The driver lists them with `features_of` before an ablation begins; a trial process leaves some out by the same reading
of the data (`worker/ablation/features.py`). A package is never imported to find out: a class that is not loaded made no
object. pyarrow alone is, which a path of Parquet files needs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lagom_magic.errors import ConfigError, nearest
from lagom_magic.spec.dataset_files import csv_columns, is_csv, parquet_columns, shown
from lagom_magic.spec.dataset_kinds import is_instance, is_pair, is_spark, kind_of, shape_of
from lagom_magic.spec.random_state import untouched_random_state

_MAX_LISTED = 20
_GENERATOR = (
    "For other data give a function that takes the features to leave out and returns the dataset without them: "
    "study.set_dataset_generator(fn)."
)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a dataset.

    Attributes:
        names: in order; the label among them, unless it lies apart.
        has_labels_apart: whether labels come beside the features, as in (X, y).
    """

    names: tuple[str, ...]
    has_labels_apart: bool = False


def features_of(data: object, label_name: str | None, feature_names: Sequence[str] | None) -> list[str]:
    """The names of what a model can learn from, in order; the label is not among them.

    Args:
        data: a DataFrame (pandas, polars), pyarrow Table, structured NumPy array, or dict of arrays; a path of Parquet
            files or of a CSV file; a `torch.utils.data.Dataset` or `tf.data.Dataset`; (features, labels) of arrays; or
            a tuple or list of those, such as (train, test).
        label_name: the column to predict; None = there is none, or labels lie apart.
        feature_names: the columns of arrays that have no names; of other data: those columns that count.

    Raises:
        ConfigError: the data are of another kind, or names are missing, double, or unknown to the data.
    """
    feature_names = checked_names(feature_names)
    return _features_in(columns_of(data, label_name, feature_names), label_name, feature_names)


def features_of_item(item: object, label_name: str | None, feature_names: Sequence[str] | None, what: str) -> list[str]:
    """The names of what a torch dataset's item holds; as `features_of`, by an item that was read already.

    Args:
        item: values, or (values, label, …).
        label_name: as there.
        feature_names: as there.
        what: the dataset, for messages.
    """
    return _features_in(_of_item(item, feature_names, what), label_name, feature_names)


def shape_of_features(data: Any) -> tuple[int, ...] | None:
    """How wide the parts of a dataset are, in their order; the same with and without some features = all are there.

    Counted are columns and keys, and the last axis of arrays of two and more axes, of items of one and more. Nothing is
    drawn from the random generators, and no item is taken from what can be read only once.

    Args:
        data: of any kind; a DataLoader counts as its dataset.

    Returns:
        None where it cannot be told.
    """
    widths = _widths(data, n_axes=2)
    return tuple(widths) or None


def _widths(data: Any, *, n_axes: int) -> list[int]:
    if is_instance(data, "torch", "utils.data.DataLoader"):
        return _widths(data.dataset, n_axes=n_axes)
    match kind_of(data):
        case "pandas" | "polars" | "arrow" | "records" | "path":
            return [len(columns_of(data, None, None).names)]
        case "dict":
            return [len(data), *(width for value in data.values() for width in _widths(value, n_axes=n_axes))]
        case "torch":
            is_empty = _is_read_once(data) or (hasattr(data, "__len__") and not len(data))
            return [] if is_empty else _widths_of_item(torch_item(data))
        case "tensorflow":
            return _widths_of_item(data.element_spec)
        case "parts":
            return [width for part in data for width in _widths(part, n_axes=n_axes)]
        case "array":
            shape = shape_of(data) or ()
            return [shape[-1]] if len(shape) >= n_axes and shape[-1] is not None else []
        case _:
            return []


def _widths_of_item(item: Any) -> list[int]:
    """Of (values, label, …) the values count."""
    return _widths(item[0] if is_pair(item) and item else item, n_axes=1)


def _features_in(columns: Columns, label_name: str | None, feature_names: Sequence[str] | None) -> list[str]:
    _check_label(label_name, columns)
    for name in feature_names or ():
        if name not in columns.names:
            raise _unknown(f"feature_names: {name!r} is no column of the dataset", name, columns.names)
    return [name for name in feature_names or columns.names if name != label_name]


def checked_names(feature_names: Iterable[str] | None) -> list[str] | None:
    """`feature_names` as a list of texts, also where they are an array or a pandas Index.

    Raises:
        ConfigError: it is no list, or has a name twice.
    """
    if feature_names is None:
        return None
    if isinstance(feature_names, str):
        raise ConfigError(f"feature_names is the text {feature_names!r}. Give a list: [{feature_names!r}].")
    names = [str(name) for name in feature_names]
    _check_single(names, "feature_names")
    return names


def check_left_out(names: Sequence[str], features: Sequence[str], label_name: str | None) -> None:
    """Looks whether a dataset can do without some features.

    Args:
        names: those to be left out.
        features: all, of `features_of`.
        label_name: as given there.

    Raises:
        ConfigError: one is unknown, or the label, or none would be left.
    """
    for name in names:
        if name == label_name:
            raise ConfigError(f"{name!r} is the label, which every variant keeps. Features: {_listed(features)}.")
        if name not in features:
            raise _unknown(f"{name!r} is no feature of the dataset", name, features)
    if set(features) <= set(names):
        raise ConfigError(
            f"Without {_listed(names)} the dataset would have no feature left to learn from. Leave out fewer."
        )


def columns_of(data: Any, label_name: str | None, feature_names: Sequence[str] | None) -> Columns:
    """The columns, by the kind of data; arguments and errors are those of `features_of`."""
    match kind_of(data):
        case "pandas":
            return _single((str(name) for name in data.columns), "the DataFrame")
        case "polars":
            return _single(data.collect_schema().names(), "the DataFrame")
        case "arrow":
            return _single(data.column_names, "the Table")
        case "records":
            return _single(data.dtype.names, "the array")
        case "dict":
            return _of_dict(data)
        case "path":
            return _single(csv_columns(data).names if is_csv(data) else parquet_columns(data).names, os.fspath(data))
        case "torch":
            return _of_item(torch_item(data), feature_names, type(data).__name__)
        case "tensorflow":
            return _of_item(data.element_spec, feature_names, "the tf.data.Dataset")
        case "array":
            return _of_array(data, feature_names, "the array", n_axes=2)
        case "parts":
            return _of_parts(data, label_name, feature_names)
        case _:
            raise _other_kind(data)


def feature_parts(data: Sequence[Any], label_name: str | None, feature_names: Sequence[str] | None) -> list[int]:
    """Which parts of a tuple or list hold features, by position; the others are labels or weights.

    Raises:
        ConfigError: that cannot be seen.
    """
    kinds = [kind_of(part) for part in data]
    if kinds[0] == "array":
        return _feature_arrays(data, label_name, feature_names or ())
    columns = {
        index: set(columns_of(part, label_name, feature_names).names) - {label_name}
        for index, part in enumerate(data)
        if kinds[index] != "array" and (index == 0 or part is not None)
    }
    return [i for i, names in columns.items() if names and (label_name is not None or names & columns[0])]


def torch_item(data: Any) -> Any:
    """The first item of a torch dataset; the random generators continue as if it had not been read.

    Raises:
        ConfigError: it has none, or cannot be read again from the beginning.
    """
    missing = object()
    if _is_read_once(data):
        raise ConfigError(
            f"The items of {type(data).__name__} can be read only once, and a look at the first would use it up. Let "
            "__iter__ make a new iterator each time, such as by opening the file there or calling the function that "
            "makes the items."
        )
    with untouched_random_state():
        if is_instance(data, "torch", "utils.data.IterableDataset"):
            item = next(iter(data), missing)
        else:
            item = data[0] if not hasattr(data, "__len__") or len(data) else missing
    if item is missing:
        raise ConfigError(f"The dataset ({type(data).__name__}) is empty: it has no item to read its features from.")
    return item


def _is_read_once(data: Any) -> bool:
    """Whether a torch dataset gives the items of one iterator, which it holds or is."""
    if not is_instance(data, "torch", "utils.data.IterableDataset"):
        return False
    if any(isinstance(value, Iterator) for value in vars(data).values()):
        return True
    with untouched_random_state():
        return iter(data) is iter(data)


def _check_label(label_name: str | None, columns: Columns) -> None:
    if label_name is not None and label_name not in columns.names and not columns.has_labels_apart:
        raise _unknown(f"label_name={label_name!r} is no column of the dataset", label_name, columns.names)


def _of_dict(data: Mapping[Any, Any]) -> Columns:
    for name, value in data.items():
        if is_spark(value):
            raise _other_kind(value)
        kind = kind_of(value)
        is_column = kind in ("array", "parts") or (kind == "unknown" and hasattr(value, "__len__"))
        if not is_column or isinstance(value, bytes):
            raise ConfigError(
                f"The dataset is a dict ({type(data).__name__}), so each key is a feature, but {str(name)!r} is "
                f"{_named(value)}. Allowed: arrays, lists and tensors of all rows. Where a dict holds more than that, "
                "give the part that is the data."
            )
    return _single((str(name) for name in data), "the dict")


def _of_item(item: Any, feature_names: Sequence[str] | None, what: str) -> Columns:
    """The columns of what a dataset gives at a time."""
    values = item[0] if is_pair(item) and item else item
    if isinstance(values, Mapping):
        columns = _single((str(name) for name in values), what)
    elif hasattr(values, "shape") or kind_of(values) == "array":
        columns = _of_array(values, feature_names, f"an item of {what}", n_axes=1)
    else:
        raise ConfigError(
            f"An item of {what} is {_named(item)}, which has no features to leave out. Known: a dict, (dict, label), "
            f"and (values, label) with feature_names=[…]. {_GENERATOR}"
        )
    return Columns(columns.names, has_labels_apart=values is not item)


def _of_array(data: Any, feature_names: Sequence[str] | None, what: str, *, n_axes: int) -> Columns:
    """The columns of something without names; they lie along its last axis."""
    shape = shape_of(data)
    width = shape[-1] if shape else None
    if feature_names is None:
        some = "" if width is None else f", one for each of its {width} columns"
        raise ConfigError(
            _sentence(f"{what} ({_named(data)}) does not name its columns. Give feature_names=[…]{some}.")
        )
    if shape is not None and len(shape) < n_axes:
        raise ConfigError(
            _sentence(f"{what} has the shape {shape}, and features are told apart along its last axis: give it ")
            + ("rows and columns." if n_axes == 2 else "values in a row.")
        )
    if width is not None and width != len(feature_names):
        raise ConfigError(
            f"feature_names has {len(feature_names)} names, and {what} ({_named(data)}) has {width} columns. "
            "Give one name for each."
        )
    return Columns(tuple(feature_names))


def _of_parts(data: Sequence[Any], label_name: str | None, feature_names: Sequence[str] | None) -> Columns:
    """The columns that all parts with features share, and the label where only some have it."""
    if not data:
        raise ConfigError(f"The dataset is an empty {type(data).__name__}.")
    positions = feature_parts(data, label_name, feature_names)
    found = [columns_of(data[index], label_name, feature_names) for index in positions]
    if len(found) == len(data) and not any(label_name in columns.names for columns in found):
        _check_label(label_name, found[0])
    counted = [set(feature_names or columns.names) & set(columns.names) - {label_name} for columns in found]
    for index, names in zip(positions, counted, strict=True):
        if names != counted[0]:
            raise ConfigError(
                f"Parts {positions[0] + 1} and {index + 1} of the dataset do not have the same features: only one of "
                f"them has {_listed(sorted(names ^ counted[0]))}. Give parts with the same columns: (train, test)."
            )
    longest = next((columns for columns in found if label_name in columns.names), found[0])
    is_apart = len(positions) < len(data) or any(columns.has_labels_apart for columns in found)
    return Columns(longest.names, is_apart)


def _feature_arrays(data: Sequence[Any], label_name: str | None, feature_names: Sequence[str]) -> list[int]:
    """Which of some arrays are features: those that are as wide as the first."""
    shapes = [shape_of(part) or () for part in data]
    alike = [i for i, s in enumerate(shapes) if len(s) == len(shapes[0]) and s[1:] == shapes[0][1:]]
    if len(alike) == 1 or (label_name is not None and label_name in feature_names):
        return alike
    if len(data) == 2:
        return [0] if shapes[0] == shapes[1] else alike
    if 2 * len(alike) == len(data):
        return alike
    raise ConfigError(
        f"Which of the {len(data)} arrays are features? They have the shapes {', '.join(map(str, shapes))}. "
        "Give pairs: ((X_train, y_train), (X_test, y_test))."
    )


def _single(names: Iterable[str], what: str) -> Columns:
    found = tuple(names)
    _check_single(found, what)
    return Columns(found)


def _check_single(names: Sequence[str], what: str) -> None:
    double = [name for name, n in Counter(names).items() if n > 1]
    if double:
        raise ConfigError(
            f"{_sentence(what)} has more than one column {_listed(double)}, and a column is left out by its name. "
            "Rename them."
        )


def _unknown(problem: str, name: str, known: Iterable[str]) -> ConfigError:
    names = list(known)
    return ConfigError(f"{problem}; it has: {_listed(names)}.{nearest(shown(name), map(shown, names))}")


def _listed(names: Sequence[str]) -> str:
    more = f" … ({len(names)} in all)" if len(names) > _MAX_LISTED else ""
    return ", ".join(map(shown, names[:_MAX_LISTED])) + more


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _named(value: object) -> str:
    """An object's class and shape, for messages."""
    shape = shape_of(value) if not is_spark(value) and hasattr(value, "shape") else None
    name = f"{type(value).__module__.partition('.')[0]}.{type(value).__qualname__}".removeprefix("builtins.")
    return f"{name} of shape {shape}" if shape else name


def _other_kind(data: object) -> ConfigError:
    if is_spark(data):
        to_pandas = "to_pandas" if hasattr(type(data), "to_pandas") else "toPandas"
        return ConfigError(
            f"The dataset is a Spark DataFrame, which no trial can read. Give frame.{to_pandas}(), or write it with "
            "frame.write.parquet(path) and give the path."
        )
    return ConfigError(
        f"Features cannot be left out of a dataset of the type {_named(data)}. Known: a DataFrame, a pyarrow Table, a "
        "dict of arrays, arrays with feature_names=[…], a path of Parquet files or of a CSV file, a torch Dataset, a "
        f"tf.data.Dataset, and tuples of those. {_GENERATOR}"
    )
