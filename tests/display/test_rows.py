from __future__ import annotations

from display_runs import run_started, some_run, trial_facts, view_of

from lagom_magic.display.rows import choose_columns, choose_rows
from lagom_magic.events.facts import Fact, TrialError, TrialState


def test_running_trials_come_first_then_the_best_then_the_failures() -> None:
    rows = choose_rows(view_of(some_run(n_complete=3)), limit=20)
    assert [trial.id for trial in rows.trials] == [5, 1, 0, 2, 3, 4]
    assert rows.n_left_out == 0


def test_a_long_run_shows_its_best_and_counts_the_rest() -> None:
    view = view_of(some_run(n_complete=200))
    rows = choose_rows(view, limit=10)
    assert len(rows.trials) == 10
    assert rows.n_left_out == 193
    assert view.best in rows.trials
    assert [trial.state for trial in rows.trials[-1:]] == [TrialState.FAILED]


def test_running_trials_leave_half_of_the_table_to_the_best() -> None:
    facts: list[Fact] = [run_started()]
    for trial_id in range(20):
        facts += trial_facts(trial_id, TrialState.COMPLETE)
    for trial_id in range(20, 60):
        facts += trial_facts(trial_id, None)
    states = [trial.state for trial in choose_rows(view_of(facts), limit=20).trials]
    assert states == [TrialState.RUNNING] * 10 + [TrialState.COMPLETE] * 10


def test_failures_fill_the_table_when_nothing_else_is_there() -> None:
    facts: list[Fact] = [run_started()]
    for trial_id in range(30):
        facts += trial_facts(trial_id, TrialState.FAILED, error=TrialError("ValueError", "no"))
    rows = choose_rows(view_of(facts), limit=20)
    assert [trial.id for trial in rows.trials] == list(range(29, 9, -1))


def test_the_best_trial_is_shown_even_where_pruned_ones_once_had_better_values() -> None:
    facts: list[Fact] = [run_started(), *trial_facts(0, TrialState.COMPLETE, 0.2)]
    for trial_id in range(1, 40):
        facts += trial_facts(trial_id, TrialState.PRUNED, 0.9)
    assert choose_rows(view_of(facts), limit=10).trials[0].id == 0


def test_hyperparameters_that_never_change_get_no_column() -> None:
    columns = choose_columns(view_of(some_run()), n_columns=8, n_characters=80)
    assert columns.varying == ["lr"]
    assert columns.constant == {"width": 32}


def test_the_only_trial_shows_all_its_hyperparameters() -> None:
    view = view_of([run_started(), *trial_facts(0, TrialState.COMPLETE)])
    assert choose_columns(view, n_columns=8, n_characters=80).varying == ["lr", "width"]


def test_fixed_hyperparameters_are_told_beside_the_searched_ones() -> None:
    facts = [run_started(hparam_names=("lr",))]
    facts += trial_facts(0, TrialState.COMPLETE, hparams={"lr": 0.1, "batch": 64})
    facts += trial_facts(1, TrialState.COMPLETE, hparams={"lr": 0.2, "batch": 64})
    columns = choose_columns(view_of(facts), n_columns=8, n_characters=80)
    assert (columns.varying, columns.constant) == (["lr"], {"batch": 64})


def test_a_conditional_hyperparameter_has_a_column() -> None:
    facts = [run_started(hparam_names=("kind", "momentum"))]
    facts += trial_facts(0, TrialState.COMPLETE, hparams={"kind": "sgd", "momentum": 0.9})
    facts += trial_facts(1, TrialState.COMPLETE, hparams={"kind": "adam"})
    assert choose_columns(view_of(facts), n_columns=8, n_characters=80).varying == ["kind", "momentum"]


def test_true_and_one_are_different_values() -> None:
    facts = [run_started(hparam_names=("flag",))]
    facts += trial_facts(0, TrialState.COMPLETE, hparams={"flag": True})
    facts += trial_facts(1, TrialState.COMPLETE, hparams={"flag": 1})
    assert choose_columns(view_of(facts), n_columns=8, n_characters=80).varying == ["flag"]


def test_columns_beyond_the_limit_are_named() -> None:
    names = tuple(f"h{i}" for i in range(12))
    facts = [run_started(hparam_names=names)]
    for trial_id in range(2):
        facts += trial_facts(trial_id, TrialState.COMPLETE, hparams=dict.fromkeys(names, trial_id))
    columns = choose_columns(view_of(facts), n_columns=8, n_characters=80)
    assert columns.varying == list(names[:8])
    assert columns.left_out == list(names[8:])


def test_long_values_take_the_room_of_columns() -> None:
    names = tuple(f"h{i}" for i in range(6))
    facts = [run_started(hparam_names=names)]
    for trial_id in range(2):
        facts += trial_facts(trial_id, TrialState.COMPLETE, hparams=dict.fromkeys(names, f"{trial_id}" * 18))
    assert choose_columns(view_of(facts), n_columns=8, n_characters=64).varying == ["h0", "h1", "h2"]
    assert choose_columns(view_of(facts), n_columns=8, n_characters=10).varying == ["h0"]


def test_metrics_beyond_the_limit_are_named() -> None:
    facts = [run_started(hparam_names=("lr",)), *trial_facts(0, TrialState.COMPLETE, hparams={"lr": 0.1})]
    view = view_of(facts)
    view.metric_names |= dict.fromkeys(("a", "b", "c"))
    columns = choose_columns(view, n_columns=8, n_characters=80)
    assert (columns.metrics, columns.metrics_left_out) == (["a", "b"], ["c"])
    assert choose_columns(view, n_columns=8, n_characters=80, n_metrics=3).metrics == ["a", "b", "c"]
    assert choose_columns(view, n_columns=1, n_characters=80).metrics_left_out == ["a", "b", "c"]
