"""Starts workers as plain processes on this machine, without Spark; for tests and for debugging a worker."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from lagom_magic.cluster.kit import WorkerKit, own_launch
from lagom_magic.cluster.slots import gpus_of_worker
from lagom_magic.driver.launcher import Launcher, Ticket

_SCRIPT = Path(__file__).with_name("task_process.py")


class ProcessLauncher(Launcher):
    """Workers as children of this process, each started by the very bootstrap that Spark tasks run."""

    def __init__(
        self, kit: WorkerKit, n_workers: int, gpus_per_worker: float | None = None, n_slots: int | None = None
    ) -> None:
        """Take the kit.

        Args:
            kit: what every worker gets.
            n_workers: how many workers the run asks for.
            gpus_per_worker: each one's share of this machine's GPUs; None = an even share.
            n_slots: how many workers run at once, as on a cluster that is too small; None = all.
        """
        self._shared = kit.shared()
        self._bootstrap_source = self._shared.pop("bootstrap_source")
        self._n_workers = n_workers
        self._gpus_per_worker = gpus_per_worker
        self._n_slots = n_slots if n_slots is not None else n_workers
        self._slots = threading.Semaphore(self._n_slots)
        self._lock = threading.Lock()
        #: {thread: its process, None while it waits for a slot}; guarded by `_lock`.
        self._processes: dict[threading.Thread, subprocess.Popen[bytes] | None] = {}
        self._is_closed = False

    @property
    def address(self) -> tuple[str, str]:
        """Loopback."""
        return ("127.0.0.1", "127.0.0.1")

    def start(self, ticket: Ticket, on_exit: Callable[[int, int, str], None]) -> None:
        """Start the process from a thread of its own, which then waits for its end."""
        thread = threading.Thread(
            target=self._run_process,
            args=(ticket, on_exit),
            name=f"lagom-process-{ticket.worker_id}.{ticket.incarnation}",
            daemon=True,
        )
        with self._lock:
            self._processes[thread] = None
        thread.start()

    def _run_process(self, ticket: Ticket, on_exit: Callable[[int, int, str], None]) -> None:
        reason = "its process was ended"
        with self._slots:
            process = self._popen()
            if process is not None:
                reason = self._feed_and_wait(process, ticket)
        with self._lock:
            del self._processes[threading.current_thread()]
        on_exit(ticket.worker_id, ticket.incarnation, reason)

    def _popen(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._is_closed:
                return None
            process = subprocess.Popen(
                [sys.executable, "-P", str(_SCRIPT)],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self._processes[threading.current_thread()] = process
        return process

    def _feed_and_wait(self, process: subprocess.Popen[bytes], ticket: Ticket) -> str:
        assert process.stdin is not None
        assert process.stderr is not None
        gpus = gpus_of_worker(ticket.worker_id, self._gpus_per_worker)
        launch = {**self._shared, **own_launch(ticket, gpus), "spark_attempt": 0}
        last_lines: deque[bytes] = deque(maxlen=1)
        with contextlib.suppress(BrokenPipeError):  # it ended before it read; its stderr says why
            process.stdin.write(pickle.dumps((self._bootstrap_source, launch)))
            process.stdin.flush()
        with process.stderr:
            last_lines.extend(line for line in process.stderr if line.strip())
        status = process.wait()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        if status == 0:
            return ""
        return b"".join(last_lines).decode(errors="replace").strip() or f"its process ended with status {status}"

    def describe_shortage(self) -> str:
        """What was asked and what there is."""
        return f"{self._n_workers} workers were asked for; this launcher starts at most {self._n_slots} at once."

    def close(self, timeout_s: float) -> None:
        """Kill the processes; what they started ends with them."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._is_closed = True
            processes = dict(self._processes)
        for _ in processes:
            self._slots.release()  # those that wait for a slot learn that there is none to come
        for process in processes.values():
            if process is not None:
                process.kill()
        for thread in processes:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))
