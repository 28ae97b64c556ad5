"""What a trial has left in its process: threads and children make it unfit for the next trial."""

from __future__ import annotations

import _thread
import os
import select
import sys
import threading
import time

from lagom_magic.worker.processes import children_of

#: Helpers that libraries start once per process and that touch nothing of a trial.
_ALLOWED_THREADS = frozenset({"TMonitor"})  # tqdm's
_ALLOWED_CHILDREN = ("multiprocessing.resource_tracker", "joblib.externals.loky.backend.resource_tracker")


#: Threads and children that are ending already (a data loader's, after its last batch) may take this long: a new
#: process would cost its imports.
_ENDING_S = 0.25


def leftovers() -> str:
    """What is left, for a person; '' when the process is as good as new. Two system calls when it is."""
    if not _thread._count() and not _has_children():
        return ""
    import gc

    gc.collect()  # a data loader in a reference cycle still holds its workers
    deadline = time.monotonic() + _ENDING_S
    return _threads(deadline) or _children(deadline)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _threads(deadline: float) -> str:
    others = [t for t in threading.enumerate() if t is not threading.main_thread()]
    for thread in others:
        if type(thread).__name__ not in _ALLOWED_THREADS:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                return f"thread {thread.name!r}"
    n_unknown = _thread._count() - sum(thread.is_alive() for thread in others)
    return f"{n_unknown} threads" if n_unknown > 0 else ""


def _children(deadline: float) -> str:
    allowed = {
        tracker._pid
        for name in _ALLOWED_CHILDREN
        if (tracker := getattr(sys.modules.get(name), "_resource_tracker", None)) is not None
    }
    for pid in children_of(os.getpid()):
        if pid not in allowed and not _has_ended(pid, deadline):
            return f"child process {pid}"
    return ""


def _has_ended(pid: int, deadline: float) -> bool:
    """Whether a child ends in time; reaps it."""
    try:
        ended = os.pidfd_open(pid)
        try:
            select.select([ended], [], [], max(0.0, deadline - time.monotonic()))
        finally:
            os.close(ended)
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except (ChildProcessError, ProcessLookupError):
        return True
