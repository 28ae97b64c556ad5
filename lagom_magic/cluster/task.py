"""What a Spark task does for a worker. This file's text travels inside the job's closure; executors lack our package.

`SparkLauncher` executes it under a name that no module has, so that pyspark pickles the function by value.
Standard library only; pyspark is there because Spark runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def worker_task(launch: dict[str, Any], shared: Any) -> Callable[[Iterator[object]], Iterator[object]]:
    """The function of a one-task job: runs one worker and returns when it has ended.

    Args:
        launch: what differs from worker to worker; "gpus": None means those that Spark gave the task.
        shared: what all workers of a run get, a dict or a broadcast of it.
    """

    def run(_rows: Iterator[object]) -> Iterator[object]:
        from pyspark import TaskContext

        context = TaskContext.get()
        assert context is not None
        gpus = launch["gpus"]
        if gpus is None and "gpu" in context.resources():
            gpus = list(context.resources()["gpu"].addresses)
        parts = shared if isinstance(shared, dict) else shared.value
        bootstrap: dict[str, Any] = {"__name__": "lagom_bootstrap"}
        exec(compile(parts["bootstrap_source"], "lagom_bootstrap.py", "exec"), bootstrap)
        whole = {**parts, **launch, "gpus": gpus, "spark_attempt": context.attemptNumber()}
        del whole["bootstrap_source"]
        bootstrap["run_worker"](whole)
        return iter(())

    return run
