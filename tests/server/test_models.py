"""The list of models that a page gets: what lies in registries below the server's root, and nothing beside it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lagom_server import Server
from store_runs import run_on_disk

from lagom_magic.store import registry
from lagom_magic.store.model_version import Details, ModelVersion


@pytest.fixture
def home(server: Server) -> Iterator[Path]:
    folder = server.root / "project/lagom_runs"
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(server.root / "project")


def add(home: Path, name: str = "digits", **details: Any) -> ModelVersion:
    def place(folder: Path) -> Details:
        (folder / "model.bin").write_text("w")
        return Details(**details)

    return registry.add(home, name, place)


def models(server: Server, under: str = "") -> list[dict[str, Any]]:
    status, body = server.ask("GET", "models", under=under)
    assert status == 200, body
    return list(body["models"])


def test_a_model_leads_to_its_run_and_to_its_data(server: Server, home: Path) -> None:
    run = run_on_disk(home)
    data = server.root / "project/data.csv"
    data.write_text("1,2")
    inputs = ({"path": str(data)}, {"path": "/etc/hostname"}, {"path": "/nonexistent\0x"})
    link = {"id": run.name, "experiment": "digits", "dir": str(run)}
    add(
        home,
        metrics={"accuracy": 0.9, "loss": float("nan")},
        run=link,
        trial_id=3,
        attempt=2,
        inputs=inputs,
        description="a line",
    )
    (row,) = models(server)
    assert (row["name"], row["version"], row["metrics"]) == ("digits", 1, {"accuracy": 0.9, "loss": "nan"})
    assert row["dir"] == "project/lagom_runs/.models/digits/1"
    assert row["run_dir"] == f"project/lagom_runs/digits/{run.name}"
    assert (row["run_id"], row["trial_id"], row["attempt"]) == (run.name, 3, 2)
    assert (row["description"], row["n_inputs"]) == ("a line", 3)
    assert row["inputs"] == [
        {"path": str(data), "shown": "project/data.csv"},
        {"path": "/etc/hostname", "shown": None},
        {"path": "/nonexistent\0x", "shown": None},
    ]


def test_versions_are_listed_by_model_and_the_newest_first(server: Server, home: Path) -> None:
    for name in ("iris", "digits", "digits"):
        add(home, name)
    assert [(row["name"], row["version"]) for row in models(server, "project")] == [
        ("digits", 2),
        ("digits", 1),
        ("iris", 1),
    ]


def test_a_run_that_is_gone_or_made_up_is_no_link(server: Server, home: Path) -> None:
    for experiment, run_id in (
        ("digits", "20261122-093000-gone"),
        ("../..", "20261122-093000-gone"),
        ("x", "../../.."),
    ):
        add(home, run={"id": run_id, "experiment": experiment, "dir": "/"})
    assert [row["run_dir"] for row in models(server)] == [None, None, None]


def test_what_is_damaged_is_left_out(server: Server, home: Path) -> None:
    add(home)
    broken = add(home)
    (broken.dir / "model.json").write_text('{"format": 1}')
    assert [row["version"] for row in models(server)] == [1]


def test_a_registry_behind_a_link_or_beside_the_root_is_not_listed(server: Server, home: Path, tmp_path: Path) -> None:
    add(tmp_path)
    (home / ".models").symlink_to(tmp_path / ".models")
    assert models(server) == []
    status, body = server.ask("GET", "models", under=str(tmp_path))
    assert (status, "message" in body) == (404, True)


def test_without_the_token_nothing_is_answered(server: Server, home: Path) -> None:
    add(home)
    status, body = server.ask("GET", "models", headers={})
    assert status in (302, 403)
    assert "digits" not in json.dumps(body)


def test_many_metrics_and_inputs_are_cut(server: Server, home: Path) -> None:
    add(
        home,
        metrics={f"m{i}": 1.0 for i in range(100)},
        inputs=tuple({"path": f"/x/{i}"} for i in range(100)),
        description="x" * 5000,
    )
    (row,) = models(server)
    assert (len(row["metrics"]), len(row["inputs"]), row["n_inputs"], len(row["description"])) == (20, 20, 100, 1000)
    assert os.path.isdir(server.root / row["dir"])
