"""Keras: each epoch of `fit` is a report, and nothing else about the run changes."""

from __future__ import annotations

import math

import pytest
from logged_runs import Track

from lagom_magic import Int, Ordinal
from lagom_magic.errors import RunFailed


def fit_twice(epochs):
    import keras
    import numpy as np

    keras.utils.set_random_seed(1)
    x = np.linspace(0, 1, 32).reshape(16, 2)
    y = (x.sum(axis=1) > 1).astype("float32")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.SGD(0.25), "binary_crossentropy", metrics=["accuracy"])
    first = model.fit(x, y, batch_size=8, epochs=epochs, validation_data=(x, y), verbose=0)
    model.fit(x, y, 8, epochs, 0, None, 0.5)
    return first.history, "fit" in vars(keras.Model)


def returns_accuracy(epochs):
    history, _ = fit_twice(epochs)
    return {"accuracy": 0.5, "first_loss": history["loss"][0]}


def test_epochs_are_reported_and_a_second_fit_counts_on(track: Track) -> None:
    logged = track(returns_accuracy, hparams={"epochs": 2}, optimization_key="accuracy")
    assert logged.run.state == "COMPLETE"
    assert [step for step, _ in logged.curve("loss")] == [0, 1, 2, 3]
    assert [step for step, _ in logged.curve("val_accuracy")] == [0, 1, 2, 3]
    assert logged.curve("loss")[0][1] == pytest.approx(logged.trial.metrics["first_loss"])
    assert all(report.is_automatic for report in logged.reports)
    assert logged.trial.metric == 0.5
    assert logged.trial.warnings == ()
    expected = {"epochs": 2, "batch_size": 8, "steps_per_epoch": 2, "parameters": 3, "optimizer": "SGD"}
    params = logged.trial.params
    assert {name: params[f"keras.{name}"] for name in expected} == expected
    assert params["keras.learning_rate"] == 0.25
    assert params["keras 2.validation_split"] == 0.5


def test_a_model_without_an_input_tells_its_parameters_too(track: Track) -> None:
    def train():
        import keras
        import numpy as np

        def model():
            made = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(1)])
            made.compile(keras.optimizers.SGD(0.25), "mse")
            return made

        class Rising(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                self.model.optimizer.learning_rate = 0.1 * (epoch + 1)

        for _ in range(2):  # as in a cross-validation
            model().fit(np.zeros((8, 3)), np.zeros(8), epochs=2, verbose=0, callbacks=[Rising()])
        raise_early = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: 1 / 0)
        try:
            model().fit(np.zeros((8, 3)), np.zeros(8), epochs=7, verbose=0, callbacks=[raise_early])
        except ZeroDivisionError:
            return {"accuracy": 0.5}

    logged = track(train)
    assert logged.trial.warnings == ()
    assert [step for step, _ in logged.curve("loss")] == [0, 1, 2, 3]
    expected = {"epochs": 2, "steps_per_epoch": 1, "parameters": 21, "optimizer": "SGD", "learning_rate": 0.25}
    failed = {"epochs": 7, "steps_per_epoch": 1, "optimizer": "SGD", "learning_rate": 0.25}
    assert logged.trial.params == {
        **{f"keras.{name}": value for name, value in expected.items()},
        **{f"keras 2.{name}": value for name, value in failed.items()},
    }


def test_callbacks_that_are_given_as_keras_own_list_are_joined_for_the_fit(track: Track) -> None:
    def train():
        import keras
        import numpy as np

        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        given = keras.callbacks.CallbackList([], add_history=True, model=model, epochs=2, verbose=0, steps=1)
        before = list(given.callbacks)
        for _ in range(2):
            model.fit(np.zeros((8, 3)), np.zeros(8), epochs=2, verbose=0, callbacks=given)
        return {"accuracy": float(given.callbacks == before)}

    logged = track(train)
    assert [step for step, _ in logged.curve("loss")] == [0, 1, 2, 3]
    assert (logged.trial.params["keras.epochs"], logged.trial.params["keras.steps_per_epoch"]) == (2, 1)
    assert logged.trial.warnings == ()
    assert logged.trial.metric == 1.0


def test_it_trains_what_it_trains_without(track: Track) -> None:
    def train(epochs):
        history, is_patched = fit_twice(epochs)
        return {"score": history["loss"][-1], "is_patched": int(is_patched)}

    with_it = track(train, hparams={"epochs": 2}, optimization_key="score").trial.metrics
    without = track(train, hparams={"epochs": 2}, optimization_key="score", autolog=False)
    assert without.reports == []
    assert without.trial.params == {}
    assert with_it["score"] == without.trial.metrics["score"]
    assert (with_it["is_patched"], without.trial.metrics["is_patched"]) == (1, 0)


def test_a_function_that_takes_the_reporter_reports_by_itself(track: Track) -> None:
    def train(epochs, reporter):
        fit_twice(epochs)
        for step in range(2):
            reporter.broadcast(step / 10, step)
        return 0.5

    logged = track(train, hparams={"epochs": 1})
    assert [(report.step, report.metrics) for report in logged.reports] == [(0, {"metric": 0.0}), (1, {"metric": 0.1})]
    assert logged.trial.params["keras.epochs"] == 1


def test_the_metric_that_counts_is_what_it_was(track: Track) -> None:
    def train(epochs):
        fit_twice(epochs)
        return {"accuracy": epochs / 10}

    logged = track(train, searchspace={"epochs": Int(1, 3)}, num_trials=3, optimizer="grid", es_min=1)
    trials = logged.run.view.trials.values()
    assert [trial.state.value for trial in trials] == ["COMPLETE"] * 3
    assert sorted(trial.metric for trial in trials) == [0.1, 0.2, 0.3]
    assert logged.run.view.metric_name == "accuracy"
    assert logged.curve("val_loss", trial_id=2)


def test_a_named_metric_needs_not_be_returned_and_is_what_trials_are_pruned_by(track: Track) -> None:
    def train(lr):
        import keras
        import numpy as np

        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
        model.compile(keras.optimizers.SGD(lr), "mse")
        x = np.ones((8, 1))
        model.fit(x, x, epochs=6, validation_data=(x, x), verbose=0)

    logged = track(
        train,
        searchspace={"lr": Ordinal([0.2, 0.1, 0.0001])},
        optimizer="grid",
        num_trials=3,
        es_min=2,
        pruner="median",
        optimization_key="val_loss",
        direction="min",
    )
    by_lr = {trial.hparams["lr"]: trial for trial in logged.run.view.trials.values()}
    assert by_lr[0.2].state.value == "COMPLETE"
    assert by_lr[0.2].metric == logged.curve("val_loss", by_lr[0.2].id)[-1][1]
    assert by_lr[0.0001].state.value == "PRUNED"
    assert by_lr[0.0001].n_steps < 6
    assert not math.isnan(by_lr[0.0001].metric)


def test_without_a_name_nothing_that_was_logged_counts(track: Track) -> None:
    def train(epochs):
        fit_twice(epochs)

    with pytest.raises(RunFailed, match=r"it returned no number.*name one that was logged.*val_loss"):
        track(train, searchspace={"epochs": Int(1, 2)}, num_trials=1)
