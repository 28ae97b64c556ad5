"""What one process sees of the Keras side, without other ranks; pytest's own process stays without TensorFlow."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from lagom_magic.errors import LagomError
from lagom_magic.worker.distribution import keras_patches
from lagom_magic.worker.distribution.base import Place
from lagom_magic.worker.distribution.keras_legacy import explain_legacy
from lagom_magic.worker.distribution.tensorflow_ranks import TensorFlowRanks


def look() -> dict[str, Any]:
    return {
        **hooks_and_policies(),
        "guards": {
            "gone": refusal(lambda: find("optimizers.base_optimizer:BaseOptimizer.no_such_hook", "self")),
            "renamed": refusal(lambda: find("optimizers.base_optimizer:BaseOptimizer.apply", "self gradients")),
            "no module": refusal(lambda: find("no_such_module:function", "")),
        },
        "unknown precision": refusal(lambda: apply({"mixed_precision": "fp4"})),
        "mirrored": refusal(lambda: apply({}, with_mirrored_strategy, world_size=2)),
        "warning": warning_of_lone_work(),
        **old_code(),
    }


find = keras_patches.find_hook


def refusal(act: Callable[[], Any]) -> str:
    try:
        act()
    except LagomError as error:
        return str(error)
    return "not refused"


def trains_nothing() -> None:
    """No function of Keras' is called."""


def with_mirrored_strategy() -> None:
    import tensorflow as tf

    def build() -> Any:
        return tf.distribute.MirroredStrategy()

    build()


def apply(settings: dict[str, Any], train_fn: Callable[[], None] = trains_nothing, world_size: int = 1) -> Any:
    """What `train_fn` returns while all is applied, as by a trial process."""
    ranks = TensorFlowRanks(Place(0, world_size, "127.0.0.1"), {"framework": "tensorflow", **settings})
    address = ranks.prepare()
    try:
        if world_size == 1:
            ranks.join([address])
        with ranks.applied(train_fn, {}):
            return train_fn()
    finally:
        ranks.leave()


def hooks_and_policies() -> dict[str, Any]:
    """Of each hook that is asked for: whether it is another while applied, and the first one after."""
    import keras

    asked: list[tuple[str, str]] = []
    original = keras_patches.Patches.wrap

    def note(self: Any, where: str, parameters: str, wrapper: Any) -> None:
        asked.append((where, parameters))
        original(self, where, parameters, wrapper)

    keras_patches.Patches.wrap = note  # type: ignore[method-assign]
    try:
        apply({})
    finally:
        keras_patches.Patches.wrap = original  # type: ignore[method-assign]
    load_model, policy = keras.models.load_model, keras.config.dtype_policy().name
    before = {where: find(where, parameters)[2] for where, parameters in asked}

    def look_inside() -> tuple[dict[str, Any], Any, str]:
        inside = {where: find(where, parameters)[2] for where, parameters in asked}
        return inside, keras.models.load_model, keras.config.dtype_policy().name

    inside, load_model_inside, policy_inside = apply({"mixed_precision": "bf16"}, look_inside)  # type: ignore[arg-type]
    after = {where: find(where, parameters)[2] for where, parameters in asked}
    return {
        "hooks": {where: (inside[where] is not one, after[where] is one) for where, one in before.items()},
        "load_model": [load_model_inside is not load_model, keras.models.load_model is load_model],
        "policies": [policy, policy_inside, keras.config.dtype_policy().name],
    }


def warning_of_lone_work() -> str:
    ranks = TensorFlowRanks(Place(0, 2, "127.0.0.1"), {"framework": "tensorflow"})
    ranks.prepare()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ranks._warn_if_alone()
        return str(caught[0].message)
    finally:
        ranks.leave()


def old_code() -> dict[str, dict[str, Any]]:
    """Lines for Keras 2, what Keras 3 says to them, and what we add."""
    import keras
    import numpy as np

    x = np.ones((8, 4), "float32")

    def model(**first: Any) -> Any:
        built = keras.Sequential([keras.layers.Dense(2, **first)])
        built.compile("sgd", "mse")
        return built

    def np_utils() -> None:
        from keras.utils.np_utils import to_categorical

        to_categorical([1])

    lines: dict[str, Callable[[], Any]] = {
        "lr": lambda: keras.optimizers.Adam(lr=0.01),
        "input_shape": lambda: model(input_shape=(None, 4)).fit(x, x[:, :2], verbose=0),
        "fit_generator": lambda: model().fit_generator(iter([])),
        "predict_classes": lambda: model().predict_classes(x),
        "legacy optimizer": lambda: keras.optimizers.legacy.Adam(0.1),
        "saved model": lambda: model(input_shape=(4,)).save("folder"),
        "weights file": lambda: model(input_shape=(4,)).save_weights("best.h5"),
        "experimental": lambda: keras.layers.experimental.preprocessing.Normalization(axis=-1),
        "np_utils": np_utils,
    }
    advice: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    for name, line in lines.items():
        try:
            line()
        except Exception as error:
            advice[name], errors[name] = explain_legacy(error), f"{type(error).__name__}: {error}"
        else:
            advice[name], errors[name] = None, "none"
    return {"legacy": advice, "legacy errors": errors}
