"""A launcher whose workers are scripts over the real channel: what a supervisor could do, and what it never should."""

from __future__ import annotations

import asyncio
import platform
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from lagom_magic.driver.launcher import Launcher, Ticket
from lagom_magic.rpc.client import Channel, dial

Script = Callable[["ScriptedWorker"], Awaitable[None]]


class ScriptedWorker:
    """One connection and what came over it."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.channel: Channel | None = None
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def on_message(self, message: dict[str, Any]) -> None:
        self._inbox.put_nowait(message)

    def on_closed(self, reason: str) -> None:
        self._inbox.put_nowait({"type": "closed", "reason": reason})

    async def join(self, **changes: Any) -> None:
        """Dial and say hello."""
        ticket = self.ticket
        self.channel = await dial(ticket.host, ticket.port, ticket.certificate, bytes(ticket.token), self, 5.0)
        hello = {
            "type": "hello",
            "protocol": 1,
            "worker_id": ticket.worker_id,
            "incarnation": ticket.incarnation,
            "spark_attempt": 0,
            "host": "here",
            "pid": 1,
            "gpus": [],
            "python": platform.python_version(),
        }
        self.send(hello | changes)

    def send(self, message: dict[str, Any]) -> None:
        assert self.channel is not None
        self.channel.send(message)

    async def next(self, *kinds: str) -> dict[str, Any]:
        """The next message of one of these kinds; others are passed over, the end is always returned."""
        async with asyncio.timeout(10):
            while True:
                message = await self._inbox.get()
                if message["type"] in (*kinds, "closed"):
                    return message

    def end_trial(self, order: dict[str, Any], metrics: dict[str, Any], state: str = "COMPLETE") -> None:
        ended = {"type": "trial_ended", "state": state, "metrics": metrics, "duration_s": 0.01}
        self.send(ended | {"trial_id": order["trial_id"], "attempt": order["attempt"], "worker_id": 0})

    async def leave(self) -> None:
        assert self.channel is not None
        self.send({"type": "goodbye"})
        await self.channel.close()


async def diligent(worker: ScriptedWorker) -> None:
    """Completes every trial with its x as the metric."""
    await worker.join()
    while True:
        order = await worker.next("start_trial", "shut_down")
        if order["type"] != "start_trial":
            break
        worker.end_trial(order, {"metric": order["hparams"]["x"]})
    if order["type"] == "shut_down":
        await worker.leave()


class ScriptedLauncher(Launcher):
    """Runs `scripts[worker_id]` (else `default`) in a thread of its own; a list gives one script an incarnation."""

    def __init__(self, default: Script = diligent, scripts: dict[int, list[Script]] | None = None) -> None:
        self._default = default
        self._scripts = scripts or {}
        self._threads: list[threading.Thread] = []
        self.tickets: list[Ticket] = []

    @property
    def address(self) -> tuple[str, str]:
        return "127.0.0.1", "127.0.0.1"

    def start(self, ticket: Ticket, on_exit: Callable[[int, int, str], None]) -> None:
        self.tickets.append(ticket)
        scripts = self._scripts.get(ticket.worker_id, [])
        script = scripts[ticket.incarnation - 1] if ticket.incarnation <= len(scripts) else self._default
        self.run(ticket, script, on_exit)

    def run(self, ticket: Ticket, script: Script, on_exit: Callable[[int, int, str], None]) -> None:
        """Runs one script; several may share a ticket, as speculative copies do."""

        def main() -> None:
            reason = ""
            try:
                asyncio.run(self._play(ticket, script))
            except (OSError, AssertionError) as error:
                reason = f"{type(error).__name__}: {error}"
            on_exit(ticket.worker_id, ticket.incarnation, reason)

        thread = threading.Thread(target=main, name=f"script-{ticket.worker_id}", daemon=True)
        self._threads.append(thread)
        thread.start()

    async def _play(self, ticket: Ticket, script: Script) -> None:
        worker = ScriptedWorker(ticket)
        try:
            await script(worker)
        finally:
            if worker.channel is not None:
                await worker.channel.close()

    def describe_shortage(self) -> str:
        return "Asked for scripts, have none."

    def close(self, timeout_s: float) -> None:
        for thread in self._threads:
            thread.join(10)
