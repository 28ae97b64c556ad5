"""One line out of Spark's pages."""

from __future__ import annotations

import pytest

from lagom_magic.cluster.reasons import one_line_reason

TASK_ERROR = """An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 3.0 failed 1 times, most recent \
failure: Lost task 0.0 in stage 3.0 (TID 3) (localhost executor driver): org.apache.spark.api.python.PythonException: \
Traceback (most recent call last):
  File "/spark/worker.py", line 3, in main
    process()
    ^^^^^^^^^
  File "lagom_task.py", line 33, in run
{error}
 SQLSTATE: 38000
\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handlePythonException(PythonRunner.scala:700)
\tat java.base/java.lang.Thread.run(Thread.java:840)

Driver stacktrace:
\tat org.apache.spark.scheduler.DAGScheduler.abortStage(DAGScheduler.scala:2935)
"""

LOST_TASK = (
    "Job aborted due to stage failure: Task 0 in stage 1.0 failed 4 times, most recent failure: "
    "Lost task 0.3 in stage 1.0 (TID 7) (127.0.0.1 executor 1): "
)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (TASK_ERROR.format(error="KeyError: 'a'"), "KeyError: 'a'"),
        (TASK_ERROR.format(error="RuntimeError: the supervisor ended:\nsome line\nno space left"),
         "RuntimeError: the supervisor ended: no space left"),
        ("Job 3 cancelled part of cancelled job group lagom x", "its Spark job was cancelled"),
        ("Job 3 cancelled because SparkContext was shut down", "the Spark session was stopped"),
        (LOST_TASK + "org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)\n\tat org.x",
         "its Python process was killed or crashed"),
        (LOST_TASK + "ExecutorLostFailure (executor 1 exited caused by one of the running tasks) "
         "Reason: Command exited with code 137\nDriver stacktrace:",
         "its executor was lost: Command exited with code 137"),
        (LOST_TASK + 'java.io.IOException: Cannot run program "python9": error=2\n\tat java.base/x',
         'java.io.IOException: Cannot run program "python9": error=2'),
        ("", "its Spark job failed"),
    ],
)  # fmt: skip
def test_the_cause_is_one_line(message: str, reason: str) -> None:
    assert one_line_reason(message) == reason


def test_a_very_long_cause_is_shortened() -> None:
    assert len(one_line_reason(TASK_ERROR.format(error="ValueError: " + "x" * 5000))) <= 300
