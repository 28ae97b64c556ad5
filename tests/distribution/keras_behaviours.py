"""What functions meet when ranks run them: callbacks, files, checkpoints, data of their own; one gang does it all."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.distribution.keras_functions import Result, dense, outcome, rows


def behave(train_set: Any, test_set: Any, folder: str, distribution: Any) -> dict[str, Any]:
    """Each rank has a folder of its own, as on a machine of its own."""
    import keras

    own = Path(folder, f"rank{distribution.place.rank}")
    own.mkdir()
    results: dict[str, Any] = {}
    parts = {
        "callbacks": lambda: callbacks(own),
        "stopped": lambda: stopped_by_one(distribution.place.rank),
        "backup": lambda: backup(own),
        "checkpoint of arrays": lambda: checkpoint(own, distribution, of_arrays=True),
        "checkpoint of tf.data": lambda: checkpoint(own, distribution, of_arrays=False),
        "batched": lambda: batched(train_set, test_set),
        "share": lambda: of_share(distribution.place),
        "refused": lambda: refused(own, distribution),
    }
    for name, part in parts.items():
        keras.utils.set_random_seed(7)
        results[name] = part()
    last = dense("sgd")
    last.fit(*rows(20), epochs=1, verbose=0)
    return {**results, "last model": last.get_weights()}


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def callbacks(own: Path) -> Result:
    import keras

    class Watch(keras.callbacks.Callback):
        seen: list[Mapping[str, float]]

        def on_train_begin(self, logs=None):
            self.seen = []

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append(dict(logs))

    x, y = rows(50)
    model = dense(keras.optimizers.SGD(0.5))
    watch = Watch()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        model.fit(
            x,
            y,
            batch_size=16,
            epochs=20,
            validation_split=0.3,
            callbacks=[
                keras.callbacks.EarlyStopping("val_loss", min_delta=1.0, patience=3, restore_best_weights=True),
                keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1),
                keras.callbacks.ModelCheckpoint(str(own / "best.keras"), "val_loss", save_best_only=True),
                keras.callbacks.ModelCheckpoint(str(own / "newest.weights.h5"), save_weights_only=True),
                keras.callbacks.TensorBoard(str(own / "tensorboard")),
                keras.callbacks.CSVLogger(str(own / "log.csv")),
                watch,
            ],
        )
    n_epochs = len(model.history.history["loss"])
    rate = float(model.optimizer.learning_rate.numpy())
    result = outcome(model, seen=watch.seen, n_epochs=n_epochs, rate=rate, printed=printed.getvalue())
    best = keras.models.load_model(str(own / "best.keras"))
    model.load_weights(str(own / "newest.weights.h5"))
    model.save(str(own / "last.keras"))
    return {**result, "best": best.get_weights(), "last": model.get_weights(), "files": files_in(own)}


def stopped_by_one(rank: int) -> dict[str, Any]:
    """Rank 1 alone wants to stop: after an epoch, and in the middle of one."""
    import keras

    class AfterEpoch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if rank == 1 and epoch == 1:
                self.model.stop_training = True

    class AfterBatch(keras.callbacks.Callback):
        n_batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.n_batches += 1
            self.loss = logs["loss"]
            if rank == 1 and self.n_batches == 5:
                self.model.stop_training = True

    x, y = rows(48)
    model, after_batch = dense(), AfterBatch()
    n_epochs = len(model.fit(x, y, batch_size=16, epochs=9, verbose=0, callbacks=AfterEpoch()).epoch)
    model.fit(x, y, batch_size=16, epochs=9, verbose=0, callbacks=[after_batch])
    return {"n_epochs": n_epochs, "n_batches": after_batch.n_batches, "loss": after_batch.loss}


def backup(own: Path) -> Result:
    """Broken off after three epochs, and gone on from Keras' own backup, which rank 0 alone has."""
    import keras

    class Break(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    x, y = rows(48)
    first = dense("adam")
    with contextlib.suppress(KeyboardInterrupt):
        keeping = keras.callbacks.BackupAndRestore(str(own / "backup"))
        first.fit(x, y, batch_size=16, epochs=5, verbose=0, shuffle=False, callbacks=[keeping, Break()])
    second = dense("adam")
    keeping = keras.callbacks.BackupAndRestore(str(own / "backup"))
    second.fit(x, y, batch_size=16, epochs=5, verbose=0, shuffle=False, callbacks=[keeping])
    return outcome(second)


def regularised() -> Any:
    import keras

    layers = [keras.layers.Dense(8, "tanh"), keras.layers.Dropout(0.3), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


def checkpoint(own: Path, distribution: Any, *, of_arrays: bool) -> dict[str, Any]:
    """Five epochs at once; and the last two again, by somebody who begins from the checkpoint of the third."""
    import keras
    import numpy as np
    import tensorflow as tf

    path = str(own / "000003")

    def train(*, restores: bool) -> Result:
        keras.utils.set_random_seed(11)
        x, y = rows(50)
        data = [x, y] if of_arrays else [tf.data.Dataset.from_tensor_slices((x, y)).shuffle(50).batch(16)]
        model = regularised()
        values: Any = {"epoch": 0, "best": None}
        if restores:
            np.random.normal(size=3)
            model(x)
            values = distribution.load_checkpoint(path, {"model": model, **values})

        def save(epoch: int, logs: Any) -> None:
            if epoch == 2:
                distribution.save_checkpoint(path, {"model": model, "epoch": 3, "best": np.arange(3.0)})

        saving = keras.callbacks.LambdaCallback(on_epoch_end=save)
        more = {"batch_size": 16} if of_arrays else {}
        model.fit(*data, verbose=0, callbacks=[saving], epochs=5, initial_epoch=values["epoch"], **more)
        return outcome(model, drawn=np.random.normal(), values=values)

    unbroken, resumed = train(restores=False), train(restores=True)
    return {"unbroken": unbroken, "resumed": resumed, "exists": Path(path).exists()}


def batched(train_set: Any, test_set: Any) -> dict[str, Any]:
    model = dense("sgd")
    history = model.fit(train_set, epochs=2, verbose=0, validation_data=test_set)
    shapes = [tuple(batch[0].shape) for batch in train_set]
    return {"outcome": outcome(model), "shapes": shapes, "curve": history.history["val_loss"]}


def of_share(place: Any) -> Result:
    """A dataset that holds this rank's rows only, as Parquet gives them: 24 rows each, in batches of 10."""
    import keras
    import tensorflow as tf

    x, y = rows(24 * place.world_size)
    own = slice(place.rank * 24, (place.rank + 1) * 24)
    data = tf.data.Dataset.from_tensor_slices((x[own], y[own]))
    data._lagom_share = (place.rank, place.world_size)
    seen: list[int] = []
    counter = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    model = dense("sgd")
    model.fit(data.shuffle(24, seed=1).batch(10).prefetch(1), epochs=2, verbose=0, callbacks=[counter])
    return outcome(model, steps=len(seen))


def refused(own: Path, distribution: Any) -> list[str]:
    """Messages for what cannot be kept in a checkpoint, or brought back from it."""
    import keras

    messages = []
    path = str(own / "000009")
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    distribution.save_checkpoint(path, {"model": dense(), "n": 1})
    other = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    wider = keras.Sequential([keras.Input((6,)), keras.layers.Dense(9), keras.layers.Dense(1)])
    wider.compile("sgd")
    for objects in ({"model": other}, {"model": wider}, {"m": 1}):
        try:
            distribution.load_checkpoint(path, objects)
        except ValueError as error:
            messages.append(str(error))
    if distribution.place.rank == 0:  # only rank 0 writes
        from lagom_magic.worker.distribution import keras_checkpoint

        for objects in ({"model": unbuilt}, {"thing": object()}):
            try:
                keras_checkpoint.write(path, objects, {})
            except ValueError as error:
                messages.append(str(error))
    return messages


def weights_in(path: str) -> list[Any]:
    import keras

    weights: list[Any] = keras.models.load_model(path).get_weights()
    return weights


def fail_on_rank_1(distribution: Any) -> dict[str, Any]:
    """What a rank's error is; a rank that has failed ends, and with it its connections."""
    import keras

    rank = distribution.place.rank

    class Fail(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if rank == 1 and epoch == 2:
                raise ValueError("my own mistake")

        def on_epoch_end(self, epoch, logs=None):
            losses.append(logs["loss"])

    losses: list[float] = []
    x, y = rows(40)
    model = dense("adam")
    try:
        model.fit(x, y, batch_size=16, epochs=4, verbose=0, callbacks=[Fail()])
    except Exception as error:
        distribution.leave()
        return {
            "kind": type(error).__name__,
            "text": str(error),
            "is_consequence": distribution.is_consequence(error),
            "policy": keras.config.dtype_policy().name,
            "optimizer": type(model.optimizer).__name__,
            "loss": losses,
        }
    raise AssertionError("nothing failed")


def strategy_of_its_own() -> dict[str, Any]:
    import json
    import os

    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]

    @tf.function
    def add():
        def of_replica():
            context = tf.distribute.get_replica_context()
            return context.all_reduce("sum", tf.constant(1.0 + index))

        return strategy.run(of_replica)

    return {"replicas": strategy.num_replicas_in_sync, "index": index, "sum": float(add().numpy())}
