"""LightGBM: the evaluation results of each boosting round, and the parameters of `train`."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from lagom_magic.worker.autolog.patches import Patches
from lagom_magic.worker.autolog.record import Record

#: After what prints and records the results, and before what stops early.
_ORDER = 25


def patch(engine: Any, patches: Patches, record: Record) -> None:
    """Lets every training, that of an estimator too, have one callback more."""
    train = engine.train
    signature = inspect.signature(train)

    @functools.wraps(train)
    def train_logged(*args: Any, **kwargs: Any) -> Any:
        if not record.is_listening:
            return train(*args, **kwargs)
        with record.guard("lightgbm"):
            call = signature.bind(*args, **kwargs)
            call.apply_defaults()
            if record.is_outermost:  # an estimator's parameters are logged as such
                rounds = {"num_boost_round": call.arguments["num_boost_round"]}
                record.add_params("lightgbm", dict(call.arguments["params"]) | rounds)
            call.arguments["callbacks"] = [*(call.arguments["callbacks"] or ()), _Rounds(record)]
            args, kwargs = call.args, call.kwargs
        return train(*args, **kwargs)

    patches.function(engine, "train", train_logged)


class _Rounds:
    """Reports as LightGBM names them, in XGBoost's spelling: `valid_0-l2`."""

    before_iteration = False

    def __init__(self, record: Record) -> None:
        self._record = record
        self._curve = record.curve()
        self.order = _ORDER

    def __call__(self, env: Any) -> None:
        with self._record.guard("lightgbm"):
            metrics = {f"{item[0]}-{item[1]}": item[2] for item in env.evaluation_result_list or ()}
            self._curve.report(metrics, env.iteration)
