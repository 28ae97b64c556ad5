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
        for variable in (*model.variables, *(model.optimizer.variables if model.optimizer else ()))
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


def fit_dense(optimizer: str, n: int = 50, batch_size: int = 16, **fit_with: Any) -> Result:
    x, y = rows(n)
    model = dense(optimizer)
    model.fit(x, y, **{"batch_size": batch_size, "epochs": 3, "verbose": 0, **fit_with})
    evaluated = model.evaluate(x[:37], y[:37], batch_size=8, verbose=0, return_dict=True)
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


def everything(names: list[str]) -> dict[str, Result]:
    """Several trainings, one after the other: starting TensorFlow takes longer than any of them."""
    import keras

    results = {}
    for name in names:
        keras.utils.set_random_seed(7)
        results[name] = CASES[name]()
    return results


CASES: dict[str, Callable[[], Result]] = {
    "sgd": lambda: fit_dense("sgd"),
    "adam": lambda: fit_dense("adam"),
    "tiny last batch": lambda: fit_dense("adam", n=49, batch_size=16),
    "convolution": fit_convolution,
}
