"""What trials write for TensorBoard, on `local[2]` and where workers have other folders than the driver."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from calling_home import Home, call_home
from masters import WAIT_S, Master, by_case, ended, facts_of

from lagom_magic.display.board import open_board, stop_board
from lagom_magic.events.facts import FileStored, Noticed

pytestmark = [pytest.mark.spark]


def user_files(folder: Path) -> dict[str, bytes]:
    """Those below a trial's TensorBoard folder that the driver has not written itself."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lagom")
    }


def until(condition: Callable[[], Any]) -> Any:
    """Files and TensorBoard's HTTP interface tell nobody when they change."""
    deadline = time.monotonic() + WAIT_S
    while not (value := condition()):
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.1)
    return value


def test_events_are_on_the_driver_while_the_trial_runs_and_whole_at_its_end(master: Master, home: Home) -> None:
    def train(case, port, reporter):
        import hashlib
        import os

        from lagom_magic import tensorboard

        if case == "silent":
            return 1.0
        logdir = tensorboard.logdir()
        os.mkdir(os.path.join(logdir, "validation"))
        paths = [os.path.join(logdir, *parts) for parts in (("tfevents.1",), ("validation", "tfevents.2"))]
        for path in paths:
            with open(path, "ab") as file:
                file.write(b"while it runs")
        reporter.broadcast(0.5)
        call_home(port, logdir=logdir)
        for path in paths:
            with open(path, "ab") as file:
                file.write(os.urandom(1_500_000))
        with open(os.path.join(logdir, "profile.json"), "w") as file:
            file.write("{}")
        digests = []
        for path in paths:
            with open(path, "rb") as file:
                digests.append(hashlib.sha256(file.read()).hexdigest())
        return {"metric": 1.0, "digests": " ".join(digests)}

    run = master.begin(train, cases=["writes", "silent"], hparams={"port": home.port})
    caller = home.next_caller()
    writer = next(trial for trial in run.trials if trial.hparams["case"] == "writes")
    folder = run.dir / "tensorboard" / f"{writer.id:04d}"
    assert not Path(caller.facts["logdir"]).is_relative_to(run.dir)
    names = {"tfevents.1", "validation/tfevents.2"}
    until(lambda: user_files(folder) == dict.fromkeys(names, b"while it runs"))
    assert not run.state.is_final
    caller.say()
    assert ended(run).state == "COMPLETE"
    there = user_files(folder)
    assert set(there) == {*names, "profile.json"}
    digests = [hashlib.sha256(there[name]).hexdigest() for name in sorted(names)]
    assert by_case(run)["writes"].metrics == {"metric": 1.0}
    assert run.view.trials[writer.id].values["digests"] == repr(" ".join(digests))
    assert user_files(run.dir / "tensorboard" / f"{by_case(run)['silent'].id:04d}") == {}
    stored = {fact.path for fact in facts_of(run, FileStored)}
    assert stored == {f"tensorboard/{name}" for name in there}
    assert facts_of(run, Noticed) == []


def test_a_summary_writers_scalars_are_on_the_board_of_the_living_run(master: Master, home: Home) -> None:
    def train(case, port, reporter):
        from torch.utils.tensorboard import SummaryWriter

        from lagom_magic import tensorboard

        with SummaryWriter(tensorboard.logdir()) as writer:
            for step in range(3):
                writer.add_scalar("own", step / 4, step)
                reporter.broadcast({"accuracy": step / 2}, step=step)
            writer.flush()
            call_home(port)
        return {"accuracy": 1.0}

    run = master.begin(train, cases=[1], hparams={"port": home.port})
    caller = home.next_caller()
    board = open_board(run.dir)
    try:

        def scalars(tag: str) -> list[list[float]]:
            address = f"{board.url}data/plugin/scalars/"
            with urllib.request.urlopen(f"{address}tags", timeout=WAIT_S) as reply:
                if tag not in json.load(reply).get("0000", {}):
                    return []
            with urllib.request.urlopen(f"{address}scalars?run=0000&tag={tag}", timeout=WAIT_S) as reply:
                return [point[1:] for point in json.load(reply)]

        until(lambda: scalars("own") == [[0, 0.0], [1, 0.25], [2, 0.5]])
        until(lambda: scalars("accuracy") == [[0, 0.0], [1, 0.5], [2, 1.0]])
        assert not run.state.is_final
    finally:
        stop_board(run.dir)
        caller.say()
    assert ended(run).state == "COMPLETE"
