"""The table of an ablation, from the facts of its trials."""

from __future__ import annotations

import math
import random
import time
from typing import Any

import pytest
from ablation_facts import Outcome, ablate_started, ablation_facts, repeat_facts, view_of

from lagom_magic.events.facts import RunEnded, RunState, TrialRequeued, TrialStarted
from lagom_magic.statistics.ablation import Ablation, AblationRow, ablation_of
from lagom_magic.statistics.paired import difference

BASELINE = [0.941, 0.938, 0.944, 0.947, 0.936]
VITAL = [0.741, 0.703, 0.759, 0.722, 0.748]
USELESS = [0.943, 0.934, 0.945, 0.946, 0.938]
HARMFUL = [0.957, 0.951, 0.962, 0.959, 0.956]


def table(outcomes: dict[str, list[Outcome]], **options: Any) -> Ablation:
    return ablation_of(view_of(ablation_facts(outcomes, **options)))


def row(ablation: Ablation, component: str, metric: str = "accuracy") -> AblationRow:
    (found,) = [one for one in ablation.rows if (one.component, one.metric) == (component, metric)]
    return found


def labels(ablation: Ablation) -> list[str]:
    return [one.component for one in ablation.rows if one.metric == ablation.rows[0].metric]


def test_each_component_is_compared_with_the_baseline_over_the_same_repeats() -> None:
    found = table({"baseline": BASELINE, "vital": VITAL, "useless": USELESS})
    vital = row(found, "vital")
    expected = difference(list(zip(VITAL, BASELINE, strict=True)))
    assert (vital.delta, vital.ci_low, vital.ci_high, vital.p) == (
        expected.mean,
        expected.low,
        expected.high,
        expected.p,
    )
    assert (vital.n, vital.effect_size, vital.state) == (5, expected.effect_size, "COMPLETE")
    assert vital.mean == pytest.approx(sum(VITAL) / 5)
    assert vital.p_holm == pytest.approx(2 * (expected.p or 0.0))
    baseline = row(found, "baseline")
    assert (baseline.mean, baseline.n, baseline.delta, baseline.p, baseline.evidence) == (
        pytest.approx(0.9412),
        5,
        None,
        None,
        None,
    )
    assert baseline.sd == pytest.approx(0.0044385, abs=1e-6)


def test_the_worst_loss_comes_first_and_the_baseline_above_it() -> None:
    outcomes: dict[str, list[Outcome]] = {
        "harmful": list(HARMFUL),
        "useless": list(USELESS),
        "vital": list(VITAL),
        "baseline": list(BASELINE),
    }
    assert labels(table(outcomes)) == ["baseline", "vital", "useless", "harmful"]
    assert labels(table(outcomes, direction="min")) == ["baseline", "harmful", "useless", "vital"]


def test_evidence_is_said_as_worse_or_better_in_the_direction_of_the_run() -> None:
    outcomes: dict[str, list[Outcome]] = {
        "baseline": list(BASELINE),
        "vital": list(VITAL),
        "useless": list(USELESS),
        "harmful": list(HARMFUL),
    }
    for direction, expected in [("max", ["worse", "none", "better"]), ("min", ["better", "none", "worse"])]:
        found = table(outcomes, direction=direction)
        assert [row(found, name).evidence for name in ("vital", "useless", "harmful")] == expected


def test_of_other_metrics_evidence_is_said_as_higher_or_lower_in_the_same_order_of_components() -> None:
    def outcomes(accuracies: list[float], loss: float) -> list[Outcome]:
        return [{"loss": loss + value, "accuracy": value} for value in accuracies]

    found = table(
        {"baseline": outcomes(BASELINE, 0.0), "useless": outcomes(USELESS, 0.5), "vital": outcomes(VITAL, -0.5)}
    )
    assert [(one.metric, one.component) for one in found.rows] == [
        (metric, component) for metric in ("accuracy", "loss") for component in ("baseline", "vital", "useless")
    ]
    assert [row(found, name, "loss").evidence for name in ("vital", "useless")] == ["lower", "higher"]


def test_a_returned_number_is_the_metric_that_counts_and_no_second_one() -> None:
    facts = ablation_facts({"baseline": [{"accuracy": 0.1, "metric": 0.9}]}, is_ended=False)
    facts += repeat_facts(1, "a", 0, "RUNNING")[:1]
    facts += repeat_facts(2, "b", 0, {"metric": 0.7, "accuracy": 0.3})
    view = view_of(facts)
    view.trials[0].metric, view.trials[2].metric = 0.9, 0.7
    found = ablation_of(view)
    assert {one.metric for one in found.rows} == {"accuracy"}
    assert row(found, "b").delta == pytest.approx(-0.2)


def test_one_repeat_has_differences_without_an_interval_and_says_so() -> None:
    found = table({"baseline": [0.9], "a": [0.8]})
    one = row(found, "a")
    assert (one.delta, one.n) == (pytest.approx(-0.1), 1)
    assert one.ci_low is one.ci_high is one.p is one.p_holm is one.evidence is one.effect_size is None
    assert found.notices == ("One repeat: differences without an interval; --repeats 5 tells what is noise.",)


def test_the_first_of_several_planned_repeats_is_not_called_the_only_one() -> None:
    facts = ablation_facts({"baseline": [0.9], "a": [0.8]}, is_ended=False, n_trials=10)
    assert ablation_of(view_of(facts)).notices == ()
    assert ablation_of(view_of([*facts, RunEnded(RunState.STOPPED)])).notices != ()
    facts = ablation_facts({"baseline": [0.9], "a": ["RUNNING"]}, is_ended=False, n_trials=2)
    assert len(ablation_of(view_of(facts)).notices) == 1


def test_a_component_that_failed_is_a_row_with_its_reason_at_the_end() -> None:
    found = table({"baseline": [0.9, 0.8], "broken": ["FAILED", "FAILED"], "late": ["STOPPED"], "a": [0.95, 0.96]})
    assert labels(found) == ["baseline", "a", "late", "broken"]
    broken = row(found, "broken")
    assert (broken.state, broken.reason, broken.n, broken.delta) == ("FAILED", "ValueError: shapes differ", 0, None)
    assert row(found, "late").state == "STOPPED"
    assert row(found, "a").p_holm == row(found, "a").p  # what was not tested does not count
    assert found.notices == ()


def test_a_component_runs_while_one_of_its_trials_does() -> None:
    found = table({"baseline": [0.9, "RUNNING"], "a": ["FAILED", "RUNNING"], "b": ["RUNNING"]}, is_ended=False)
    assert [one.state for one in found.rows] == ["RUNNING"] * 3
    assert row(found, "a").reason == "ValueError: shapes differ"


def test_only_complete_repeats_count_and_the_others_are_named() -> None:
    found = table({"baseline": [*BASELINE[:4], "FAILED"], "a": ["PRUNED", *VITAL[1:]], "b": [*USELESS[:4], math.nan]})
    assert [row(found, name).n for name in ("baseline", "a", "b")] == [4, 3, 4]
    assert row(found, "a").mean == pytest.approx(sum(VITAL[1:]) / 4)
    assert found.notices == (
        "Only complete repeats count. Left out: baseline (1 failed), a (1 pruned), b (1 without a finite number). "
        "A repeat without its baseline has no difference.",
    )


def test_without_a_baseline_there_is_nothing_to_compare_with() -> None:
    found = table({"baseline": ["FAILED"], "a": [0.9]})
    assert (row(found, "a").mean, row(found, "a").delta) == (0.9, None)
    assert found.notices[0] == (
        "No repeat of the baseline is complete: ValueError: shapes differ. There is nothing to compare with."
    )


def test_repeats_that_never_differ_are_said_to_have_no_noise() -> None:
    found = table({"baseline": [0.9, 0.9, 0.9], "a": [0.8, 0.8, 0.8], "b": [0.9, 0.9, 0.9]})
    assert (row(found, "a").delta, row(found, "a").p_holm, row(found, "a").evidence) == (
        pytest.approx(-0.1),
        None,
        None,
    )
    assert (row(found, "a").ci_low, row(found, "b").evidence) == (None, "none")
    assert [notice.partition(":")[0] for notice in found.notices] == [
        "The repeats never differ",
        "The same as the baseline in every metric and repeat, to the last bit",
    ]


def test_a_component_that_never_differs_from_the_baseline_is_told() -> None:
    found = table({"baseline": [0.90, 0.91, 0.93], "a": [0.90, 0.91, 0.93], "b": [0.90, 0.91, 0.92]})
    assert [notice for notice in found.notices if notice.startswith("The same as")] == [
        "The same as the baseline in every metric and repeat, to the last bit: a. It plays no part in what is "
        "measured, or the function did not do without it."
    ]


def test_the_same_difference_by_chance_is_no_evidence_and_is_explained() -> None:
    found = table({"baseline": [0.97, 0.975], "a": [0.965, 0.97], "b": [0.96, 0.985]})
    assert row(found, "a").evidence == "none"
    assert found.notices == (
        "The same difference in every repeat: a. Its interval takes the noise to be that of rounding: "
        "the smallest step between repeats of accuracy is 0.005.",
    )


def test_the_newest_attempt_counts() -> None:
    facts = ablation_facts({"baseline": [0.9], "a": ["FAILED"]}, is_ended=False)
    facts += [TrialRequeued(1, 2, "retried"), TrialStarted(1, 2, 1, {"component": "a", "repeat": 0})]
    view = view_of(facts)
    assert (row(ablation_of(view), "a").state, row(ablation_of(view), "a").reason) == ("RUNNING", "")


def test_parameters_change_and_seconds_stand_beside_each_metric() -> None:
    facts = ablation_facts({"baseline": [0.9]}, is_ended=False)
    facts += repeat_facts(1, "a", 0, 0.8, n_parameters=120, changes=("conv2: identity in its place", "b: zero"))
    facts += repeat_facts(2, "a", 1, 0.8, n_parameters=120, duration_s=2.5)
    found = row(ablation_of(view_of(facts)), "a")
    assert (found.parameters, found.change, found.seconds) == (120, "conv2: identity in its place; b: zero", 2.0)


def test_seconds_are_of_a_step_where_every_trial_reports_steps() -> None:
    stepping = table({"baseline": [0.9], "a": [0.8]}, n_steps=3)
    assert (stepping.unit, row(stepping, "a").seconds) == ("step", 0.5)
    silent = table({"baseline": [0.9], "a": [0.8]})
    assert (silent.unit, row(silent, "a").seconds) == ("trial", 1.5)


def test_the_first_trial_of_a_worker_which_pays_for_imports_says_nothing_of_seconds() -> None:
    facts = ablation_facts({"baseline": []}, is_ended=False)
    facts += repeat_facts(0, "baseline", 0, 0.9, duration_s=60.0)
    facts += repeat_facts(1, "a", 0, 0.8, duration_s=2.0)
    alone = ablation_of(view_of(facts))
    assert (row(alone, "baseline").seconds, row(alone, "a").seconds) == (None, 2.0)
    for trial_id, seconds in ((2, 3.0), (3, 1.0), (4, 50.0)):
        facts += repeat_facts(trial_id, "baseline", trial_id, 0.9, duration_s=seconds)
    assert row(ablation_of(view_of(facts)), "baseline").seconds == 3.0


def test_a_pair_has_its_interaction_beyond_the_two_alone() -> None:
    a, b = [value - 0.01 for value in USELESS], [value - 0.02 for value in HARMFUL]
    both = [0.751, 0.742, 0.744, 0.757, 0.739]
    found = table({"baseline": BASELINE, "a": a, "b": b, "a + b": both, "alone + b": USELESS})
    beyond = difference([(both[i] + BASELINE[i], a[i] + b[i]) for i in range(5)])
    pair = row(found, "a + b")
    assert (pair.interaction, pair.interaction_low, pair.interaction_high) == (beyond.mean, beyond.low, beyond.high)
    assert pair.interaction_p_holm == beyond.p
    assert pair.evidence == "worse"
    assert row(found, "a").interaction is row(found, "alone + b").interaction is None


def test_a_pair_of_labels_that_hold_a_plus_themselves_is_found() -> None:
    found = table({"baseline": BASELINE, "a + b": USELESS, "c": USELESS, "a + b + c": VITAL})
    assert row(found, "a + b").interaction is None
    assert row(found, "a + b + c").interaction is not None


def test_a_run_that_begins_has_no_rows_and_then_the_baseline_at_once() -> None:
    assert ablation_of(view_of([ablate_started()])).rows == ()
    found = ablation_of(view_of([ablate_started(), *repeat_facts(0, "a", 0, "RUNNING")]))
    assert [(one.component, one.state) for one in found.rows] == [("baseline", "WAITING"), ("a", "RUNNING")]


def test_what_does_not_matter_is_no_evidence_and_what_matters_is_in_nearly_every_study() -> None:
    """Four null components and one that costs two standard deviations, five repeats, 200 studies."""
    n_false = n_found = 0
    for seed in range(200):
        rng = random.Random(seed)
        noise = [rng.gauss(0, 0.01) for _ in range(5)]

        def repeats(effect: float, noise: list[float] = noise, rng: random.Random = rng) -> list[Outcome]:
            return [0.9 + effect + common + rng.gauss(0, 0.005) for common in noise]

        nulls = {f"null {k}": repeats(0.0) for k in range(4)}
        found = table({"baseline": repeats(0.0), "vital": repeats(-0.05), **nulls})
        n_false += any(row(found, name).evidence != "none" for name in nulls)
        n_found += row(found, "vital").evidence == "worse"
    assert n_false <= 0.05 * 200 + 3
    assert n_found >= 190


def test_ten_thousand_trials_are_folded_within_a_redraw() -> None:
    rng = random.Random(0)
    outcomes: dict[str, list[Outcome]] = {
        component: [{"accuracy": rng.random(), "loss": rng.random()} for _ in range(100)]
        for component in ["baseline", *(f"c{k}" for k in range(99))]
    }
    view = view_of(ablation_facts(outcomes))
    costs_s = []
    for _ in range(5):
        began = time.process_time()
        assert len(ablation_of(view).rows) == 200
        costs_s.append(time.process_time() - began)
    assert min(costs_s) < 0.2
