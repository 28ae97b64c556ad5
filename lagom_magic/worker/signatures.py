"""What goes into a model and what comes out, in words; used by `model.export`.

Looked up where the library says it. Nothing is called with data, and a model that says nothing has no signature.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

#: Names beyond so many are only counted.
_MAX_NAMES = 50
_MAX_CHARACTERS = 4000


def signature_of(model: Any, framework: str) -> dict[str, str]:
    """{"inputs": …, "outputs": …}, each as far as it is known.

    Args:
        model: of a foreign library.
        framework: keras, sklearn, xgboost, lightgbm; others say nothing.
    """
    describe = _DESCRIBERS.get(framework)
    if describe is None:
        return {}
    try:
        found = describe(model)
    except Exception:  # a property of a foreign object may raise anything; the model is saved all the same
        return {}
    return {key: text[:_MAX_CHARACTERS] for key, text in found.items() if text}


def _of_keras(model: Any) -> dict[str, str]:
    return {"inputs": _tensors(getattr(model, "inputs", None)), "outputs": _tensors(getattr(model, "outputs", None))}


def _tensors(tensors: Iterable[Any] | None) -> str:
    """'image: float32 (None, 28, 28)'."""
    return ", ".join(f"{tensor.name}: {_dtype(tensor.dtype)} {tuple(tensor.shape)}" for tensor in tensors or ())


def _dtype(dtype: Any) -> str:
    return str(getattr(dtype, "name", dtype))


def _of_sklearn(model: Any) -> dict[str, str]:
    names, count = getattr(model, "feature_names_in_", None), getattr(model, "n_features_in_", None)
    classes = getattr(model, "classes_", None)
    return {
        "inputs": _features(None if names is None else list(names), count),
        "outputs": "" if classes is None else f"classes: {_listed(list(classes))}",
    }


def _of_xgboost(model: Any) -> dict[str, str]:
    if _is_estimator(model):
        return _of_sklearn(model)
    names, types = model.feature_names, model.feature_types
    if names and types and len(names) == len(types):
        names = [f"{name}: {kind}" for name, kind in zip(names, types, strict=True)]
    return {"inputs": _features(names, model.num_features())}


def _of_lightgbm(model: Any) -> dict[str, str]:
    if _is_estimator(model):
        return _of_sklearn(model)
    return {"inputs": _features(model.feature_name(), model.num_feature())}


def _is_estimator(model: Any) -> bool:
    base = getattr(sys.modules.get("sklearn.base"), "BaseEstimator", None)
    return isinstance(base, type) and isinstance(model, base)


def _features(names: list[Any] | None, count: Any) -> str:
    if names:
        return f"{len(names):,} features: {_listed(names)}"
    return "" if count is None else f"{int(count):,} features"


def _listed(values: list[Any]) -> str:
    more = f", … {len(values) - _MAX_NAMES:,} more" if len(values) > _MAX_NAMES else ""
    return ", ".join(str(value) for value in values[:_MAX_NAMES]) + more


_DESCRIBERS: dict[str, Callable[[Any], dict[str, str]]] = {
    "keras": _of_keras,
    "sklearn": _of_sklearn,
    "xgboost": _of_xgboost,
    "lightgbm": _of_lightgbm,
}
