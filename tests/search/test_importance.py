from __future__ import annotations

import random

import pytest

from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import TrialState
from lagom_magic.events.views import TrialView
from lagom_magic.search.importance import importances
from lagom_magic.search.study import build_study
from lagom_magic.spec.space import Categorical, Float, Searchspace

SPACE = Searchspace(
    lr=Float(0.0, 1.0),
    width=Float(0.0, 1.0),
    kernel=Categorical(["linear", "rbf"]),
    gamma=Float(0.0, 1.0, when={"kernel": "rbf"}),
)


def trial(trial_id: int, metric: float, state: TrialState = TrialState.COMPLETE, space: bool = True) -> TrialView:
    share = trial_id * 0.37 % 1
    hparams = {"lr": metric, "width": share, "kernel": "rbf" if trial_id % 2 else "linear"} if space else {}
    if trial_id % 2 and space:
        hparams["gamma"] = share
    return TrialView(trial_id, state=state, hparams=hparams, metric=metric)


def shares_of(trials: list[TrialView], space: Searchspace | None = SPACE) -> dict[str, float]:
    return importances(build_study(trials, space, "max"))


def test_the_hyperparameter_that_decides_has_the_largest_share_and_comes_first() -> None:
    shares = shares_of([trial(i, i / 40) for i in range(40)])
    assert next(iter(shares)) == "lr"
    assert shares["lr"] > 0.5
    assert sum(shares.values()) == pytest.approx(1)


def test_ten_trials_are_enough_to_see_what_decides() -> None:
    space = Searchspace(**{name: Float(0.0, 1.0) for name in "abc"})

    def first_of(seed: int) -> str:
        draw = random.Random(seed)
        drawn = [{name: draw.random() for name in "abc"} for _ in range(10)]
        trials = [
            TrialView(i, state=TrialState.COMPLETE, hparams=hparams, metric=hparams["a"] + 0.15 * hparams["b"])
            for i, hparams in enumerate(drawn)
        ]
        return next(iter(shares_of(trials, space)))

    assert [first_of(seed) for seed in range(20)].count("a") >= 18


def test_conditional_hyperparameters_have_their_share() -> None:
    assert set(shares_of([trial(i, i / 20) for i in range(20)])) == {"lr", "width", "kernel", "gamma"}


def test_too_few_complete_trials_are_refused_with_their_number() -> None:
    trials = [trial(i, i / 20) for i in range(9)] + [trial(9, 0.1, TrialState.FAILED)]
    with pytest.raises(ConfigError, match="needs 10 complete trials; this run has 9"):
        shares_of(trials)


def test_trials_that_all_have_the_same_result_tell_nothing() -> None:
    trials = [TrialView(i, state=TrialState.COMPLETE, hparams={"lr": i / 20}, metric=0.5) for i in range(12)]
    with pytest.raises(ConfigError, match="same result"):
        shares_of(trials)


def test_a_run_without_hyperparameters_tells_nothing() -> None:
    with pytest.raises(ConfigError, match="searched no hyperparameters"):
        shares_of([trial(i, i / 20, space=False) for i in range(12)], None)
