"""SIGINT handlers around a run."""

from __future__ import annotations

import signal
import threading

from lagom_magic.cluster.interrupts import without_spark_sigint


def test_sigint_is_plain_inside_and_as_before_afterwards() -> None:
    def sparks_handler(number: int, frame: object) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGINT, sparks_handler)
    try:
        with without_spark_sigint():
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is sparks_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_off_the_main_thread_nothing_changes() -> None:
    seen = []

    def look() -> None:
        with without_spark_sigint():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(timeout=10)
    assert seen == [signal.getsignal(signal.SIGINT)]
