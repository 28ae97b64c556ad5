"""The fork server of `--isolate`, exec'd by the supervisor: each trial becomes a fork of it.

It imports the modules that the function needs and does nothing else: no unpickling, no tensor operation, no
CUDA. A process with threads must not be forked, so it counts its own before it offers itself.
"""

from __future__ import annotations

import _thread
import gc
import importlib
import json
import os
import select
import socket
import sys
import traceback
from typing import Any

from lagom_magic.worker.control import Control
from lagom_magic.worker.payload import pickler_of
from lagom_magic.worker.processes import die_with_parent
from lagom_magic.worker.spawn import CONTROL_FD
from lagom_magic.worker.trial_process import TrialProcess, search_path

#: Native threads that survive a fork by their library's own doing.
_FORK_SAFE_THREADS = frozenset({"jemalloc_bg_thd"})  # pyarrow's allocator restarts it in the child
#: What every fork would import by itself, if its package is there.
_IMPORTED_BY_EACH_FORK = ("numpy.random",)


class Template:
    """Waits for requests to fork, and for the ends of its forks."""

    def __init__(self, sock: socket.socket, begin: dict[str, Any]) -> None:
        self._socket = sock
        self._begin = begin
        self._forks: dict[int, int] = {}  # pidfd → pid

    def serve(self) -> None:
        """Runs until the supervisor closes the socket."""
        while True:
            ours = self._socket.fileno()
            readable, _, _ = select.select([ours, *self._forks], [], [])
            for fd in readable:
                if fd != ours:
                    self._reap(fd)
                elif not self._answer():
                    return

    def _answer(self) -> bool:
        """Takes one request, which is one byte and the child's control socket; False at the end."""
        data, fds, _, _ = socket.recv_fds(self._socket, 1, 1)
        if not data:
            return False
        pid = os.fork()
        if pid == 0:
            self._become_trial_process(fds[0])
        os.close(fds[0])
        self._forks[os.pidfd_open(pid)] = pid
        self._tell({"type": "forked", "pid": pid})
        return True

    def _become_trial_process(self, control_fd: int) -> None:
        status = 1
        try:
            die_with_parent(self._begin["template_pid"])
            os.setsid()
            self._socket.close()
            for pidfd in self._forks:
                os.close(pidfd)
            TrialProcess(Control(socket.socket(fileno=control_fd)), self._begin, is_fork=True).serve()
            status = 0
        except BaseException:  # the edge of this process: it must not return into the template's loop
            traceback.print_exc()
        finally:
            os._exit(status)

    def _reap(self, pidfd: int) -> None:
        os.close(pidfd)
        pid = self._forks.pop(pidfd)
        _, status = os.waitpid(pid, 0)
        self._tell({"type": "exited", "pid": pid, "status": status})

    def _tell(self, message: dict[str, Any]) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")


def preload(modules: list[str]) -> None:
    """Imports what can be imported; the trial itself will meet, and tell, what cannot."""
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception:  # foreign code at import
            traceback.print_exc()
    for name in _IMPORTED_BY_EACH_FORK:
        if name.partition(".")[0] in sys.modules:
            importlib.import_module(name)


def lasting_threads() -> list[str]:
    """The names of other threads here that make a fork dangerous.

    Asked after a trial fork: OpenBLAS, for one, ends its threads before each fork and starts them when needed.
    """
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    names = []
    for thread in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{thread}/comm") as file:
            names.append((int(thread), file.read().strip()))
    native = [name for thread, name in names if thread != os.getpid() and name not in _FORK_SAFE_THREADS]
    return native or [f"{_thread._count()} Python threads"] * bool(_thread._count())


def main() -> None:
    """What the supervisor execs."""
    sock = socket.socket(fileno=CONTROL_FD)
    begin = json.loads(_read_line(sock))
    die_with_parent(begin["supervisor_pid"])
    begin["template_pid"] = os.getpid()
    sys.path[:0] = search_path(begin)
    pickler = pickler_of(begin["payload"])
    preload([*([pickler] if pickler else []), *begin["preload_modules"]])
    threads = lasting_threads()
    template = Template(sock, begin)
    if threads:
        template._tell({"type": "unfit", "threads": threads})
        return
    gc.collect()
    gc.freeze()  # a collection in a fork would else touch, and so copy, every page
    template._tell({"type": "ready"})
    template.serve()


def _read_line(sock: socket.socket) -> bytes:
    """The first message, and not a byte of what follows it."""
    line = b""
    while not line.endswith(b"\n"):
        data = sock.recv(1 << 16, socket.MSG_PEEK)
        if not data:
            raise EOFError("the supervisor is gone")
        end = data.find(b"\n") + 1
        line += sock.recv(end or len(data))
    return line


if __name__ == "__main__":
    main()
