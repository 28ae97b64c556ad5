"""`--log-weights` in Keras 3: after a batch, the model's weights and the gradients that the optimizer was given.

With TensorFlow a gradient exists only within the compiled step, so the step keeps a copy of it: as much memory again
as the trainable weights take. With JAX there are weights alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lagom_magic.worker.autolog.histograms import Histograms
from lagom_magic.worker.autolog.keras_fit import add_callback
from lagom_magic.worker.autolog.patches import Patches
from lagom_magic.worker.autolog.record import Record


def patch(keras: Any, patches: Patches, record: Record, histograms: Histograms) -> None:
    """Lets every `fit` have one callback more, and optimizers keep what they apply."""
    gradients = _Gradients(keras.backend.backend())
    callback_class = _callback_class(keras.callbacks.Callback, keras.ops.convert_to_numpy, gradients, histograms)
    add_callback(keras, patches, record, lambda _: callback_class(), "weights")
    if not gradients.are_known:
        return
    owner = next(cls for cls in keras.optimizers.Optimizer.__mro__ if "apply" in vars(cls))
    original = owner.apply

    @functools.wraps(original)
    def apply(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
        if not record.is_listening:
            return original(self, grads, trainable_variables)
        grads = list(grads)
        variables = None if trainable_variables is None else list(trainable_variables)
        with record.guard("weights"):
            gradients.keep(grads, self._trainable_variables if variables is None else variables)
        return original(self, grads, variables)

    patches.attribute(owner, "apply", apply)


class _Gradients:
    """The last gradients of each variable.

    Args:
        backend: Keras' word for what it computes with.
    """

    def __init__(self, backend: str) -> None:
        self._backend = backend
        #: {the variable's path: a tensor, or with TensorFlow a variable that holds it}
        self._kept: dict[str, Any] = {}

    @property
    def are_known(self) -> bool:
        return self._backend in ("tensorflow", "torch")

    def keep(self, gradients: list[Any], variables: list[Any]) -> None:
        """Called where the step is computed; with TensorFlow, where it is traced."""
        for gradient, variable in zip(gradients, variables, strict=True):
            if gradient is None:
                continue
            if self._backend == "torch":
                self._kept[variable.path] = gradient
            else:
                self._keep_within_graph(gradient, variable)

    def _keep_within_graph(self, gradient: Any, variable: Any) -> None:
        import tensorflow as tf

        if tf.distribute.has_strategy():  # its replicas would each need one
            return
        gradient = tf.convert_to_tensor(gradient)
        held = self._kept.get(variable.path)
        if held is None or held.shape != gradient.shape or held.dtype != gradient.dtype:
            with tf.init_scope():
                held = self._kept[variable.path] = tf.Variable(
                    tf.zeros(gradient.shape, gradient.dtype), trainable=False
                )
        held.assign(gradient)

    def arrays(self, model: Any) -> dict[str, Any]:
        """Those of a model's variables, as NumPy arrays."""
        found = {variable.path: self._kept.get(variable.path) for variable in model.trainable_variables}
        return {
            f"gradients/{path}": held.detach().cpu().numpy() if self._backend == "torch" else held.numpy()
            for path, held in found.items()
            if held is not None
        }


def _callback_class(base: Any, as_array: Callable[[Any], Any], gradients: _Gradients, histograms: Histograms) -> Any:
    class Weights(base):  # type: ignore[misc, unused-ignore]
        """Looks at the model between batches."""

        def __init__(self) -> None:
            super().__init__()
            self._step: int | None = None

        def __reduce__(self) -> tuple[Any, ...]:
            return base, ()

        def on_train_begin(self, logs: Any = None) -> None:
            self._step = None

        def after_fit(self) -> None:
            """Nothing is left to do."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            with histograms.record.guard("weights"):
                step, before = int(self.model.optimizer.iterations), self._step
                self._step = step
                if histograms.is_due(step, before):
                    variables = self.model.trainable_variables
                    weights = {f"weights/{v.path}": as_array(v) for v in variables}
                    histograms.write({**weights, **gradients.arrays(self.model)}, step)

    return Weights
