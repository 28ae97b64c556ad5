"""Every test of this folder that takes `master` runs on `local[2]` and on the standalone cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from calling_home import Home, open_home
from kernels import jupyter_loop
from masters import Master, session_on, still_there, worker_processes

from lagom_magic.cluster.session import describe_session

__all__ = ["jupyter_loop"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has no meaning on a master; `only_on` names the one that it has a meaning on."""
    left_out = [
        item for item in items if (marker := item.get_closest_marker("only_on")) and _master(item) not in marker.args
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _master(item: pytest.Item) -> object:
    assert isinstance(item, pytest.Function)
    return item.callspec.params["session"]


@pytest.fixture(scope="session", params=["local", "standalone"])
def session(request: pytest.FixtureRequest, _last_session_stops: None) -> str:
    """The master's name; session-scoped, so that pytest runs all tests of one before those of the other."""
    name: str = request.param
    session_on(name, lambda: request.getfixturevalue("standalone_cluster"))
    return name


@pytest.fixture
def master(session: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Master]:
    info = describe_session()
    assert info is not None
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))
    (tmp_path / "notebook").mkdir()
    yield Master(session, info, tmp_path)
    assert still_there(worker_processes()) == []


@pytest.fixture
def home() -> Iterator[Home]:
    with open_home() as opened:
        yield opened
