"""Starts processes of ours below the supervisor; imports little, because the first one starts before the rest."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Mapping

TRIAL_PROCESS = "lagom_magic.worker.trial_process"
TEMPLATE = "lagom_magic.worker.template"
#: The control socket's place in a spawned process.
CONTROL_FD = 3
_PIPE_BYTES = 1 << 20


def spawn(module: str, environment: Mapping[str, str], output_fd: int) -> tuple[int, socket.socket]:
    """Execs `module.main()` in a fresh Python.

    Args:
        module: dotted name in this package.
        environment: all of it.
        output_fd: what becomes its standard output and error.

    Returns:
        Its pid (also its session's), and our end of its control socket.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        # Above 3 first: a dup2 onto itself would keep the close-on-exec flag on some systems.
        control_fd = os.dup(theirs.fileno()) if theirs.fileno() == CONTROL_FD else theirs.fileno()
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-c", f"from {module} import main; main()"],
            dict(environment),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output_fd, 1),
                (os.POSIX_SPAWN_DUP2, output_fd, 2),
                (os.POSIX_SPAWN_DUP2, control_fd, CONTROL_FD),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
        )
        if control_fd != theirs.fileno():
            os.close(control_fd)
    return pid, ours


def output_pipe() -> tuple[int, int]:
    """(read end, write end) of the pipe for file descriptors 1 and 2 of trial processes; as large as allowed."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    if sys.platform == "linux":
        with contextlib.suppress(PermissionError):
            fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return read_fd, write_fd
