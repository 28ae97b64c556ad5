"""`%%lagom train` with Keras: a function that calls `model.fit` learns on two workers what it learns alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from small_keras_training import config, legacy, train, weights_alone, weights_of

from lagom_magic.run import Run

Launch = Callable[..., Run]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_two_workers_learn_what_one_process_learns_and_the_model_comes_back(run_here: Launch) -> None:
    run = run_here(train, config())
    assert run.state == "COMPLETE", run.error
    assert run.model_path is not None
    for learned, expected in zip(weights_of(run.model_path), weights_alone(), strict=True):
        np.testing.assert_allclose(learned, expected, rtol=0, atol=1e-6)
    assert run.trials[0].metrics.keys() >= {"loss"}


def test_a_training_that_fails_goes_on_from_its_last_checkpoint(run_here: Launch) -> None:
    run = run_here(train, config(hparams={"trouble": True}, retries=1))
    assert run.state == "COMPLETE", run.error
    assert run.trials[0].attempt == 2
    assert run.model_path is not None
    for learned, expected in zip(weights_of(run.model_path), weights_alone(), strict=True):
        np.testing.assert_allclose(learned, expected, rtol=0, atol=1e-6)


def test_code_for_keras_2_is_told_the_line_to_change(run_here: Launch) -> None:
    run = run_here(legacy, config())
    error = run.trials[0].error
    assert error is not None
    assert "write `Adam(learning_rate=…)` for `Adam(lr=…)`" in error.message
