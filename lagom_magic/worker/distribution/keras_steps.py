"""Makes a training step of Keras' one rank's share of the step that a single process would make.

A step computes on this rank's rows. Before an optimizer applies gradients, they are averaged over all ranks, each
weighted by its rows, so that unequal parts weigh what they would weigh in one batch. Everything runs inside the step's
graph, as stateful operations that are tied to one variable: their order is that of the program, on each rank the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lagom_magic.worker.distribution.keras_batches import Cutter, Part
from lagom_magic.worker.distribution.keras_patches import Patches
from lagom_magic.worker.distribution.tensorflow_collectives import Collectives, Purpose

#: The first call of a step's function may make variables, which the second finds.
_N_CALLS_THAT_BUILD = 2
#: Keeps the seeds of ranks apart; odd, so that no two ranks below 2**31 meet.
_SEED_STRIDE = 0x9E3779B1


class Steps:
    """What a rank does differently in a step; `patch` puts it into Keras."""

    def __init__(self, collectives: Collectives, cutter: Cutter) -> None:
        import tensorflow as tf

        self._collectives = collectives
        self._cutter = cutter
        self._is_in_step = False
        self._is_applying = False
        #: Variables that are known to be equal on all ranks, by id; they are kept, so that no id comes twice.
        self._shared: dict[int, Any] = {}
        #: {id of a metric's variable: (it, its value after the last step that counted)}
        self._counted: dict[int, tuple[Any, Any]] = {}
        # Outside of a step all ranks do the same, and each counts once.
        self._n_rows = tf.Variable(1.0, trainable=False)
        #: How many times this rank's rows the global batch has.
        self._scale = tf.Variable(1.0, trainable=False)
        self._turn = tf.Variable(0, dtype=tf.int64, trainable=False)

    def patch(self, patches: Patches) -> None:
        trainer = "backend.tensorflow.trainer:TensorFlowTrainer"
        patches.wrap(f"{trainer}._make_function", "self step_function", self._make_function)
        patches.wrap("trainers.trainer:Trainer.reset_metrics", "self", self._reset_metrics)
        patches.wrap("optimizers.base_optimizer:BaseOptimizer.apply", "self grads trainable_variables", self._apply)
        loss_scale = "optimizers.loss_scale_optimizer:LossScaleOptimizer.apply"
        patches.wrap(loss_scale, "self grads trainable_variables", self._apply)
        patches.wrap("random.seed_generator:SeedGenerator.next", "self ordered", self._next_seed)
        patches.wrap("losses.loss:reduce_values", "values sample_weight reduction", self._reduce_values)
        patches.wrap("losses.loss:apply_mask", "sample_weight mask dtype reduction", self._apply_mask)
        patches.wrap("backend.tensorflow.nn:_compute_moments_sync", "x axes keepdims", self._moments)

    # The step

    def _make_function(self, original: Callable[..., Any], model: Any, step_function: Callable[..., Any]) -> Any:
        def step(batch: Any) -> Any:
            part = self._cutter.part_of(batch)
            with self._in_step(part):
                logs = step_function(part.data)
            self._forget_what_does_not_count(model, part)
            return logs

        function = original(model, step)
        n_calls = 0

        def call(iterator: Any) -> Any:
            nonlocal n_calls
            n_calls += 1
            if n_calls <= _N_CALLS_THAT_BUILD:
                self.share(model.variables)
            return function(iterator)

        return call

    @contextlib.contextmanager
    def _in_step(self, part: Part) -> Iterator[None]:
        import tensorflow as tf

        self._n_rows.assign(part.n_rows)
        # A rank that knows its own rows only, in a dataset of its own, takes the others to have as many.
        world_size = float(self._collectives.world_size)
        times = tf.math.divide_no_nan(part.n_global, part.n_rows)
        self._scale.assign(tf.where(part.n_global > 0, times, world_size))
        if not tf.executing_eagerly():  # so that tf.random differs between ranks, too
            graph = tf.compat.v1.get_default_graph()
            if graph.seed is not None:
                graph.seed = (graph.seed + self._collectives.rank * _SEED_STRIDE) % 2**31
        self._is_in_step = True
        try:
            yield
        finally:
            self._is_in_step = False
        self._n_rows.assign(1.0)
        self._scale.assign(1.0)

    def _forget_what_does_not_count(self, model: Any, part: Part) -> None:
        """Takes metrics back to what they were before a batch that another rank counts."""
        import tensorflow as tf

        for variable, kept in self._with_counted(model):
            kept.assign(tf.where(part.n_rows > 0, variable.value, kept))
            variable.assign(kept)

    def _with_counted(self, model: Any) -> list[tuple[Any, Any]]:
        """Each variable of the metrics, with that which keeps its value; rank 0 counts all and keeps none."""
        import tensorflow as tf

        variables = metric_variables(model) if self._collectives.rank > 0 else []
        with tf.init_scope():
            for variable in variables:
                if id(variable) not in self._counted:
                    # One that is being made in this graph has no value yet; it will begin at 0.
                    value = variable.value if is_ready(variable) else tf.zeros(variable.shape, variable.dtype)
                    self._counted[id(variable)] = (variable, tf.Variable(value, trainable=False))
        return [self._counted[id(variable)] for variable in variables]

    def _reset_metrics(self, original: Callable[..., Any], model: Any) -> None:
        original(model)
        for variable, kept in self._with_counted(model):
            kept.assign(variable.value)

    def _next_seed(self, original: Callable[..., Any], generator: Any, ordered: bool = True) -> Any:
        """Dropout and the like differ between ranks; their states remain equal."""
        import tensorflow as tf

        seed = original(generator, ordered)
        if self._is_in_step and self._collectives.rank > 0:
            seed = seed + tf.constant([self._collectives.rank * _SEED_STRIDE, 0], seed.dtype)
        return seed

    # Gradients

    def _apply(
        self, original: Callable[..., Any], optimizer: Any, grads: Sequence[Any], trainable_variables: Any = None
    ) -> Any:
        if self._is_applying:  # an optimizer within one that scales the loss
            return original(optimizer, grads, trainable_variables)
        variables = None if trainable_variables is None else list(trainable_variables)
        if variables is not None:
            self.share(variables)
        self._is_applying = True
        try:
            return original(optimizer, self.average_gradients(list(grads)), variables)
        finally:
            self._is_applying = False

    def average_gradients(self, gradients: list[Any]) -> list[Any]:
        """Gradients of the mean over all ranks' rows, from those of the means over each rank's rows."""
        import tensorflow as tf

        if self._collectives.world_size == 1:
            return gradients
        given = [position for position, gradient in enumerate(gradients) if gradient is not None]
        dense = [tf.convert_to_tensor(gradients[position]) for position in given]
        wide = tf.float64 if any(gradient.dtype == tf.float64 for gradient in dense) else tf.float32
        n_rows = tf.cast(self._n_rows, wide)
        flat = [tf.reshape(tf.cast(gradient, wide), [-1]) for gradient in dense]
        total = self._sum(tf.concat([tf.concat(flat, 0) * n_rows, [n_rows]], 0), Purpose.GRADIENTS)
        parts = tf.split(total[:-1] / total[-1], [tf.size(one) for one in flat])
        averaged = list(gradients)
        for position, gradient, part in zip(given, dense, parts, strict=True):
            value = tf.cast(tf.reshape(part, tf.shape(gradient)), gradient.dtype)
            averaged[position] = tf.ensure_shape(value, gradient.shape)
        return averaged

    def _sum(self, tensor: Any, purpose: Purpose) -> Any:
        """The sum over all ranks, as an operation that takes its turn."""
        import tensorflow as tf

        def reduce(array: Any) -> Any:
            return self._collectives.all_reduce(array, purpose)

        if tf.executing_eagerly():
            return tf.constant(reduce(tensor.numpy()))
        with tf.control_dependencies([self._turn.assign_add(1)]):
            total = tf.numpy_function(reduce, [tensor], tensor.dtype)
        with tf.control_dependencies([total]):
            self._turn.assign_add(1)
        total.set_shape(tensor.shape)
        return total

    # What a loss or a layer divides by is that of the global batch

    def _reduce_values(
        self,
        original: Callable[..., Any],
        values: Any,
        sample_weight: Any = None,
        reduction: str | None = "sum_over_batch_size",
    ) -> Any:
        loss = original(values, sample_weight, reduction)
        if not self._is_in_step or tuple(values.shape) == ():
            return loss
        if reduction == "sum":
            return loss * self._as(self._scale, loss)
        if reduction == "mean_with_sample_weight" and sample_weight is not None:
            return loss * self._relative_to_all(sample_weight, loss)
        return loss

    def _apply_mask(
        self, original: Callable[..., Any], sample_weight: Any, mask: Any, dtype: Any, reduction: str | None
    ) -> Any:
        weight = original(sample_weight, mask, dtype=dtype, reduction=reduction)
        if not self._is_in_step or mask is None or reduction not in ("mean", "sum_over_batch_size"):
            return weight
        return weight * self._relative_to_all(mask, weight)

    def _relative_to_all(self, weights: Any, like: Any) -> Any:
        """What corrects a division by this rank's weights into one by all ranks', given that rows are averaged."""
        import tensorflow as tf

        mine = tf.reduce_sum(tf.cast(weights, tf.float32))
        counts = tf.cast(self._n_rows > 0, tf.float32)
        everybodys = self._sum(mine * counts, Purpose.STATISTICS)
        return self._as(tf.math.divide_no_nan(mine * self._scale, everybodys), like)

    @staticmethod
    def _as(factor: Any, like: Any) -> Any:
        import tensorflow as tf

        return tf.cast(factor, like.dtype)

    def _moments(self, original: Callable[..., Any], x: Any, axes: Any, keepdims: bool) -> Any:
        """Mean and variance over all ranks' rows, for `BatchNormalization(synchronized=True)`."""
        import tensorflow as tf

        if not self._is_in_step:
            return original(x, axes, keepdims)
        counts = tf.cast(self._n_rows > 0, x.dtype)
        n = tf.reduce_sum(tf.ones_like(x), axes, keepdims=True) * counts
        total = self._differentiable_sum(tf.stack([tf.reduce_sum(x, axes, keepdims=True) * counts, n]))
        mean = total[0] / total[1]
        squares = tf.reduce_sum(tf.math.squared_difference(x, mean), axes, keepdims=True) * counts
        variance = self._differentiable_sum(squares) / total[1]
        return (mean, variance) if keepdims else (tf.squeeze(mean, axes), tf.squeeze(variance, axes))

    def _differentiable_sum(self, tensor: Any) -> Any:
        import tensorflow as tf

        @tf.custom_gradient  # type: ignore[untyped-decorator, unused-ignore]
        def sum_over_ranks(mine: Any) -> Any:
            def backward(upstream: Any) -> Any:
                # A rank's gradient weighs as many rows as it has; what it passes on to others must weigh theirs.
                n_rows = tf.cast(self._n_rows, upstream.dtype)
                return tf.math.divide_no_nan(self._sum(upstream * n_rows, Purpose.STATISTICS), n_rows)

            return self._sum(mine, Purpose.STATISTICS), backward

        return sum_over_ranks(tensor)

    # Variables

    def share(self, variables: Sequence[Any]) -> None:
        """Gives variables that are new here the values that they have on rank 0."""
        import tensorflow as tf

        with tf.init_scope():
            for variable in variables:
                if id(variable) not in self._shared and is_number(variable) and is_ready(variable):
                    self._shared[id(variable)] = variable
                    value = tf.convert_to_tensor(variable).numpy()
                    variable.assign(self._collectives.broadcast(value, Purpose.VARIABLES))

    def share_again(self, variables: Sequence[Any]) -> None:
        """Gives all these variables the values that they have on rank 0."""
        for variable in variables:
            self._shared.pop(id(variable), None)
        self.share(variables)


def is_number(variable: Any) -> bool:
    """Whether a variable's values can be sent as they lie in memory."""
    import tensorflow as tf

    dtype = tf.as_dtype(variable.dtype)
    return bool(dtype.is_floating or dtype.is_integer or dtype.is_bool)


def is_ready(variable: Any) -> bool:
    """Whether a variable of Keras' or TensorFlow's has a value; one made within a graph gets it when the graph runs."""
    keras_or_not = variable.value
    return bool((variable if callable(keras_or_not) else keras_or_not).is_initialized())


def metric_variables(model: Any) -> list[Any]:
    """What a model's metrics have counted so far."""
    return [variable for metric in model.metrics for variable in metric.variables if is_number(variable)]
