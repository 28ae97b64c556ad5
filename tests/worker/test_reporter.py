"""The reporter over a real socket pair: values go out, orders come in, nothing waits."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from lagom_magic.errors import TrialPruned, TrialStopped
from lagom_magic.worker.control import Control
from lagom_magic.worker.reporter import Reporter


class Supervisor:
    """The other end."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest = b""

    def heard(self) -> list[dict[str, Any]]:
        self.sock.setblocking(False)
        while True:
            try:
                self.rest += self.sock.recv(1 << 20)
            except BlockingIOError:
                break
        *lines, self.rest = self.rest.split(b"\n")
        return [json.loads(line) for line in lines]

    def order(self, kind: str, trial_id: int = 5, attempt: int = 2) -> None:
        self.sock.sendall(json.dumps({"type": kind, "trial_id": trial_id, "attempt": attempt}).encode() + b"\n")


@pytest.fixture
def ends() -> Iterator[tuple[Reporter, Supervisor, Control]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        control = Control(theirs)
        yield Reporter(control, 5, 2, 1, "accuracy", lambda: None), Supervisor(ours), control


Ends = tuple[Reporter, Supervisor, Control]


def test_a_bare_number_has_the_metrics_name_and_steps_count_from_zero(ends: Ends) -> None:
    reporter, supervisor, _ = ends
    for value in (1, 2.5, np.float32(3)):
        reporter.broadcast(value)
    assert supervisor.heard() == [
        {
            "type": "metric_reported",
            "trial_id": 5,
            "attempt": 2,
            "worker_id": 1,
            "step": step,
            "metrics": {"accuracy": value},
        }
        for step, value in enumerate([1.0, 2.5, 3.0])
    ]


def test_counting_goes_on_from_a_given_step(ends: Ends) -> None:
    reporter, supervisor, _ = ends
    reporter.broadcast(1, step=np.int64(10))
    reporter.broadcast(1, step=10)
    reporter.broadcast(1)
    assert [message["step"] for message in supervisor.heard()] == [10, 10, 11]


def test_nan_and_infinities_travel_as_text(ends: Ends) -> None:
    reporter, supervisor, _ = ends
    reporter.broadcast({"a": math.nan, "b": math.inf, "c": -math.inf})
    assert supervisor.heard()[0]["metrics"] == {"a": "nan", "b": "inf", "c": "-inf"}


@pytest.mark.parametrize("value", ["0.5", None, True, [1.0], object(), np.zeros(3), {"loss": "x"}, {}])
def test_what_is_no_number_is_an_error_that_names_it(value: Any, ends: Ends) -> None:
    reporter, supervisor, _ = ends
    with pytest.raises(TypeError, match=r"broadcast"):
        reporter.broadcast(value)
    assert supervisor.heard() == []


def test_the_error_shows_name_value_and_type(ends: Ends) -> None:
    with pytest.raises(TypeError, match=r"'loss' is '0\.5' \(str\), not a number"):
        ends[0].broadcast({"loss": "0.5"})


def test_a_decreasing_or_broken_step_is_an_error(ends: Ends) -> None:
    reporter, _, _ = ends
    reporter.broadcast(1, step=3)
    with pytest.raises(ValueError, match=r"step=2 after step=3"):
        reporter.broadcast(1, step=2)
    with pytest.raises(TypeError, match=r"step=1\.5"):
        reporter.broadcast(1, step=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"step=9223372036854775808; allowed: whole numbers of 64 bits"):
        reporter.broadcast(1, step=1 << 63)


@pytest.mark.parametrize(("order", "signal"), [("prune_trial", TrialPruned), ("stop_trial", TrialStopped)])
def test_an_order_is_raised_at_the_next_broadcast_and_at_every_later_one(
    order: str, signal: type[BaseException], ends: Ends
) -> None:
    reporter, supervisor, _ = ends
    reporter.broadcast(1)
    supervisor.order(order)
    for _ in range(3):
        with pytest.raises(signal):
            reporter.broadcast(2)
    assert len(supervisor.heard()) == 4
    assert reporter.raised is signal


def test_an_order_for_another_attempt_is_ignored(ends: Ends) -> None:
    reporter, supervisor, _ = ends
    supervisor.order("prune_trial", attempt=1)
    supervisor.order("stop_trial", trial_id=4)
    reporter.broadcast(1)


def test_a_stop_wins_over_a_pruning(ends: Ends) -> None:
    reporter, supervisor, _ = ends
    supervisor.order("stop_trial")
    supervisor.order("prune_trial")
    with pytest.raises(TrialStopped):
        reporter.broadcast(1)


def test_broadcast_does_not_wait_for_a_supervisor_that_does_not_read(ends: Ends) -> None:
    reporter, supervisor, control = ends
    n_reports = 20_000
    for step in range(n_reports):
        reporter.broadcast(step)
    heard = []
    while len(heard) < n_reports:
        heard += supervisor.heard()
        control.send({"type": "nothing"})
        heard = [message for message in heard if message["type"] != "nothing"]
    assert [message["step"] for message in heard] == list(range(n_reports))


def test_log_prints_or_goes_to_the_file_only(ends: Ends, capsys: pytest.CaptureFixture[str]) -> None:
    reporter, supervisor, _ = ends
    reporter.log("seen")
    reporter.log("quiet", jupyter=False)
    assert capsys.readouterr().out == "seen\n"
    assert supervisor.heard() == [{"type": "log", "text": "quiet\n"}]
