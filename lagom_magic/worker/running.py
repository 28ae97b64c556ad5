"""The trial that a worker runs now, as its supervisor sees it: when it must end, and how it is made to."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from lagom_magic.events.facts import TrialEnded, TrialError, TrialState
from lagom_magic.worker.child import Child


class Verdict(Enum):
    """Why the supervisor wants a trial to end."""

    STOPPED = "stopped"
    TIMED_OUT = "timed out"


@dataclass(slots=True)
class RunningTrial:
    """One attempt in its process."""

    trial_id: int
    attempt: int
    child: Child
    loop: asyncio.AbstractEventLoop
    grace_s: tuple[float, float]
    started_at: float
    timeout_s: float | None
    rank: int = 0
    verdict: Verdict | None = None
    _timers: list[asyncio.TimerHandle] = field(default_factory=list)

    def watch(self) -> None:
        """Starts the clock of a trial with a time limit."""
        if self.timeout_s is not None:
            self._later(self.timeout_s, self._time_out)

    def stop(self, message: dict[str, Any]) -> None:
        """The ladder: an exception at the next broadcast, then SIGTERM, then SIGKILL."""
        if self.verdict is None:
            self.verdict = Verdict.STOPPED
            self.child.send(message)
            self._later(self.grace_s[0], self.child.signal, signal.SIGTERM)
            self._later(self.grace_s[1], self.child.signal, signal.SIGKILL)

    def _time_out(self) -> None:
        """SIGTERM raises in Python code; SIGABRT lets C code show its stack; SIGKILL ends what is left."""
        if self.verdict is None:
            self.verdict = Verdict.TIMED_OUT
            self.child.signal(signal.SIGTERM)
            self._later(self.grace_s[0], self.child.signal, signal.SIGABRT)
            self._later(self.grace_s[1], self.child.signal, signal.SIGKILL)

    def _later(self, delay_s: float, call: Any, *args: Any) -> None:
        self._timers.append(self.loop.call_later(delay_s, call, *args))

    def end(self) -> None:
        """Stops the clocks."""
        for timer in self._timers:
            timer.cancel()

    def judged(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record of its end, with what the trial process could not know."""
        if self.verdict is Verdict.TIMED_OUT and record["state"] in (TrialState.STOPPED, TrialState.FAILED):
            trace = (record["error"] or {}).get("traceback", "")
            message = f"The trial ran longer than its limit of {self.timeout_s:g} s."
            return {
                **record,
                "state": TrialState.FAILED,
                "error": {"kind": "TIMEOUT", "message": message, "traceback": trace},
            }
        if record["state"] == TrialState.STOPPED:
            return {**record, "error": None}
        return record

    def dead(self, worker_id: int, error: TrialError, files: list[str]) -> TrialEnded:
        """The end of a trial whose process has died."""
        is_stopped = self.verdict is Verdict.STOPPED
        return TrialEnded(
            self.trial_id,
            self.attempt,
            worker_id,
            TrialState.STOPPED if is_stopped else TrialState.FAILED,
            duration_s=self.loop.time() - self.started_at,
            error=None if is_stopped else error,
            files=tuple(files),
        )
