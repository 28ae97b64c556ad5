"""Hugging Face's `Trainer`: what it logs while it trains and evaluates, and its training arguments."""

from __future__ import annotations

import functools
from typing import Any

from lagom_magic.worker.autolog.patches import Patches
from lagom_magic.worker.autolog.record import Record

#: What it logs beside metrics: how far it is, and how fast.
_PROGRESS = ("epoch", "total_flos", "num_input_tokens_seen")
_SPEEDS = ("_runtime", "_per_second", "_time")
_PARAMS = (
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "max_grad_norm",
    "optim",
    "label_smoothing_factor",
    "bf16",
    "fp16",
)


def patch(module: Any, patches: Patches, record: Record) -> None:
    """Lets every `Trainer` that is made have one callback more."""
    from transformers.trainer_callback import TrainerCallback

    callback_class = _callback_class(TrainerCallback)
    original = module.Trainer.__init__

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if record.is_listening:
            with record.guard("transformers"):
                self.add_callback(callback_class(record))

    patches.attribute(module.Trainer, "__init__", init)


def _callback_class(base: Any) -> Any:
    class Logs(base):  # type: ignore[misc, unused-ignore]
        """Reports what the trainer logs; the results of an evaluation are logged too."""

        def __init__(self, record: Record) -> None:
            self._record = record
            self._curve = record.curve()

        def __reduce__(self) -> tuple[Any, ...]:
            return base, ()

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self._curve = self._record.curve()
            with self._record.guard("transformers"):
                self._record.add_params("transformers", {name: getattr(args, name, None) for name in _PARAMS})

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            with self._record.guard("transformers"):
                metrics = {name: value for name, value in (logs or {}).items() if _is_metric(name)}
                self._curve.report(metrics, state.global_step)

    return Logs


def _is_metric(name: str) -> bool:
    return name not in _PROGRESS and not name.endswith(_SPEEDS)
