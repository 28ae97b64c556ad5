"""What a trial starts and does not end is gone before the next one begins."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import psutil
import pytest
from calling_home import Home, call_home
from masters import Master, ended, facts_of, states, still_there

from lagom_magic.events.facts import TrialState, WorkerRegistered
from lagom_magic.search.base import Pruner

pytestmark = [pytest.mark.spark]


def test_a_thread_that_is_left_behind_never_meets_the_next_trial(master: Master) -> None:
    def train(case):
        left = [thread.name for thread in threading.enumerate() if thread.name == "left behind"]
        threading.Thread(target=time.sleep, args=(100_000,), name="left behind").start()
        return len(left)

    run = master.run(train, cases=[1, 2, 3], workers=1)
    assert run.state == "COMPLETE"
    assert [trial.metric for trial in run.trials] == [0, 0, 0]
    assert len(facts_of(run, WorkerRegistered)) == 1


def test_a_child_that_is_left_behind_is_gone_when_the_next_trial_runs(master: Master, home: Home) -> None:
    def train(case, port):
        child = subprocess.Popen(["sleep", "100000"])
        call_home(port, left=child.pid)
        return 1.0

    run = master.begin(train, cases=[1, 2], workers=1, hparams={"port": home.port})
    first = home.next_caller()
    left = psutil.Process(first.facts["left"])
    first.say()
    second = home.next_caller()
    assert still_there([left]) == []
    second.say()
    assert states(ended(run)) == ["COMPLETE", "COMPLETE"]


def test_a_grandchild_in_a_session_of_its_own_is_gone_when_the_next_trial_runs(master: Master, home: Home) -> None:
    def train(case, port):
        # The child ends at once, so that the grandchild has no parent of the trial's any more.
        script = "import subprocess; print(subprocess.Popen(['setsid', 'sleep', '100000'], stdout=2).pid)"
        left = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE).stdout
        call_home(port, left=int(left))
        return 1.0

    run = master.begin(train, cases=[1, 2], workers=1, hparams={"port": home.port})
    first = home.next_caller()
    left = psutil.Process(first.facts["left"])
    first.say()
    second = home.next_caller()
    assert still_there([left]) == []
    second.say()
    assert states(ended(run)) == ["COMPLETE", "COMPLETE"]


def test_a_data_loader_with_workers_works_and_leaves_none(master: Master) -> None:
    def train(case):
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        loader = DataLoader(TensorDataset(torch.arange(32.0)), batch_size=4, num_workers=2)
        return sum(float(batch.sum()) for (batch,) in loader)

    run = master.run(train, cases=[1, 2], workers=1)
    assert run.state == "COMPLETE"
    assert [trial.metric for trial in run.trials] == [496.0, 496.0]


class _PrunesWhatIsNegative(Pruner):
    def report(self, trial_id: int, step: int, value: float) -> bool:
        return value < 0

    def end(self, trial_id: int, state: TrialState) -> None:
        pass


def test_except_exception_does_not_eat_a_pruning(master: Master) -> None:
    def train(case, reporter):
        for step in range(100_000):
            try:
                reporter.broadcast(case, step=step)
                if case > 0:
                    return case
                time.sleep(0.001)
            except Exception:
                print("eaten")
        return 1.0

    run = master.run(train, cases=[-1, 2, -3], pruner=_PrunesWhatIsNegative())
    assert run.state == "COMPLETE"
    assert states(run) == ["PRUNED", "COMPLETE", "PRUNED"]
    assert run["early_stopped"] == 2
    assert os.path.exists(run.dir / "result.json")
