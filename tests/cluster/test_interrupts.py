"""SIGINT handlers around a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from lagom_magic.cluster.interrupts import held_interrupts


@pytest.fixture
def sparks_handler() -> Iterator[object]:
    def cancel_all_jobs(number: int, frame: object) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGINT, cancel_all_jobs)
    yield cancel_all_jobs
    signal.signal(signal.SIGINT, before)


def test_sigint_waits_until_it_is_delivered(sparks_handler: object) -> None:
    with held_interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        assert interrupts.is_waiting
        with pytest.raises(KeyboardInterrupt):
            interrupts.deliver()


def test_sigint_is_plain_after_delivery_and_as_before_afterwards(sparks_handler: object) -> None:
    with held_interrupts() as interrupts:
        interrupts.deliver()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is sparks_handler


def test_off_the_main_thread_nothing_changes() -> None:
    seen = []

    def look() -> None:
        with held_interrupts() as interrupts:
            interrupts.deliver()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(timeout=10)
    assert seen == [signal.getsignal(signal.SIGINT)]
