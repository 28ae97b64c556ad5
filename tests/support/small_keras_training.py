"""A small regression in plain Keras, and what it must come to however many workers train it.

Keras is imported inside the functions, so that a test's own process need not load TensorFlow before it must.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from lagom_magic import TfDistributedConfig
from lagom_magic.trained import load_model


def network():
    """Begins with the same weights each time."""
    import keras

    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)])


def data(n_rows: int = 44) -> tuple[np.ndarray, np.ndarray]:
    """Four numbers and their sum."""
    x = np.random.default_rng(1).normal(size=(n_rows, 4)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def train(model, train_set, reporter=None, trial=None, trouble=False):
    """Learns for five epochs; with trouble, rank 1 fails in the third one of a first attempt."""
    import keras

    model = model()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    done = reporter.restore(model=model).get("epochs", 0) if reporter else 0
    for epoch in range(done, 5):
        history = model.fit(*train_set, batch_size=8, shuffle=False, verbose=0)
        if reporter:
            reporter.checkpoint(model=model, epochs=epoch + 1)
        if trouble and epoch == 2 and trial.attempt == 1 and trial.rank == 1:
            raise ValueError("a bad batch")
    return {"loss": history.history["loss"][-1]}


def legacy(model, train_set):
    """As one wrote it for Keras 2."""
    import keras

    model = model()
    model.compile(keras.optimizers.Adam(lr=0.1), "mse")
    model.fit(*train_set, batch_size=8, verbose=0)


def config(**options: Any) -> TfDistributedConfig:
    """Two workers, unless the test says otherwise."""
    return TfDistributedConfig(
        **{"workers": 2, "model": network, "train_set": data(), "collective_timeout": 60, **options}
    )


def weights_alone() -> list[np.ndarray]:
    """What the same function learns in a plain call, in a process of its own, for TensorFlow leaves its marks there."""
    return in_a_process(_weights_here)


def weights_of(path: Path) -> list[np.ndarray]:
    """Of a model that was saved."""
    return in_a_process(_weights_in, path)


def in_a_process(function: Callable[..., Any], *args: Any) -> Any:
    """What the function returns in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result(timeout=120)


def _weights_in(path: Path) -> list[np.ndarray]:
    return list(load_model(path).get_weights())


def _weights_here() -> list[np.ndarray]:
    built = []

    def build():
        built.append(network())
        return built[0]

    train(build, data())
    return list(built[0].get_weights())
