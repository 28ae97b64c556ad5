"""scikit-learn: the scores of `cross_val_score` and `cross_validate`; the fits within are not logged one by one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lagom_magic.worker.autolog.patches import Patches
from lagom_magic.worker.autolog.record import Record

_TIMES = ("fit_time", "score_time")


def patch(module: Any, patches: Patches, record: Record) -> None:
    """Replaces both functions, wherever they are known by their names."""
    for name in ("cross_validate", "cross_val_score"):
        patches.function(module, name, _wrapped(getattr(module, name), record))


def _wrapped(original: Callable[..., Any], record: Record) -> Callable[..., Any]:
    @functools.wraps(original)
    def validate(*args: Any, **kwargs: Any) -> Any:
        if not record.is_listening:
            return original(*args, **kwargs)
        is_outermost = record.is_outermost
        if is_outermost:
            with record.guard("sklearn"):
                estimator = args[0] if args else kwargs["estimator"]
                record.add_params(type(estimator).__name__, estimator.get_params())
        with record.nested(original):
            scores = original(*args, **kwargs)
        if is_outermost:
            with record.guard("sklearn"):
                record.report(_means(scores))
        return scores

    return validate


def _means(scores: Any) -> dict[str, Any]:
    """Mean and standard deviation over the folds."""
    by_name = scores if isinstance(scores, dict) else {"test_score": scores}
    metrics: dict[str, Any] = {}
    for name, values in by_name.items():
        if name.startswith(("test_", "train_")) and name not in _TIMES:
            metrics |= {f"cv_{name.removeprefix('test_')}": values.mean()}
            metrics |= {f"cv_{name.removeprefix('test_')}_std": values.std()}
    return metrics
