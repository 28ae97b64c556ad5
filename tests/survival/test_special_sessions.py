"""Sessions with settings of their own: executors have two cores and one GPU, and in one speculation is on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from calling_home import Home, call_home
from masters import Master, ended, facts_of, session_on, states, still_there
from spark_sessions import start_cluster_session, stop_session
from standalone import StandaloneCluster

from lagom_magic.cluster.session import SessionInfo
from lagom_magic.cluster.slots import count_running_tasks
from lagom_magic.events.facts import TrialRequeued, WorkerRegistered

pytestmark = [pytest.mark.spark, pytest.mark.only_on("standalone"), pytest.mark.timeout(300)]

ONE_GPU = {"spark.executor.resource.gpu.amount": "1"}
SPECULATING = {
    **ONE_GPU,
    "spark.speculation": "true",
    "spark.speculation.interval": "50ms",
    "spark.speculation.quantile": "0",
    "spark.speculation.multiplier": "1",
    "spark.speculation.minTaskRuntime": "50ms",
    "spark.speculation.task.duration.threshold": "200ms",
}


@pytest.fixture(scope="module")
def own_session(
    request: pytest.FixtureRequest, session: str, standalone_cluster: StandaloneCluster
) -> Iterator[SessionInfo]:
    """With the settings that the test names, in place of the shared one, which is there again afterwards."""
    stop_session()
    yield start_cluster_session(standalone_cluster, request.param)
    stop_session()
    session_on(session, lambda: standalone_cluster)


speculating = pytest.mark.parametrize("own_session", [pytest.param(SPECULATING, id="speculating")], indirect=True)
#: Copies of workers would take slots from those that have not begun.
not_speculating = pytest.mark.parametrize("own_session", [pytest.param(ONE_GPU, id="plain")], indirect=True)


@speculating
def test_speculative_copies_of_workers_wait_and_hurt_nothing(
    own_session: SessionInfo, master: Master, home: Home
) -> None:
    def train(case, port):
        import time

        time.sleep(2.0 if case == 0 else 0.1)  # so long that Spark takes the worker for a straggler
        if case == 0:
            call_home(port)
        return case

    run = master.begin(train, cases=list(range(6)), gpus_per_worker=0.5, hparams={"port": home.port})
    caller = home.next_caller()
    n_tasks = count_running_tasks(own_session.context)
    caller.say()
    assert ended(run).state == "COMPLETE"
    assert n_tasks > 2, "Spark did not speculate, so this test shows nothing"
    assert states(run) == ["COMPLETE"] * 6
    assert facts_of(run, TrialRequeued) == []
    assert len(facts_of(run, WorkerRegistered)) <= 2


@speculating
def test_the_speculative_copy_of_a_lost_worker_takes_its_place(
    own_session: SessionInfo, master: Master, home: Home
) -> None:
    def train(case, port, trial):
        import time

        time.sleep(2.0 if trial.attempt == 1 else 0.0)
        call_home(port, attempt=trial.attempt)
        return trial.attempt

    run = master.begin(train, cases=[1], gpus_per_worker=0.5, hparams={"port": home.port})
    lost = home.next_caller()
    processes = [lost.process, lost.supervisor]
    lost.supervisor.kill()
    assert still_there(processes) == []
    again = home.next_caller()
    assert again.facts["attempt"] == 2
    again.say()
    assert ended(run).state == "COMPLETE"
    assert run.trials[0].metric == 2.0


@not_speculating
def test_half_a_gpu_a_worker_packs_two_trials_on_each(own_session: SessionInfo, master: Master, home: Home) -> None:
    def train(case, port):
        import os

        call_home(port, gpu=os.environ["CUDA_VISIBLE_DEVICES"])
        return 1.0

    assert own_session.slots == 2
    run = master.begin(train, cases=[1, 2, 3, 4], workers=4, gpus_per_worker=0.5, hparams={"port": home.port})
    callers = home.next_callers(4)
    on_each: dict[int, list[str]] = {}
    for caller in callers:
        on_each.setdefault(caller.executor.pid, []).append(caller.facts["gpu"])
    for caller in callers:
        caller.say()
    assert ended(run).state == "COMPLETE"
    assert [(len(gpus), len(set(gpus))) for gpus in on_each.values()] == [(2, 1), (2, 1)]
