"""What a run finds on its workers, how many of them it gets, and what it says when there are too few."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest
from calling_home import Home, call_home
from masters import Master, busy_slots, ended, facts_of, states

from lagom_magic.driver import driver
from lagom_magic.events.facts import Noticed, TrialStarted, WorkerRegistered

pytestmark = [pytest.mark.spark]

#: A notebook's folder that no worker sees.
ELSEWHERE = Path("/nonexistent/notebook")


def write_module(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text)


def test_every_worker_sees_its_own_gpu_before_the_users_code_is_imported(
    master: Master, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    if master.is_local:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    write_module(master.notebook_dir, "looks_at_gpus", "import os\nSEEN = os.environ['CUDA_VISIBLE_DEVICES']\n")

    def train(case, port, trial):
        import looks_at_gpus

        call_home(port, worker=trial.worker, seen=looks_at_gpus.SEEN, now=os.environ["CUDA_VISIBLE_DEVICES"])
        return 1.0

    n_workers = 2 if master.is_local else 4
    run = master.begin(train, cases=list(range(n_workers)), workers=n_workers, hparams={"port": home.port})
    callers = home.next_callers(n_workers)
    seen = {caller.facts["worker"]: caller.facts["seen"] for caller in callers}
    on_each = {caller.executor.pid: [] for caller in callers}
    for caller in callers:
        on_each[caller.executor.pid].append(caller.facts["seen"])
        caller.say()
    assert ended(run).state == "COMPLETE"
    assert [sorted(gpus) for gpus in on_each.values()] == ([["4", "7"]] if master.is_local else [["0", "1"]] * 2)
    assert all(caller.facts["seen"] == caller.facts["now"] for caller in callers)
    assert {fact.worker_id: ",".join(fact.gpus) for fact in facts_of(run, WorkerRegistered)} == seen


@pytest.mark.only_on("local")  # on a cluster: test_special_sessions.py
def test_half_a_gpu_a_worker_packs_two_trials_on_it(
    master: Master, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(case, port):
        call_home(port, gpu=os.environ["CUDA_VISIBLE_DEVICES"])
        return 1.0

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    run = master.begin(train, cases=[1, 2], gpus_per_worker=0.5, hparams={"port": home.port})
    callers = home.next_callers(2)
    for caller in callers:
        caller.say()
    assert ended(run).state == "COMPLETE"
    assert [caller.facts["gpu"] for caller in callers] == ["4", "4"]


def test_workers_join_while_the_run_goes_on(master: Master, home: Home) -> None:
    def train(case, port, trial):
        call_home(port, worker=trial.worker)
        return 1.0

    with busy_slots(master.info.context, master.info.slots - 1):
        run = master.begin(train, cases=[1, 2, 3], hparams={"port": home.port})
        first = home.next_caller()
    second = home.next_caller()  # the user's own job has given its slots back
    assert {first.facts["worker"], second.facts["worker"]} == {1, 2}
    first.say()
    second.say()
    home.next_caller().say()
    assert states(ended(run)) == ["COMPLETE"] * 3


def test_fewer_slots_than_workers_run_what_they_can_and_say_so(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(case):
        import time

        time.sleep(0.3)
        return 1.0

    monkeypatch.setattr(driver, "SHORTAGE_NOTICE_S", 0.5)
    run = master.run(train, cases=list(range(12)), workers=6)
    assert run.state == "COMPLETE"
    assert states(run) == ["COMPLETE"] * 12
    workers = {fact.worker_id for fact in facts_of(run, TrialStarted)}
    assert len(workers) <= master.info.slots
    told = [fact.text for fact in facts_of(run, Noticed) if fact.text.startswith("running on ")]
    assert told, "it said nothing"
    assert all("of 6 workers" in text for text in told)
    if master.is_local:
        assert told[0].startswith("running on 2 of 6 workers: local[2] has no more slots than 2")
    else:
        assert "6 workers of 1 CPU each were asked for; the Spark application on spark://" in told[0]


def test_no_slot_ends_the_run_with_the_numbers(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(case):
        return 1.0

    monkeypatch.setenv("LAGOM_START_TIMEOUT", "1")
    n_slots = master.info.slots
    with busy_slots(master.info.context, n_slots):
        run = master.run(train, cases=[1, 2])
    assert run.state == "FAILED"
    assert run.trials == []
    assert run.error is not None
    assert run.error.startswith("no worker came within 1 s. 2 workers of 1 CPU each were asked for; the Spark")
    assert f"has {n_slots} slots" in run.error
    assert f"runs {n_slots} tasks" in run.error


def test_the_users_own_modules_beside_the_notebook_are_found(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    write_module(master.notebook_dir, "own_numbers", "from own_package import three\n\ndef two():\n    return 2\n")
    write_module(master.notebook_dir / "own_package", "__init__", "from .inner import three\n")
    write_module(master.notebook_dir / "own_package", "inner", "def three():\n    return 3\n")
    monkeypatch.syspath_prepend(master.notebook_dir)
    own_numbers = importlib.import_module("own_numbers")

    def train(case):
        from own_package import three  # only when it runs

        return own_numbers.two() * three()

    run = master.run(train, cases=[1])
    for name in [name for name in sys.modules if name.partition(".")[0] in ("own_numbers", "own_package")]:
        del sys.modules[name]
    assert run.state == "COMPLETE", run.trials[0].error
    assert run.trials[0].metric == 6.0


def test_workers_use_the_package_that_came_with_the_run(master: Master, home: Home) -> None:
    def train(case, port):
        import lagom_magic

        call_home(port, package=lagom_magic.__file__, path=sys.path, folder=os.getcwd())
        return 1.0

    run = master.begin(train, cases=[1], hparams={"port": home.port})
    caller = home.next_caller()
    caller.say()
    assert ended(run).state == "COMPLETE"
    assert "/package-" in caller.facts["package"]
    assert caller.facts["folder"] not in (os.getcwd(), str(master.notebook_dir))
    assert str(master.notebook_dir) not in caller.facts["path"]


def test_files_that_a_trial_returns_come_back(master: Master) -> None:
    def train(case):
        import hashlib

        content = os.urandom(2_500_000)
        Path("weights.bin").write_bytes(content)
        Path("notes.txt").write_text("not returned")
        return {"accuracy": 0.5, "weights": "weights.bin", "sha": hashlib.sha256(content).hexdigest()}

    import hashlib

    run = master.run(train, cases=[1, 2, 3])
    assert run.state == "COMPLETE"
    for trial in run.trials:
        content = trial.artifacts["weights.bin"].read_bytes()
        assert len(content) == 2_500_000
        assert hashlib.sha256(content).hexdigest() in run.view.trials[trial.id].values["sha"]
        assert (trial.dir / "files" / "notes.txt").read_text() == "not returned"
    assert list(master.notebook_dir.iterdir()) == []


def test_relative_reads_find_what_lies_beside_the_notebook_and_writes_stay_away_from_it(master: Master) -> None:
    (master.notebook_dir / "table.csv").write_text("1,2,3")

    def train(case):
        total = sum(map(int, Path("table.csv").read_text().split(",")))
        Path("table.csv").write_text("spoilt")
        return total

    run = master.run(train, cases=[1, 2], workers=1)
    assert [trial.metric for trial in run.trials] == [6.0, 6.0]
    assert (master.notebook_dir / "table.csv").read_text() == "1,2,3"


def test_files_and_py_files_reach_workers_that_do_not_see_the_notebook(master: Master) -> None:
    table = master.folder / "table.csv"
    table.write_text("1,2,3")
    write_module(
        master.folder / "library", "own_tools", "def total(text):\n    return sum(map(int, text.split(',')))\n"
    )

    def train(case):
        from own_tools import total

        return total(Path("table.csv").read_text())

    run = master.run(
        train,
        cases=[1],
        notebook_dir=ELSEWHERE,
        files=[str(table)],
        py_files=[str(master.folder / "library" / "own_tools.py")],
    )
    assert run.state == "COMPLETE", run.trials[0].error
    assert run.trials[0].metric == 6.0


def test_what_a_worker_lacks_is_told_with_the_remedy(master: Master) -> None:
    def train(case):
        if case == "file":
            Path("table.csv").read_text()
        if case == "package":
            import a_package_of_the_driver_only  # noqa: F401
        return 1.0

    run = master.run(train, cases=["file", "package", "nothing"], notebook_dir=ELSEWHERE)
    messages = {trial.hparams["case"]: trial.error and trial.error.message for trial in run.trials}
    assert run.state == "COMPLETE"
    assert messages["nothing"] is None
    assert "ship it with `--files table.csv`" in str(messages["file"])
    assert "/nonexistent/notebook" in str(messages["file"])
    assert f"Package 'a_package_of_the_driver_only' is missing on worker host {os.uname().nodename}" in str(
        messages["package"]
    )
