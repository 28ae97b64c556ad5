"""LAGOM_HOME as a URL: the place that it names and the working copy hold the same, and nothing is lost on the way."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest
from calling_home import by_value, call_home, open_home
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from store_runs import begun, complete_trial, record, run_on_disk
from url_homes import Machine, files_below, put_there, remove_there

from lagom_magic import Float, OptimizationConfig, Run
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import RunEnded, RunState
from lagom_magic.experiment import launch
from lagom_magic.store import mirror, registry
from lagom_magic.store.alike import Alike, marker, stamp_of
from lagom_magic.store.deleting import delete_run
from lagom_magic.store.index import run_dirs
from lagom_magic.store.journal import JournalReader
from lagom_magic.store.layout import RunLayout, default_home
from lagom_magic.store.mirror import fetch, forget, mark_changed, pull, refresh_home, send_unsent
from lagom_magic.store.remote import Remote, open_remote
from lagom_magic.store.run_copy import RunCopy
from lagom_magic.store.store import RunStore
from lagom_magic.store.tags import change_notes, tags_of

Start = Callable[..., Run]

WAIT_S = 60.0


@pytest.fixture
def start() -> Start:
    def start(train_fn: Callable[..., Any], *, detach: bool = False, resumed: Run | None = None, **options: Any) -> Run:
        config = OptimizationConfig(**{"num_trials": 3, "workers": 2, "optimization_key": "score"} | options)
        launcher = {
            "detach": detach,
            "resumed": resumed,
            "ui": "none",
            "make_launcher": lambda kit, _, n_workers: ProcessLauncher(kit, n_workers),
        }
        return launch(train_fn, config, **launcher)

    return start


def quadratic(x: Float(-1, 1) = 0.0, reporter=None):
    for step in range(3):
        reporter.broadcast(1 - x * x, step=step)
    print("x is", x)
    with open("notes.txt", "w") as file:
        file.write(f"x was {x}")
    return {"score": 1 - x * x, "notes": "notes.txt"}


def files_of(run_dir: Path) -> dict[str, bytes]:
    return {path.relative_to(run_dir).as_posix(): path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}


def files_there(url: str, run: Run) -> dict[str, bytes]:
    """What the file system holds of a run."""
    return files_below(url, f"{run.name}/{run.id}")


def only_run() -> Run:
    """The only run of the working copy."""
    (run_dir,) = run_dirs(default_home())
    return Run(run_dir)


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not come"
        threading.Event().wait(0.1)


@contextmanager
def in_thread(call: Callable[[], None]) -> Iterator[None]:
    """Does something beside; what it raises is raised here at the end."""
    with ThreadPoolExecutor(1, "test") as pool:
        done = pool.submit(call)
        yield
        done.result(WAIT_S)


def test_the_folder_and_the_url_hold_the_same_bytes_at_the_end(start: Start, url: str) -> None:
    run = start(quadratic)
    assert run.state == "COMPLETE"
    assert run.dir.parent.parent == default_home()
    here = files_of(run.dir)
    assert {"run.json", "events.jsonl", "result.json", "trials/0002/artifacts/notes.txt"} <= here.keys()
    assert any(name.startswith("tensorboard/0000/") for name in here)
    assert files_there(url, run) == here
    assert refresh_home() == ""
    assert not list((default_home() / ".remote" / "unsent").iterdir())


def test_a_run_is_sent_while_it_goes_on(start: Start, url: str) -> None:
    with open_home() as home:
        port = home.port

        @by_value
        def waiting(x: Float(0, 1) = 0.0, reporter=None):
            reporter.broadcast(x, step=0)
            call_home(port)
            return {"score": x}

        def watch() -> None:
            home.next_caller()  # the first trial waits
            until(lambda: b'"metric_reported"' in files_there(url, only_run()).get("events.jsonl", b""))
            seen.append("reported")
            home.close()

        seen: list[str] = []
        with in_thread(watch):
            run = start(waiting, num_trials=1, workers=1)
    assert seen == ["reported"]
    assert files_there(url, run) == files_of(run.dir)


def exporting(x: Float(0, 1) = 0.5):
    from pathlib import Path

    from lagom_magic import model

    Path("weights.txt").write_text(f"weights {x}")
    model.export("weights.txt", "digits")
    return {"score": x}


def test_models_that_a_run_exported_are_there_at_its_end(start: Start, url: str) -> None:
    run = start(exporting)
    there = files_below(url, ".models")
    for number in (1, 2, 3):
        version = registry.find(default_home(), "digits", number)
        assert there[f"digits/{number}/files/weights.txt"] == version.path.read_bytes()
        assert there[f"digits/{number}/model.json"] == (version.dir / "model.json").read_bytes()
    assert len(there) == 2 * 3
    assert files_there(url, run) == files_of(run.dir)


def test_whatever_is_missing_in_the_working_copy_stays_there(start: Start, url: str) -> None:
    run = start(quadratic, num_trials=1)
    change_notes(run.dir, add=["paper"])
    assert refresh_home() == ""
    there = files_there(url, run)
    assert there == without_locks(run.dir)
    for name in there:  # as a tidy-up of ~/.cache takes them
        (run.dir / name).unlink(missing_ok=True)
        mark_changed(run.dir)
        assert refresh_home() == ""
        assert files_there(url, run) == there
    assert tags_of(run.dir) == ("paper",)


def test_what_a_tidy_up_took_from_the_working_copy_is_fetched_when_it_is_asked_for(start: Start, url: str) -> None:
    run = start(quadratic, num_trials=2)
    whole = files_of(run.dir)
    for name in whole:
        if name not in ("run.json", "events.jsonl"):
            (run.dir / name).unlink()
    fetch(run.dir)
    brought = files_of(run.dir)
    assert brought == {name: data for name, data in whole.items() if "call/" not in name}
    assert files_there(url, run) == whole
    for path in run.dir.rglob("trials/**/notes.txt"):
        path.unlink()
    fetch(run.dir)
    assert files_of(run.dir) == brought


def test_it_is_fetched_also_when_the_tidy_up_took_the_record_of_what_was_sent(start: Start, url: str) -> None:
    run = start(quadratic, num_trials=1)
    shutil.rmtree(default_home() / ".remote")
    (run.dir / "trials/0000/artifacts/notes.txt").unlink()
    fetch(run.dir)
    assert files_of(run.dir) == files_there(url, run)


@pytest.mark.parametrize("name", ["run.json", "events.jsonl", ""])
def test_a_run_that_cannot_be_listed_any_more_comes_back_with_the_next_list(url: str, name: str) -> None:
    made = sent_run()
    there = below(url, made)
    for path in list(made.rglob(name or "*")):
        if path.is_file():
            path.unlink()
    assert refresh_home() == ""
    assert run_dirs(default_home()) == [made]
    assert trials(made) == [0, 1, 2]
    fetch(made)
    assert without_locks(made) == there == below(url, made)


def test_what_a_run_replaces_when_it_goes_on_is_replaced_there_too(url: str) -> None:
    made = sent_run()
    store = RunStore.resume(made, {}, "", len(JournalReader(made).read_new()), pytest.fail)
    record(store, [*begun(n_trials=4), *complete_trial(3, 0.95)])
    store.close()
    (made / "result.json").unlink()  # this driver was killed, and could send nothing
    mark_changed(made)
    assert "result.json" in below(url, made)
    assert refresh_home() == ""
    assert below(url, made) == without_locks(made)
    fetch(made)
    assert not (made / "result.json").exists()


def test_a_checkpoint_goes_there_when_two_newer_ones_are_kept(url: str) -> None:
    made = run_on_disk(default_home())
    folder = made / "trials/0000/checkpoint"
    folder.mkdir()
    for step in range(1, 5):
        (folder / f"{step:08d}.pt").write_text(f"weights {step}")
    mark_changed(made)
    assert refresh_home() == ""
    whole = below(url, made)
    for step in (1, 2):  # as the training does
        (folder / f"{step:08d}.pt").unlink()
        del whole[f"trials/0000/checkpoint/{step:08d}.pt"]
    mark_changed(made)
    assert refresh_home() == ""
    assert below(url, made) == whole
    (folder / "00000003.pt").unlink()  # as a tidy-up does
    mark_changed(made)
    assert refresh_home() == ""
    fetch(made)
    assert without_locks(made) == whole == below(url, made)


def test_another_machine_lists_and_shows_the_run_and_fetches_its_files_when_asked(
    start: Start, url: str, machine: Machine
) -> None:
    made = start(quadratic)
    machine("b")
    assert refresh_home() == ""
    (run_dir,) = run_dirs(default_home())
    fetched = Run(run_dir)
    assert (fetched.id, fetched.state, fetched.best) == (made.id, "COMPLETE", fetched.trials[made["best_id"]])
    assert [trial.metrics for trial in fetched.trials] == [trial.metrics for trial in made.trials]
    assert fetched.trials[0].artifacts == {}
    fetch(run_dir)
    assert files_of(run_dir) == {name: data for name, data in files_of(made.dir).items() if "call/" not in name}
    fetch(run_dir)  # nothing is left to do


def test_a_run_that_was_fetched_in_part_never_removes_what_is_there(start: Start, url: str, machine: Machine) -> None:
    made = start(quadratic, num_trials=1)
    there = files_there(url, made)
    machine("b")
    refresh_home()
    (run_dir,) = run_dirs(default_home())
    (run_dir / "notes.json").write_text("{}")
    mark_changed(run_dir)
    assert refresh_home() == ""
    assert files_there(url, made) == there | {"notes.json": b"{}"}


def test_what_was_changed_here_is_not_overwritten_from_there(start: Start, url: str, machine: Machine) -> None:
    made = start(quadratic, num_trials=1)
    machine("b")
    refresh_home()
    (run_dir,) = run_dirs(default_home())
    with open(run_dir / "events.jsonl", "ab") as journal:  # as a run that goes on here does
        journal.write(b"{}\n")
    mark_changed(run_dir)
    fetch(run_dir)
    (run_dir / "result.json").unlink()
    pull(default_home(), open_remote(url))
    assert (run_dir / "events.jsonl").read_bytes() == (made.dir / "events.jsonl").read_bytes() + b"{}\n"
    assert (run_dir / "trials" / "0000" / "artifacts" / "notes.txt").exists()


def test_a_deleted_run_does_not_come_back(start: Start, url: str, machine: Machine) -> None:
    run = start(quadratic, num_trials=1)
    forget(run.dir)
    assert files_there(url, run) == {}
    machine("b")
    refresh_home()
    assert run_dirs(default_home()) == []


def test_a_run_is_deleted_there_though_a_link_leads_to_it_here(url: str, tmp_path: Path) -> None:
    made = sent_run()
    (tmp_path / "link").symlink_to(default_home())
    run_dir = tmp_path / "link" / made.parent.name / made.name
    delete_run(run_dir, lambda folder: None)
    assert below(url, made) == {}
    assert refresh_home() == ""
    assert run_dirs(default_home()) == []


@pytest.mark.parametrize("linked", ["", "digits", "digits/{run}"])
def test_what_was_changed_behind_a_link_is_sent(url: str, tmp_path: Path, linked: str) -> None:
    made = sent_run()
    target = default_home() / linked.format(run=made.name)
    (tmp_path / "link").symlink_to(target)
    run_dir = tmp_path / "link" / made.relative_to(target)
    mark_changed(run_dir)
    assert (default_home() / ".remote/unsent" / f"digits@{made.name}").exists()


def test_what_was_changed_in_a_run_that_lies_elsewhere_is_sent(url: str, tmp_path: Path) -> None:
    made = sent_run()
    shutil.move(made, tmp_path / "large-disk")
    made.symlink_to(tmp_path / "large-disk")
    mark_changed(made)
    assert (default_home() / ".remote/unsent" / f"digits@{made.name}").exists()


def test_a_stopped_run_is_back_at_once_and_sent_all_the_same(start: Start, url: str) -> None:
    with open_home() as home:
        port = home.port

        @by_value
        def waiting(x: Float(0, 1) = 0.0):
            call_home(port)

        run = start(waiting, num_trials=1, workers=1, detach=True)
        home.next_caller()
        run.stop()
        assert run.wait(WAIT_S)
    assert run.state == "STOPPED"
    until(lambda: files_there(url, run) == files_of(run.dir))


def test_a_log_of_the_driver_is_there_whole(start: Start, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGOM_LOG", "debug")
    run = start(quadratic, num_trials=1)
    assert "driver.log" in files_of(run.dir)
    assert files_there(url, run) == files_of(run.dir)


# two machines with one run


def sent_run(experiment: str = "digits") -> Path:
    """A run of three trials that this machine made and sent."""
    run_dir = run_on_disk(default_home(), experiment)
    mark_changed(run_dir)
    assert refresh_home() == ""
    return run_dir


def here(run_dir: Path) -> Path:
    """The run in the working copy of the machine that this is now."""
    return default_home() / run_dir.parent.name / run_dir.name


def go_on(run_dir: Path, trial_id: int) -> None:
    """One more trial, on the machine that this is now, which does not send it yet."""
    errors: list[str] = []
    n_facts = len(JournalReader(run_dir).read_new())
    store = RunStore.resume(run_dir, {"by": f"trial {trial_id}"}, "", n_facts, errors.append)
    record(store, [*complete_trial(trial_id, 0.95), RunEnded(RunState.COMPLETE)])
    store.close()
    assert errors == []
    mark_changed(run_dir)


def write_columns(run_dir: Path) -> str:
    """The columns of the HParams tab anew, in a file of another name, as a run that goes on writes them."""
    for earlier in columns_in(files_of(run_dir)):
        (run_dir / earlier).unlink()
    path = f"tensorboard/events.out.tfevents.{len(trials(run_dir))}.vm.1.0.lagom"
    (run_dir / path).write_text("columns")
    return path


def gone_on_elsewhere(made: Path, machine: Machine) -> str:
    """Machine b, which this is then, goes on with a run, with columns anew, and sends it."""
    machine("b")
    refresh_home()
    fetch(here(made))
    go_on(here(made), 3)
    newer = write_columns(here(made))
    assert refresh_home() == ""
    return newer


def columns_in(files: Iterable[str]) -> list[str]:
    return [path for path in files if path.startswith("tensorboard/events")]


def trials(run_dir: Path) -> list[int]:
    return [trial.id for trial in Run(run_dir).trials]


def below(url: str, run_dir: Path) -> dict[str, bytes]:
    return files_below(url, f"{run_dir.parent.name}/{run_dir.name}")


def without_locks(run_dir: Path) -> dict[str, bytes]:
    return {name: data for name, data in files_of(run_dir).items() if not name.startswith(".")}


def test_an_older_copy_overwrites_and_removes_nothing_of_a_run_that_another_machine_went_on_with(
    url: str, machine: Machine
) -> None:
    made = sent_run()
    machine("b")
    refresh_home()
    go_on(here(made), 3)
    assert refresh_home() == ""
    there = below(url, made)
    assert "trials/0003/trial.json" in there
    machine("a")
    assert trials(made) == [0, 1, 2]
    change_notes(made, add=["paper"])  # so that this copy is sent once more
    assert refresh_home() == ""
    assert below(url, made) == there | {"notes.json": (made / "notes.json").read_bytes()}
    assert trials(made) == [0, 1, 2, 3]
    fetch(made)
    assert without_locks(made) == below(url, made)
    machine("b")
    fetch(here(made))
    assert tags_of(here(made)) == ("paper",)


def test_the_machine_that_made_a_run_has_what_another_added_when_it_goes_on_too(url: str, machine: Machine) -> None:
    made = sent_run()
    machine("b")
    refresh_home()
    go_on(here(made), 3)
    (here(made) / "trials/0003/artifacts").mkdir(parents=True)
    (here(made) / "trials/0003/artifacts/plot.png").write_bytes(b"\x89PNG")
    assert refresh_home() == ""
    machine("a")
    fetch(made)  # as going on with it does
    assert trials(made) == [0, 1, 2, 3]
    assert (made / "trials/0003/artifacts/plot.png").exists()
    assert json.loads((made / "run.json").read_text())["by"] == "trial 3"
    go_on(made, 4)
    assert refresh_home() == ""
    assert without_locks(made) == below(url, made)
    machine("b")
    fetch(here(made))
    assert trials(here(made)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("url", ["memory://bucket/runs"], indirect=True)
def test_two_machines_go_on_with_a_run_in_turn(start: Start, url: str, machine: Machine) -> None:
    made = start(quadratic, seed=7, pruner="none", name="digits")
    for name, n_trials in (("b", 5), ("a", 6)):
        machine(name)
        refresh_home()
        more = start(quadratic, seed=7, pruner="none", num_trials=n_trials, resumed=Run(here(made.dir)))
        assert (more.state, trials(more.dir)) == ("COMPLETE", list(range(n_trials)))
        there = files_there(url, made)
        ours = files_of(more.dir)
        assert ours.items() <= there.items()
        assert {path for path in there.keys() - ours.keys() if not path.startswith("trials/")} == set()
    fetch(made.dir)
    assert without_locks(made.dir) == there


def test_one_file_has_the_columns_however_often_two_machines_go_on_with_a_run_in_turn(
    url: str, machine: Machine
) -> None:
    made = sent_run()
    for number, name in enumerate("abab", 3):
        machine(name)
        refresh_home()
        fetch(here(made))  # as going on with it does
        go_on(here(made), number)
        write_columns(here(made))
        assert refresh_home() == ""
    machine("a")
    fetch(made)
    for files in (below(url, made), files_of(made)):
        assert columns_in(files) == ["tensorboard/events.out.tfevents.7.vm.1.0.lagom"]


def test_columns_that_a_run_replaces_while_it_goes_on_are_replaced_there_at_once(url: str) -> None:
    made = sent_run()
    newer = write_columns(made)
    RunCopy(RunLayout(made), open_remote(url)).send(["tensorboard"], is_recursive=False)
    assert columns_in(below(url, made)) == [newer]


def test_who_lists_a_run_that_another_machine_went_on_with_keeps_columns(url: str, machine: Machine) -> None:
    made = sent_run()
    newer = gone_on_elsewhere(made, machine)
    machine("a")
    assert columns_in(files_of(made)) not in ([], [newer])
    change_notes(made, add=["pii"])
    assert refresh_home() == ""
    assert columns_in(files_of(made)) == columns_in(below(url, made)) == [newer]


def test_columns_that_a_killed_driver_had_not_sent_again_do_not_come_back(url: str, machine: Machine) -> None:
    made = sent_run()
    newer = gone_on_elsewhere(made, machine)
    machine("a")
    for path in columns_in(files_of(made)):
        (made / path).write_text("of before")
    mark_changed(made)
    assert refresh_home() == ""
    assert columns_in(files_of(made)) == columns_in(below(url, made)) == [newer]


def test_columns_that_somebody_removed_there_stay_here(url: str, machine: Machine) -> None:
    made = sent_run()
    machine("b")
    refresh_home()
    fetch(here(made))
    go_on(here(made), 3)
    for path in columns_in(files_of(here(made))):
        (here(made) / path).unlink()
    refresh_home()
    for path in columns_in(below(url, made)):
        remove_there(url, f"digits/{made.name}/{path}")
    machine("a")
    ours = columns_in(files_of(made))
    fetch(made)
    assert trials(made) == [0, 1, 2, 3]
    assert columns_in(files_of(made)) == ours != []


def test_who_fetches_while_columns_are_replaced_has_the_new_ones_alone_afterwards(url: str, machine: Machine) -> None:
    made = sent_run()
    older = below(url, made)
    newer = gone_on_elsewhere(made, machine)
    for path in columns_in(older):  # the other machine has not come to removing it
        put_there(url, f"digits/{made.name}/{path}", older[path])
    machine("c")
    refresh_home()
    fetch(here(made))
    assert len(columns_in(files_of(here(made)))) == 2
    for path in columns_in(older):
        remove_there(url, f"digits/{made.name}/{path}")
    fetch(here(made))
    assert columns_in(files_of(here(made))) == [newer]


def test_a_run_that_two_machines_went_on_with_is_told_and_neither_is_overwritten(url: str, machine: Machine) -> None:
    made = sent_run()
    machine("b")
    refresh_home()
    go_on(here(made), 3)
    machine("a")
    go_on(made, 3)
    assert refresh_home() == ""
    there, ours = below(url, made), without_locks(made)
    machine("b")
    theirs = files_of(here(made))
    other = run_on_disk(default_home(), "iris")
    mark_changed(other)
    change_notes(here(made), add=["paper"])
    told = refresh_home()
    assert f"run digits/{made.name} went on here and on another machine, so nothing of it is sent or overwr" in told
    assert f"delete {here(made)} and call `%lagom runs`" in told
    assert below(url, made) == there
    assert theirs.items() <= files_of(here(made)).items()
    assert below(url, other) == files_of(other)
    assert refresh_home() == told
    fetch(here(made))
    assert theirs.items() <= files_of(here(made)).items()
    shutil.rmtree(here(made))
    assert refresh_home() == ""
    assert trials(here(made)) == trials(made)
    machine("a")
    assert (below(url, made), without_locks(made)) == (there, ours)


def test_a_driver_that_finds_another_at_its_run_sends_nothing_more_and_says_so(
    start: Start, url: str, machine: Machine
) -> None:
    with open_home() as home:
        port = home.port

        @by_value
        def waiting(x: Float(0, 1) = 0.0):
            call_home(port)
            return {"score": x}

        def interfere() -> None:
            home.next_caller()  # the first trial waits
            run = only_run()
            until(lambda: b'"trial_started"' in files_there(url, run).get("events.jsonl", b""))
            filesystem, root = fsspec.core.url_to_fs(url)
            path = f"{root}/{run.name}/{run.id}/events.jsonl"
            journal = filesystem.cat_file(path)
            filesystem.pipe_file(path, journal + b'{"seq": 1000, "of": "another machine"}\n')
            there.update(files_there(url, run))
            home.close()

        there: dict[str, bytes] = {}
        with in_thread(interfere):
            run = start(waiting, num_trials=1, workers=1)
    assert run.state == "COMPLETE"
    assert {name: files_there(url, run)[name] for name in ("events.jsonl", "run.json")} == {
        name: there[name] for name in ("events.jsonl", "run.json")
    }
    assert "result.json" not in files_there(url, run)
    said = (run.dir / "console.log").read_text().splitlines()[-1]
    assert f"run {run.name}/{run.id} went on here and on another machine" in said
    assert "went on here and on another machine" in refresh_home()


def test_notes_that_one_machine_changed_reach_the_other(url: str, machine: Machine) -> None:
    made = sent_run()
    machine("b")
    refresh_home()
    change_notes(here(made), add=["aaa"])
    assert refresh_home() == ""
    machine("a")
    fetch(made)
    assert tags_of(made) == ("aaa",)
    change_notes(made, add=["bbb"], remove=["aaa"])  # as many bytes as before
    assert refresh_home() == ""
    machine("b")
    fetch(here(made))
    assert tags_of(here(made)) == ("bbb",)


def test_notes_that_two_machines_changed_are_told_and_neither_is_overwritten(url: str, machine: Machine) -> None:
    made = sent_run()
    machine("b")
    refresh_home()
    change_notes(here(made), add=["of-b"])
    assert refresh_home() == ""
    machine("a")
    change_notes(made, add=["of-a"])
    there = below(url, made)
    told = refresh_home()
    assert f"tags and note of run digits/{made.name} were changed here and on another machine" in told
    assert (below(url, made), tags_of(made)) == (there, ("of-a",))
    (made / "notes.json").unlink()
    assert refresh_home() == ""
    assert tags_of(made) == ("of-b",)


def test_a_file_that_only_lies_there_is_let_be(url: str) -> None:
    made = sent_run()
    put_there(url, f"digits/{made.name}/thesis.txt", b"of a person")
    change_notes(made, add=["paper"])
    assert refresh_home() == ""
    assert below(url, made) == without_locks(made) | {"thesis.txt": b"of a person"}


def test_a_run_that_was_deleted_there_does_not_come_back_from_an_older_copy(url: str, machine: Machine) -> None:
    made = sent_run()
    machine("b")
    refresh_home()
    forget(here(made))
    machine("a")
    change_notes(made, add=["paper"])
    told = refresh_home()
    assert f"run digits/{made.name} was deleted there and changed here since, so it is not sent again" in told
    assert below(url, made) == {}
    assert trials(made) == [0, 1, 2]
    forget(made)
    assert refresh_home() == ""


def test_what_a_killed_driver_had_sent_is_no_other_machines(url: str) -> None:
    made = sent_run()
    (default_home() / ".remote/alike" / f"digits@{made.name}").unlink()  # it died before it could take note
    go_on(made, 3)
    (made / "trials/0000/trial.json").write_text("{}")
    assert refresh_home() == ""
    assert below(url, made) == without_locks(made)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": 1}', '{"files": {"a": [1]}, "notes": ""}'])
def test_a_damaged_record_of_what_was_sent_costs_nothing_but_time(url: str, text: str) -> None:
    made = sent_run()
    (default_home() / ".remote/alike" / f"digits@{made.name}").write_text(text)
    change_notes(made, add=["paper"])
    assert refresh_home() == ""
    assert below(url, made) == without_locks(made)


def test_a_place_out_of_reach_hides_no_run_that_was_made_here(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = sent_run()

    def find(*args: object, **options: object) -> dict[str, Any]:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(MemoryFileSystem if url.startswith("memory") else LocalFileSystem, "find", find)
    fetch(made)
    assert f"whether another machine went on with run {made.name} is not known: no route to host" in caplog.text


@pytest.mark.parametrize("url", ["memory://bucket/runs"], indirect=True)
def test_a_place_that_hangs_is_asked_by_one_thread_however_often_runs_are_listed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sent_run()
    goes_on, list_folder = threading.Event(), MemoryFileSystem.ls

    def hang(*args: Any, **options: Any) -> Any:
        goes_on.wait(WAIT_S)
        return list_folder(*args, **options)

    monkeypatch.setattr(MemoryFileSystem, "ls", hang)
    monkeypatch.setattr(mirror, "_REFRESH_TIMEOUT_S", 0.1)
    before = set(threading.enumerate())
    told = [refresh_home() for _ in range(3)]
    assert told[0] == f"{url}: it is not done after 0.1 s; what is shown is this machine's copy."
    assert all("not done yet, and nothing more is asked until it is" in text for text in told[1:])
    fetch(made)
    (asking,) = set(threading.enumerate()) - before
    goes_on.set()
    asking.join(WAIT_S)
    monkeypatch.setattr(mirror, "_REFRESH_TIMEOUT_S", WAIT_S)
    assert refresh_home() == ""


def test_who_is_cut_off_while_it_fetches_does_it_again(
    url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sent_run()
    machine("b")
    refresh_home()
    go_on(here(made), 3)
    assert refresh_home() == ""
    there = below(url, made)
    machine("a")
    change_notes(made, add=["paper"])
    kind = MemoryFileSystem if url.startswith("memory") else LocalFileSystem
    get = kind.get_file
    for n_fetched in range(8):
        left = iter(range(n_fetched))

        def cut_off(self: Any, rpath: str, lpath: str, *args: Any, left: Iterator[int] = left, **options: Any) -> None:
            if next(left, None) is None:
                raise ConnectionError("cut off")
            get(self, rpath, lpath, *args, **options)

        monkeypatch.setattr(kind, "get_file", cut_off)
        if "cut off" not in refresh_home():
            break
        assert below(url, made) == there
    else:
        pytest.fail("it never got all of it")
    assert n_fetched > 3
    assert trials(made) == [0, 1, 2, 3]
    assert below(url, made) == there | {"notes.json": (made / "notes.json").read_bytes()}
    assert (made / "run.json").read_bytes() == there["run.json"]


def test_what_was_fetched_and_has_changed_there_is_not_sent_back(url: str, machine: Machine) -> None:
    made = sent_run()
    result = (made / "result.json").read_bytes()
    machine("b")
    refresh_home()
    filesystem, root = fsspec.core.url_to_fs(url)
    newer = {"result.json": result + b" ", "console.log": b"[w1 t0] the last words"}  # as at the end of a live run
    for name, data in newer.items():
        filesystem.pipe_file(f"{root}/digits/{made.name}/{name}", data)
    there = below(url, made)
    change_notes(here(made), add=["paper"])
    assert refresh_home() == ""
    assert below(url, made) == there | {"notes.json": (here(made) / "notes.json").read_bytes()}
    fetch(here(made))
    assert newer.items() <= files_of(here(made)).items()


def test_the_source_that_a_run_was_gone_on_with_comes_with_the_list(url: str, machine: Machine) -> None:
    made = sent_run()
    filesystem, root = fsspec.core.url_to_fs(url)
    filesystem.pipe_file(f"{root}/digits/{made.name}/source.2.py", b"def newer(): ...")
    machine("b")
    assert refresh_home() == ""
    assert RunLayout(here(made)).newest_source.read_text() == "def newer(): ..."


def test_a_run_that_has_only_begun_elsewhere_is_listed_when_it_has_a_journal(url: str, machine: Machine) -> None:
    made = sent_run()
    for name in below(url, made):
        if name != "run.json":
            remove_there(url, f"digits/{made.name}/{name}")
    machine("b")
    assert refresh_home() == ""
    fetch(here(made))
    assert (here(made) / "run.json").read_bytes() == (made / "run.json").read_bytes()
    filesystem, root = fsspec.core.url_to_fs(url)
    filesystem.pipe_file(f"{root}/digits/{made.name}/events.jsonl", (made / "events.jsonl").read_bytes())
    assert refresh_home() == ""
    assert trials(here(made)) == [0, 1, 2]


@pytest.mark.parametrize("url", ["memory://bucket/runs"], indirect=True)
def test_two_kernels_that_fetch_one_run_at_once_both_have_it(url: str, machine: Machine) -> None:
    class Meeting(MemoryFileSystem):
        """Who fetches waits once for another who does."""

        protocol = "meeting"
        cachable = False

        def get_file(self, rpath: str, lpath: str, *args: Any, **options: Any) -> None:
            if threading.current_thread() not in met:
                met.add(threading.current_thread())
                meeting.wait(30.0)
            super().get_file(rpath, lpath, *args, **options)

    met, meeting = set[threading.Thread](), threading.Barrier(2)
    made = sent_run()
    machine("b")
    remote = Remote(open_remote(url).address, Meeting(), "/bucket/runs")
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(pull, default_home(), remote) for _ in range(2)]:
            done.result(WAIT_S)
    assert trials(here(made)) == [0, 1, 2]
    assert list((default_home() / ".remote").glob("part-*")) == []
    known = Alike(marker(here(made), "alike")).files
    assert known == {path: stamp_of(here(made) / path) for path in known}  # of the one that was kept
    assert "events.jsonl" in known


class Tagged(MemoryFileSystem):
    """Tells the MD5 of every file, as object stores do."""

    protocol = "tagged"
    cachable = False

    def find(self, path: str, *args: Any, detail: bool = False, **options: Any) -> Any:
        found = super().find(path, *args, detail=True, **options)
        tagged = {name: info | {"ETag": hashlib.md5(self.cat_file(name)).hexdigest()} for name, info in found.items()}
        return tagged if detail else list(tagged)

    def _open(self, path: str, mode: str = "rb", *args: Any, **options: Any) -> Any:
        if mode == "rb" and path.endswith("events.jsonl"):
            Tagged.n_read += 1
        return super()._open(path, mode, *args, **options)

    n_read = 0


@pytest.mark.parametrize("url", ["memory://bucket/runs"], indirect=True)
def test_where_the_place_tells_checksums_an_older_journal_is_known_without_reading_it(url: str) -> None:
    made = sent_run()
    remote = Remote(open_remote(url).address, Tagged(), "/bucket/runs")
    go_on(made, 3)
    Tagged.n_read = 0
    send_unsent(default_home(), remote)
    assert Tagged.n_read == 0
    assert below(url, made) == without_locks(made)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("url", ["memory://bucket/runs"], indirect=True)
def test_whatever_two_machines_do_with_a_run_no_journal_loses_a_line(url: str, machine: Machine, seed: int) -> None:
    choices, trial_ids = random.Random(seed), iter(range(3, 100))
    made = sent_run()
    machine("b")
    refresh_home()
    journals: dict[str, bytes] = {}
    for _ in range(16):
        machine(choices.choice("ab"))
        run_dir = here(made)
        match choices.choice(["go on", "go on", "tag", "fetch", "refresh", "refresh", "refresh"]):
            case "go on":
                go_on(run_dir, next(trial_ids))
            case "tag":
                change_notes(run_dir, add=[f"tag-{choices.random()}"])
            case "fetch":
                fetch(run_dir)
            case "refresh":
                refresh_home()
        there = below(url, made)
        for place, journal in ((str(run_dir), (run_dir / "events.jsonl").read_bytes()), ("", there["events.jsonl"])):
            assert journal.startswith(journals.get(place, b""))
            journals[place] = journal
    for trial in trials_in(there["events.jsonl"]):
        assert f"trials/{trial:04d}/trial.json" in there


def trials_in(journal: bytes) -> set[int]:
    """Trials that a journal says have ended."""
    records = [json.loads(line) for line in journal.splitlines()]
    return {record["trial_id"] for record in records if record["type"] == "trial_ended"}


# places that fail


class Failing(MemoryFileSystem):
    """Takes no files while `is_down`; `broken` names take none at all, and `cut` ones lose their last byte."""

    protocol = "failing"
    store: dict[str, Any] = {}  # noqa: RUF012 - as MemoryFileSystem has it
    pseudo_dirs = [""]  # noqa: RUF012
    is_down = False
    broken = ""
    cut = ""

    def put_file(self, lpath: str, rpath: str, *args: Any, **options: Any) -> None:
        if Failing.is_down or (Failing.broken and rpath.endswith(Failing.broken)):
            raise ConnectionError("no route to host with s3cret")
        super().put_file(lpath, rpath, *args, **options)
        if Failing.cut and rpath.endswith(Failing.cut):
            self.pipe_file(rpath, self.cat_file(rpath)[:-1])


@pytest.fixture
def failing_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    fsspec.register_implementation("failing", Failing, clobber=True)
    monkeypatch.setenv("LAGOM_HOME", "failing://user:s3cret@bucket/runs")
    monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Failing.is_down, Failing.broken, Failing.cut = False, "", ""
    yield "failing://user:s3cret@bucket/runs"
    Failing.store.clear()


def test_a_place_that_takes_nothing_loses_nothing_says_so_and_gets_it_later(start: Start, failing_url: str) -> None:
    Failing.is_down = True
    run = start(quadratic)
    assert run.state == "COMPLETE"
    assert len(run.trials) == 3
    assert files_there(failing_url, run) == {}
    (notice,) = run.view.notices
    assert notice.startswith("failing://***@bucket/runs takes no files (no route to host with ***)")
    said = (run.dir / "console.log").read_text().splitlines()[-1]
    assert said.startswith("[lagom] failing://***@bucket/runs has not got all of this run: ")
    assert f"It is whole in {run.dir}; the next run or `%lagom runs` sends the rest." in said
    assert "takes no" not in refresh_home()
    assert "no route to host" in refresh_home()

    Failing.is_down = False
    assert refresh_home() == ""
    assert files_there(failing_url, run) == files_of(run.dir)


def test_a_run_that_ended_offline_is_sent_by_the_next_one(start: Start, failing_url: str) -> None:
    Failing.is_down = True
    first = start(quadratic, num_trials=1)
    Failing.is_down = False
    second = start(quadratic, num_trials=1)
    for run in (first, second):
        assert files_there(failing_url, run) == files_of(run.dir)


def test_one_file_that_is_not_taken_keeps_no_other_back(start: Start, failing_url: str) -> None:
    Failing.broken = "source.py"
    run = start(quadratic, num_trials=1)
    expected = files_of(run.dir)
    del expected["source.py"]
    there = files_there(failing_url, run)
    del there["console.log"], expected["console.log"]  # which says what is missing
    assert there == expected
    assert "1 of " in (run.dir / "console.log").read_text()


def test_a_file_that_is_not_there_as_it_was_sent_is_told(start: Start, failing_url: str) -> None:
    Failing.cut = "result.json"
    run = start(quadratic, num_trials=1)
    said = (run.dir / "console.log").read_text()
    assert "result.json: it is not there as it was sent" in said


def test_the_password_of_the_url_is_nowhere_in_the_folder(start: Start, failing_url: str) -> None:
    Failing.is_down = True
    run = start(quadratic, num_trials=1)
    assert all(b"s3cret" not in content for content in files_of(default_home()).values())
    assert "s3cret" not in "".join(run.view.notices)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("nosuch://bucket/runs", "has the scheme 'nosuch', with which fsspec can do nothing"),
        ("s3://bucket/runs", "needs a package that is missing: Install s3fs"),
    ],
)
def test_a_url_that_cannot_work_is_refused_before_anything_starts(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, what: str
) -> None:
    monkeypatch.setenv("LAGOM_HOME", url)
    monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match=what):
        start(quadratic)
    assert not (tmp_path / "cache").exists()


def test_names_from_there_stay_inside_the_home(tmp_path: Path) -> None:
    root = tmp_path / "there"
    good = run_on_disk(root)
    for name in (".hidden", "a b"):
        run_on_disk(tmp_path / "other").rename(folder(root / name) / good.name)
    (root / "digits" / "no-run").mkdir()
    home = tmp_path / "home"
    pull(home, open_remote(f"file://{root}"))
    assert [path.name for path in run_dirs(home)] == [good.name]
    assert sorted(path.name for path in home.iterdir()) == [".remote", "digits"]


def test_a_checksum_that_differs_is_settled_by_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class WithTags(LocalFileSystem):
        """Says of every file an ETag that is no MD5 of it, as S3 does with keys of its own."""

        def find(self, path: str, *args: Any, detail: bool = False, **options: Any) -> Any:
            found = super().find(path, *args, detail=True, **options)
            return {name: info | {"ETag": '"' + "0" * 32 + '"'} for name, info in found.items()} if detail else found

    monkeypatch.setenv("LAGOM_HOME", f"file://{tmp_path}/there")
    monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / "cache"))
    run_dir = run_on_disk(default_home())
    mark_changed(run_dir)
    opened = open_remote(f"file://{tmp_path}/there")
    send_unsent(default_home(), Remote(opened.address, WithTags(), str(tmp_path / "there")))
    assert files_of(tmp_path / "there" / "digits" / run_dir.name) == files_of(run_dir)


def folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
