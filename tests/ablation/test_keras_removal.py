"""Keras models without some of their layers: the model that is trained is looked at.

The tests' bodies run in one process of their own, which imports TensorFlow once: pytest's stays without it.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest

from lagom_magic.errors import ConfigError, NotRemovableError
from lagom_magic.spec.parts import built
from lagom_magic.worker.ablation.removal import n_parameters, without

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

X = np.linspace(-1, 1, 64, dtype="float32").reshape(8, 8)
Y = X[:, :1] * 2
IMAGES = np.linspace(-1, 1, 4 * 8 * 8 * 3, dtype="float32").reshape(4, 8, 8, 3)


@pytest.fixture(scope="module")
def keras_process() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(import_keras).result(timeout=200)
        yield pool


def import_keras() -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    importlib.import_module("keras")


def with_keras(body: Callable[[], None]) -> Callable[[ProcessPoolExecutor], None]:
    """A test whose body runs in the process that has Keras."""

    def test(keras_process: ProcessPoolExecutor) -> None:
        keras_process.submit(run_body, body.__name__).result(timeout=100)

    test.__name__ = body.__name__
    test.body = body  # type: ignore[attr-defined]
    return test


def run_body(name: str) -> None:
    globals()[name].body()


def train(model: Any, x: Any = X, y: Any = Y) -> Any:
    return model.fit(x, y, verbose=0, batch_size=len(Y))


def refusal(model: Any, *names: str) -> str:
    try:
        without(model, names)
    except NotRemovableError as error:
        return str(error)
    raise AssertionError(f"{names} were left out")


def weights_of(model: Any, name: str) -> list[Any]:
    return [np.array(weight) for weight in model.get_layer(name).get_weights()]


def are_equal(ours: list[Any], theirs: list[Any]) -> bool:
    return len(ours) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def names_of(model: Any) -> list[str]:
    return [layer.name for layer in model.layers]


def sequential() -> Any:
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(16, activation="relu", name="first"),
            layers.Dense(16, name="second"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5, name="drop"),
            layers.Dense(4, name="narrow"),
            layers.Dense(1, name="out"),
        ]
    )


def residual() -> Any:
    """Two inputs, a skip connection over two layers, an operation that is no layer."""
    import keras

    layers = keras.layers
    image, more = keras.Input((8, 8, 3), name="image"), keras.Input((4,), name="more")
    stem = layers.Conv2D(6, 3, padding="same", name="stem")(image)
    x = layers.Conv2D(6, 3, padding="same", name="conv")(stem)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Add(name="add")([x, stem]) * 2.0
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Conv2D(4, 3, padding="same", name="last")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Concatenate(name="join")([x, layers.Dense(5, name="side")(more)])
    return keras.Model([image, more], layers.Dense(1, name="out")(x), name="residual")


@with_keras
def test_a_layer_of_a_sequential_is_gone_and_the_others_stay_with_their_weights() -> None:
    whole = sequential()
    weights = {name: weights_of(whole, name) for name in names_of(whole)}
    model, changes = without(whole, ["second"])
    assert changes == ["second: removed"]
    assert names_of(model) == ["first", "norm", "drop", "narrow", "out"]
    assert model.name == whole.name
    assert all(are_equal(weights_of(model, name), weights[name]) for name in names_of(model))
    assert n_parameters(model) == n_parameters(whole) - (16 * 16 + 16)
    model.compile("sgd", "mse")
    train(model)


@with_keras
def test_layers_after_it_are_made_anew_where_their_input_has_another_shape() -> None:
    model, changes = without(sequential(), ["narrow"])
    assert changes == ["narrow: removed", "out: new weights, for its input is now (None, 16)"]
    assert model.get_layer("out").kernel.shape == (16, 1)
    assert model(X).shape == (8, 1)
    model, changes = without(sequential(), ["first"])
    assert changes == ["first: removed", "second: new weights, for its input is now (None, 8)"]
    assert model.get_layer("second").kernel.shape == (8, 16)
    assert model(X).shape == (8, 1)


@with_keras
def test_a_layer_that_is_made_anew_keeps_weights_whose_shapes_are_the_same() -> None:
    whole = residual()
    whole.get_layer("last").trainable = False
    weights = weights_of(whole, "last")
    model, changes = without(whole, ["pool"])
    assert changes == ["pool: removed"]
    assert model.get_layer("mean").input.shape == (None, 8, 8, 4)
    assert are_equal(weights_of(model, "last"), weights)
    assert not model.get_layer("last").trainable


@with_keras
def test_a_layer_on_a_skip_connection_is_left_out_of_its_branch() -> None:
    whole = residual()
    stem = weights_of(whole, "stem")
    model, changes = without(whole, ["conv"])
    assert changes == ["conv: removed"]
    assert "conv" not in names_of(model)
    assert model.get_layer("norm").input is model.get_layer("stem").output
    assert are_equal(weights_of(model, "stem"), stem)
    model.compile("sgd", "mse")
    train(model, [IMAGES, np.ones((4, 4))], np.ones((4, 1)))


@with_keras
def test_of_a_merge_layer_the_first_branch_is_kept_and_what_only_fed_the_others_goes() -> None:
    model, changes = without(residual(), ["add"])
    assert changes == ["add: removed, of its inputs norm takes its place (not stem)"]
    assert {"stem", "conv", "norm"} <= set(names_of(model))
    model, changes = without(residual(), ["join"])
    assert changes == [
        "join: removed, of its inputs mean takes its place (not side)",
        "out: new weights, for its input is now (None, 4)",
        "side: removed, now without use",
    ]
    assert model([IMAGES, np.ones((4, 4))]).shape == (4, 1)


@with_keras
def test_branches_that_would_not_fit_together_are_refused_with_their_shapes() -> None:
    words = refusal(residual(), "stem")
    assert words.startswith(
        "stem cannot be left out: without it add gets input of shape (None, 8, 8, 6) and (None, 8, 8, 3)"
    )
    assert "include_groups" in words
    model, _ = without(residual(), ["stem", "conv", "norm", "add"])
    assert model([IMAGES, np.ones((4, 4))]).shape == (4, 1)


@with_keras
def test_the_output_layer_is_refused_where_the_output_would_have_another_shape() -> None:
    assert "the model's output would be of shape (None, 4), not (None, 1)" in refusal(sequential(), "out")
    assert "(None, 9), not (None, 1)" in refusal(residual(), "out")


@with_keras
def test_a_model_with_several_outputs_keeps_their_names() -> None:
    import keras

    def make() -> Any:
        x = keras.Input((8,), name="x")
        hidden = keras.layers.Dense(8, name="hidden")(x)
        outputs = [keras.layers.Dense(1, name="a")(hidden), keras.layers.ReLU(name="b")(hidden)]
        return keras.Model(x, outputs)

    model, _ = without(make(), ["hidden"])
    assert model.output_names == ["a", "b"]
    model.compile("sgd", {"a": "mse", "b": "mse"})
    train(model, X, {"a": Y, "b": X})
    assert "the model's outputs would be a and hidden, not a and b" in refusal(make(), "b")


@with_keras
def test_a_shared_layer_is_left_out_of_all_its_places_and_stays_shared_elsewhere() -> None:
    import keras

    def make() -> Any:
        a, b = keras.Input((8,), name="a"), keras.Input((8,), name="b")
        tower, top = keras.layers.Dense(4, name="tower"), keras.layers.Dense(3, name="top")
        joined = keras.layers.Subtract(name="minus")([top(tower(a)), top(tower(b))])
        return keras.Model([a, b], keras.layers.Dense(1, name="out")(joined))

    model, changes = without(make(), ["tower"])
    assert changes == ["tower: removed", "top: new weights, for its input is now (None, 8)"]
    assert names_of(model).count("top") == 1
    assert float(np.abs(model([X, X]) - model.get_layer("out").bias).max()) == 0


@with_keras
def test_layers_of_nested_models_are_left_out_by_their_path() -> None:
    import keras

    def make() -> Any:
        inner = sequential()
        inner.name = "inner"
        x = keras.Input((8,))
        return keras.Model(x, keras.layers.Dense(2, name="top")(inner(x)))

    whole = make()
    top = weights_of(whole, "top")
    model, changes = without(whole, ["inner/second", "inner/norm"])
    assert changes == ["inner/second: removed", "inner/norm: removed"]
    assert names_of(model.get_layer("inner")) == ["first", "drop", "narrow", "out"]
    assert are_equal(weights_of(model, "top"), top)
    assert model(X).shape == (8, 2)
    model, changes = without(make(), ["inner/out", "inner"])
    assert changes == ["inner: removed", "top: new weights, for its input is now (None, 8)"]
    model, changes = without(make(), ["inner/out"])
    assert model.get_layer("top").kernel.shape == (4, 2)


def my_loss(truth: Any, predicted: Any) -> Any:
    import keras

    return keras.ops.mean(keras.ops.abs(truth - predicted))


@with_keras
def test_a_compiled_model_comes_back_compiled_the_same() -> None:
    import keras

    class Falling(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            return 0.5 / (step + 1.0)

    whole = sequential()
    optimizer = keras.optimizers.SGD(Falling(), momentum=0.9)
    whole.compile(optimizer, my_loss, metrics=["mae", keras.metrics.MeanSquaredError(name="mine")], run_eagerly=True)
    model, _ = without(whole, ["narrow"])
    assert model.compiled
    assert model.run_eagerly
    assert model.loss is my_loss
    assert model.optimizer.momentum == 0.9
    history = train(model).history
    assert history.keys() == {"loss", "mae", "mine"}
    assert history["loss"] == history["mae"]
    assert {variable.shape for variable in model.optimizer.variables} >= {(16, 1), (8, 16)}


@with_keras
def test_an_optimizer_that_knows_the_weights_is_made_anew() -> None:
    whole = sequential()
    whole.compile("adam", "mse")
    whole.optimizer.learning_rate = 0.25
    whole.optimizer.build(whole.trainable_variables)
    model, _ = without(whole, ["narrow"])
    assert model.optimizer is not whole.optimizer
    assert float(model.optimizer.learning_rate) == 0.25
    train(model)


@with_keras
def test_a_model_class_of_ones_own_stays_and_its_own_compile_is_refused() -> None:
    import keras

    class Mine(keras.Model):
        def train_step(self, data: Any) -> Any:
            return {"my_number": 7.0}

    class Compiled(keras.Model):
        def compile(self, speed: float, **more: Any) -> None:
            super().compile(**more)
            self.speed = speed

    def make(cls: Any) -> Any:
        x = keras.Input((8,))
        return cls(x, keras.layers.Dense(1, name="out")(keras.layers.Dense(8, name="hidden")(x)))

    model, _ = without(make(Mine), ["hidden"])
    assert type(model) is Mine
    model.compile("sgd", "mse", run_eagerly=True)
    assert train(model).history == {"my_number": [7.0]}

    class Wired(keras.Model):
        def __init__(self, units: int = 8, **more: Any) -> None:
            x = keras.Input((8,))
            hidden = keras.layers.Dense(units, name="hidden")(x)
            super().__init__(x, keras.layers.Dense(1, name="out")(hidden), **more)

    assert "Wired wires its layers in its own __init__" in refusal(Wired(), "hidden")
    compiled = make(Compiled)
    compiled.compile(0.5, optimizer="sgd", loss="mse")
    assert "Compiled has its own compile()" in refusal(compiled, "hidden")


@with_keras
def test_custom_layers_and_functions_are_made_anew_from_their_configuration() -> None:
    import keras

    def doubled(x: Any) -> Any:
        return x * 2

    class Scale(keras.layers.Layer):
        def __init__(self, start: float, **more: Any) -> None:
            super().__init__(**more)
            self.start = start

        def build(self, shape: Any) -> None:
            self.factors = self.add_weight(shape=shape[-1:], initializer=keras.initializers.Constant(self.start))

        def call(self, x: Any) -> Any:
            return x * self.factors

    bias = 3.0
    model, changes = without(
        keras.Sequential(
            [
                keras.Input((8,)),
                keras.layers.Dense(4, name="narrow"),
                Scale(2.0, name="scale"),
                keras.layers.Lambda(lambda x: x + bias, name="plus"),
                keras.layers.Dense(1, activation=doubled, name="out"),
            ]
        ),
        ["narrow"],
    )
    assert changes[1:] == [f"{name}: new weights, for its input is now (None, 8)" for name in ("scale", "out")]
    expected = (X * 2 + 3) @ np.array(model.get_layer("out").kernel) * 2
    np.testing.assert_allclose(model(X), expected, rtol=1e-4, atol=1e-5)


@with_keras
def test_a_layer_that_cannot_be_made_anew_is_refused_by_its_name() -> None:
    import keras

    class Needy(keras.layers.Layer):
        def __init__(self, thing: object, **more: Any) -> None:
            super().__init__(**more)
            self.thing = thing

        def call(self, x: Any) -> Any:
            return x

    def make() -> Any:
        layers = [
            keras.layers.Dense(4, name="narrow"),
            Needy(object(), name="needy"),
            keras.layers.Dense(1, name="out"),
        ]
        return keras.Sequential([keras.Input((8,)), *layers])

    words = refusal(make(), "narrow")
    assert "needy after it needs other weights, and Needy cannot be made anew from its configuration" in words
    model, _ = without(make(), ["needy"])
    assert names_of(model) == ["narrow", "out"]


@with_keras
def test_a_layer_with_several_outputs_in_use_is_refused() -> None:
    import keras

    def make(uses_state: bool) -> Any:
        x = keras.Input((5, 8))
        sequence, hidden, _ = keras.layers.LSTM(8, return_sequences=True, return_state=True, name="lstm")(x)
        pooled = keras.layers.GlobalAveragePooling1D(name="mean")(sequence)
        last = keras.layers.Add(name="add")([pooled, hidden]) if uses_state else pooled
        return keras.Model(x, keras.layers.Dense(1, name="out")(last))

    assert "lstm gives 3 tensors" in refusal(make(True), "lstm")
    model, _ = without(make(False), ["lstm"])
    assert model(np.ones((2, 5, 8))).shape == (2, 1)


@with_keras
def test_the_outputs_of_layers_belong_to_the_new_model_which_can_be_saved() -> None:
    import keras

    model, _ = without(residual(), ["conv"])
    inputs = [IMAGES, np.ones((4, 4), "float32")]
    inside = keras.Model(model.inputs, model.get_layer("mean").output)
    assert "conv" not in names_of(inside)
    copied = keras.Model.from_config(model.get_config())
    copied.set_weights(model.get_weights())
    np.testing.assert_allclose(copied(inputs), model(inputs), rtol=1e-5, atol=1e-6)
    assert len(model.get_layer("norm")._inbound_nodes) == 1


@with_keras
def test_a_sequential_without_an_input_is_shortened_before_it_has_weights() -> None:
    import keras

    def make() -> Any:
        layers = [keras.layers.Dense(4, name="a"), keras.layers.Dense(5, name="b"), keras.layers.Dense(1, name="c")]
        model = keras.Sequential(layers)
        model.compile("sgd", "mse")
        return model

    model, changes = without(make(), ["b"])
    assert changes == ["b: removed"]
    assert n_parameters(model) is None
    train(model)
    assert n_parameters(model) == 8 * 4 + 4 + 4 + 1
    assert "keras.Input" in refusal(make(), "c")


def subclassed() -> Any:
    import keras

    layers = keras.layers

    class Block(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = layers.Dense(12), layers.Dense(8)

        def call(self, x: Any) -> Any:
            return x + self.down(self.up(x))

    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.stem = layers.Dense(8)
            self.blocks = [Block(), Block()]
            self.inner = keras.Sequential([layers.Dense(8, name="a"), layers.Dense(8, name="b")])
            self.lstm = layers.LSTM(8, return_state=True)
            self.narrow = layers.Dense(3)
            self.head = layers.Dense(1)

        def call(self, x: Any, training: bool = False) -> Any:
            x = self.stem(x)
            for block in self.blocks:
                x = block(x, training=training)
            last, hidden, _ = self.lstm(self.inner(x)[:, None, :])
            return self.head(self.narrow(x + last + hidden))

    model = Net()
    model.compile("sgd", "mse")
    return model


@with_keras
def test_in_a_subclassed_model_a_stand_in_takes_the_attribute() -> None:
    import keras

    model, changes = without(subclassed(), ["stem", "blocks/0", "blocks/1/up", "inner/a"])
    train(model)
    assert changes == [
        "stem: identity in its place",
        "blocks/0: identity in its place",
        "blocks/1/up: zeros in its place",
        "inner/a: removed",
    ]
    lstm = 4 * (8 * 8 + 8 * 8 + 8)
    assert n_parameters(model) == (12 * 8 + 8) + (8 * 8 + 8) + lstm + (8 * 3 + 3) + (3 + 1)
    assert model.stem(X) is X or np.array_equal(model.stem(X), X)
    up = model.blocks[1].up(keras.ops.ones((2, 5, 8)))
    assert up.shape == (2, 5, 12)
    assert not np.any(up)
    assert names_of(model.inner) == ["b"]


@with_keras
def test_a_stand_in_gives_zeros_for_the_outputs_beside_the_first() -> None:
    model, changes = without(subclassed(), ["lstm"])
    train(model)
    assert changes == ["lstm: zeros in its place"]
    assert [tensor.shape for tensor in model.lstm(np.ones((2, 5, 8), "float32"))] == [(2, 8)] * 3


@with_keras
def test_layers_of_a_subclassed_model_that_was_built_are_gone_with_their_weights() -> None:
    whole = subclassed()
    whole(X)
    head = np.array(whole.head.kernel)
    n_whole = n_parameters(whole)
    model, changes = without(whole, ["narrow"])
    assert n_parameters(model) == n_whole - (8 * 3 + 3)
    assert np.array_equal(model.head.kernel, head)
    train(model)
    assert changes == ["narrow: zeros in its place"]


def reached(how: str) -> Any:
    """A model that reaches its layer `d` by another way than the attribute as well."""
    import keras

    layers = keras.layers

    class Holder:
        def __init__(self, layer: Any) -> None:
            self.layer = layer

    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.d = layers.Dense(8)
            self.head = layers.Dense(1)
            if how == "list in a list":
                self.stages = [[self.d]]
            elif how == "bound method":
                self.fs = (self.d.__call__,)
            elif how == "object":
                self.holder = Holder(self.d)

        def call(self, x: Any) -> Any:
            if how == "list in a list":
                return self.head(self.stages[0][0](x))
            if how == "bound method":
                return self.head(self.fs[0](x))
            return self.head(self.holder.layer(x) if how == "object" else x)

    if how != "Lambda":
        return Net()
    x = keras.Input((8,))
    d = layers.Dense(8, name="d")
    return keras.Model(x, layers.Dense(1)(layers.Add()([d(x), layers.Lambda(lambda y: d(y) * 2.0)(x)])))


@with_keras
def test_a_layer_that_is_reached_by_another_way_may_not_run() -> None:
    for how in ("list in a list", "bound method", "object", "Lambda"):
        for run in (lambda model: model(X), train):
            model, _ = without(reached(how), ["d"])
            model.compile("sgd", "mse")
            with pytest.raises(NotRemovableError) as caught:
                run(model)
            assert str(caught.value).startswith("d cannot be left out: it is called by another way than its "), how
            assert "study.add(" in str(caught.value)
            assert "Exception encountered" not in str(caught.value)


@with_keras
def test_a_layer_that_the_model_never_calls_is_said_to_have_changed_nothing() -> None:
    model, changes = without(reached("not at all"), ["d"])
    model.compile("sgd", "mse")
    train(model)
    assert changes == ["d: never run, so leaving it out changes nothing but its parameters"]


@with_keras
def test_a_model_that_runs_all_its_layers_in_their_order_keeps_it() -> None:
    import keras

    class Chain(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = keras.layers.Dense(8), keras.layers.ReLU()
            self.third = keras.layers.Dense(1)

        def call(self, x: Any) -> Any:
            for layer in self.layers:
                x = layer(x)
            return x

    model, changes = without(Chain(), ["first"])
    assert model.layers[1:] == [model.second, model.third]
    assert model.layers[0] is model.first
    expected = np.maximum(X, 0)
    np.testing.assert_allclose(model(X), expected @ np.array(model.third.kernel), rtol=1e-5, atol=1e-6)
    assert changes == ["first: identity in its place"]


@with_keras
def test_random_states_are_as_if_nothing_had_been_left_out() -> None:
    import keras
    import tensorflow as tf

    def draws(make: Callable[[], Any], *names: str) -> list[Any]:
        keras.utils.set_random_seed(1)
        without(built(make), names)
        return [random.random(), np.random.rand(), float(tf.random.uniform(())), float(keras.random.uniform(()))]

    assert draws(sequential, "first", "narrow") == draws(sequential)
    assert draws(residual, "pool", "conv") == draws(residual)
    assert draws(subclassed, "blocks/0") == draws(subclassed)


@with_keras
def test_layers_that_stay_begin_with_the_weights_of_the_baseline() -> None:
    import keras

    def weights(*names: str) -> dict[str, Any]:
        keras.utils.set_random_seed(3)
        model, _ = without(built(sequential), names)
        return {name: weights_of(model, name) for name in names_of(model)}

    baseline, variant = weights(), weights("narrow")
    assert all(are_equal(variant[name], baseline[name]) for name in ("first", "second", "norm", "drop"))
    assert are_equal(weights("narrow")["out"], variant["out"])


@with_keras
def test_a_misspelt_layer_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean second"):
        without(sequential(), ["secnod"])
