"""What may hang is done for some seconds, by one thread at a time for a home, and says how it went."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.store.attempt import tried

HOME = Path("/home/.cache/lagom/1234")
WAIT_S = 60.0


@pytest.fixture
def goes_on() -> Iterator[threading.Event]:
    """What a step that hangs waits for."""
    event, before = threading.Event(), set(threading.enumerate())
    yield event
    event.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(WAIT_S)


def hang(goes_on: threading.Event) -> None:
    assert goes_on.wait(WAIT_S)


def fail(error: Exception) -> None:
    raise error


def test_what_is_done_in_time_has_no_problem() -> None:
    done: list[str] = []
    assert tried(HOME, lambda: done.append("once"), WAIT_S) == ""
    assert done == ["once"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreError("no route to host."), "no route to host"),
        (ConfigError("a URL without a host."), "a URL without a host"),
        (PermissionError(13, "Permission denied"), "[Errno 13] Permission denied"),
        (KeyError("size"), "KeyError: 'size'"),
    ],
)
def test_an_error_is_told_as_what_it_was(error: Exception, told: str) -> None:
    assert tried(HOME, lambda: fail(error), WAIT_S) == told


def test_a_bug_leaves_its_traceback_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    tried(HOME, lambda: fail(KeyError("size")), WAIT_S)
    assert "Traceback" in caplog.text


def test_while_one_hangs_no_other_is_begun_for_its_home(goes_on: threading.Event) -> None:
    n_threads = threading.active_count()
    assert tried(HOME, lambda: hang(goes_on), 0.1) == "it is not done after 0.1 s"
    assert "s ago is not done yet, and nothing more is asked until it is" in tried(HOME, pytest.fail, 0.1)
    assert threading.active_count() == n_threads + 1
    assert tried(HOME.with_name("5678"), lambda: None, WAIT_S) == ""


def test_who_comes_while_another_is_in_time_waits_for_it_and_is_done_then(goes_on: threading.Event) -> None:
    assert tried(HOME, lambda: hang(goes_on), 0.1) != ""
    done: list[str] = []
    with ThreadPoolExecutor(1, "test") as pool:
        told = pool.submit(tried, HOME, lambda: done.append("next"), WAIT_S)
        assert done == []
        goes_on.set()
        assert told.result(WAIT_S) == ""
    assert done == ["next"]
