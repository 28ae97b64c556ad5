"""Keras 3: the metrics of each epoch of `fit`, and what it was told to do."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
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
        make: the arguments of a `fit` → its callback, whose `after_fit` is called when the `fit` is over in any way.
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
        with ExitStack() as afterwards:
            with record.guard(name):
                bound = signature.bind(self, *args, **kwargs)
                ours, callbacks = make(dict(bound.arguments)), bound.arguments.get("callbacks")
                afterwards.callback(ours.after_fit)
                if isinstance(callbacks, keras.callbacks.CallbackList):
                    _join(callbacks, ours, self)
                    afterwards.callback(_leave, callbacks, ours)
                else:
                    bound.arguments["callbacks"] = [*keras.tree.flatten(callbacks or []), ours]
                    args, kwargs = bound.args[1:], bound.kwargs
            return call(*args, **kwargs)

    patches.attribute(model_class, "fit", fit)


def _join(callbacks: Any, ours: Any, model: Any) -> None:
    """Puts ours into a list of the user's, which Keras takes to be ready."""
    ours.set_model(model)
    ours.set_params(callbacks.params)
    callbacks.callbacks.append(ours)


def _leave(callbacks: Any, ours: Any) -> None:
    if ours in callbacks.callbacks:
        callbacks.callbacks.remove(ours)


def _callback_class(base: Any) -> Any:
    class Epochs(base):  # type: ignore[misc, unused-ignore]
        """Reports between epochs; it has no hook for batches, so that Keras needs not wait for their results."""

        def __init__(self, record: Record, arguments: Mapping[str, Any]) -> None:
            super().__init__()
            self._record = record
            self._curve = record.curve()
            self._arguments = arguments
            #: What is not logged yet, because a model without an input knows its parameters only after an epoch.
            self._untold: dict[str, Any] | None = None

        def __reduce__(self) -> tuple[Any, ...]:
            return base, ()

        def on_train_begin(self, logs: Any = None) -> None:
            with self._record.guard("keras"):
                self._untold = self._params()
                if self.model.built:
                    self._tell()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            with self._record.guard("keras"):
                self._tell()
                self._curve.report(logs or {}, epoch)

        def after_fit(self) -> None:
            with self._record.guard("keras"):
                self._tell()

        def _tell(self) -> None:
            params, self._untold = self._untold, None
            if params is not None:
                params |= {"parameters": self.model.count_params()} if self.model.built else {}
                self._record.add_params("keras", params)

        def _params(self) -> dict[str, Any]:
            optimizer = self.model.optimizer
            params = {name: self._arguments.get(name) for name in ("epochs", "batch_size", "validation_split")}
            params |= {"steps_per_epoch": self.params.get("steps")}
            if optimizer is not None:
                params |= {"optimizer": type(optimizer).__name__, "learning_rate": as_number(optimizer.learning_rate)}
            return {name: value for name, value in params.items() if value is not None}

    return Epochs
