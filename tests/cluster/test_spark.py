"""Workers as Spark tasks, on a local master and on a real cluster."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from launcher_contract import LauncherContract, Switchboard, kit
from masters import busy_slots

import lagom_magic
from lagom_magic.cluster.kit import WorkerKit
from lagom_magic.cluster.session import SessionInfo
from lagom_magic.cluster.slots import count_running_tasks, count_slots
from lagom_magic.cluster.spark import SparkLauncher
from lagom_magic.driver.launcher import Launcher
from lagom_magic.errors import ClusterError

pytestmark = [pytest.mark.spark]


class SparkContract(LauncherContract):
    """What holds on every master beside the contract."""

    info: SessionInfo

    def launcher(self, kit: WorkerKit, n_workers: int) -> Launcher:
        return SparkLauncher(self.info.context, kit, "run-1", n_workers)

    def test_close_leaves_jobs_of_others_alone(self, board: Switchboard) -> None:
        others = SparkLauncher(self.info.context, kit(), "another-run", 1)
        try:
            others.start(board.ticket(9), board.on_exit)
            bystander = board.next_worker()
            with self.launching(kit(), n_workers=1) as launcher:
                launcher.start(board.ticket(1), board.on_exit)
                board.next_worker().order("wait")
            assert board.next_exit() == (1, 1, "its Spark job was cancelled")
            bystander.order("return")
            assert board.next_exit() == (9, 1, "")
        finally:
            others.close(timeout_s=10)

    def test_the_count_of_running_tasks_is_of_this_moment(self) -> None:
        context = self.info.context
        context.parallelize(range(20), 20).count()
        for _ in range(3):
            with busy_slots(context, self.info.slots):
                assert count_running_tasks(context) == self.info.slots

    def test_the_callers_own_job_group_is_as_before(self, board: Switchboard) -> None:
        context = self.info.context
        context.setJobGroup("mine", "my own job")
        try:
            with self.launching(kit()) as launcher:
                launcher.start(board.ticket(1), board.on_exit)
                board.next_worker().order("return")
                board.next_exit()
            assert context.getLocalProperty("spark.jobGroup.id") == "mine"
        finally:
            context.setJobGroup("", "")

    def gpus_of_workers(self, board: Switchboard, n_workers: int, gpus_per_worker: float | None) -> list[list[str]]:
        """What each of `n_workers` workers that run at once is told to use, by worker id."""
        launcher = SparkLauncher(self.info.context, kit(), "run-1", n_workers, gpus_per_worker)
        try:
            for worker_id in range(1, n_workers + 1):
                launcher.start(board.ticket(worker_id), board.on_exit)
            hellos = [board.next_worker().hello for _ in range(n_workers)]
            board.dismiss()
        finally:
            launcher.close(timeout_s=10)
        return [hello["gpus"] for hello in sorted(hellos, key=lambda hello: int(hello["ticket"]["worker_id"]))]


class TestLocalSpark(SparkContract):
    """On `local[2]`: the executor is the notebook's own JVM, and a failed task is not tried again."""

    @pytest.fixture(autouse=True)
    def _session(self, on_local_spark: SessionInfo) -> None:
        self.info = on_local_spark

    def test_it_has_its_slots(self) -> None:
        assert (self.info.slots, self.info.is_local, self.info.is_ours) == (2, True, False)

    def test_an_error_is_told_in_one_line_also_where_a_spark_session_turns_javas_into_its_own(
        self, board: Switchboard
    ) -> None:
        from pyspark.sql import SparkSession

        assert SparkSession.builder.getOrCreate().range(3).count() == 3
        self.test_an_error_in_a_worker_is_told_in_one_line(board)

    def test_this_machines_gpus_are_shared_out_by_worker(
        self, board: Switchboard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
        assert self.gpus_of_workers(board, 2, None) == [["4"], ["7"]]
        assert self.gpus_of_workers(board, 2, 0.5) == [["4"], ["4"]]
        assert self.gpus_of_workers(board, 2, 0) == [[], []]
        assert count_slots(self.info.context, 2) == 1

    def test_gpus_that_are_not_there_are_an_error_before_anything_starts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        with pytest.raises(ClusterError, match="shows none"):
            SparkLauncher(self.info.context, kit(), "run-1", 2, gpus_per_worker=1)


class TestStandaloneSpark(SparkContract):
    """On a cluster: executors elsewhere, four tries a task, GPUs from Spark."""

    attempts = 4

    @pytest.fixture(autouse=True)
    def _session(self, on_standalone_spark: SessionInfo) -> None:
        self.info = on_standalone_spark

    def test_it_has_its_slots_and_gpus(self) -> None:
        assert (self.info.slots, self.info.n_gpus, self.info.is_local) == (4, 4, False)

    def test_workers_have_folders_of_their_own_and_nothing_of_ours_on_their_path(self, board: Switchboard) -> None:
        with self.launching(kit()) as launcher:
            launcher.start(board.ticket(1), board.on_exit)
            hello = board.next_worker().hello
            board.dismiss()
        assert "/work/app-" in hello["folder"]
        assert lagom_magic.__file__ is not None
        ours = Path(lagom_magic.__file__).parents[1]
        assert str(ours) not in hello["path"]
        assert os.getcwd() not in hello["path"]

    def test_every_worker_gets_the_gpu_that_spark_gave_its_task(self, board: Switchboard) -> None:
        gpus = self.gpus_of_workers(board, 4, None)
        assert sorted(gpus) == [["0"], ["0"], ["1"], ["1"]]

    def test_another_share_than_the_sessions_is_asked_of_spark(self, board: Switchboard) -> None:
        context = self.info.context
        assert count_slots(context, 2) == 2
        assert [sorted(gpus) for gpus in self.gpus_of_workers(board, 2, 2)] == [["0", "1"], ["0", "1"]]
        assert {gpu for gpus in self.gpus_of_workers(board, 4, 0.5) for gpu in gpus} <= {"0", "1"}
        assert self.gpus_of_workers(board, 2, 0) == [[], []]

    def test_a_worker_whose_executor_is_killed_is_tried_again_elsewhere(self, board: Switchboard) -> None:
        with self.launching(kit(), n_workers=1) as launcher:
            launcher.start(board.ticket(1), board.on_exit)
            first = board.next_worker()
            os.kill(_executor_of(first.hello["pid"]), signal.SIGKILL)
            second = board.next_worker()
            assert second.hello["spark_attempt"] == 1
            second.order("return")
            assert board.next_exit() == (1, 1, "")


def _executor_of(pid: int) -> int:
    """The Java process above a Python worker: worker, daemon, executor."""
    while "java" not in os.path.basename(os.readlink(f"/proc/{pid}/exe")):
        with open(f"/proc/{pid}/stat") as stat:
            pid = int(stat.read().rpartition(")")[2].split()[1])
    return pid
