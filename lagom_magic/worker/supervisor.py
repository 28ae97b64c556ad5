"""The process that the Spark task execs; talks to the driver, guards the trial process, kills what must go.

    task ──stdin: one JSON line, then held open──► supervisor ──socket and pipe──► trial process

This module is its beginning: the first trial process starts before the event loop and TLS are even imported, so
that both sides' imports overlap. `supervision.py` has the rest.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from lagom_magic.worker.devices import gpu_environment
from lagom_magic.worker.processes import become_subreaper, kill_everything_below
from lagom_magic.worker.spawn import TRIAL_PROCESS, output_pipe, spawn
from lagom_magic.worker.workdir import Workdir

_KILL_TIMEOUT_S = 5.0


class Launch:
    """What the bootstrap hands over on stdin; a plain class, because dataclasses take long to import.

    Attributes:
        ticket: host, port, certificate, token_hex, run_id, worker_id and incarnation. Never shown.
        scratch: this worker's own folder, removed at the end.
        payload: the pickled training function.
        user_code: the folder of the user's modules.
        gpus: what this worker may see; None = whatever is visible.
        notebook_dir: the notebook's folder as the driver names it.
        notebook_python: the notebook's interpreter, "host:path".
        spark_attempt: Spark's attempt number of the task.
        distribution: how the function trains on several workers at once, see `distribution/`; None = alone.
    """

    def __init__(
        self,
        *,
        ticket: dict[str, Any],
        scratch: str,
        payload: str,
        user_code: str,
        gpus: list[str] | None,
        notebook_dir: str,
        notebook_python: str,
        spark_attempt: int,
        distribution: dict[str, Any] | None = None,
    ) -> None:
        self.ticket = ticket
        self.scratch = scratch
        self.payload = payload
        self.user_code = user_code
        self.gpus = gpus
        self.notebook_dir = notebook_dir
        self.notebook_python = notebook_python
        self.spark_attempt = spark_attempt
        self.distribution = distribution

    def __repr__(self) -> str:
        return f"Launch(worker_id={self.ticket['worker_id']}, scratch={self.scratch!r})"

    @property
    def workdir(self) -> Workdir:
        """The working directory of its trials."""
        return Workdir(os.path.join(self.scratch, "work"), self.notebook_dir, self.user_code)

    def begin(self) -> dict[str, Any]:
        """The first message to a trial process or template."""
        return {
            "type": "begin",
            "supervisor_pid": os.getpid(),
            "worker_id": self.ticket["worker_id"],
            "host": os.uname().nodename,
            "notebook_dir": self.notebook_dir,
            "notebook_python": self.notebook_python,
            "scratch": self.scratch,
            "workdir": self.workdir.path,
            "payload": self.payload,
            "user_code": self.user_code,
            "distribution": self.distribution,
        }


def main() -> None:
    """Runs until the driver says goodbye (exit code 0), or driver or task are gone (1)."""
    launch = Launch(**json.loads(sys.stdin.buffer.readline()))
    become_subreaper()
    launch.workdir.create()
    environment = {**os.environ, **gpu_environment(launch.gpus)}
    pipe = output_pipe()
    pid, sock = spawn(TRIAL_PROCESS, environment, pipe[1])
    sock.sendall(json.dumps(launch.begin()).encode() + b"\n")

    import shutil

    from lagom_magic.worker.supervision import supervise

    try:
        reason = supervise(launch, environment, pipe, (pid, sock))
    finally:
        kill_everything_below(_KILL_TIMEOUT_S)
        shutil.rmtree(launch.scratch, ignore_errors=True)
    if reason:
        sys.exit(f"worker {launch.ticket['worker_id']}: {reason}")


if __name__ == "__main__":
    main()
