"""How a trial tells its test where it is and waits for the test's word: one line each way over loopback.

So tests know, instead of guessing with sleeps, that a trial runs, and decide when it goes on.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psutil

WAIT_S = 60.0

_Function = TypeVar("_Function", bound=Callable[..., Any])


def by_value(function: _Function) -> _Function:
    """Makes a function travel with its code, as a notebook's own do; workers lack this module."""
    function.__module__ = "__main__"
    return function


@by_value
def call_home(port: int, **facts: Any) -> str:
    """Called by a training function: tells `facts` and its pid; returns the test's word, "" when the test has gone."""
    import json
    import os
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=60) as line, line.makefile("rw") as stream:
        line.settimeout(None)
        stream.write(json.dumps({"pid": os.getpid(), **facts}) + "\n")
        stream.flush()
        return stream.readline().strip()


@dataclass
class Caller:
    """One trial that waits for a word.

    Attributes:
        facts: what it told.
    """

    facts: dict[str, Any]
    _line: socket.socket

    @property
    def process(self) -> psutil.Process:
        """The trial process."""
        return psutil.Process(self.facts["pid"])

    @property
    def supervisor(self) -> psutil.Process:
        return _above(self.process, lambda process: "lagom_magic.worker.supervisor" in process.cmdline())

    @property
    def spark_python(self) -> psutil.Process:
        """The Spark Python worker, which waits for the supervisor."""
        parent = self.supervisor.parent()
        assert parent is not None
        return parent

    @property
    def executor(self) -> psutil.Process:
        """The JVM above it."""
        return _above(self.process, lambda process: os.path.basename(process.exe()) == "java")

    def say(self, word: str = "go on") -> None:
        """Lets it go on."""
        self._line.sendall(f"{word}\n".encode())
        self._line.close()


def _above(process: psutil.Process, condition: Callable[[psutil.Process], bool]) -> psutil.Process:
    return next(parent for parent in process.parents() if condition(parent))


@dataclass
class Home:
    """Takes the trials' calls in the order in which they come."""

    _listener: socket.socket
    _callers: list[Caller] = field(default_factory=list)

    @property
    def port(self) -> int:
        """For `call_home`."""
        port: int = self._listener.getsockname()[1]
        return port

    def next_caller(self) -> Caller:
        """Waits for the next call."""
        line, _ = self._listener.accept()
        line.settimeout(WAIT_S)
        with line.makefile("r") as stream:
            caller = Caller(json.loads(stream.readline()), line)
        self._callers.append(caller)
        return caller

    def next_callers(self, n: int) -> list[Caller]:
        return [self.next_caller() for _ in range(n)]

    def close(self) -> None:
        """Hangs up on all that wait still."""
        self._listener.close()
        for caller in self._callers:
            caller._line.close()


@contextmanager
def open_home() -> Iterator[Home]:
    """A listening test."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(WAIT_S)
    home = Home(listener)
    try:
        yield home
    finally:
        home.close()
