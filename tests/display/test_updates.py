from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from display_runs import BEGAN, run_started, some_run, trial_facts, view_of
from page import Page

from lagom_magic.display.updates import LINES_LIMIT, LineRing, Updates
from lagom_magic.display.viewmodel import trial_row
from lagom_magic.display.wire import MESSAGE_LIMIT_BYTES, wire_size
from lagom_magic.events.facts import (
    Fact,
    MetricReported,
    Noticed,
    RunEnded,
    RunState,
    TrialEnded,
    TrialError,
    TrialStarted,
    TrialState,
    WorkerRegistered,
)
from lagom_magic.events.fold import RunView, fold


def all_of(updates: Updates) -> Iterator[dict[str, Any]]:
    while (update := updates.next(BEGAN)) is not None:
        assert wire_size(update) <= MESSAGE_LIMIT_BYTES
        yield update


def add(view: RunView, *facts: Fact) -> None:
    for fact in facts:
        fold(view, fact, BEGAN + view.n_facts)


def rows_of(view: RunView) -> dict[int, dict[str, Any]]:
    return {trial.id: json.loads(json.dumps(trial_row(trial))) for trial in view.trials.values()}


@pytest.fixture
def page() -> Page:
    return Page()


def test_a_small_run_travels_in_one_update(page: Page) -> None:
    view = view_of(some_run())
    (update,) = all_of(Updates(view, LineRing()))
    page.take(update)
    assert (update["number"], update["since"], update["seq"], update["has_more"]) == (1, 0, len(some_run()), False)
    assert page.trials == rows_of(view)


def test_a_page_is_told_of_a_run_without_a_line() -> None:
    (update,) = all_of(Updates(RunView(), LineRing()))
    assert (update["run"]["state"], update["trials"], update["lines"]) == ("STARTING", [], None)


def test_nothing_new_is_no_update() -> None:
    updates = Updates(view_of(some_run()), LineRing())
    assert len(list(all_of(updates))) == 1
    assert list(all_of(updates)) == []


def test_only_changed_trials_travel() -> None:
    view = view_of(some_run())
    updates = Updates(view, LineRing())
    list(all_of(updates))
    add(view, MetricReported(5, 1, 1, 3, {"accuracy": 0.6}))
    (update,) = all_of(updates)
    assert [row["id"] for row in update["trials"]] == [5]
    assert (update["number"], update["since"], update["seq"]) == (2, view.n_facts - 1, view.n_facts)


def test_facts_that_change_nothing_a_page_sees_are_no_update() -> None:
    view = view_of(some_run())
    updates = Updates(view, LineRing())
    list(all_of(updates))
    add(view, MetricReported(0, 1, 1, 9, {"accuracy": 1.0}))  # of a trial that has ended
    assert list(all_of(updates)) == []
    add(view, Noticed("fewer slots"))
    (update,) = all_of(updates)
    assert update["run"]["notices"] == ["fewer slots"]


@pytest.mark.parametrize("cut", range(0, 24, 3))
def test_a_page_that_follows_holds_what_a_late_one_gets(cut: int, page: Page) -> None:
    facts = some_run()
    view = view_of(facts[:cut])
    updates = Updates(view, LineRing())
    page.take_all(all_of(updates))
    add(view, *facts[cut:])
    page.take_all(all_of(updates))
    late = Page()
    late.take_all(all_of(Updates(view, LineRing())))
    assert page.trials == late.trials == rows_of(view)
    assert page.run == late.run
    assert page.n_gaps == 0


def test_ten_thousand_trials_come_in_pages_in_the_order_of_their_changes(page: Page) -> None:
    facts = [f for i in range(10_000) for f in trial_facts(i, TrialState.COMPLETE, i / 20_000, n_steps=1)]
    view = view_of([run_started(n_trials=10_000), *facts])
    updates = list(all_of(Updates(view, LineRing())))
    page.take_all(updates)
    assert [update["has_more"] for update in updates] == [True] * (len(updates) - 1) + [False]
    assert 20 < len(updates) < 200
    changes = [row["changed_at"] for update in updates for row in update["trials"]]
    assert changes == sorted(changes)
    assert len(page.trials) == 10_000


def test_a_trial_that_changes_while_pages_travel_comes_again(page: Page) -> None:
    view = view_of([run_started(), *[f for i in range(500) for f in trial_facts(i, None)]])
    updates = Updates(view, LineRing())
    first = updates.next(BEGAN)
    assert first is not None
    assert first["has_more"]
    page.take(first)
    add(view, MetricReported(0, 1, 1, 9, {"accuracy": 0.9}))
    page.take_all(all_of(updates))
    assert page.trials == rows_of(view)
    assert page.trials[0]["step"] == 9


def test_a_page_that_missed_an_update_asks_for_it_again(page: Page) -> None:
    view = view_of(some_run()[:8])
    lines = LineRing()
    updates = Updates(view, lines)
    page.take_all(all_of(updates))
    add(view, *some_run()[8:14])
    lines.add(["one"])
    list(all_of(updates))  # lost
    add(view, *some_run()[14:])
    lines.add(["two"])
    page.take_all(all_of(updates))
    assert page.n_gaps == 1
    updates.sync(page.seq, page.line)
    page.take_all(all_of(updates))
    assert page.trials == rows_of(view)
    assert page.lines == ["one", "two"]


def test_a_page_that_asks_for_everything_gets_everything_again(page: Page) -> None:
    view = view_of(some_run())
    updates = Updates(view, LineRing())
    list(all_of(updates))
    updates.sync(0, -1)
    (update,) = all_of(updates)
    assert update["number"] == 2
    page.take(update)
    assert page.trials == rows_of(view)


def test_a_page_that_knows_of_more_than_there_is_gets_what_comes() -> None:
    view = view_of(some_run())
    updates = Updates(view, LineRing())
    updates.sync(10**9, 10**9)
    (update,) = all_of(updates)
    assert (update["trials"], update["seq"]) == ([], view.n_facts)


def test_lines_are_counted_and_what_is_left_out_is_said(page: Page) -> None:
    view, lines = view_of(some_run()), LineRing()
    updates = Updates(view, lines)
    lines.add(f"[w1 t0] line {i}" for i in range(LINES_LIMIT + 500))
    first = updates.next(BEGAN)
    assert first is not None
    assert (first["lines"]["begin"], first["lines"]["n_skipped"]) == (0, 500)
    assert first["lines"]["end"] == 500 + len(first["lines"]["texts"])
    page.take(first)
    page.take_all(all_of(updates))
    assert len(page.lines) == LINES_LIMIT
    assert page.lines[-1] == f"[w1 t0] line {LINES_LIMIT + 499}"
    assert page.line == LINES_LIMIT + 500


def test_a_late_page_that_wants_the_end_only_is_not_told_of_what_was_left_out() -> None:
    lines = LineRing()
    lines.add(str(i) for i in range(LINES_LIMIT + 10))
    updates = Updates(view_of(some_run()), lines)
    updates.sync(0, -1)
    update = updates.next(BEGAN)
    assert update is not None
    assert (update["lines"]["begin"], update["lines"]["n_skipped"]) == (10, 0)


def test_a_long_line_is_cut() -> None:
    lines = LineRing()
    lines.add(["x" * 100_000])
    (update,) = all_of(Updates(view_of(some_run()), lines))
    assert update["lines"]["texts"] == ["x" * 4000 + "…"]


@pytest.mark.parametrize("sign", ["漢", "😀", chr(34)])
def test_no_message_is_larger_than_64_kib_whatever_the_run_holds(sign: str) -> None:
    wide = sign * 500
    view = view_of(
        [
            run_started(experiment=wide, metric=wide, hparam_names=tuple(f"{i}{wide}" for i in range(300))),
            *[WorkerRegistered(i, 1, wide, 1, (wide,) * 50) for i in range(1, 200)],
            *[Noticed(wide) for _ in range(100)],
            *[TrialStarted(i, 1, 1, {f"{n}{wide}": wide for n in range(20)}) for i in range(40)],
            *[MetricReported(i, 1, 1, 1, {f"{n}{wide}": 0.5 for n in range(100)}) for i in range(40)],
            *[_failed(i, wide) for i in range(40)],
            RunEnded(RunState.FAILED, wide),
        ]
    )
    lines = LineRing()
    lines.add(sign * 5000 for _ in range(50))
    updates = list(all_of(Updates(view, lines)))  # which checks the sizes
    assert updates[-1]["seq"] == view.n_facts
    assert sum(len(update["lines"]["texts"]) for update in updates if update["lines"]) == 50


def _failed(trial_id: int, text: str) -> TrialEnded:
    return TrialEnded(trial_id, 1, 1, TrialState.FAILED, {}, None, 1.0, TrialError(text, text, text))
