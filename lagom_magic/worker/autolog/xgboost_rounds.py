"""XGBoost: the evaluation results of each boosting round, and the parameters of `train`."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from lagom_magic.worker.autolog.patches import Patches
from lagom_magic.worker.autolog.record import Record


def patch(training: Any, patches: Patches, record: Record) -> None:
    """Lets every training, that of an estimator too, have one callback more."""
    from xgboost.callback import CallbackContainer, TrainingCallback

    callback_class = _callback_class(TrainingCallback)
    init, train = CallbackContainer.__init__, training.train
    signature = inspect.signature(train)

    @functools.wraps(init)
    def init_with_ours(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if record.is_listening:
            with record.guard("xgboost"):
                self.callbacks.insert(0, callback_class(record))  # one that stops early keeps the rest from hearing

    @functools.wraps(train)
    def train_logged(*args: Any, **kwargs: Any) -> Any:
        if record.is_listening and record.is_outermost:  # an estimator's parameters are logged as such
            with record.guard("xgboost"):
                call = signature.bind(*args, **kwargs)
                call.apply_defaults()
                rounds = {"num_boost_round": call.arguments["num_boost_round"]}
                record.add_params("xgboost", dict(call.arguments["params"]) | rounds)
        return train(*args, **kwargs)

    patches.attribute(CallbackContainer, "__init__", init_with_ours)
    patches.function(training, "train", train_logged)


def _callback_class(base: Any) -> Any:
    class Rounds(base):  # type: ignore[misc, unused-ignore]
        """Reports as XGBoost prints: `validation_0-logloss`."""

        def __init__(self, record: Record) -> None:
            super().__init__()
            self._record = record
            self._curve = record.curve()

        def __reduce__(self) -> tuple[Any, ...]:
            return base, ()

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            with self._record.guard("xgboost"):
                metrics = {
                    f"{data}-{name}": _mean(values[-1])
                    for data, results in evals_log.items()
                    for name, values in results.items()
                }
                self._curve.report(metrics, epoch)
            return False

    return Rounds


def _mean(value: Any) -> Any:
    """Of a cross-validation's (mean, standard deviation)."""
    return value[0] if isinstance(value, tuple) else value
