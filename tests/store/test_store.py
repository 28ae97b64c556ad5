from __future__ import annotations

import hashlib
import json
import os
import threading
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from store_runs import Written, begun, complete_trial, record, run_on_disk, store_in, whole_run
from stumbling import interrupted_at

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.events.facts import (
    RunEnded,
    RunState,
    TrialEnded,
    TrialError,
    TrialRequeued,
    TrialStarted,
    TrialState,
    WorkerLost,
)
from lagom_magic.store.call import StoredCall, read_call
from lagom_magic.store.console import WorkerConsole
from lagom_magic.store.journal import JournalReader, is_being_written
from lagom_magic.store.layout import RunLayout
from lagom_magic.store.store import RunStore


def test_a_run_leaves_the_promised_files(tmp_path: Path) -> None:
    root = run_on_disk(tmp_path)
    assert sorted(os.listdir(root)) == [
        "environment.txt",
        "events.jsonl",
        "result.json",
        "run.json",
        "source.py",
        "tensorboard",
        "trials",
    ]
    assert sorted(os.listdir(root / "trials")) == ["0000", "0001", "0002"]
    assert {name for name in os.listdir(root / "tensorboard") if len(name) == 4} == {"0000", "0001", "0002"}


def test_run_json_says_what_was_asked_for(tmp_path: Path) -> None:
    document = json.loads((run_on_disk(tmp_path) / "run.json").read_text())
    assert document["format"] == 1
    assert document["kind"] == "hpo"
    assert document["searchspace"]["lr"]["kind"] == "Float"
    assert document["driver"]["pid"] == os.getpid()


def test_trial_json_says_how_the_trial_ended(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        error = TrialError("ValueError", "shapes differ", "Traceback …")
        facts = [TrialStarted(7, 1, 1, {"lr": 0.1}), TrialEnded(7, 1, 1, TrialState.FAILED, error=error)]
        record(store, [*begun(), *facts])
    document = json.loads(store.layout.trial_json(7, 1).read_text())
    assert document["state"] == "FAILED"
    assert document["hparams"] == {"lr": 0.1}
    assert document["error"] == {"kind": "ValueError", "message": "shapes differ", "traceback": "Traceback …"}


def test_result_json_holds_maggys_keys_and_what_the_driver_adds(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        record(store, whole_run())
        store.close({"extra": 1})
    result = json.loads(store.layout.result.read_text())
    assert (result["state"], result["best_id"], result["best_val"], result["num_trials"]) == ("COMPLETE", 1, 0.9, 3)
    assert result["extra"] == 1


def test_facts_are_in_the_journal_when_flush_returns(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        record(store, begun())
        assert len(JournalReader(store.layout.root).read_new()) == 2


def test_output_goes_raw_to_its_file_and_as_lines_to_the_console(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        record(store, [*begun(), TrialStarted(7, 1, 1, {})])
        store.write_output(1, 7, 1, b"\r10%\r100%\nhi \xff")
        store.write_output(1, None, 1, b"starting\n")
        store.write_output(1, 7, 2, b"only in the file\n", False)
    assert store.layout.output_log(1, 7, 1).read_bytes() == b"\r10%\r100%\nhi \xff"
    assert store.layout.output_log(1, 7, 2).read_bytes() == b"only in the file\n"
    assert store.layout.output_log(1, None, 1).read_bytes() == b"starting\n"
    assert store.layout.console.read_text() == "[w1 t7] 100%\n[w1 t7] hi \\xff\n[w1] starting\n"


def test_a_line_without_an_end_is_shown_when_its_trial_ends(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        written = Written(store)
        record(store, [*begun(), TrialStarted(0, 1, 1, {})])
        store.write_output(1, 0, 1, b"no newline")
        record(store, [TrialEnded(0, 1, 1, TrialState.COMPLETE, {}, 0.5)])
        written.wait_until(store.layout.console.exists)
        assert store.layout.console.read_text() == "[w1 t0] no newline\n"


def test_the_count_of_skipped_lines_is_told_while_the_trial_goes_on_silently(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        written = Written(store)
        record(store, [*begun(), TrialStarted(0, 1, 1, {})])
        store.write_output(1, 0, 1, b"x\n" * 1000)
        told = "[w1 t0] … 600 lines skipped, all in trials/0000/output.log"
        written.wait_until(lambda: store.layout.console.exists() and told in store.layout.console.read_text())


def test_late_facts_of_an_old_attempt_leave_no_trace_but_the_journals(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        late = TrialEnded(0, 1, 1, TrialState.COMPLETE, {"accuracy": 0.99}, 0.99)
        facts = [TrialStarted(0, 1, 1, {}), WorkerLost(1, 1, "reset"), TrialRequeued(0, 2, "lost"), late]
        ended = TrialEnded(0, 2, 2, TrialState.COMPLETE, {"accuracy": 0.5}, 0.5)
        record(store, [*begun(), *facts, TrialStarted(0, 2, 2, {}), ended, RunEnded(RunState.COMPLETE)])
    assert not store.layout.trial_json(0, 1).exists()
    assert json.loads(store.layout.trial_json(0, 2).read_text())["metric"] == 0.5
    assert json.loads(store.layout.result.read_text())["best_val"] == 0.5


def test_a_million_lines_cost_little_memory_and_are_all_in_the_file(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        record(store, [*begun(), TrialStarted(0, 1, 1, {})])
        free = threading.Event()
        store.on_uncongested = free.set
        chunk = b"a line of ordinary length, more or less\n" * 20_000
        before, n_waits = _rss_bytes(), 0
        for _ in range(50):
            store.write_output(1, 0, 1, chunk)
            if store.is_congested:
                n_waits += 1
                assert free.wait(30)
                free.clear()
        grown = _rss_bytes() - before
        record(store, [TrialEnded(0, 1, 1, TrialState.COMPLETE, {}, 0.5)])
    assert grown < 40 << 20
    assert n_waits > 0
    assert store.layout.output_log(1, 0, 1).stat().st_size == 50 * len(chunk)
    assert store.layout.console.stat().st_size < 1 << 20


def test_a_disk_that_fails_is_told_of_once_and_the_run_goes_on(tmp_path: Path) -> None:
    told: list[str] = []
    with store_in(tmp_path, on_error=told.append) as store:
        record(store, begun())
        (store.layout.root / "trials").rmdir()
        (store.layout.root / "trials").write_text("in the way")
        for trial_id in range(5):
            record(store, complete_trial(trial_id, 0.5))
            store.write_output(1, trial_id, 1, b"x\n")
    assert len(told) == 1
    assert "trial" in told[0]
    assert len(JournalReader(store.layout.root).read_new()) == 12
    assert json.loads(store.layout.result.read_text())["num_trials"] == 5


def test_a_store_may_be_closed_twice(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        store.close()
        store.close()


def test_an_impossible_name_or_home_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        RunStore.create(tmp_path, "a/b", {}, "", print)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        RunStore.create(tmp_path / "file", "x", {}, "", print)


def _rss_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def chunk_header(trial_id: int, attempt: int, data: bytes, is_last: bool = True) -> dict[str, Any]:
    sha256 = hashlib.sha256(data).hexdigest()
    header = {"trial_id": trial_id, "attempt": attempt, "path": "files/x", "offset": 0, "is_last": is_last}
    return header | {"size_bytes": len(data), "sha256": sha256}


def test_a_worker_sends_files_of_the_attempts_it_ran_and_of_no_others(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        record(store, [*begun(), *complete_trial(0, 0.5), TrialStarted(1, 1, 2, {})])
        assert store.write_chunk(1, chunk_header(0, 1, b"late"), b"late") is not None
        for trial_id, attempt in ((1, 1), (0, 2), (5, 1)):
            with pytest.raises(StoreError, match="was not started on worker 1"):
                store.write_chunk(1, chunk_header(trial_id, attempt, b"x"), b"x")


def test_a_worker_may_be_lost_after_the_run_folder_was_deleted(tmp_path: Path) -> None:
    with store_in(tmp_path, on_error=lambda text: None) as store:
        record(store, [*begun(), TrialStarted(0, 1, 1, {})])
        store.write_chunk(1, chunk_header(0, 1, b"x", is_last=False), b"x")
        store.layout.root.rename(tmp_path / "gone")  # in one step, whatever the store's thread is writing
        store.record(WorkerLost(1, 1, "reset"), 1.0)


@pytest.mark.parametrize(("trial_id", "attempt"), [("0", 1), (-1, 1), (True, 1), (0, 0), (0, "1"), (None, None)])
def test_output_of_no_possible_trial_is_refused(tmp_path: Path, trial_id: Any, attempt: Any) -> None:
    with store_in(tmp_path) as store, pytest.raises(ValueError, match="output names trial"):
        store.write_output(1, trial_id, attempt, b"x\n")


def test_work_that_fails_is_told_of_once_and_the_stores_thread_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def fail(*args: object) -> list[str]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(WorkerConsole, "feed", fail)
    monkeypatch.setattr(WorkerConsole, "flush", fail)
    with store_in(tmp_path, on_error=told.append) as store:
        store.on_written = fail  # type: ignore[assignment]
        for _ in range(3):
            store.write_output(1, 0, 1, b"x\n")
        record(store, whole_run())
    assert sorted(told) == [
        "output is lost: RuntimeError: a bug",
        "the console is incomplete: RuntimeError: a bug",
        "the display is not told of new files: RuntimeError: a bug",
    ]
    assert store.layout.output_log(1, 0, 1).read_bytes() == b"x\n" * 3
    assert json.loads(store.layout.result.read_text())["num_trials"] == 3


def open_files() -> list[str]:
    """What this process has open below a folder of runs."""
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    return sorted(target for link in links if "/digits/" in (target := os.readlink(link) if link.is_symlink() else ""))


def store_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lagom-store"]


def test_a_resume_that_is_interrupted_at_any_step_leaves_the_run_free(tmp_path: Path) -> None:
    facts = whole_run()
    run = run_on_disk(tmp_path, facts=facts)
    result = (run / "result.json").read_bytes()
    for nth in count(1):
        try:
            with interrupted_at(nth, "store/store.py") as called:
                store = RunStore.resume(run, {}, f"x = {nth}\n", len(facts), pytest.fail)
        except KeyboardInterrupt:
            assert not is_being_written(run), called
            assert open_files() == [], called
            assert store_threads() == [], called
            assert not (run / "requests").exists(), called
            assert (run / "result.json").read_bytes() == result, called
        else:
            store.close()
            break
    assert nth > 10


def test_a_run_that_is_interrupted_while_it_is_created_leaves_nothing_open(tmp_path: Path) -> None:
    for nth in count(1):
        try:
            with interrupted_at(nth, "store/store.py") as called:
                store = RunStore.create(tmp_path, "digits", {}, "", pytest.fail)
        except KeyboardInterrupt:
            assert open_files() == [], called
            assert store_threads() == [], called
        else:
            store.close()
            break
    assert nth > 10


def test_a_run_that_is_cut_off_while_it_is_created_is_one_only_with_what_it_calls(tmp_path: Path) -> None:
    call = StoredCall(b"payload", b"zip", {}, None, takes_budget=False, preload_modules=[])
    for nth in count(1):
        home = tmp_path / str(nth)
        try:
            with interrupted_at(nth, "store/store.py"):
                store = RunStore.create(home, "digits", {"kind": "hpo"}, "", pytest.fail, call)
        except KeyboardInterrupt:
            for run_json in home.glob("*/*/run.json"):
                assert read_call(RunLayout(run_json.parent)) == call
                assert (run_json.parent / "events.jsonl").exists()
        else:
            store.close()
            break
    assert read_call(store.layout) == call


def test_a_run_for_which_there_is_no_thread_is_free_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    facts = whole_run()
    run = run_on_disk(tmp_path, facts=facts)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            RunStore.resume(run, {}, "", len(facts), pytest.fail)
    assert not is_being_written(run)
    assert open_files() == []
    RunStore.resume(run, {}, "", len(facts), pytest.fail).close()
