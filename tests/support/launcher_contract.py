"""What every launcher promises the driver, as a test class that each implementation inherits.

The workers here run a bootstrap of a few lines that dials in over plain TCP and does what it is told, so that these
tests hold whatever the real worker does.
"""

from __future__ import annotations

import json
import queue
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from lagom_magic.cluster.kit import WorkerKit
from lagom_magic.driver.launcher import Launcher, Secret, Ticket

WAIT_S = 60.0
#: Less than a slow machine may need, so that `close` does not wait long for workers that never go by themselves.
CLOSE_S = 10.0

OBEDIENT_WORKER = """
import json, os, signal, socket, sys

def run_worker(launch):
    ticket = launch["ticket"]
    connection = socket.create_connection((ticket["host"], ticket["port"]), timeout=60)
    with connection, connection.makefile("rw") as stream:
        hello = {key: value for key, value in launch.items() if not isinstance(value, bytes)}
        hello["payload"] = launch["payload"][:20].decode()
        hello["pid"], hello["path"], hello["folder"] = os.getpid(), sys.path, os.getcwd()
        stream.write(json.dumps(hello) + "\\n")
        stream.flush()
        order = stream.readline().strip()
        if order == "raise":
            raise RuntimeError("the disk of this worker is full")
        if order == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if order == "wait":
            stream.read()
"""


@dataclass
class Worker:
    """One worker that has dialled in."""

    hello: dict[str, Any]
    connection: socket.socket

    def order(self, word: str) -> None:
        self.connection.sendall(f"{word}\n".encode())

    def has_hung_up(self) -> bool:
        """Waits for the connection's end."""
        try:
            return self.connection.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.connection.close()


@dataclass
class Switchboard:
    """The driver's end: takes workers' calls and exits."""

    listener: socket.socket
    workers: list[Worker] = field(default_factory=list)
    exits: queue.Queue[tuple[int, int, str]] = field(default_factory=queue.Queue)

    def ticket(self, worker_id: int, incarnation: int = 1) -> Ticket:
        host, port = self.listener.getsockname()
        return Ticket(host, port, "no certificate", Secret(b"t" * 32), "run-1", worker_id, incarnation)

    def on_exit(self, worker_id: int, incarnation: int, reason: str) -> None:
        self.exits.put((worker_id, incarnation, reason))

    def next_worker(self) -> Worker:
        connection, _ = self.listener.accept()
        connection.settimeout(WAIT_S)
        with connection.makefile("r") as stream:
            worker = Worker(json.loads(stream.readline()), connection)
        self.workers.append(worker)
        return worker

    def dismiss(self) -> None:
        """Hang up on everybody, upon which the workers return."""
        for worker in self.workers:
            worker.close()

    def next_exit(self) -> tuple[int, int, str]:
        return self.exits.get(timeout=WAIT_S)


@contextmanager
def switchboard() -> Iterator[Switchboard]:
    """A listening driver's end; hangs up on everybody at the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(WAIT_S)
        board = Switchboard(listener)
        try:
            yield board
        finally:
            board.dismiss()


def kit(payload: bytes = b"payload", **changes: Any) -> WorkerKit:
    """A kit whose bootstrap is `OBEDIENT_WORKER`."""
    parts: dict[str, Any] = {"package_zip": b"package", "user_code_zip": b"code", "notebook_dir": "/notebooks"}
    return WorkerKit(**{"bootstrap_source": OBEDIENT_WORKER, "payload": payload, **parts, **changes})


class LauncherContract(ABC):
    """Every launcher starts, tells ends, and cleans up like this."""

    @abstractmethod
    def launcher(self, kit: WorkerKit, n_workers: int) -> Launcher:
        """A fresh launcher; the test closes it."""

    @pytest.fixture
    def board(self) -> Iterator[Switchboard]:
        with switchboard() as board:
            yield board

    @contextmanager
    def launching(self, kit: WorkerKit, n_workers: int = 2) -> Iterator[Launcher]:
        launcher = self.launcher(kit, n_workers)
        try:
            yield launcher
        finally:
            launcher.close(timeout_s=CLOSE_S)

    def test_a_worker_gets_its_ticket_and_the_kit(self, board: Switchboard) -> None:
        with self.launching(kit(session_path=("/added",))) as launcher:
            launcher.start(board.ticket(2, incarnation=3), board.on_exit)
            hello = board.next_worker().hello
            board.dismiss()
        assert hello["ticket"]["worker_id"] == 2
        assert hello["ticket"]["incarnation"] == 3
        assert hello["ticket"]["token_hex"] == "74" * 32
        assert hello["payload"] == "payload"
        assert hello["notebook_dir"] == "/notebooks"
        assert hello["session_path"] == ["/added"]
        assert hello["spark_attempt"] == 0
        assert "bootstrap_source" not in hello

    def test_a_large_kit_arrives_too(self, board: Switchboard) -> None:
        with self.launching(kit(payload=b"x" * 3_000_000)) as launcher:
            for worker_id in (1, 2):
                launcher.start(board.ticket(worker_id), board.on_exit)
            assert [board.next_worker().hello["payload"] for _ in range(2)] == ["x" * 20] * 2
            board.dismiss()

    def test_two_workers_run_at_once_in_processes_of_their_own(self, board: Switchboard) -> None:
        with self.launching(kit()) as launcher:
            for worker_id in (1, 2):
                launcher.start(board.ticket(worker_id), board.on_exit)
            workers = [board.next_worker(), board.next_worker()]
            assert len({worker.hello["pid"] for worker in workers}) == 2
            assert {worker.hello["ticket"]["worker_id"] for worker in workers} == {1, 2}
            board.dismiss()

    def test_a_worker_that_returns_exits_without_a_reason(self, board: Switchboard) -> None:
        with self.launching(kit()) as launcher:
            launcher.start(board.ticket(1), board.on_exit)
            board.next_worker().order("return")
            assert board.next_exit() == (1, 1, "")

    def test_a_killed_worker_exits_with_a_reason_and_its_slot_starts_again(self, board: Switchboard) -> None:
        with self.launching(kit()) as launcher:
            launcher.start(board.ticket(1), board.on_exit)
            self.lose(board, "die")
            worker_id, incarnation, reason = board.next_exit()
            assert (worker_id, incarnation) == (1, 1)
            assert reason
            assert "\n" not in reason
            launcher.start(board.ticket(1, incarnation=2), board.on_exit)
            board.next_worker().order("return")
            assert board.next_exit() == (1, 2, "")

    def test_an_error_in_a_worker_is_told_in_one_line(self, board: Switchboard) -> None:
        with self.launching(kit()) as launcher:
            launcher.start(board.ticket(1), board.on_exit)
            self.lose(board, "raise")
            assert board.next_exit() == (1, 1, "RuntimeError: the disk of this worker is full")

    def test_the_loss_of_one_worker_leaves_the_other_alone(self, board: Switchboard) -> None:
        with self.launching(kit()) as launcher:
            launcher.start(board.ticket(1), board.on_exit)
            survivor = board.next_worker()
            launcher.start(board.ticket(2), board.on_exit)
            self.lose(board, "die")
            assert board.next_exit()[0] == 2
            survivor.order("return")
            assert board.next_exit() == (1, 1, "")

    def test_close_ends_waiting_workers_and_tells_each_end_once(self, board: Switchboard) -> None:
        with self.launching(kit()) as launcher:
            for worker_id in (1, 2):
                launcher.start(board.ticket(worker_id), board.on_exit)
            workers = [board.next_worker(), board.next_worker()]
            for worker in workers:
                worker.order("wait")
            launcher.close(timeout_s=CLOSE_S)
            exits = [board.next_exit(), board.next_exit()]
            assert sorted(exit_[0] for exit_ in exits) == [1, 2]
            assert all(exit_[2] for exit_ in exits)
            assert all(worker.has_hung_up() for worker in workers)
        assert board.exits.empty()

    def test_nothing_starts_after_close(self, board: Switchboard) -> None:
        with self.launching(kit()) as launcher:
            launcher.close(timeout_s=CLOSE_S)
            launcher.start(board.ticket(1), board.on_exit)
            assert board.next_exit()[2]

    def test_it_listens_on_loopback_and_describes_its_shortage_with_numbers(self) -> None:
        with self.launching(kit(), n_workers=7) as launcher:
            assert launcher.address == ("127.0.0.1", "127.0.0.1")
            assert "7 workers" in launcher.describe_shortage()

    def test_no_thread_is_left_after_close(self, board: Switchboard) -> None:
        before = set(threading.enumerate())
        with self.launching(kit()) as launcher:
            launcher.start(board.ticket(1), board.on_exit)
            board.next_worker().order("return")
            board.next_exit()
        assert {thread.name for thread in set(threading.enumerate()) - before if "lagom" in thread.name} == set()

    def lose(self, board: Switchboard, order: str) -> None:
        """Have the next worker fail, as often as the launcher's cluster tries it by itself."""
        for _ in range(self.attempts):
            board.next_worker().order(order)

    #: How often a cluster runs a failing task by itself.
    attempts = 1
