"""Lightning, under either of its names: what the module has logged, once an epoch, and what the trainer was told."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import Any

from lagom_magic.worker.autolog.patches import Patches
from lagom_magic.worker.autolog.record import Record


def patch(module: Any, patches: Patches, record: Record) -> None:
    """Lets every `Trainer` that is made have one callback more."""
    package = module.__name__.removesuffix(".trainer.trainer")
    callback_class = _callback_class(importlib.import_module(f"{package}.callbacks").Callback)
    original = module.Trainer.__init__

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if record.is_listening:
            with record.guard("lightning"):
                self.callbacks.append(callback_class(record))

    patches.attribute(module.Trainer, "__init__", init)


def _callback_class(base: Any) -> Any:
    class Epochs(base):  # type: ignore[misc, unused-ignore]
        """Reports an epoch when the next one begins: only then has the module's own hook logged its part of it."""

        def __init__(self, record: Record) -> None:
            super().__init__()
            self._record = record
            self._curve = record.curve()
            #: The epoch that is over and not yet reported.
            self._epoch: int | None = None

        def __reduce__(self) -> tuple[Any, ...]:
            return base, ()

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            self._curve = self._record.curve()
            with self._record.guard("lightning"):
                self._record.add_params("lightning", _params(trainer, pl_module))

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            self._report(trainer)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self._epoch = trainer.current_epoch

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            self._report(trainer)

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.state.fn == "validate":  # and not a part of `fit`
                self._report_alone(trainer)

        def on_test_end(self, trainer: Any, pl_module: Any) -> None:
            self._report_alone(trainer)

        def _report(self, trainer: Any) -> None:
            epoch, self._epoch = self._epoch, None
            if epoch is not None:
                with self._record.guard("lightning"):
                    self._curve.report(dict(trainer.callback_metrics), epoch)

        def _report_alone(self, trainer: Any) -> None:
            with self._record.guard("lightning"):
                self._record.report(dict(trainer.callback_metrics))

    return Epochs


def _params(trainer: Any, pl_module: Any) -> dict[str, Any]:
    params = {name: getattr(trainer, name, None) for name in ("max_epochs", "precision", "accumulate_grad_batches")}
    params["gradient_clip_val"] = getattr(trainer, "gradient_clip_val", None)
    if getattr(trainer, "max_steps", -1) != -1:
        params["max_steps"] = trainer.max_steps
    for optimizer in trainer.optimizers[:1]:
        params |= {"optimizer": type(optimizer).__name__, "learning_rate": optimizer.param_groups[0].get("lr")}
    own: Mapping[str, Any] = pl_module.hparams  # what save_hyperparameters() has seen
    return {name: value for name, value in {**params, **own}.items() if value is not None}
