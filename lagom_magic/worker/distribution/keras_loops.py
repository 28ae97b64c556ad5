"""Makes `fit`, `evaluate` and their kin work on behalf of all ranks: input, metrics, callbacks, what is printed.

Metrics of Keras are sums and counts. They are added up over the ranks before anybody looks at an epoch's results: so
History is that of one process, and callbacks such as EarlyStopping decide alike everywhere. Rank 0 alone draws progress
bars and has the callbacks that write files.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from lagom_magic.errors import LagomError
from lagom_magic.worker.distribution import keras_callbacks
from lagom_magic.worker.distribution.keras_batches import Cutter, check_batches, is_share
from lagom_magic.worker.distribution.keras_patches import Patches
from lagom_magic.worker.distribution.keras_steps import Steps, is_number, metric_variables
from lagom_magic.worker.distribution.tensorflow_collectives import CollectiveError, Collectives, Purpose

_TRAINER = "backend.tensorflow.trainer:TensorFlowTrainer"


class Loops:
    """What a rank does differently around its steps; `patch` puts it into Keras.

    Attributes:
        model: the one that was compiled or fitted last.
        n_epochs: finished in the `fit` that runs now; 0 outside.
        n_epochs_to_skip: how many epochs' data the next `fit` reads and passes over, as it goes on from a checkpoint
            that was written within a `fit`.
    """

    def __init__(self, collectives: Collectives, cutter: Cutter, steps: Steps) -> None:
        self.model: Any = None
        self.n_epochs = 0
        self.n_epochs_to_skip = 0
        self._collectives = collectives
        self._cutter = cutter
        self._steps = steps
        self._is_cutting = False
        self._n_epochs_to_skip_now = 0

    def patch(self, patches: Patches) -> None:
        patches.wrap(f"{_TRAINER}.fit", "self x y batch_size epochs verbose callbacks", self._fit)
        patches.wrap(f"{_TRAINER}.evaluate", "self x y batch_size verbose", self._evaluate)
        patches.wrap(f"{_TRAINER}.predict", "self x batch_size verbose", self._predict)
        patches.wrap(f"{_TRAINER}.train_on_batch", "self x y", self._on_batch)
        patches.wrap(f"{_TRAINER}.test_on_batch", "self x y", self._on_batch)
        patches.wrap("trainers.trainer:Trainer.compile", "self optimizer loss", self._compile)
        patches.wrap("trainers.trainer:Trainer._get_metrics_result_or_logs", "self logs", self._epoch_logs)
        epoch_iterator = "backend.tensorflow.trainer:TFEpochIterator.__init__"
        patches.wrap(epoch_iterator, "self distribute_strategy", self._make_epoch_iterator)

    def _compile(self, original: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> None:
        original(model, *args, **kwargs)
        model.jit_compile = False  # XLA cannot call out of its graph to the other ranks
        self.model = model

    def _fit(self, original: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> Any:
        call = self._bound(original, model, args, kwargs)
        if getattr(model, "_distribute_strategy", None) is not None:
            raise LagomError(
                "This model was made within a tf.distribute strategy, and `%%lagom train` distributes it already: "
                "make it outside of `strategy.scope()`."
            )
        call["callbacks"] = keras_callbacks.arranged(call.get("callbacks"), self._collectives, self._steps, self)
        self.model = model
        self.n_epochs = self._n_epochs_to_skip_now = self.n_epochs_to_skip
        self.n_epochs_to_skip = 0
        try:
            return self._cut(True, original, call)
        finally:
            self.n_epochs = 0

    def _evaluate(self, original: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> Any:
        return self._cut(True, original, self._without_writers(self._bound(original, model, args, kwargs)))

    def _predict(self, original: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> Any:
        return self._cut(False, original, self._without_writers(self._bound(original, model, args, kwargs)))

    def _without_writers(self, call: dict[str, Any]) -> dict[str, Any]:
        given = keras_callbacks.flattened(call.get("callbacks"))
        kept = keras_callbacks.of_rank(given, self._collectives.rank)
        return call if kept == given else {**call, "callbacks": keras_callbacks.replaced(call["callbacks"], kept)}

    def _on_batch(self, original: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> Any:
        call = self._bound(original, model, args, kwargs)
        wants_dict = call.pop("return_dict", False)
        logs = self._cut(True, original, {**call, "return_dict": True})
        logs = {name: float(value) for name, value in model._get_metrics_result_or_logs(logs).items()}
        return logs if wants_dict else model._flatten_metrics_in_order(logs)

    def _bound(
        self, original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """The arguments of a call by name; rank 0 alone is to print."""
        arguments = dict(inspect.signature(original).bind(model, *args, **kwargs).arguments)
        arguments.update(arguments.pop("kwargs", {}))
        if self._collectives.rank > 0 and "verbose" in inspect.signature(original).parameters:
            arguments["verbose"] = 0
        return arguments

    def _cut(self, is_cutting: bool, original: Callable[..., Any], call: dict[str, Any]) -> Any:
        """Calls `original`, whose input is cut into one part a rank, or is not."""
        import tensorflow as tf

        before, self._is_cutting = self._is_cutting, is_cutting
        try:
            return original(call.pop("self"), **call)
        except tf.errors.OpError as error:
            failure = self._collectives.mesh.failure
            if failure is None:
                raise
            raise CollectiveError(str(failure)) from error
        finally:
            self._is_cutting = before

    def _make_epoch_iterator(self, original: Callable[..., Any], iterator: Any, *args: Any, **kwargs: Any) -> None:
        original(iterator, *args, **kwargs)
        check_batches(iterator._distributed_dataset)
        if not self._is_cutting:
            return
        if is_share(iterator._distributed_dataset):
            _count_while_reading(iterator)
        iterator._distributed_dataset = self._cutter.cut_dataset(iterator._distributed_dataset)
        n_epochs, self._n_epochs_to_skip_now = self._n_epochs_to_skip_now, 0
        if n_epochs:
            _skip_after_reset(iterator, n_epochs)

    def _epoch_logs(self, original: Callable[..., Any], model: Any, logs: Any) -> Any:
        """The results of an epoch over all ranks; moving statistics become their mean."""
        self._merge(metric_variables(model), moving_statistics(model))
        result = original(model, logs)
        if result is not logs:
            return result
        # A train_step with names of its own: those that are metrics are known exactly.
        metrics = model.get_metrics_result()
        return {**self.mean_of_logs(logs), **{name: metrics[name] for name in logs if name in metrics}}

    def _merge(self, counted: list[Any], moving: list[Any]) -> None:
        """Adds up what metrics have counted, and averages what layers have seen; one exchange for both."""
        import numpy as np

        variables = [*counted, *moving]
        kinds = ["sum" if v.aggregation == "sum" else "mean" for v in counted] + ["mean"] * len(moving)
        if not variables:
            return
        values = [np.asarray(variable.numpy(), np.float64).reshape(-1) for variable in variables]
        total = self._collectives.all_reduce(np.concatenate(values), Purpose.METRICS)
        parts = np.split(total, np.cumsum([value.size for value in values])[:-1])
        for variable, kind, part in zip(variables, kinds, parts, strict=True):
            merged = part if kind == "sum" else part / self._collectives.world_size
            variable.assign(merged.reshape(tuple(variable.shape)).astype(variable.dtype))

    def mean_of_logs(self, logs: dict[str, Any]) -> dict[str, Any]:
        """Numbers that a step has returned, as their mean over the ranks."""
        import numpy as np

        names = [name for name, value in logs.items() if np.ndim(value) == 0]
        mine = np.array([float(logs[name]) for name in names])
        total = self._collectives.all_reduce(mine, Purpose.METRICS) / self._collectives.world_size
        return {**logs, **dict(zip(names, total.tolist(), strict=True))}


def moving_statistics(model: Any) -> list[Any]:
    """What layers have seen of their inputs and do not train, such as a BatchNormalization's moving mean."""
    import tensorflow as tf

    found = {}
    for layer in model._flatten_layers():
        for variable in layer._non_trainable_variables:
            if is_number(variable) and tf.as_dtype(variable.dtype).is_floating:
                found[id(variable)] = variable
    return list(found.values())


def _count_while_reading(iterator: Any) -> None:
    """Lets an epoch iterator find out how many steps there are; its adapter counts batches before they are cut."""

    class Counted:
        num_batches = None

        def __init__(self, adapter: Any) -> None:
            self._adapter = adapter

        def __getattr__(self, name: str) -> Any:
            return getattr(self._adapter, name)

    iterator.data_adapter = Counted(iterator.data_adapter)
    if iterator.steps_per_epoch is None:
        iterator._interrupted_warning = lambda: None  # its end is no surprise


def _skip_after_reset(iterator: Any, n_epochs: int) -> None:
    """Lets an epoch iterator pass over the data of its first epochs, once `fit` has made it ready."""
    reset = iterator.reset

    def reset_and_skip() -> None:
        del iterator.reset
        reset()
        for _ in range(n_epochs):
            with iterator.catch_stop_iteration():
                for _, _, batches in iterator:
                    for _ in range(iterator.steps_per_execution):
                        next(batches)

    iterator.reset = reset_and_skip
