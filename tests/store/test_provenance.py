from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from datetime import UTC, datetime
from pathlib import Path

from lagom_magic.store.layout import RunLayout
from lagom_magic.store.provenance import write_environment, write_run_json, write_source


def test_environment_lists_python_platform_and_every_package_once(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    write_environment(layout)
    python, system, *packages = layout.environment.read_text().splitlines()
    assert platform.python_version() in python
    assert platform.platform() in system
    assert f"pytest=={importlib.metadata.version('pytest')}" in packages
    names = [package.partition("==")[0].lower() for package in packages]
    assert names == sorted(set(names))


def test_run_json_keeps_what_json_lacks_readable(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path / "20261122-093000-k3f7")
    layout.root.mkdir()
    write_run_json(layout, "digits", {"kind": "hpo", "low": math.inf, "fn": len}, datetime(2026, 11, 22, tzinfo=UTC))
    document = json.loads(layout.run_json.read_text())
    assert document["format"] == 1
    assert document["run_id"] == "20261122-093000-k3f7"
    assert document["created_at"] == "2026-11-22T00:00:00.000+00:00"
    assert document["low"] == "inf"
    assert document["fn"] == "<built-in function len>"


def test_a_cell_that_is_no_unicode_is_kept_escaped(tmp_path: Path) -> None:
    write_source(RunLayout(tmp_path), "x = '\ud800'\n")
    assert RunLayout(tmp_path).source.read_text() == "x = '\\ud800'\n"
