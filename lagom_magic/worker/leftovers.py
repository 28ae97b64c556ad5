"""What a trial has left in its process: threads and children make it unfit for the next trial."""

from __future__ import annotations

import _thread
import os
import sys

from lagom_magic.worker.processes import children_of

#: Helpers that libraries start once per process and that touch nothing of a trial.
_ALLOWED_THREADS = frozenset({"TMonitor"})  # tqdm's
_ALLOWED_CHILDREN = ("multiprocessing.resource_tracker", "joblib.externals.loky.backend.resource_tracker")


def leftovers() -> str:
    """What is left, for a person; '' when the process is as good as new. Two system calls when it is."""
    if not _thread._count() and not _has_children():
        return ""
    import gc

    gc.collect()  # a data loader in a reference cycle still holds its workers
    return _threads() or _children()


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _threads() -> str:
    n_threads = _thread._count()
    threading = sys.modules.get("threading")
    if not n_threads or threading is None:
        return f"{n_threads} threads" if n_threads else ""
    others = [t for t in threading.enumerate() if t is not threading.main_thread()]
    left = [t for t in others if type(t).__name__ not in _ALLOWED_THREADS]
    if left:
        return f"thread {left[0].name!r}"
    return f"{n_threads - len(others)} threads" if n_threads > len(others) else ""


def _children() -> str:
    allowed = {
        tracker._pid
        for name in _ALLOWED_CHILDREN
        if (tracker := getattr(sys.modules.get(name), "_resource_tracker", None)) is not None
    }
    for pid in children_of(os.getpid()):
        if pid not in allowed and not _reap(pid):
            return f"child process {pid}"
    return ""


def _reap(pid: int) -> bool:
    """Whether the child had ended already."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
