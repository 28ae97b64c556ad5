"""The seam to the trial process: while it is open, libraries log into the trial's record; then they are as before.

A library that is not imported is not imported here either, nor is our module for it: both wait for its import.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

from lagom_magic.worker.autolog.patches import Patches
from lagom_magic.worker.autolog.record import Record
from lagom_magic.worker.import_hooks import AfterImport

#: Module of a library → ours, whose `patch(module, patches, record)` runs when that has been imported.
_LIBRARIES = {
    "keras": "keras_fit",
    "lightning.pytorch.trainer.trainer": "lightning_trainer",
    "pytorch_lightning.trainer.trainer": "lightning_trainer",
    "transformers.trainer": "huggingface_trainer",
    "sklearn.base": "sklearn_estimators",
    "sklearn.model_selection._validation": "sklearn_validation",
    "xgboost.training": "xgboost_rounds",
    "lightgbm.engine": "lightgbm_rounds",
}
#: The same for `--log-weights`.
_WEIGHTS = {
    "keras": "keras_weights",
    "torch.optim.optimizer": "torch_weights",
}


@contextmanager
def applied(
    record: Record, train_fn: Callable[..., Any], *, logs_libraries: bool = True, log_weights: int | None = None
) -> Iterator[None]:
    """While it is open, what the libraries do goes into the record.

    Args:
        record: of this trial.
        train_fn: about to be called; functions of a library that it holds by their own names are replaced there too.
        logs_libraries: False = only weights are logged, if they are.
        log_weights: histograms of weights and gradients every so many steps; None = none.
    """
    patches = Patches(getattr(train_fn, "__globals__", {}))
    libraries = _LIBRARIES if logs_libraries else {}
    actions: dict[str, Callable[[ModuleType], None]]
    actions = {name: partial(_patch, ours, patches, record) for name, ours in libraries.items()}
    if log_weights is not None:
        from lagom_magic.worker.autolog.histograms import Histograms

        histograms = Histograms(record, log_weights)
        patches.on_close(histograms.close)
        for name, ours in _WEIGHTS.items():
            actions[name] = _both(actions.get(name), partial(_patch, ours, patches, record, histograms))
    watch = AfterImport(actions)
    watch.install()
    try:
        if patches.has_functions:
            with record.guard("functions"):
                patches.spread()
        yield
    finally:
        record.close()
        with record.guard("taking the patches back"):
            try:
                patches.close()
            finally:
                watch.remove()


def _patch(ours: str, patches: Patches, record: Record, *more_and_module: Any) -> None:
    *more, module = more_and_module
    with record.guard(module.__name__.partition(".")[0]):
        importlib.import_module(f"{__package__}.{ours}").patch(module, patches, record, *more)


def _both(
    first: Callable[[ModuleType], None] | None, second: Callable[[ModuleType], None]
) -> Callable[[ModuleType], None]:
    def act(module: ModuleType) -> None:
        if first is not None:
            first(module)
        second(module)

    return act
