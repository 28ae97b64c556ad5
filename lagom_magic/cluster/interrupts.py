"""Keeps ■ from hurting other Spark jobs: used around the wait of a run, on the caller's thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_spark_sigint() -> Iterator[None]:
    """SIGINT raises a plain KeyboardInterrupt while the block runs.

    pyspark installs a handler that cancels every job of the context, the user's other ones too. Off the main
    thread, where Python allows no handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)
