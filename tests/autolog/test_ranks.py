"""Under `%%lagom train` the ranks of a Keras training report as one, and learn what they learn without."""

from __future__ import annotations

import pytest
from logged_runs import Track
from small_keras_training import data, network

from lagom_magic import TfDistributedConfig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def train(model, train_set):
    import keras

    model = model()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    history = model.fit(*train_set, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return {"score": history.history["loss"][-1]}


@pytest.mark.parametrize("averages", [False, True])
def test_two_ranks_report_once_an_epoch(track: Track, averages: bool) -> None:
    logged = track(
        train,
        kind=TfDistributedConfig,
        workers=2,
        model=network,
        train_set=data(),
        collective_timeout=60,
        average_metrics=averages,
    )
    assert logged.run.state == "COMPLETE", logged.run.error
    curve = logged.curve("loss")
    assert [step for step, _ in curve] == [0, 1, 2]
    assert curve[-1][1] == pytest.approx(logged.trial.metric)
    assert logged.trial.params["keras.epochs"] == 3
    assert logged.trial.warnings == ()
