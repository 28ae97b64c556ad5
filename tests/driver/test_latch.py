"""The latch that a cell waits at."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from lagom_magic.driver.latch import Latch


def test_it_stays_open_for_everybody_once_it_is_open() -> None:
    latch = Latch()
    assert not latch.wait(0)
    latch.open()
    latch.open()
    assert latch.wait()
    assert latch.wait(0)


def test_a_thread_that_waits_passes_when_it_opens() -> None:
    latch, passed = Latch(), threading.Event()
    thread = threading.Thread(target=lambda: passed.set() if latch.wait(10) else None, name="waiter")
    thread.start()
    latch.open()
    thread.join(10)
    assert passed.is_set()


def _wait_while_interrupted(latch: Latch) -> None:
    sender = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT), name="person")
    sender.start()
    try:
        latch.wait(10)
    finally:
        sender.join(10)


def test_interrupts_do_not_damage_it() -> None:
    latch = Latch()
    for _ in range(200):
        with pytest.raises(KeyboardInterrupt):
            _wait_while_interrupted(latch)
    latch.open()
    assert latch.wait(0)


def test_it_gives_its_file_descriptors_back() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        Latch()
    opened = Latch()
    opened.open()
    del opened
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_forked_child_does_not_keep_it_shut() -> None:
    latch = Latch()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        latch.open()
        assert latch.wait(1)
    finally:
        os.close(reading)
        os.close(writing)
        os.waitpid(child, 0)
