"""Training functions in plain Keras, as a user writes them, and one process that runs them alone."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

Result = dict[str, Any]


def run_alone(train_fn: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """What one process gets, which knows nothing of ranks."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(train_fn, **arguments).result(timeout=120)


def rows(n: int, *, width: int = 6, seed: int = 0) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, width)).astype("float32")
    y = (x[:, :1] * 2 - x[:, 1:2] + 0.1 * rng.normal(size=(n, 1))).astype("float32")
    return x, y


def outcome(model: Any, **more: Any) -> Result:
    """Final weights, their hash over all variables, and the loss curves."""
    import keras

    state = [
        keras.ops.convert_to_numpy(variable)
        for variable in (*model.variables, *getattr(getattr(model, "optimizer", None), "variables", ()))
    ]
    digest = hashlib.sha256(b"".join(array.tobytes() for array in state)).hexdigest()
    history = getattr(model, "history", None)
    curves = dict(history.history) if history is not None else {}
    return {"weights": model.get_weights(), "digest": digest, "history": curves, **more}


def dense(optimizer: Any = "sgd", **compile_with: Any) -> Any:
    import keras

    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
    model.compile(optimizer=optimizer, **{"loss": "mse", "metrics": ["mae"], **compile_with})
    return model


def fit_dense() -> Result:
    """A last batch of one row: fewer than there are ranks."""
    x, y = rows(49)
    model = dense("adam")
    model.fit(x, y, batch_size=16, epochs=3, verbose=0)
    evaluated = model.evaluate(x[:37], y[:37], batch_size=9, verbose=0, return_dict=True)
    return outcome(model, evaluated=evaluated, predicted=model.predict(x[:7], verbose=0))


def fit_convolution() -> Result:
    import keras
    import numpy as np

    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(27, 8, 8, 2)).astype("float32"), rng.integers(0, 3, 27)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=8, epochs=2, verbose=0, validation_split=0.2)
    return outcome(model)


def fit_weighted() -> Result:
    import keras
    import numpy as np

    x, _ = rows(45)
    y = (x[:, 0] > 0).astype("int32")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9, clipnorm=0.5), loss, weighted_metrics=["accuracy"])
    model.fit(x, y, batch_size=16, epochs=2, verbose=0, class_weight={0: 1.0, 1: 3.0})
    weights = np.linspace(0.5, 2.0, 45).astype("float32")
    model.fit(x, y, batch_size=16, epochs=2, verbose=0, sample_weight=weights)
    return outcome(model)


def fit_text() -> Result:
    """Padding that is masked: each part of a batch has another number of words."""
    import keras
    import numpy as np

    rng = np.random.default_rng(3)
    words = rng.integers(1, 20, (42, 7)) * (np.arange(7) < rng.integers(1, 8, (42, 1)))
    model = keras.Sequential(
        [
            keras.Input((7,), dtype="int32"),
            keras.layers.Embedding(20, 5, mask_zero=True),
            keras.layers.LSTM(4, return_sequences=True),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.5), "mse", metrics=["mae"])
    model.fit(words, words[..., None] / 20.0, batch_size=12, epochs=2, verbose=0)
    return outcome(model)


def fit_reduced(reduction: str) -> Result:
    import keras
    import numpy as np

    x, y = rows(41)
    model = dense(keras.optimizers.SGD(0.01), loss=keras.losses.MeanSquaredError(reduction=reduction))
    weights = np.linspace(0.1, 3.0, 41).astype("float32")
    model.fit(x, y, batch_size=16, epochs=2, verbose=0, sample_weight=weights)
    return outcome(model)


def fit_normalised(*, synchronized: bool) -> Result:
    import keras

    x, y = rows(48)
    layers = [keras.layers.Dense(5), keras.layers.BatchNormalization(synchronized=synchronized), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((6,)), *layers])
    model.compile("sgd", "mse")
    model.fit(x, y, batch_size=16, epochs=3, verbose=0, validation_data=(x[:20], y[:20]))
    moving = [keras.ops.convert_to_numpy(variable) for variable in layers[1].non_trainable_variables]
    return outcome(model, moving=moving)


def fit_own_step() -> Result:
    """A subclass that builds itself in its first step, with a train_step and metrics of its own."""
    import keras
    import tensorflow as tf

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = keras.layers.Dense(7, "relu", kernel_regularizer="l2")
            self.last = keras.layers.Dense(1)
            self.errors = keras.metrics.Mean("error")

        def call(self, x):
            return self.last(self.hidden(x))

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x, training=True) - y) ** 2) + sum(self.losses)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            self.errors.update_state(loss, sample_weight=tf.shape(x)[0])
            return {"error": self.errors.result(), "last": loss}

        @property
        def metrics(self):
            return [self.errors]

    x, y = rows(44)
    model = Own()
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(
        tf.data.Dataset.from_tensor_slices((x, y)).shuffle(44).batch(16).repeat(),
        steps_per_epoch=3,
        epochs=2,
        verbose=0,
    )
    return outcome(model)


def fit_dataset() -> Result:
    import tensorflow as tf

    x, y = rows(50)
    model = dense("adam", steps_per_execution=2)
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(50).map(lambda x, y: (x * 2, y)).batch(12).prefetch(1)
    model.fit(data, epochs=3, verbose=0, validation_data=data.take(2))
    return outcome(model)


def fit_sequence() -> Result:
    import keras

    class Sequence(keras.utils.PyDataset):
        def __init__(self, x, y):
            super().__init__(workers=2)
            self.x, self.y = x, y

        def __len__(self):
            return 4

        def __getitem__(self, index):
            part = slice(index * 13, (index + 1) * 13)
            return self.x[part], self.y[part]

    model = dense("sgd")
    model.fit(Sequence(*rows(50)), epochs=2, verbose=0, shuffle=False)
    return outcome(model)


def fit_generator() -> Result:
    x, y = rows(30)

    def batches():
        while True:
            for start in range(0, 30, 11):
                yield x[start : start + 11], y[start : start + 11]

    model = dense("sgd", run_eagerly=True)
    model.fit(batches(), steps_per_epoch=3, epochs=2, verbose=0)
    return outcome(model)


def train_two_models() -> Result:
    """The way of older GANs: two models, batch by batch."""
    import numpy as np

    x, y = rows(64)
    first, second = dense("adam"), dense("sgd")
    losses = []
    for start in range(0, 64, 15):
        part = slice(start, start + 15)
        losses.append(first.train_on_batch(x[part], y[part]))
        guesses = first.predict(x[part], verbose=0)
        losses.append(second.train_on_batch(x[part], guesses))
    losses.append(second.test_on_batch(x, y))
    result = outcome(second)
    return {**result, "weights": [*first.get_weights(), *result["weights"]], "losses": np.array(losses)}


def own_loop() -> Result:
    """A loop of one's own with a compiled step: nobody cuts its batches, all ranks compute the same."""
    import keras
    import tensorflow as tf

    x, y = rows(40)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam(0.01)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )
        return loss

    for start in range(0, 40, 10):
        step(tf.constant(x[start : start + 10]), tf.constant(y[start : start + 10]))
    return outcome(model)


def fit_accumulating() -> Result:
    import keras

    x, y = rows(48)
    model = dense(keras.optimizers.Adam(0.01, gradient_accumulation_steps=2, use_ema=True, weight_decay=0.01))
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    return outcome(model)


def fit_dropout() -> Result:
    """What Dropout lets through in one step on this rank, and how training with it goes."""
    import keras
    import numpy as np
    import tensorflow as tf

    class Watch(keras.Model):
        def train_step(self, data):
            self.seen.assign(tf.reduce_sum(tf.cast(self(data[0], training=True) != 0, tf.float32), 0))
            return super().train_step(data)

    inputs = keras.Input((40,))
    outputs = keras.layers.Dropout(0.4)(keras.layers.Dense(40, kernel_initializer="ones")(inputs))
    model = Watch(inputs, outputs)
    model.seen = tf.Variable(tf.zeros(40))
    model.compile(keras.optimizers.SGD(0.001), "mse")
    x = np.ones((60, 40), "float32")
    model.fit(x, x, batch_size=60, epochs=4, verbose=0)
    return outcome(model, seen=model.seen.numpy())


def everything(names: list[str]) -> dict[str, Result]:
    """Several trainings, one after the other: starting TensorFlow takes longer than any of them."""
    import keras

    results = {}
    for name in names:
        keras.utils.set_random_seed(7)
        results[name] = (CASES | OTHER)[name]()
    return results


CASES: dict[str, Callable[[], Result]] = {
    "tiny last batch": fit_dense,
    "convolution": fit_convolution,
    "weights of classes and rows": fit_weighted,
    "masked text": fit_text,
    "sum": lambda: fit_reduced("sum"),
    "mean by weights": lambda: fit_reduced("mean_with_sample_weight"),
    "synchronized batch normalization": lambda: fit_normalised(synchronized=True),
    "own train_step": fit_own_step,
    "tf.data": fit_dataset,
    "PyDataset": fit_sequence,
    "generator": fit_generator,
    "two models": train_two_models,
    "own loop": own_loop,
    "accumulated gradients": fit_accumulating,
}
OTHER: dict[str, Callable[[], Result]] = {
    "batch normalization": lambda: fit_normalised(synchronized=False),
    "dropout": fit_dropout,
}
