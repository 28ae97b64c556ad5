"""Mirrors a run into MLflow: while it goes on, on the thread "lagom-mlflow", or afterwards for `%lagom mlflow`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lagom_magic.errors import StoreError
from lagom_magic.mlflow_bridge.mirrored import MirroredRun
from lagom_magic.mlflow_bridge.tracking import Refused, Tracking, Unreachable
from lagom_magic.spec.secret_urls import SecretUrl
from lagom_magic.store.follower import Follower
from lagom_magic.store.journal import JournalReader, is_being_written
from lagom_magic.store.layout import RunLayout
from lagom_magic.store.mirror import fetch

#: Seconds in which news is gathered, and those before a server that was gone is asked again.
TURN_S = 1.0
RETRY_S = 10.0


class MlflowMirror:
    """Keeps a live run's copy in a tracking server."""

    def __init__(self, layout: RunLayout, address: SecretUrl, notice: Callable[[str], None]) -> None:
        """Make it; it begins with `start`.

        Args:
            layout: of the run.
            address: of the server.
            notice: takes one line for the person who watches the run; called from our thread.
        """
        self._layout, self._address, self._notice = layout, address, notice
        self._copy = MirroredRun(layout, Tracking(address))
        self._journal = JournalReader(layout.root)
        self._follower = Follower("lagom-mlflow", self._turn, self._finish)
        self._is_told = False
        self._problem = ""
        self.start, self.wake = self._follower.start, self._follower.wake

    def close(self, timeout_s: float, goes_on: bool = False) -> str:
        """Send the rest, for at most so long.

        Args:
            timeout_s: how long.
            goes_on: what is not sent by then is sent still, while this process lives; else it is given up.

        Returns:
            What the server has not got and how to send it, for a person; "" when it has all.
        """
        if not self._follower.close(timeout_s):
            if goes_on:
                return ""
            self._copy.is_given_up = True
            self._problem = f"it did not take everything within {timeout_s:.0f} s"
        if self._problem:
            return (
                f"MLflow at {self._address.shown} has not got all of this run: {self._problem.rstrip('.')}. "
                f"Send the rest with `%lagom mlflow {self._layout.root.name}`."
            )
        return _refused(self._address, self._copy)

    def _turn(self) -> float:
        try:
            self._copy.tracking.probe()
            self._copy.connect()
            self._copy.send()
            self._copy.take(self._journal.read_new())  # read only when there is room: what waits is on the disk
            self._copy.send()
        except (Unreachable, Refused) as error:
            if not self._is_told:
                self._is_told = True
                self._notice(
                    f"MLflow at {self._address.shown} is not there ({str(error).rstrip('.')}); the run goes on, and "
                    "what is missing is sent when it is back."
                )
            return RETRY_S
        return TURN_S

    def _finish(self) -> None:
        try:
            _send_all(self._copy, self._journal)
        except (Unreachable, Refused) as error:
            self._problem = str(error)
        except Exception as error:
            self._problem = f"{type(error).__name__}: {error}"
            raise


def send_stored(run_dir: Path, address: SecretUrl) -> str:
    """Send a run that has ended, or the part of it that the server lacks.

    Args:
        run_dir: its folder.
        address: of the server.

    Returns:
        What was done, for a person.

    Raises:
        StoreError: when the run lives, or the server does not take it.
    """
    if is_being_written(run_dir):
        raise StoreError(f"run {run_dir.name} is alive. Send it when it has ended.")
    fetch(run_dir)
    copy = MirroredRun(RunLayout(run_dir), Tracking(address))
    try:
        _send_all(copy, JournalReader(run_dir))
    except (Unreachable, Refused) as error:
        raise StoreError(f"MLflow at {address.shown} did not take run {run_dir.name}: {error}") from None
    sent = f"MLflow at {address.shown} has run {run_dir.name}: {copy.n_trials} trials."
    return "\n".join(filter(None, [sent, _refused(address, copy)]))


def _send_all(copy: MirroredRun, journal: JournalReader) -> None:
    copy.tracking.probe()
    copy.connect()
    copy.send()
    copy.take(journal.read_new())
    copy.send()
    copy.send_end()


def _refused(address: SecretUrl, copy: MirroredRun) -> str:
    if not copy.refusals:
        return ""
    what = "; ".join(f"{thing}: {answer.rstrip('.')}" for thing, answer in copy.refusals.items())
    return f"MLflow at {address.shown} would not take all of this run ({what})."
