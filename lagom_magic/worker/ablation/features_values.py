"""Leaves columns out of arrays, tensors, lists, and dicts; what datasets of all kinds come down to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from copy import copy
from typing import Any

from lagom_magic.spec.dataset_kinds import is_instance, shape_of


def dict_without(data: Mapping[Any, Any], names: Collection[str]) -> Any:
    """A dict of the same class, without some keys."""
    left_out = [key for key in data if str(key) in names]
    if not isinstance(data, MutableMapping):
        return {key: value for key, value in data.items() if key not in left_out}
    other = copy(data)
    for key in left_out:
        del other[key]
    return other


def records_without(data: Any, names: Collection[str]) -> Any:
    """A structured NumPy array without some fields, as memory of its own."""
    from numpy.lib.recfunctions import repack_fields

    return repack_fields(data[[name for name in data.dtype.names if name not in names]])


def sliced(values: Any, kept: list[int]) -> Any:
    """Some places of the last axis, in order, as memory of its own.

    Args:
        values: a NumPy array, a tensor, a sparse matrix, or lists in lists.
        kept: which places.
    """
    if isinstance(values, (list, tuple)):
        are_rows = bool(values) and bool(shape_of(values[0]))
        parts = [sliced(row, kept) for row in values] if are_rows else [values[index] for index in kept]
        return parts if isinstance(values, list) else tuple(parts)
    if is_instance(values, "tensorflow", "Tensor"):
        import tensorflow as tf

        return tf.gather(values, kept, axis=-1)
    if hasattr(values, "tocsr"):  # a sparse matrix, which knows no `...`
        return values[:, kept]
    if is_instance(values, "torch", "Tensor"):
        return values[..., kept]
    import numpy as np

    return values[..., np.array(kept)]
