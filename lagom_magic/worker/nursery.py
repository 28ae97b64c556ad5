"""Where the supervisor gets its trial processes from: a fresh Python each, or under `--isolate` a template's forks."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any

from lagom_magic.worker.child import Child, Message, OnMessage
from lagom_magic.worker.spawn import TEMPLATE, TRIAL_PROCESS, spawn


class Nursery:
    """Makes trial processes, keeps one ready, and knows which pids are theirs."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        environment: Mapping[str, str],
        output_fd: int,
        begin: Message,
        on_message: OnMessage,
        on_exit: Callable[[Child, int], None],
        notice: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._environment = environment
        self._output_fd = output_fd
        self._begin = begin
        self._on_message = on_message
        self._on_exit = on_exit
        self._notice = notice
        #: {pid: child} of every live trial process, exec'd or forked.
        self._children: dict[int, Child] = {}
        self._ready: Child | None = None
        self._template: _TemplateHandle | None = None
        self._preload_modules: list[str] = []
        self.is_isolating = False

    @property
    def pids(self) -> set[int]:
        """Processes that belong here; all other children of the supervisor are orphans of trials."""
        pids = set(self._children)
        if self._template is not None:
            pids.add(self._template.pid)
        return pids

    def adopt(self, pid: int, sock: socket.socket) -> None:
        """Takes over a process that was spawned before there was an event loop, told `begin` already."""
        self._ready = self._children[pid] = Child(self._loop, sock, self._on_message, pid)

    def isolate(self, preload_modules: list[str]) -> None:
        """From now on each trial process is for one trial; starts the template."""
        self.is_isolating = True
        self._preload_modules = preload_modules
        begin = {**self._begin, "preload_modules": preload_modules}
        pid, sock = spawn(TEMPLATE, self._environment, self._output_fd)
        self._template = _TemplateHandle(self._loop, pid, sock, self._on_template_message)
        self._template.send(begin)

    @property
    def can_fork(self) -> bool:
        """Whether the next process costs milliseconds, not imports."""
        return self._template is not None and self._template.is_ready

    def prepare(self) -> None:
        """Makes the next process now, while nobody waits for it."""
        if self._ready is None:
            self._ready = self._make()

    def take(self) -> Child:
        """A process that has not run a trial."""
        child, self._ready = self._ready, None
        return child or self._make()

    def _make(self) -> Child:
        if self._template is not None and self._template.is_ready:
            return self._template.fork(lambda sock: Child(self._loop, sock, self._on_message, None))
        return self._exec()

    def retire(self, child: Child) -> None:
        """Ends a process and everything below it."""
        child.signal(signal.SIGKILL)
        child.close()

    def reaped(self, pid: int, status: int) -> None:
        """A child of the supervisor has ended."""
        child = self._children.pop(pid, None)
        if child is not None:
            if child is self._ready:
                self._ready = None
            child.exited()
            self._on_exit(child, status)
        elif self._template is not None and pid == self._template.pid:
            self._template.close()
            if not self._template.is_unfit:
                self._notice(
                    "the process that isolated trials are forked from has died; each trial gets a fresh Python."
                )
            for orphan in self._template.waiting:
                self._on_exit(orphan, status)
            self._template = None

    def close(self) -> None:
        """Ends the processes that wait."""
        if self._ready is not None:
            self.retire(self._ready)
            self._ready = None
        if self._template is not None:
            self._template.close()

    def _exec(self) -> Child:
        pid, sock = spawn(TRIAL_PROCESS, self._environment, self._output_fd)
        child = self._children[pid] = Child(self._loop, sock, self._on_message, pid)
        child.send(self._begin)
        return child

    def _on_template_message(self, template: _TemplateHandle, message: Message) -> None:
        match message["type"]:
            case "ready":
                template.is_ready = True
            case "unfit":
                template.is_unfit = True
                self._notice(
                    f"isolated trials: importing {', '.join(self._preload_modules) or 'the modules'} starts threads "
                    f"({', '.join(message['threads'])}), and such a process must not be forked: "
                    "each trial gets a fresh Python, which imports everything again."
                )
            case "forked":
                child = template.waiting.pop(0)
                self._children[message["pid"]] = child
                child.is_forked_as(message["pid"])
            case "exited":
                self.reaped(message["pid"], message["status"])


class _TemplateHandle:
    """The supervisor's end of the template."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pid: int,
        sock: socket.socket,
        on_message: Callable[[_TemplateHandle, Message], None],
    ) -> None:
        self.pid = pid
        self.is_ready = False
        self.is_unfit = False
        #: Asked for and not yet forked, oldest first.
        self.waiting: list[Child] = []
        self._loop = loop
        self._socket = sock
        self._on_message = on_message
        self._received = b""
        loop.add_reader(sock, self._on_readable)

    def send(self, message: Message) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def fork(self, make: Callable[[socket.socket], Child]) -> Child:
        """Asks for a fork; what is sent to it waits in its socket."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._socket, [b"f"], [theirs.fileno()])
        child = make(ours)
        self.waiting.append(child)
        return child

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _on_readable(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            self.close()  # its end is reaped
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            message: dict[str, Any] = json.loads(line)
            self._on_message(self, message)
