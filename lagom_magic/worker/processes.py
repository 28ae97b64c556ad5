"""Processes below a worker: who they are, how they die with it, and how all of them are killed.

Used by the supervisor, the template and the trial process. Linux does all of it; elsewhere it is best effort.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def die_with_parent(parent_pid: int) -> None:
    """Lets the kernel kill this process when its parent ends; ends it now if that has happened already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def become_subreaper() -> None:
    """Makes orphans below this process its children, so that it can find and kill them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def children_of(pid: int) -> list[int]:
    """The direct children of a process, zombies included; [] when it is gone."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        found: list[int] = []
        for thread in threads:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        return _children_by_scan(pid)
    return found


def _children_by_scan(pid: int) -> list[int]:
    """The same where the kernel keeps no list of children."""
    found = []
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if entry.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{entry}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == pid:
                    found.append(int(entry))
    return found


def descendants_of(pid: int) -> list[int]:
    """Every process below `pid`, children before grandchildren."""
    found = children_of(pid)
    for child in found:  # grows while it is walked
        found += children_of(child)
    return found


def send_signal(pid: int, number: int) -> None:
    """Signals a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_tree(pid: int) -> None:
    """Kills a child of ours and everything below it."""
    below = descendants_of(pid)
    for process in (pid, *below):
        send_signal(process, signal.SIGKILL)


class Orphans:
    """The processes that trials left behind and that became children of this process, a subreaper."""

    def __init__(self) -> None:
        pid = os.getpid()
        self._fd = -1
        with contextlib.suppress(FileNotFoundError):
            self._fd = os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)

    def kill(self, known: Collection[int]) -> None:
        """Kills every child of this process except the `known`; cheap when there is none."""
        for child in self._children():
            if child not in known:
                kill_tree(child)

    def _children(self) -> Iterable[int]:
        if self._fd < 0:
            return children_of(os.getpid())
        return map(int, os.pread(self._fd, 1 << 16, 0).split())

    def close(self) -> None:
        """Gives the file descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def kill_everything_below(timeout_s: float, clock: Callable[[], float] = time.monotonic) -> bool:
    """Kills all descendants and reaps them, orphans that appear meanwhile too.

    Args:
        timeout_s: gives up then (a process in an uninterruptible system call cannot be killed).
        clock: seconds, monotonic.

    Returns:
        Whether nothing is left.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    deadline = clock() + timeout_s
    while True:
        for child in children_of(os.getpid()):
            kill_tree(child)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        remaining_s = deadline - clock()
        if remaining_s <= 0:
            return False
        if hasattr(signal, "sigtimedwait"):
            signal.sigtimedwait([signal.SIGCHLD], remaining_s)
