"""Arranges the callbacks of a `fit` among the ranks: those that write belong to rank 0, all others act everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lagom_magic.worker.distribution.tensorflow_collectives import Collectives, Purpose

if TYPE_CHECKING:
    from lagom_magic.worker.distribution.keras_loops import Loops
    from lagom_magic.worker.distribution.keras_steps import Steps

#: Callbacks of Keras' that write files or talk to a server, and change nothing of the training.
_WRITERS = ("ModelCheckpoint", "TensorBoard", "CSVLogger", "RemoteMonitor", "BackupAndRestore", "OrbaxCheckpoint")
#: Callbacks of Keras' that are called after each batch and decide nothing then.
_LOOKERS_ON = (*_WRITERS, "History", "ProgbarLogger")


def arranged(callbacks: Any, collectives: Collectives, steps: Steps, loops: Loops) -> Any:
    """The callbacks of this rank's `fit`, from those that the user has given, and ours around them."""
    given = flattened(callbacks)
    first, last = _around(given, collectives, steps, loops)
    return replaced(callbacks, [*first, *of_rank(given, collectives.rank), *last])


def flattened(callbacks: Any) -> list[Any]:
    """None, a callback, a list of them, or Keras' `CallbackList`, as a list."""
    import keras

    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return [callback for callback in keras.tree.flatten(callbacks) if callback is not None]


def of_rank(callbacks: list[Any], rank: int) -> list[Any]:
    """Those that run on a rank."""
    return [callback for callback in callbacks if rank == 0 or not _is_one_of(callback, _WRITERS)]


def replaced(callbacks: Any, by: list[Any]) -> Any:
    """What to hand to Keras in place of `callbacks`."""
    import keras

    if not isinstance(callbacks, keras.callbacks.CallbackList):
        return by
    callbacks.callbacks = by
    callbacks.set_model(callbacks.model)
    return callbacks


def _is_one_of(callback: Any, names: tuple[str, ...]) -> bool:
    import keras

    return isinstance(
        callback, tuple(getattr(keras.callbacks, name) for name in names if hasattr(keras.callbacks, name))
    )


def _acts_on_batches(callback: Any) -> bool:
    """Whether a callback may decide something after a batch, rather than after an epoch."""
    from keras.callbacks import Callback

    kind = type(callback)
    if _is_one_of(callback, _LOOKERS_ON) and kind.__module__.startswith("keras."):
        return False
    hooks = ("on_train_batch_end", "on_batch_end")
    return any(getattr(kind, hook) is not getattr(Callback, hook) or hook in vars(callback) for hook in hooks)


def _around(given: list[Any], collectives: Collectives, steps: Steps, loops: Loops) -> tuple[list[Any], list[Any]]:
    """What comes before the user's callbacks, and what comes after them."""
    import keras
    import numpy as np

    class CountEpochs(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
        """A checkpoint that one of the user's callbacks writes now has this epoch behind it."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            loops.n_epochs += 1

    class ShowMeans(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
        """Whoever acts on a batch's numbers sees the same on all ranks."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if logs:
                logs.update(loops.mean_of_logs(logs))

    class FollowBackup(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
        """BackupAndRestore has read its file on rank 0; all go on from there."""

        def on_train_begin(self, logs: Any = None) -> None:
            epoch = np.array([self.model._initial_epoch or 0])
            self.model._initial_epoch = int(collectives.broadcast(epoch, Purpose.VARIABLES)[0])
            optimizer = self.model.optimizer
            if not optimizer.built:
                optimizer.build(self.model.trainable_variables)
            steps.share_again([*self.model.variables, *optimizer.variables])

    class AgreeAfterEpochs(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
        """When one rank wants to stop, all stop."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.agree()

        def agree(self) -> None:
            self.model.stop_training = collectives.any(bool(self.model.stop_training), Purpose.DECISION)

    class AgreeAfterBatches(AgreeAfterEpochs):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.agree()

    acts_on_batches = any(_acts_on_batches(callback) for callback in given)
    has_backup = any(_is_one_of(callback, ("BackupAndRestore",)) for callback in given)
    first = [CountEpochs(), ShowMeans()] if acts_on_batches else [CountEpochs()]
    return first, [
        *([FollowBackup()] if has_backup else []),
        AgreeAfterBatches() if acts_on_batches else AgreeAfterEpochs(),
    ]
