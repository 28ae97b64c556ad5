"""Keras 3: the metrics of each epoch of `fit`, and what it was told to do."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from lagom_magic.worker.autolog.patches import Patches
from lagom_magic.worker.autolog.record import Record
from lagom_magic.worker.numbers import as_number


def patch(keras: Any, patches: Patches, record: Record) -> None:
    """Lets every `fit` of a model have one callback more, which acts between epochs only."""
    callback_class = _callback_class(keras.callbacks.Callback)
    add_callback(keras, patches, record, lambda arguments: callback_class(record, arguments))


def add_callback(
    keras: Any, patches: Patches, record: Record, make: Callable[[Mapping[str, Any]], Any], name: str = "keras"
) -> None:
    """Lets every `fit` of a model have one callback more.

    Args:
        keras: the package; only its third version is known here.
        patches: take it back.
        record: knows whether the trial is still running.
        make: the arguments of a `fit` → its callback.
        name: what a warning calls it.
    """
    if not keras.__version__.startswith("3."):
        return
    model_class = keras.Model
    before = model_class.fit
    is_patched = "fit" in vars(model_class)
    signature = inspect.signature(before)

    @functools.wraps(before)
    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        # What is inherited is looked up now: a distribution may have replaced it.
        call = functools.partial(before, self) if is_patched else super(model_class, self).fit
        if not record.is_listening:
            return call(*args, **kwargs)
        with record.guard(name):
            bound = signature.bind(self, *args, **kwargs)
            ours, callbacks = make(dict(bound.arguments)), bound.arguments.get("callbacks")
            if isinstance(callbacks, keras.callbacks.CallbackList):
                callbacks.append(ours)  # the user's own object; what is in it stays silent after the trial
            else:
                bound.arguments["callbacks"] = [*keras.tree.flatten(callbacks or []), ours]
                args, kwargs = bound.args[1:], bound.kwargs
        return call(*args, **kwargs)

    patches.attribute(model_class, "fit", fit)


def _callback_class(base: Any) -> Any:
    class Epochs(base):  # type: ignore[misc, unused-ignore]
        """Reports between epochs; it has no hook for batches, so that Keras needs not wait for their results."""

        def __init__(self, record: Record, arguments: Mapping[str, Any]) -> None:
            super().__init__()
            self._record = record
            self._curve = record.curve()
            self._arguments = arguments

        def __reduce__(self) -> tuple[Any, ...]:
            return base, ()

        def on_train_begin(self, logs: Any = None) -> None:
            with self._record.guard("keras"):
                self._record.add_params("keras", self._params())

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            with self._record.guard("keras"):
                self._curve.report(logs or {}, epoch)

        def _params(self) -> dict[str, Any]:
            optimizer = self.model.optimizer
            params = {name: self._arguments.get(name) for name in ("epochs", "batch_size", "validation_split")}
            params |= {"steps_per_epoch": self.params.get("steps"), "parameters": self.model.count_params()}
            if optimizer is not None:
                params |= {"optimizer": type(optimizer).__name__, "learning_rate": as_number(optimizer.learning_rate)}
            return {name: value for name, value in params.items() if value is not None}

    return Epochs
