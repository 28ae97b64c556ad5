"""scikit-learn: the parameters of what is fitted, and its scores; XGBoost's and LightGBM's estimators are such too.

Only the outermost call counts: the fits within a pipeline or a grid search are parts of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import FunctionType, MethodDescriptorType
from typing import Any, TypeGuard

from lagom_magic.worker.autolog.patches import Patches
from lagom_magic.worker.autolog.record import Record


def patch(module: Any, patches: Patches, record: Record) -> None:
    """Wraps `fit` and `score` of all estimators, those that are imported or defined later too."""
    base = module.BaseEstimator

    def wrap_all(cls: type) -> None:
        _wrap(cls, patches, record)

    def init_subclass(cls: type, /, **kwargs: Any) -> None:
        super(base, cls).__init_subclass__(**kwargs)
        with record.guard("sklearn"):
            if record.is_listening:
                wrap_all(cls)

    for cls in {module.ClassifierMixin, module.RegressorMixin, *_descendants(base)}:
        wrap_all(cls)
    patches.attribute(base, "__init_subclass__", classmethod(init_subclass))


def _descendants(cls: type) -> Iterator[type]:
    children: list[type] = cls.__subclasses__()
    for child in children:
        yield child
        yield from _descendants(child)


def _wrap(cls: type, patches: Patches, record: Record) -> None:
    # Of the notebook, or made by a function: it is pickled with its code, and ours must not be in it.
    if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
        return
    for name, wrapped in (("fit", _fit), ("score", _score)):
        original = vars(cls).get(name)
        if _is_method(original):
            patches.attribute(cls, name, wrapped(original, record))


def _is_method(thing: Any) -> TypeGuard[Callable[..., Any]]:
    """Whether it takes `self`: no static or class method, no class, and not what is there on a condition only."""
    return (
        isinstance(thing, (FunctionType, MethodDescriptorType)) or type(thing).__name__ == "cython_function_or_method"
    )


def _fit(original: Callable[..., Any], record: Record) -> Callable[..., Any]:
    @functools.wraps(original)
    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not record.is_listening:
            return original(self, *args, **kwargs)
        is_outermost = record.is_outermost
        if is_outermost:
            with record.guard("sklearn"):
                record.add_params(type(self).__name__, self.get_params())
        with record.nested(self):
            fitted = original(self, *args, **kwargs)
        if is_outermost:
            with record.guard("sklearn"):
                _add_search(self, record)
        return fitted

    return fit


def _score(original: Callable[..., Any], record: Record) -> Callable[..., Any]:
    @functools.wraps(original)
    def score(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not record.is_listening:
            return original(self, *args, **kwargs)
        is_outermost = record.is_outermost
        with record.nested(self):
            value = original(self, *args, **kwargs)
        if is_outermost:
            with record.guard("sklearn"):
                cls = type(self).__name__
                record.report({"score" if record.is_first("score", cls) else f"{cls}.score": value})
        return value

    return score


def _add_search(estimator: Any, record: Record) -> None:
    """What a grid search, or one of its kin, has found."""
    found = vars(estimator)
    if "best_params_" in found:
        record.add_params(f"{type(estimator).__name__}.best", found["best_params_"])
    if "best_score_" in found:
        record.report({"best_score": found["best_score_"]})
