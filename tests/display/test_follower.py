from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from display_runs import GrowingRun, run_started, some_run, trial_facts
from page import Page

from lagom_magic.display.follower import Follower
from lagom_magic.display.wire import Message
from lagom_magic.events.facts import RunEnded, RunState, TrialState


class Told:
    """Takes updates on the follower's thread, and lets a test wait for what they say."""

    def __init__(self) -> None:
        self.page, self.updates = Page(), list[Message]()
        self._changed = threading.Condition()

    def __call__(self, update: Message) -> None:
        with self._changed:
            self.updates.append(update)
            self.page.take(update)
            self._changed.notify_all()

    def wait_until(self, is_so: Callable[[Page], Any], timeout_s: float = 20.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: is_so(self.page), timeout_s), self.updates[-1:]


@pytest.fixture
def run(tmp_path: Path) -> GrowingRun:
    return GrowingRun(tmp_path / "run")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def is_driven() -> threading.Event:
    """Set while somebody drives the run."""
    event = threading.Event()
    event.set()
    return event


@pytest.fixture
def follower(run: GrowingRun, told: Told, is_driven: threading.Event) -> Iterator[Follower]:
    # It must be woken: nothing here may depend on a look that happens to come.
    follower = Follower(run.folder, told, is_driven=is_driven.is_set, look_interval_s=600)
    yield follower
    assert follower.close()


def test_a_page_is_told_as_the_run_grows(run: GrowingRun, told: Told, follower: Follower) -> None:
    follower.start()
    told.wait_until(lambda page: page.run)
    run.record([run_started(), *trial_facts(0, None)])
    run.print("[w1 t0] hello\n[w1 t0] half")
    follower.wake()
    told.wait_until(lambda page: 0 in page.trials)
    assert told.page.run["experiment"] == "digits"
    assert told.page.lines == ["[w1 t0] hello"]
    run.print(" a line\n")
    follower.wake()
    told.wait_until(lambda page: page.lines[1:] == ["[w1 t0] half a line"])
    assert [update["number"] for update in told.updates] == list(range(1, len(told.updates) + 1))


def test_without_being_woken_it_looks_itself(run: GrowingRun, told: Told, is_driven: threading.Event) -> None:
    follower = Follower(run.folder, told, is_driven=is_driven.is_set, look_interval_s=0.01)
    follower.start()
    told.wait_until(lambda page: page.run)
    run.record([run_started()])
    told.wait_until(lambda page: page.run["experiment"] == "digits")
    assert follower.close()


def test_the_thread_ends_with_the_run(
    run: GrowingRun, told: Told, follower: Follower, is_driven: threading.Event
) -> None:
    follower.start()
    run.record(some_run(is_ended=True))
    is_driven.clear()
    follower.wake()
    assert follower.wait(20)
    assert told.page.run["state"] == "COMPLETE"
    assert follower.error is None


def test_a_run_whose_driver_died_is_told_as_interrupted(
    run: GrowingRun, told: Told, follower: Follower, is_driven: threading.Event
) -> None:
    run.record(some_run())
    follower.start()
    told.wait_until(lambda page: page.run and page.run["state"] == "RUNNING")
    is_driven.clear()
    follower.wake()
    assert follower.wait(20)
    assert (told.page.run["state"], told.page.trials[5]["state"]) == ("FAILED", "STOPPED")
    assert "interrupted" in told.page.run["state_reason"]
    assert told.page.trials[5]["error"]["kind"] == "INTERRUPTED"


def test_a_folder_without_a_journal_yet_is_no_dead_run(
    run: GrowingRun, told: Told, follower: Follower, is_driven: threading.Event
) -> None:
    is_driven.clear()
    follower.start()
    told.wait_until(lambda page: page.run)
    assert told.page.run["state"] == "STARTING"
    is_driven.set()
    run.record([run_started(), *trial_facts(0, None)])
    follower.wake()
    told.wait_until(lambda page: 0 in page.trials)
    assert told.page.trials[0]["state"] == "RUNNING"


def test_a_past_run_is_told_and_again_to_a_page_that_asks_later(run: GrowingRun, told: Told) -> None:
    run.record(some_run(is_ended=True))
    run.print("[w1 t0] hello\n")
    follower = Follower(run.folder, told)  # nobody holds the journal's lock
    follower.start()
    assert follower.wait(20)
    assert len(told.updates) == 1
    late = told.page = Page()
    follower.sync(0, -1)
    told.wait_until(lambda page: page.run)
    assert follower.wait(20)
    assert (late.run["state"], len(late.trials), late.lines) == ("COMPLETE", 5, ["[w1 t0] hello"])
    assert follower.close()


def test_a_thousand_trials_reach_a_late_page_whole(run: GrowingRun, told: Told) -> None:
    run.record([run_started(n_trials=1000)])
    run.record(f for i in range(1000) for f in trial_facts(i, TrialState.COMPLETE, i / 2000))
    run.record([RunEnded(RunState.COMPLETE)])
    follower = Follower(run.folder, told)
    follower.sync(0, -1)
    assert follower.wait(60)
    assert len(told.page.trials) == 1000
    assert told.page.n_gaps == 0
    assert told.updates[0]["has_more"]
    assert follower.close()


def test_updates_come_at_most_ten_times_a_second(
    run: GrowingRun, told: Told, follower: Follower, is_driven: threading.Event
) -> None:
    follower.start()
    run.record([run_started()])
    for trial_id in range(300):
        run.record(trial_facts(trial_id, TrialState.COMPLETE))
        follower.wake()
    told.wait_until(lambda page: 299 in page.trials)
    assert len(told.updates) < 30


def test_a_page_that_is_gone_ends_the_thread_and_says_so(
    run: GrowingRun, is_driven: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(_: Message) -> None:
        raise BrokenPipeError("the page is gone")

    follower = Follower(run.folder, gone, is_driven=is_driven.is_set, look_interval_s=600)
    follower.start()
    assert follower.wait(20)
    assert isinstance(follower.error, BrokenPipeError)
    assert "told no more: BrokenPipeError: the page is gone" in caplog.text
    assert follower.close()


def test_a_follower_that_was_never_started_closes_and_cannot_be_started_then(run: GrowingRun, told: Told) -> None:
    follower = Follower(run.folder, told)
    assert follower.close()
    follower.sync(0, -1)
    assert follower.wait(1)
    assert told.updates == []


def test_it_can_be_closed_in_the_middle(run: GrowingRun, told: Told, follower: Follower) -> None:
    run.record([run_started(), *trial_facts(0, None)])
    run.print("[w1 t0] hello\n")
    follower.start()
    told.wait_until(lambda page: page.lines)
    assert follower.close()


def test_a_folder_that_cannot_be_read_for_a_while_is_told_and_followed_on(
    run: GrowingRun, told: Told, follower: Follower, caplog: pytest.LogCaptureFixture
) -> None:
    run.record([run_started()])
    follower.start()
    told.wait_until(lambda page: page.run)
    journal = run.folder / "events.jsonl"
    journal.rename(run.folder / "aside")
    journal.mkdir()
    follower.wake()
    while not isinstance(follower.error, IsADirectoryError):
        time.sleep(0.01)
    journal.rmdir()
    (run.folder / "aside").rename(journal)
    run.record(trial_facts(0, None))
    told.wait_until(lambda page: 0 in page.trials)
    assert [record.message for record in caplog.records if "cannot be read just now" in record.message] != []
