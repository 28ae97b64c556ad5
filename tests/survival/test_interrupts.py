"""■ in a real kernel: the cell is back in two seconds, what is finished is kept, and nothing is left running."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from calling_home import Home
from kernels import Cell, Kernel, open_kernel
from masters import still_there, worker_processes
from spark_sessions import stop_session
from standalone import StandaloneCluster

pytestmark = [pytest.mark.spark, pytest.mark.lab, pytest.mark.timeout(300)]

#: From ■ to the end of the cell.
STOP_S = 2.0

CELL = """\
%%lagom hpo --trials 8 --workers 2 --maximize accuracy
import time
from lagom_magic import Float

def train(x: Float(0, 1), trial=None):
    if trial.id >= 2:
        print("runs for long")
        time.sleep(100_000)
    return {"accuracy": x}
"""

#: For a loop in C, which hears no exception and no SIGTERM.
IMPORTS = "from collections import deque\nfrom itertools import repeat"

SHORT_CELL = CELL.replace("--trials 8", "--trials 2")


def wait_for_long_trials(cell: Cell) -> None:
    """Until both workers run one that does not end; two are complete then."""
    cell.until(lambda cell: cell.text.count("runs for long") == 2)


def interrupted(kernel: Kernel, cell: Cell) -> float:
    """Seconds from ■ to the end of the cell."""
    begin = time.monotonic()
    kernel.interrupt()
    cell.end()
    return time.monotonic() - begin


def assert_stopped(kernel: Kernel, cell: Cell, took_s: float) -> None:
    assert cell.error == "RunStopped", str(cell)
    assert "2 of 8 trials" in cell.message or "4 of 8 trials" in cell.message
    assert took_s < STOP_S
    assert still_there(worker_processes(), timeout_s=1.0) == []
    states = kernel.value("lagom_run.state, [str(trial.state) for trial in lagom_run.trials]")
    assert states == "STOPPED ['COMPLETE', 'COMPLETE', 'STOPPED', 'STOPPED']"


@pytest.fixture
def fresh_kernel(tmp_path: Path, jupyter_loop: None) -> Iterator[Kernel]:
    with open_kernel(tmp_path) as kernel:
        yield kernel


@pytest.fixture(scope="module", params=["local", "standalone"])
def kernel(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, jupyter_loop: None
) -> Iterator[Kernel]:
    """With a session from an earlier cell: one that a run has started, or the user's own on a cluster."""
    cluster: StandaloneCluster | None = None
    if request.param == "standalone":
        cluster = request.getfixturevalue("standalone_cluster")
        stop_session()  # it would hold all of the cluster's cores
    variables = {"PYSPARK_PYTHON": cluster.python} if cluster else {}
    with open_kernel(tmp_path_factory.mktemp(request.param), variables) as kernel:
        if cluster:
            conf = " ".join(f"--conf {name}={value}" for name, value in cluster.settings.items())
            cell = kernel.run(f"%lagom spark {cluster.master} {conf}")
            assert not cell.error, str(cell)
        cell = kernel.run(SHORT_CELL)
        assert not cell.error, str(cell)
        yield kernel


def test_stop_during_the_start_of_spark_ends_the_cell_and_the_next_one_works(fresh_kernel: Kernel) -> None:
    cell = fresh_kernel.start(CELL)
    cell.until_shown("starting a local Spark")
    took_s = interrupted(fresh_kernel, cell)
    assert cell.error == "RunStopped", str(cell)
    assert took_s < STOP_S
    below = psutil.Process(fresh_kernel.manager.provisioner.pid).children(recursive=True)
    assert still_there([child for child in below if child.name() == "java"], timeout_s=1.0) == []
    again = fresh_kernel.run(SHORT_CELL)
    assert not again.error, str(again)
    assert fresh_kernel.value("lagom_run.state") == "COMPLETE"


def test_stop_in_the_cell_that_created_the_session(fresh_kernel: Kernel) -> None:
    cell = fresh_kernel.start(CELL)
    wait_for_long_trials(cell)
    assert_stopped(fresh_kernel, cell, interrupted(fresh_kernel, cell))
    assert fresh_kernel.value("lagom_run.best.id in (0, 1)") == "True"


def test_stop_in_a_later_cell_leaves_the_users_own_job_unharmed(kernel: Kernel, home: Home) -> None:
    started = kernel.run(f"""\
import threading
from pyspark import SparkContext

def wait_for_a_word(_, port={home.port}):
    import json, os, socket
    with socket.create_connection(("127.0.0.1", port)) as line, line.makefile("rw") as stream:
        stream.write(json.dumps({{"pid": os.getpid()}}) + "\\n")
        stream.flush()
        return stream.readline().strip()

def own_job():
    words.extend(SparkContext.getOrCreate().parallelize([0], 1).map(wait_for_a_word).collect())

words = []
own_thread = threading.Thread(target=own_job)
own_thread.start()
""")
    assert not started.error, str(started)
    caller = home.next_caller()
    cell = kernel.start(CELL)
    wait_for_long_trials(cell)
    assert_stopped(kernel, cell, interrupted(kernel, cell))
    caller.say("still alive")
    assert kernel.value("own_thread.join(60), words") == "None ['still alive']"


def test_a_second_stop_abandons_the_run(kernel: Kernel) -> None:
    cell = kernel.start(
        CELL.replace("time.sleep(100_000)", "deque(repeat(0), maxlen=0)").replace("import time", IMPORTS)
    )
    wait_for_long_trials(cell)
    begin = time.monotonic()
    kernel.interrupt()
    threading.Event().wait(0.3)  # as long as a person may take
    kernel.interrupt()
    cell.end()
    assert time.monotonic() - begin < STOP_S
    assert cell.error == "RunStopped", str(cell)
    assert still_there(worker_processes()) == []
    assert kernel.value("lagom_run.wait(10), lagom_run.state") == "True STOPPED"
    again = kernel.run(SHORT_CELL)
    assert not again.error, str(again)


def test_a_detached_run_goes_on_behind_its_cell_and_can_be_stopped(kernel: Kernel) -> None:
    cell = kernel.run(CELL.replace("%%lagom hpo", "%%lagom hpo --detach"))
    assert not cell.error, str(cell)
    assert kernel.value("lagom_run.is_alive") == "True"
    refused = kernel.run(CELL)
    assert refused.error == "ConfigError"
    assert "%lagom stop" in refused.message
    assert "stopping run" in kernel.run("%lagom stop").text
    assert kernel.value("lagom_run.wait(10), lagom_run.state") == "True STOPPED"
    assert still_there(worker_processes(), timeout_s=1.0) == []


def test_a_flood_of_lines_leaves_the_kernel_small(kernel: Kernel) -> None:
    process = psutil.Process(kernel.manager.provisioner.pid)
    flood = CELL.replace("--trials 8 --workers 2", "--trials 1 --workers 1").replace(
        "    return", "    for i in range(1_000_000):\n        print('line', i)\n    return"
    )
    kernel.run(SHORT_CELL)
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    before = process.memory_info().rss
    cell = kernel.run(flood)
    assert not cell.error, str(cell)
    with open(f"/proc/{process.pid}/status") as status:
        peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    assert (peak_kb << 10) - before < 50 << 20
    assert len(cell.text) < 10 << 20
    assert os.path.getsize(kernel.value("lagom_run.dir / 'trials' / '0000' / 'output.log'")) == 11_888_890
