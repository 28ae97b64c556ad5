"""Starts workers as Spark tasks, one single-task job each; made by the caller's thread, used by the driver's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lagom_magic.cluster import task as task_module
from lagom_magic.cluster.kit import WorkerKit, own_launch
from lagom_magic.cluster.reasons import one_line_reason
from lagom_magic.cluster.slots import (
    count_executors,
    count_running_tasks,
    count_slots,
    gpus_of_worker,
    is_local,
    setting,
    task_profile,
)
from lagom_magic.driver.launcher import Launcher, Ticket

if TYPE_CHECKING:
    from pyspark import SparkContext

#: Beyond this the kit travels once, as a broadcast, instead of in every worker's closure.
_BROADCAST_ABOVE_BYTES = 1 << 20


class SparkLauncher(Launcher):
    """Workers as tasks of the notebook's Spark application.

    In a local master one killed Python worker fails its whole job, and on a cluster four losses do, so no job holds
    two workers. Nothing is added to the application's own files or settings.
    """

    def __init__(
        self,
        context: SparkContext,
        kit: WorkerKit,
        run_id: str,
        n_workers: int,
        gpus_per_worker: float | None = None,
    ) -> None:
        """Put the kit where every worker finds it.

        Args:
            context: of the session that is there.
            kit: what every worker gets.
            run_id: names the job group, which holds nothing but this run.
            n_workers: how many workers the run asks for.
            gpus_per_worker: each worker's share; None: what the application gives a task, or an even share of this
                machine's GPUs in a local master.

        Raises:
            ClusterError: when the application cannot give workers such a share.
        """
        self._context = context
        self._group = f"lagom {run_id}"
        self._run_id = run_id
        self._n_workers = n_workers
        self._gpus_per_worker = gpus_per_worker
        self._profile = task_profile(context, gpus_per_worker)
        #: The caller's scheduler pool, tags and the like, which the workers' jobs keep.
        self._properties = context._jsc.sc().getLocalProperties()
        self._broadcast = context.broadcast(kit.shared()) if kit.size_bytes > _BROADCAST_ABOVE_BYTES else None
        self._shared = kit.shared() if self._broadcast is None else self._broadcast
        self._lock = threading.Lock()
        #: Every thread that was started; guarded by `_lock`.
        self._threads: list[threading.Thread] = []
        #: No job begins once this is set; guarded by `_lock`.
        self._is_closed = False

    @property
    def address(self) -> tuple[str, str]:
        """Loopback for a local master; on a cluster the addresses that Spark's own driver uses."""
        if is_local(self._context.master):
            return ("127.0.0.1", "127.0.0.1")
        host = setting(self._context, "spark.driver.host", "127.0.0.1")
        return (setting(self._context, "spark.driver.bindAddress", host), host)

    def start(self, ticket: Ticket, on_exit: Callable[[int, int, str], None]) -> None:
        """Submit the worker's job from a thread of its own."""
        thread = threading.Thread(
            target=self._run_job,
            args=(ticket, on_exit),
            name=f"lagom-job-{ticket.worker_id}.{ticket.incarnation}",
            daemon=True,
        )
        with self._lock:
            self._threads = [other for other in self._threads if other.is_alive()] + [thread]
            thread.start()

    def _run_job(self, ticket: Ticket, on_exit: Callable[[int, int, str], None]) -> None:
        from py4j.protocol import Py4JError, Py4JJavaError

        try:
            reason = self._submit(ticket)
        except Py4JJavaError as error:
            reason = one_line_reason(str(error))
        except (Py4JError, OSError, AttributeError):
            reason = "the Spark session is gone"
        except Exception as error:  # the thread's outer edge: whatever it is, the slot has ended
            # Where a SparkSession is in use, pyspark turns Java's exceptions into its own, with the same text.
            is_sparks = type(error).__module__.partition(".")[0] == "pyspark"
            reason = one_line_reason(str(error)) if is_sparks else f"{type(error).__name__}: {error}"
        on_exit(ticket.worker_id, ticket.incarnation, reason)

    def _submit(self, ticket: Ticket) -> str:
        context = self._context
        context._jsc.sc().setLocalProperties(self._properties.clone())
        context.setJobGroup(self._group, f"lagom run {self._run_id}, worker {ticket.worker_id}", interruptOnCancel=True)
        rows = context.parallelize([0], 1)
        if self._profile is not None:
            rows = rows.withResources(self._profile)
        job = rows.mapPartitions(_by_value_task(own_launch(ticket, self._gpus_of(ticket.worker_id)), self._shared))
        with self._lock:
            if self._is_closed:
                return "its Spark job was cancelled"
        job.collect()
        return ""

    def _gpus_of(self, worker_id: int) -> list[str] | None:
        """None where Spark says it to the task."""
        if self._gpus_per_worker == 0:
            return []
        if not is_local(self._context.master):
            return None
        return gpus_of_worker(worker_id, self._gpus_per_worker)

    def describe_shortage(self) -> str:
        """What was asked and what the application has at this moment."""
        context = self._context
        share = "" if self._gpus_per_worker is None else f" and {self._gpus_per_worker:g} GPUs"
        asked = (
            f"{self._n_workers} workers of {setting(context, 'spark.task.cpus', '1')} CPU{share} each were asked for"
        )
        where = "" if is_local(context.master) else f" on {count_executors(context)} executors"
        has = (
            f"{count_slots(context, self._gpus_per_worker)} slots{where} and runs {count_running_tasks(context)} tasks"
        )
        link = f" Its web page: {context.uiWebUrl}" if context.uiWebUrl else ""
        return f"{asked}; the Spark application on {context.master} has {has}.{link}"

    def close(self, timeout_s: float) -> None:
        """Let the jobs of workers that have left end by themselves, cancel the others, forget the broadcast.

        A job that is cancelled leaves its Python processes to Spark, which takes seconds to end them.
        """
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._is_closed = True
            threads = list(self._threads)
        _join(threads, deadline - timeout_s / 3)
        # More than once: a job that its thread was just submitting was not there to be cancelled.
        while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
            self._tell_spark(lambda: self._context.cancelJobGroup(self._group))
            _join(threads, min(deadline, time.monotonic() + 0.5))
        if self._broadcast is not None:
            self._tell_spark(self._broadcast.destroy)
            self._broadcast = None

    @staticmethod
    def _tell_spark(call: Callable[[], Any]) -> None:
        from py4j.protocol import Py4JError

        try:
            call()
        except (Py4JError, OSError, AttributeError):
            return  # the session is gone, and its jobs with it


def _join(threads: list[threading.Thread], deadline: float) -> None:
    for thread in threads:
        thread.join(timeout=max(0.0, deadline - time.monotonic()))


def _by_value_task(launch: dict[str, Any], shared: Any) -> Callable[[Any], Any]:
    """The task's function, made so that pyspark pickles all of it: no module has the name it says it is from."""
    assert task_module.__file__ is not None
    with open(task_module.__file__, encoding="utf-8") as file:
        source = file.read()
    namespace: dict[str, Any] = {"__name__": "lagom_task"}
    exec(compile(source, "lagom_task.py", "exec"), namespace)
    function: Callable[[Any], Any] = namespace["worker_task"](launch, shared)
    return function
