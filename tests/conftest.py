"""Rules for every test: nothing leaks, nothing is skipped in silence, rings run from the quickest to the slowest."""

from __future__ import annotations

import faulthandler
import os
import signal
import uuid
from collections.abc import Generator, Iterator

import pytest
from leak_checks import SESSION_MARKER, Snapshot, leaks_since

# Fixtures for every ring that needs Spark; here, so that a test session has one cluster and one session at a time.
from spark_sessions import _last_session_stops, on_local_spark, on_standalone_spark
from standalone import standalone_cluster

__all__ = ["_last_session_stops", "on_local_spark", "on_standalone_spark", "standalone_cluster"]

#: The rings; pure and process tests carry no marker.
RINGS = ("spark", "lab", "browser", "soak")


def pytest_configure(config: pytest.Config) -> None:
    os.environ[SESSION_MARKER] = uuid.uuid4().hex
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Started in the background of a shell, where Python and all that it starts ignore interrupts.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure(config: pytest.Config) -> None:
    os.environ.pop(SESSION_MARKER, None)


def _ring(item: pytest.Item) -> int:
    return max((number for number, name in enumerate(RINGS, 1) if item.get_closest_marker(name)), default=0)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort by ring, and leave soak tests out unless they are asked for."""
    if "soak" not in config.getoption("markexpr"):
        soak = [item for item in items if item.get_closest_marker("soak")]
        if soak:
            config.hook.pytest_deselected(items=soak)
            items[:] = [item for item in items if item not in soak]
    items.sort(key=_ring)


def pytest_runtest_call(item: pytest.Item) -> None:
    """No stack dump after a minute where a minute is usual; the test's own timeout dumps them."""
    if item.get_closest_marker("slow") or item.get_closest_marker("soak"):
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure: what can be installed must run.

    GPU tests may skip themselves, and browser tests outside of CI.
    """
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and not _may_skip(item):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} skipped itself ({call.excinfo and call.excinfo.value}), which it may not."
    return report


def _may_skip(item: pytest.Item) -> bool:
    is_ci = os.environ.get("CI", "") not in ("", "0", "false")
    return bool(item.get_closest_marker("gpu") or (item.get_closest_marker("browser") and not is_ci))


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread, process, socket, environment variable, patch or folder behind."""
    before = Snapshot.take()
    yield
    leaks = leaks_since(before)
    if leaks:
        pytest.fail("The test left something behind:\n  " + "\n  ".join(leaks), pytrace=False)
