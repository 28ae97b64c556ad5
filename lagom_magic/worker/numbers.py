"""What counts as a number in a report or a returned value: Python's, NumPy's and tensors of one element."""

from __future__ import annotations

import sys
from typing import Any


def as_number(value: Any) -> float | None:
    """The value as a float; None when it is no number (a bool is none, nor is text)."""
    kind = type(value)
    if kind is float:
        return float(value)
    if kind is bool or isinstance(value, (str, bytes)):
        return None
    if kind is int:
        return _as_float(value)
    if hasattr(value, "item"):
        return _item(value)
    if hasattr(value, "numpy") and getattr(value, "shape", None) == ():  # TensorFlow's tensors have no item()
        return as_number(value.numpy())
    if hasattr(type(value), "__float__") and not hasattr(value, "__len__"):
        return _as_float(value)
    return None


def _item(value: Any) -> float | None:
    """Of an array or tensor, if it has one element that is neither a time nor masked."""
    try:
        number = value.item()
    except (ValueError, RuntimeError, TypeError):
        return None
    kind = getattr(getattr(value, "dtype", None), "kind", "")  # of NumPy's types
    if kind in ("m", "M") or _is_masked(value):
        return None
    if type(number) is type(value):  # Python has none of its own for a long double
        return _as_float(value) if kind == "f" else None
    return as_number(number)


def _is_masked(value: Any) -> bool:
    masks = sys.modules.get("numpy.ma")
    return masks is not None and isinstance(value, masks.MaskedArray) and bool(masks.getmaskarray(value).any())


def _as_float(value: Any) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    except (TypeError, ValueError):
        return None
