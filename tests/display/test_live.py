from __future__ import annotations

import fcntl
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from display_runs import BEGAN, AwaitedPublisher, GrowingRun, run_started, some_run, trial_facts

from lagom_magic.display.live import Display, readable_folder, render
from lagom_magic.display.publisher import Bundle, RecordingPublisher, TerminalPublisher
from lagom_magic.events.facts import RunEnded, RunState, TrialState
from lagom_magic.store.journal import INTERRUPTED, read_view


def at_the_beginning() -> float:
    return BEGAN


def test_the_table_follows_the_run(tmp_path: Path) -> None:
    run, publisher = GrowingRun(tmp_path / "run"), AwaitedPublisher()
    with Display(run.folder, publisher, at_the_beginning) as display:
        publisher.wait_until(lambda: "starting" in publisher.text)
        run.record([run_started(), *trial_facts(0, None)])
        display.wake()
        publisher.wait_until(lambda: "RUNNING" in publisher.text)
        run.record([*trial_facts(0, TrialState.COMPLETE)[-1:], RunEnded(RunState.COMPLETE)])
    assert "· complete · 1 of 30 trials" in publisher.text
    assert publisher.is_final
    assert display.error is None


def test_prints_are_shown_while_the_run_lives(tmp_path: Path) -> None:
    run, publisher = GrowingRun(tmp_path / "run"), AwaitedPublisher()
    with Display(run.folder, publisher, at_the_beginning) as display:
        run.print("[w1 t0] first\n")
        display.wake()
        publisher.wait_until(lambda: "[w1 t0] first\n" in publisher.batches)
        run.print("[w1 t0] last\n")
    assert "".join(publisher.batches) == "[w1 t0] first\n[w1 t0] last\n"


def test_news_is_shown_without_another_wake(tmp_path: Path) -> None:
    run, publisher = GrowingRun(tmp_path / "run"), AwaitedPublisher()
    with Display(run.folder, publisher, at_the_beginning) as display:
        publisher.wait_until(lambda: bool(publisher.bundles))
        run.record([run_started()])
        display.wake()
        publisher.wait_until(lambda: "digits" in publisher.text)
        run.record([*trial_facts(0, None)])  # within the interval in which the table is not drawn again
        display.wake()
        publisher.wait_until(lambda: "RUNNING" in publisher.text)


def test_many_wakes_draw_few_tables(tmp_path: Path) -> None:
    run, publisher = GrowingRun(tmp_path / "run"), AwaitedPublisher()
    with Display(run.folder, publisher, at_the_beginning) as display:
        run.record([run_started()])
        for trial_id in range(200):
            run.record(trial_facts(trial_id, TrialState.COMPLETE))
            display.wake()
    assert len(publisher.bundles) < 10
    assert "200 of 30 trials" in publisher.text


def test_an_unchanged_table_is_not_sent_again(tmp_path: Path) -> None:
    run, publisher = GrowingRun(tmp_path / "run"), AwaitedPublisher()
    run.record([run_started()])
    with Display(run.folder, publisher, at_the_beginning) as display:
        for number in range(3):
            run.print(f"[w1] {number}\n")
            display.wake()
            publisher.wait_until(lambda number=number: f"[w1] {number}\n" in "".join(publisher.batches))  # type: ignore[misc]
    assert len(publisher.bundles) == 2  # the first one, and the final one


def test_without_a_front_end_the_table_comes_once_at_the_end(tmp_path: Path) -> None:
    run, publisher = GrowingRun(tmp_path / "run"), AwaitedPublisher(is_live=False)
    with Display(run.folder, publisher, at_the_beginning) as display:
        run.record(some_run(is_ended=True))
        run.print("[w1 t0] hello\n")
        display.wake()
        publisher.wait_until(lambda: bool(publisher.batches))
    assert len(publisher.bundles) == 1


def test_a_display_may_end_without_a_final_table(tmp_path: Path) -> None:
    publisher = AwaitedPublisher(is_live=False)
    display = Display(GrowingRun(tmp_path / "run").folder, publisher)
    display.start()
    assert display.close(final=False)
    assert publisher.bundles == []


def test_a_display_that_was_never_started_closes(tmp_path: Path) -> None:
    assert Display(tmp_path, RecordingPublisher()).close()


class _Failing(AwaitedPublisher):
    def show(self, bundle: Bundle, is_final: bool) -> None:
        super().show(bundle, is_final)
        if not is_final:
            raise OSError("the front end is gone")


def test_a_failing_publisher_is_logged_once_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run, publisher = GrowingRun(tmp_path / "run"), _Failing()
    with caplog.at_level(logging.ERROR, "lagom_magic"), Display(run.folder, publisher, at_the_beginning) as display:
        publisher.wait_until(lambda: bool(publisher.bundles))
        run.record(some_run(is_ended=True))
        display.wake()
        publisher.wait_until(lambda: "complete" in publisher.text)
    assert publisher.is_final
    assert str(display.error) == "the front end is gone"
    assert [record.message.split(" failed")[1] for record in caplog.records] == ["; the run goes on."]


class _Hanging(RecordingPublisher):
    def __init__(self) -> None:
        super().__init__()
        self.is_here, self.may_go = threading.Event(), threading.Event()

    def show(self, bundle: Bundle, is_final: bool) -> None:
        self.is_here.set()
        self.may_go.wait(30)


def test_a_hanging_publisher_does_not_hold_up_the_end(tmp_path: Path) -> None:
    publisher = _Hanging()
    display = Display(GrowingRun(tmp_path / "run").folder, publisher)
    display.start()
    assert publisher.is_here.wait(10)
    assert not display.close(timeout_s=0.05)
    publisher.may_go.set()
    assert display.close()


_OTHER_DRIVER = """
import json, sys
from pathlib import Path
from lagom_magic.events.facts import from_record
from lagom_magic.store.journal import JournalWriter

writer = JournalWriter(Path(sys.argv[1]) / "events.jsonl", sys.exit)
for line in sys.stdin:
    record = json.loads(line)
    writer.append(from_record(record), record["time"])
    writer.flush()
    print("written", flush=True)
writer.close()
"""


def test_a_run_that_another_process_drives_looks_the_same(tmp_path: Path) -> None:
    here, there = GrowingRun(tmp_path / "here"), GrowingRun(tmp_path / "there")
    here.record(some_run(is_ended=True))
    lines = (here.folder / "events.jsonl").read_text().splitlines()
    publisher = AwaitedPublisher()
    driver = subprocess.Popen(
        [sys.executable, "-c", _OTHER_DRIVER, str(there.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    with driver, Display(there.folder, publisher, at_the_beginning) as display:
        assert driver.stdin is not None
        assert driver.stdout is not None
        for line in lines:
            driver.stdin.write(line + "\n")
            driver.stdin.flush()
            assert driver.stdout.readline() == "written\n"
            display.wake()
        publisher.wait_until(lambda: "· complete ·" in publisher.text)
    assert publisher.bundles[-1] == render(read_view(here.folder), BEGAN, str(there.folder))
    assert json.loads(lines[-1])["type"] == "run_ended"


@contextmanager
def driven(run: GrowingRun) -> Iterator[None]:
    """While it lasts, somebody drives the run."""
    with open(run.folder / "events.jsonl", "ab") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        yield


def test_a_driver_that_dies_while_its_run_is_shown_leaves_it_interrupted(tmp_path: Path) -> None:
    run, publisher = GrowingRun(tmp_path / "run"), AwaitedPublisher()
    with Display(run.folder, publisher, at_the_beginning) as display, driven(run):
        run.record(some_run())
        display.wake()
        publisher.wait_until(lambda: "RUNNING" in publisher.text)
    for face in publisher.bundles[-1].values():
        assert INTERRUPTED in face
        assert "running on 1" not in face
    assert "· failed · 6 of 30 trials" in publisher.text
    assert "5     STOPPED" in publisher.text


def test_a_run_that_goes_on_is_left_as_it_runs(tmp_path: Path) -> None:
    run, publisher = GrowingRun(tmp_path / "run"), AwaitedPublisher()
    with driven(run):
        run.record(some_run())
        display = Display(run.folder, publisher, at_the_beginning)
        display.start()
        display.leave()
    assert "· running on 1 worker ·" in publisher.text
    assert "5     RUNNING" in publisher.text


def test_a_folder_below_here_is_shown_as_a_person_would_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert readable_folder(tmp_path / "lagom_runs" / "digits") == "lagom_runs/digits"
    assert readable_folder(Path("lagom_runs")) == "lagom_runs"
    assert readable_folder(Path("/elsewhere")) == "/elsewhere"


def test_a_terminal_gets_the_lines_and_then_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = GrowingRun(tmp_path / "run")
    run.record(some_run(is_ended=True))
    run.print("[w1 t0] hello\n")
    with Display(run.folder, TerminalPublisher(sys.stdout)):
        pass
    out = capsys.readouterr().out.split("\n")
    assert out[:2] == [
        "[w1 t0] hello",
        "digits 20261122-093000-k3f7 · complete · 5 of 30 trials · 25 s, 10 s of trials",
    ]
