"""A kernel is killed in the middle of a search, and a new one goes on with it from the folder alone."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from kernels import open_kernel
from masters import still_there, worker_processes

pytestmark = [pytest.mark.spark, pytest.mark.lab]

N_TRIALS = 40
#: A run takes about as long on a quiet machine, Spark's start not counted.
LATEST_S = 6.0

CELL = f"""\
%%lagom hpo --trials {N_TRIALS} --workers 2 --maximize accuracy --sampler tpe --pruner none --set log=LOG
import os, random, time
from lagom_magic import Float

def train(x: Float(0, 1), y: Float(0, 1), log, trial, reporter=None):
    for step in range(10):
        time.sleep(0.02)
        reporter.broadcast(x - step, step=step)
    accuracy = x * y + random.random() / 10
    line = f"{{trial.id}} {{accuracy!r}} {{time.time()}}\\n"
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)
    return {{"accuracy": accuracy}}
"""


def ends_in(run_dir: Path) -> dict[int, list[dict[str, Any]]]:
    """Trial → its COMPLETE ends as the journal has them."""
    ends: dict[int, list[dict[str, Any]]] = {}
    for line in (run_dir / "events.jsonl").read_bytes().split(b"\n"):
        try:
            fact = json.loads(line)
        except ValueError:  # the line that was being written
            continue
        if fact["type"] == "trial_ended" and fact["state"] == "COMPLETE":
            ends.setdefault(fact["trial_id"], []).append(fact)
    return ends


def returned(log: Path) -> list[tuple[int, float, float]]:
    """(trial, accuracy, when) of each call of the function that came to its end."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(trial), float(accuracy), float(when)) for trial, accuracy, when in map(str.split, lines)]


def kill_and_resume(folder: Path, delay_s: float) -> None:
    folder.mkdir()
    log = folder / "log.txt"
    cell = CELL.replace("log=LOG", f"log='{log}'")
    with open_kernel(folder) as kernel:
        warm = kernel.run("%lagom spark local[2] --conf spark.ui.enabled=false")
        assert not warm.error, str(warm)
        kernel.start(cell)
        threading.Event().wait(delay_s)
        killed_at = time.time()
        kernel.kill()
    (run_dir,) = [path.parent for path in (folder / "lagom_runs").glob("*/*/run.json")] or [None]
    if run_dir is None:
        assert returned(log) == []
        return
    before, ran = ends_in(run_dir), returned(log)
    lost = {trial for trial, _, when in ran if when < killed_at - 1.0} - before.keys()
    assert not lost, f"trials {lost} had returned more than a second before the kill at {delay_s:.2f} s"

    with open_kernel(folder) as kernel:
        resumed = kernel.run("%lagom resume --workers 2")
        assert not resumed.error, f"killed at {delay_s:.2f} s: {resumed}"
        table = json.loads(
            kernel.value("__import__('json').dumps([(t.id, t.state, t.metric) for t in lagom_run.trials])").strip("'")
        )
        best = kernel.value("(lagom_run.best.id, lagom_run.best.metric)")
    after = ends_in(run_dir)
    assert {trial: len(ends) for trial, ends in after.items()} == dict.fromkeys(range(N_TRIALS), 1)
    assert {trial: ends[0]["metric"] for trial, ends in before.items()} == {
        trial: after[trial][0]["metric"] for trial in before
    }
    assert table == [[trial, "COMPLETE", after[trial][0]["metric"]] for trial in range(N_TRIALS)]
    winner = max(after, key=lambda trial: after[trial][0]["metric"])
    assert best == str((winner, after[winner][0]["metric"]))
    again = [trial for trial, _, when in returned(log) if when > killed_at]
    assert not set(again) & before.keys(), "a trial that was complete ran again"
    assert still_there(worker_processes()) == []


@pytest.mark.parametrize("delay_s", [1.5, 4.0])
def test_a_killed_kernels_search_is_finished_by_a_new_one(delay_s: float, tmp_path: Path, jupyter_loop: None) -> None:
    kill_and_resume(tmp_path / "notebook", delay_s)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_searches_killed_at_random_moments_are_finished(tmp_path: Path, jupyter_loop: None) -> None:
    moments = random.Random(int(os.environ.get("LAGOM_SOAK_SEED", "1")))
    for number in range(20):
        kill_and_resume(tmp_path / str(number), moments.uniform(0.0, LATEST_S))
