"""What a Spark application can run at once; asked before a run, and for the message when nothing starts."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from lagom_magic.errors import ClusterError
from lagom_magic.worker.devices import gpus_of_slot, visible_gpus

if TYPE_CHECKING:
    from pyspark import SparkContext

#: Set on the local Spark that we start ourselves: so many of its slots are left to the notebook's other cells.
RESERVED_SLOTS_SETTING = "spark.lagom.reservedSlots"


def is_local(master: str) -> bool:
    """Whether all tasks run in the driver's own JVM (`local-cluster` has executors)."""
    return re.match(r"local(\[|$)", master) is not None


def setting(context: SparkContext, name: str, default: str = "") -> str:
    """One of the application's settings."""
    value = context.getConf().get(name, default)
    return default if value is None else str(value)


def count_slots(context: SparkContext, gpus_per_worker: float | None = None) -> int:
    """How many workers this application can hold right now, at least 0.

    On a cluster the number grows with its executors; in a local master it is fixed.

    Raises:
        ClusterError: when it cannot give workers such a share of GPUs at all.
    """
    if is_local(context.master):
        slots = _running_capacity(context, None) - int(setting(context, RESERVED_SLOTS_SETTING, "0"))
        if gpus_per_worker:
            return max(0, min(slots, workers_that_fit(len(_local_gpus(gpus_per_worker)), gpus_per_worker)))
        return max(0, slots)
    return _running_capacity(context, task_profile(context, gpus_per_worker))


def _running_capacity(context: SparkContext, profile: Any) -> int:
    """Tasks of such a profile that fit on the executors that are there, busy ones included."""
    spark = context._jsc.sc()
    java_profile = (
        spark.resourceProfileManager().defaultResourceProfile() if profile is None else profile._java_resource_profile
    )
    return int(spark.maxNumConcurrentTasks(java_profile))


def count_executors(context: SparkContext) -> int:
    """Executors that are registered now, without the driver; 0 in a local master."""
    return max(0, len(context._jsc.sc().statusTracker().getExecutorInfos()) - 1)


def count_running_tasks(context: SparkContext) -> int:
    """Tasks that hold slots now, of all jobs of the application.

    From Spark's scheduler itself: the public status tracker reads the web page's store, which trails by seconds.
    """
    counts = context._jsc.sc().taskScheduler().runningTasksByExecutors().valuesIterator()
    total = 0
    while counts.hasNext():
        total += int(counts.next())
    return total


def schedules_gpus(context: SparkContext) -> bool:
    """Whether Spark hands GPUs to this application's tasks."""
    return int(setting(context, "spark.executor.resource.gpu.amount", "0")) > 0


def count_gpus(context: SparkContext) -> int:
    """GPUs of the application: of its executors where Spark schedules them, of this machine in a local master."""
    if is_local(context.master):
        return len(visible_gpus(os.environ))
    return int(setting(context, "spark.executor.resource.gpu.amount", "0")) * count_executors(context)


def _local_gpus(gpus_per_worker: float) -> list[str]:
    gpus = visible_gpus(os.environ)
    if not gpus:
        raise ClusterError(
            f"--gpus-per-worker {gpus_per_worker:g} asks for GPUs, but this machine shows none "
            f"(CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', '')!r}). "
            "Leave the option away to run on CPUs."
        )
    return gpus


def workers_that_fit(n_gpus: int, gpus_per_worker: float) -> int:
    """How many workers `n_gpus` can serve; a worker's share below 1 never spans two GPUs."""
    if gpus_per_worker < 1:
        return n_gpus * int(1 / gpus_per_worker + 1e-9)
    return n_gpus // int(gpus_per_worker)


def gpus_of_worker(worker_id: int, gpus_per_worker: float | None) -> list[str] | None:
    """The GPUs of a worker on this machine; None leaves all that are visible, for want of any.

    Raises:
        ConfigError: when there are too few.
    """
    gpus = visible_gpus(os.environ)
    return gpus_of_slot(gpus, worker_id - 1, gpus_per_worker) if gpus or gpus_per_worker is not None else None


def task_profile(context: SparkContext, gpus_per_worker: float | None) -> Any:
    """What Spark must reserve for a worker; None when the application's own settings fit, or in a local master.

    Raises:
        ClusterError: when this application cannot reserve it.
    """
    if is_local(context.master):
        if gpus_per_worker:
            _local_gpus(gpus_per_worker)
        return None
    if not schedules_gpus(context):
        if not gpus_per_worker:
            return None
        raise ClusterError(
            f"--gpus-per-worker {gpus_per_worker:g} needs a Spark application that schedules GPUs, and this one "
            "(spark.executor.resource.gpu.amount is not set) does not. "
            "Start it with spark.executor.resource.gpu.amount and spark.task.resource.gpu.amount."
        )
    amount = float(setting(context, "spark.task.resource.gpu.amount", "0"))
    if gpus_per_worker is None or gpus_per_worker == amount:
        return None
    return _requested_profile(context, gpus_per_worker)


def _requested_profile(context: SparkContext, gpus_per_worker: float) -> Any:
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException
    from pyspark.resource import ResourceProfileBuilder, TaskResourceRequests

    requests = TaskResourceRequests().cpus(int(setting(context, "spark.task.cpus", "1")))
    if gpus_per_worker:
        requests = requests.resource("gpu", gpus_per_worker)
    amount = setting(context, "spark.task.resource.gpu.amount", "0")
    try:
        profile = ResourceProfileBuilder().require(requests).build
        context.parallelize([0], 1).withResources(profile)
    except (Py4JJavaError, PySparkException) as error:
        raise ClusterError(
            f"This Spark application cannot give each worker {gpus_per_worker:g} GPUs: its tasks are set to "
            f"spark.task.resource.gpu.amount={amount}, and its cluster manager refuses another amount. "
            "Restart the session with the amount you want."
        ) from error
    return profile
