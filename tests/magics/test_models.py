from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

import pytest
from magic_shell import Notebook

from lagom_magic.store import registry
from lagom_magic.store.layout import default_home
from lagom_magic.store.model_version import Details


def said(notebook: Notebook, capsys: pytest.CaptureFixture[str], line: str) -> str:
    notebook.run(line).raise_error()
    return capsys.readouterr().out


def add(name: str = "digits", user: str = "", **details: Any) -> None:
    def place(folder: Path) -> Details:
        (folder / "model.bin").write_text("w")
        return Details(**details)

    version = registry.add(default_home(), name, place)
    document = json.loads((version.dir / "model.json").read_text())
    changed = {"created_at": "2026-11-22T09:30:00+01:00"} | ({"user": user} if user else {})
    (version.dir / "model.json").write_text(json.dumps(document | changed))


def of_trial(trial_id: int, state: str = "COMPLETE", attempt: int = 1) -> dict[str, Any]:
    run = {"id": "20261122-093000-k3f7", "experiment": "digits", "dir": "/gone"}
    return {"run": run, "trial_id": trial_id, "attempt": attempt, "state": state}


def test_without_models_it_says_how_to_add_one(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(notebook, capsys, "%lagom models") == "no model is in the registry; model.export(…) adds one\n"
    assert notebook.error("%lagom models digits").startswith("StoreError: There is no model 'digits'")


def test_the_table_shows_versions_metrics_and_where_they_come_from(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    add(metrics={"accuracy": 0.9}, **of_trial(3))
    add(metrics={"accuracy": 0.95, "loss": 0.1}, **of_trial(7, "FAILED", 2))
    add("iris", user="ada", description="\x1b[31ma line\nmore")
    shown = [line.split() for line in said(notebook, capsys, "%lagom models").splitlines()]
    run, me = "20261122-093000-k3f7", getpass.getuser()
    assert shown == [
        ["model", "version", "accuracy", "loss", "run", "trial", "exported", "by"],
        ["digits", "2", "0.9500", "0.1000", run, "7.2", "FAILED", "2026-11-22", "09:30", me],
        ["digits", "1", "0.9000", "–", run, "3", "2026-11-22", "09:30", me],
        ["iris", "1", "–", "–", "–", "–", "2026-11-22", "09:30", "ada", "a", "line", "more"],
    ]


def column(text: str, index: int = 1) -> list[str]:
    return [line.split()[index] for line in text.splitlines()[1:]]


def test_it_is_filtered_and_sorted(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    for value in (0.5, 0.9, float("nan"), 0.7):
        add(metrics={"accuracy": value})
    add("iris", user="ada", metrics={"loss": 0.1})
    assert column(said(notebook, capsys, "%lagom models digits")) == ["4", "3", "2", "1"]
    assert column(said(notebook, capsys, "%lagom models digits --sort accuracy")) == ["2", "4", "1", "3"]
    assert column(said(notebook, capsys, "%lagom models digits --sort accuracy --ascending")) == ["1", "4", "2", "3"]
    assert column(said(notebook, capsys, "%lagom models --user ada"), 0) == ["iris"]
    assert column(said(notebook, capsys, "%lagom models --version 1"), 0) == ["digits", "iris"]
    assert said(notebook, capsys, "%lagom models --version 9").startswith("no model like that is in the registry")


def test_the_newest_are_shown_and_the_rest_counted(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(23):
        add()
    *rows, more = said(notebook, capsys, "%lagom models").splitlines()
    assert (len(rows), more) == (21, "… and 3 more: %lagom models --all")
    assert len(said(notebook, capsys, "%lagom models --all").splitlines()) == 24


def test_more_metrics_than_columns_are_counted(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    add(metrics={f"m{i}": float(i) for i in range(6)})
    shown = said(notebook, capsys, "%lagom models --sort m5").splitlines()
    assert shown[0].split()[2:6] == ["m5", "m0", "m1", "m2"]
    assert shown[-1].startswith("2 more metrics")


def test_what_cannot_be_read_is_said_below_the_table(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    add()
    add()
    (default_home() / ".models/digits/1/model.json").write_text("{")
    shown = said(notebook, capsys, "%lagom models").splitlines()
    assert len(shown) == 3
    assert shown[2].startswith("not readable: digits version 1 cannot be read: model.json is damaged")


def test_what_cannot_be_asked_for_is_one_clear_error(notebook: Notebook) -> None:
    add(metrics={"accuracy": 0.5}, user="ada")
    assert notebook.error("%lagom models --version x") == (
        "UsageError: %lagom models: --version 'x' is no version; allowed: 1, 2, … Try --version 1."
    )
    assert notebook.error("%lagom models --ascending").startswith(
        "UsageError: %lagom models: --ascending is for --sort"
    )
    assert notebook.error("%lagom models --sort acuracy") == (
        "ConfigError: No version has the metric 'acuracy'. Did you mean accuracy? There are: accuracy."
    )
    assert notebook.error("%lagom models --user eda") == (
        "ConfigError: No model is of user 'eda'. Did you mean ada? There are: ada."
    )
    assert notebook.error("%lagom models ../x").startswith("ConfigError: '../x' cannot be the name of a model")
