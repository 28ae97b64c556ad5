"""Spark sessions for tests: at most one lives at a time, and tests that follow each other share it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from standalone import StandaloneCluster

from lagom_magic.cluster.session import current_session, describe_session, start_session

if TYPE_CHECKING:
    from lagom_magic.cluster.session import SessionInfo

_LOOPBACK = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
}


def local_session(slots: int = 2) -> SessionInfo:
    """A session such as a notebook makes for itself: `local[slots]`."""
    return _session_on(f"local[{slots}]", _LOOPBACK, None)


def cluster_session(cluster: StandaloneCluster) -> SessionInfo:
    """A session on the standalone cluster, with all its executors."""
    return _with_executors(_session_on(cluster.master, dict(cluster.settings), cluster.python))


def start_cluster_session(
    cluster: StandaloneCluster, settings: Mapping[str, str], *, has_executors: bool = True
) -> SessionInfo:
    """A session of its own on the standalone cluster; there must be none. Stop it afterwards.

    Args:
        cluster: the cluster.
        settings: beside the cluster's.
        has_executors: return when all are there; else at once.
    """
    with _pyspark_python(cluster.python):
        info = start_session(cluster.master, {**cluster.settings, **settings})
        return _with_executors(info) if has_executors else info


def _with_executors(info: SessionInfo) -> SessionInfo:
    # A job of as many tasks as slots: when it has ended, the executors are there.
    info.context.parallelize(range(4), 4).foreach(bool)
    fresh = describe_session()
    assert fresh is not None
    return fresh


def _session_on(master: str, settings: dict[str, str], python: str | None) -> SessionInfo:
    context = current_session()
    if context is not None and context.master == master:
        info = describe_session()
        assert info is not None
        return info
    stop_session()
    with _pyspark_python(python):
        return start_session(master, settings)


def stop_session() -> None:
    """Stop the session that is there, if any; its JVM stays for the next one."""
    if (context := current_session()) is not None:
        context.stop()


@contextmanager
def _pyspark_python(python: str | None) -> Iterator[None]:
    before = os.environ.pop("PYSPARK_PYTHON", None)
    if python is not None:
        os.environ["PYSPARK_PYTHON"] = python
    try:
        yield
    finally:
        os.environ.pop("PYSPARK_PYTHON", None)
        if before is not None:
            os.environ["PYSPARK_PYTHON"] = before


@pytest.fixture(scope="session")
def _last_session_stops() -> Iterator[None]:
    yield
    stop_session()


@pytest.fixture(scope="class")
def on_local_spark(_last_session_stops: None) -> SessionInfo:
    """`local[2]`, as a session that the notebook has already."""
    return local_session()


@pytest.fixture(scope="class")
def on_standalone_spark(_last_session_stops: None, standalone_cluster: StandaloneCluster) -> SessionInfo:
    """The standalone cluster: two executors of two cores and two announced GPUs."""
    return cluster_session(standalone_cluster)
