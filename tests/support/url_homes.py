"""A home that LAGOM_HOME names by a URL, and machines that share it: each has a working copy of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

URLS = ("memory://bucket/runs", "file://{tmp}/there")
#: Goes on as on another machine, which has a name.
Machine = Callable[[str], None]


@pytest.fixture(params=URLS)
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A home's URL, set in the environment; this is machine "a"."""
    url = request.param.format(tmp=tmp_path)
    monkeypatch.setenv("LAGOM_HOME", url)
    monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / "a"))
    monkeypatch.chdir(tmp_path)
    yield url
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    def become(name: str) -> None:
        monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / name))

    return become


def files_below(url: str, folder: str) -> dict[str, bytes]:
    """What the place has below a folder of the home, read by fsspec alone."""
    filesystem, root = fsspec.core.url_to_fs(url)
    start = len(filesystem._strip_protocol(f"{root}/{folder}")) + 1
    return {path[start:]: filesystem.cat_file(path) for path in filesystem.find(f"{root}/{folder}")}


def remove_there(url: str, path: str) -> None:
    """As a person does with the store's own tool."""
    filesystem, root = fsspec.core.url_to_fs(url)
    filesystem.rm(f"{root}/{path}", recursive=True)


def put_there(url: str, path: str, data: bytes) -> None:
    filesystem, root = fsspec.core.url_to_fs(url)
    filesystem.pipe_file(f"{root}/{path}", data)
