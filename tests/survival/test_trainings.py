"""Trainings on several workers of a real Spark: they begin, know their GPUs; whatever fails is named and ends all."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from calling_home import Home
from masters import Master, busy_slots, ended, facts_of, session_on, still_there
from small_training import assert_learned_the_same, config, train
from spark_sessions import start_cluster_session, stop_session
from standalone import CORES_PER_NODE, N_NODES, StandaloneCluster

from lagom_magic.cluster.session import SessionInfo
from lagom_magic.cluster.slots import count_slots
from lagom_magic.errors import ClusterError
from lagom_magic.events import facts

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_workers_learn_what_one_process_learns(master: Master, strategy: str) -> None:
    run = master.run(train, config=config(strategy=strategy))
    assert_learned_the_same(run)


def test_each_rank_has_a_gpu_of_its_own(master: Master, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    if master.is_local:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    run = master.begin(train, config=config(hparams={"port": home.port}))
    callers = {caller.facts["rank"]: caller for caller in home.next_callers(2)}
    gpus = [callers[rank].process.environ()["CUDA_VISIBLE_DEVICES"] for rank in (0, 1)]
    for caller in callers.values():
        caller.say()
    assert_learned_the_same(ended(run))
    registered = {fact.worker_id: ",".join(fact.gpus) for fact in facts_of(run, facts.WorkerRegistered)}
    assert gpus == [registered[1], registered[2]]
    if master.is_local:
        assert gpus == ["4", "7"]


@pytest.mark.parametrize("victim", ["process", "supervisor", "spark_python"])
def test_a_killed_rank_is_named_or_its_training_goes_on_elsewhere(master: Master, home: Home, victim: str) -> None:
    run = master.begin(train, config=config(hparams={"port": home.port}))
    callers = {caller.facts["rank"]: caller for caller in home.next_callers(2)}
    processes = [process for caller in callers.values() for process in (caller.process, caller.supervisor)]
    getattr(callers[1], victim).kill()
    callers[0].say()
    ended(run)
    if victim == "process":
        assert run.state == "FAILED"
        assert run.error is not None
        assert "SIGKILL: rank 1 (worker 2 on " in run.error
    else:
        assert run.trials[0].attempt == 2
        assert_learned_the_same(run)
    assert still_there(processes) == []


@pytest.mark.only_on("standalone")
def test_a_killed_executor_costs_one_attempt(master: Master, home: Home) -> None:
    run = master.begin(train, config=config(hparams={"port": home.port}))
    callers = {caller.facts["rank"]: caller for caller in home.next_callers(2)}
    callers[1].executor.kill()
    callers[0].say()
    ended(run)
    assert run.trials[0].attempt == 2
    assert_learned_the_same(run)


def test_a_busy_slot_is_told_with_both_numbers_in_time(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGOM_START_TIMEOUT", "8")
    n_slots = 2 if master.is_local else N_NODES * CORES_PER_NODE
    begun = time.monotonic()
    while count_slots(master.info.context) < n_slots:  # an executor that a test before has killed comes back late
        assert time.monotonic() - begun < 60
        time.sleep(0.2)
    with busy_slots(master.info.context, 1):
        run = master.run(train, config=config(workers=n_slots))
    assert run.state == "FAILED"
    assert run.error is not None
    assert run.error.startswith(f"{n_slots - 1} of the {n_slots} workers that train together came within 8 s. ")


@pytest.mark.only_on("local")
def test_a_slot_that_can_never_come_is_an_error_at_once(master: Master) -> None:
    with pytest.raises(
        ClusterError, match=r"a training on 5 workers needs 5 slots at once, and local\[2\] has no more"
    ):
        master.run(train, config=config(workers=5))


@pytest.fixture(scope="module")
def growing_session(session: str, standalone_cluster: StandaloneCluster) -> Iterator[SessionInfo]:
    """Dynamic allocation, which begins with one executor; in place of the shared session."""
    stop_session()
    settings = {
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.dynamicAllocation.minExecutors": "0",
        "spark.dynamicAllocation.initialExecutors": "1",
        "spark.dynamicAllocation.schedulerBacklogTimeout": "1s",
        "spark.executor.cores": "1",
        "spark.executor.resource.gpu.amount": "1",
    }
    yield start_cluster_session(standalone_cluster, settings, has_executors=False)
    stop_session()
    session_on(session, lambda: standalone_cluster)


@pytest.mark.only_on("standalone")
def test_a_training_makes_a_cluster_with_dynamic_allocation_grow(growing_session: SessionInfo, master: Master) -> None:
    run = master.run(train, config=config(workers=3))
    assert_learned_the_same(run)
    [started] = facts_of(run, facts.TrialStarted)
    assert started.world_size == 3
