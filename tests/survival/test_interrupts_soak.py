"""■ at random moments of many runs, by `make soak`: whatever it meets, no process is left and the kernel works on."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest
from kernels import Kernel, open_kernel
from masters import still_there, worker_processes

pytestmark = [pytest.mark.soak, pytest.mark.spark, pytest.mark.lab, pytest.mark.timeout(3600)]

N_INTERRUPTS = 50
#: A run takes about as long on a quiet machine.
LATEST_S = 3.0

CELL = """\
%%lagom hpo --trials 12 --workers 2 --maximize accuracy --sampler tpe --pruner asha
import time
from lagom_magic import Float

def train(x: Float(0, 1), reporter=None):
    for step in range(10):
        time.sleep(0.02)
        print("step", step)
        reporter.broadcast(x, step=step)
    return {"accuracy": x}
"""

STACKS = """\
import sys, threading, traceback
for thread in threading.enumerate():
    print(thread.name, *traceback.format_stack(sys._current_frames()[thread.ident])[-6:], sep="\\n")
"""


def assert_whole(kernel: Kernel, moment: str) -> None:
    """Every trial of the run has one end, and the run too."""
    text = kernel.value("(lagom_run.wait(10), lagom_run.state.is_final, lagom_run.view.running)")
    assert text == "(True, True, set())", f"after ■ at {moment}: {text}\n{kernel.run(STACKS).text}"


@pytest.mark.parametrize("seed", [int(os.environ.get("LAGOM_SOAK_SEED", "1"))])
def test_interrupts_at_random_moments_leave_no_orphan(seed: int, tmp_path: Path, jupyter_loop: None) -> None:
    moments = random.Random(seed)
    outcomes = []
    with open_kernel(tmp_path) as kernel:
        warm = kernel.run(CELL)
        assert not warm.error, str(warm)
        for number in range(N_INTERRUPTS):
            delay_s = moments.uniform(0.0, LATEST_S)
            moment = f"{delay_s:.3f} s of run {number} (seed {seed})"
            cell = kernel.start(CELL)
            threading.Event().wait(delay_s)
            kernel.interrupt()
            cell.end()
            assert cell.error in ("", "RunStopped", "KeyboardInterrupt"), f"■ at {moment}: {cell}"
            assert still_there(worker_processes()) == [], f"left after ■ at {moment}"
            assert_whole(kernel, moment)
            outcomes.append(cell.error)
        last = kernel.run(CELL)
        assert not last.error, str(last)
    assert outcomes.count("RunStopped") > N_INTERRUPTS / 3, outcomes
