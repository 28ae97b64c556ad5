"""The model registry of a home that LAGOM_HOME names by a URL: there and here alike, and shared by two machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from lagom_magic import BaseConfig, model
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.experiment import launch
from lagom_magic.store import registry
from lagom_magic.store.layout import default_home
from lagom_magic.store.mirror import refresh_home

URLS = ("memory://bucket/runs", "file://{tmp}/there")
Machine = Callable[[str], None]


@pytest.fixture(params=URLS)
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A home's URL, set in the environment."""
    url = request.param.format(tmp=tmp_path)
    monkeypatch.setenv("LAGOM_HOME", url)
    monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / "a"))
    monkeypatch.chdir(tmp_path)
    yield url
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Goes on as on another machine: one with a working copy of its own."""

    def become(name: str) -> None:
        monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / name))

    return become


def there(url: str) -> dict[str, bytes]:
    """What the registry in the place has."""
    filesystem, root = fsspec.core.url_to_fs(url)
    start = len(filesystem._strip_protocol(root)) + 1
    return {path[start:]: filesystem.cat_file(path) for path in filesystem.find(f"{root}/.models")}


def here() -> dict[str, bytes]:
    home = default_home()
    files = (path for path in (home / ".models").rglob("*") if path.is_file())
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in files}


def test_an_export_is_there_at_once_and_the_other_machine_loads_it(url: str, machine: Machine) -> None:
    Path("weights").write_text("from a")
    model.export("weights", "digits", metrics={"accuracy": 0.9})
    assert there(url) == here()
    assert set(here()) == {".models/digits/1/model.json", ".models/digits/1/files/weights"}
    machine("b")
    assert refresh_home() == ""
    assert set(here()) == {".models/digits/1/model.json"}
    assert model.get_best_model("digits", "accuracy")["path"].read_text() == "from a"
    assert here() == there(url)
    Path("weights").write_text("from b")
    assert model.export("weights", "digits")["version"] == 2
    machine("a")
    assert model.get_model("digits")["path"].read_text() == "from b"


def test_two_machines_that_took_one_number_end_with_two(url: str, machine: Machine) -> None:
    Path("weights").write_text("from a")
    model.export("weights", "digits")
    machine("b")
    Path("weights").write_text("from b")
    assert model.export("weights", "digits")["version"] == 2
    assert {path: data for path, data in there(url).items() if path.endswith("weights")} == {
        ".models/digits/1/files/weights": b"from a",
        ".models/digits/2/files/weights": b"from b",
    }
    assert [one.version for one in registry.versions(default_home()).versions] == [2]
    refresh_home()
    assert [one.version for one in registry.versions(default_home()).versions] == [1, 2]


def test_a_place_that_is_out_of_reach_gets_the_model_later(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = MemoryFileSystem if url.startswith("memory") else LocalFileSystem
    put = kind.put_file

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError("no right to write")

    monkeypatch.setattr(kind, "put_file", refuse)
    Path("weights").write_text("w")
    with pytest.warns(UserWarning, match=r"has not got the model: .*no right to write.* `%lagom models` sends it"):
        assert model.export("weights", "digits")["version"] == 1
    assert there(url) == {}
    monkeypatch.setattr(kind, "put_file", put)
    assert refresh_home() == ""
    assert there(url) == here()


def export_one() -> float:
    with open("weights", "w") as file:
        file.write("w")
    model.export("weights", "digits")
    return 1.0


def test_what_a_trial_exports_is_there_when_its_run_has_ended(url: str) -> None:
    run = launch(
        export_one, BaseConfig(), ui="none", make_launcher=lambda kit, _, n_workers: ProcessLauncher(kit, n_workers)
    )
    assert run.state == "COMPLETE"
    assert there(url) == here()
    assert ".models/digits/1/files/weights" in here()


def test_a_version_that_was_sent_before_that_was_noted_is_not_made_twice(url: str) -> None:
    Path("weights").write_text("w")
    model.export("weights", "digits")
    (marker,) = (default_home() / ".remote/models").iterdir()
    marker.unlink()
    assert refresh_home() == ""
    assert [one.version for one in registry.versions(default_home()).versions] == [1]
    assert there(url) == here()
