"""A disk that is full or read-only: a clear message, the rest works, and nothing that was stored is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]


SCRIPT = """
import json, os, sys, warnings
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.errors import LagomError
from lagom_magic.experiment import launch
from lagom_magic import Float, OptimizationConfig

def train(x: Float(0, 1)):
    with open("big.bin", "wb") as file:
        file.write(os.urandom(200_000))
    return {"accuracy": x, "file": "big.bin"}

def run():
    config = OptimizationConfig(num_trials=8, workers=1, pruner="none", optimization_key="accuracy")
    return launch(train, config, ui="none", make_launcher=lambda kit, _, n: ProcessLauncher(kit, n))
"""

FULL = (
    SCRIPT
    + """
found = run()
print(json.dumps({
    "state": found.state, "notices": found.view.notices, "dir": str(found.dir),
    "metrics": [trial.metric for trial in found.trials],
    "artifacts": [[path.stat().st_size for path in trial.artifacts.values()] for trial in found.trials],
    "result": (found.dir / "result.json").exists(),
}))
os.remove(next(found.dir.glob("trials/*/artifacts/big.bin")))
again = run()
print(json.dumps({"state": again.state, "n": len(again.trials)}))
"""
)

READ_ONLY = (
    SCRIPT
    + """
first = run()
import subprocess
subprocess.run(["mount", "-o", "remount,ro", os.environ["LAGOM_HOME"]], check=True)
try:
    run()
except LagomError as error:
    print(json.dumps({"error": str(error)}))
from lagom_magic.store.index import runs
from lagom_magic.store.layout import default_home
listed = [run.run_id for run in runs(default_home())]
print(json.dumps({"read": [trial.metric for trial in first.trials], "listed": listed}))
"""
)


def on_disk(tmp_path: Path, size: str, code: str) -> list[dict[str, Any]]:
    """What the code prints, a line each; on a disk of this size as LAGOM_HOME."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = tmp_path / "script.py"
    script.write_text(code)
    mount = f"mount -t tmpfs -o size={size} tmpfs {disk} && exec {sys.executable} {script}"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount],
        cwd=tmp_path,
        env={
            **os.environ,
            "LAGOM_HOME": str(disk),
            "PYTHONPATH": str(_ROOT),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"this machine lets nobody mount a disk of his own: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_a_full_disk_costs_files_but_no_results_and_says_so(tmp_path: Path) -> None:
    full, again = on_disk(tmp_path, "1m", FULL)
    assert full["state"] == "COMPLETE"
    assert len(full["metrics"]) == 8
    assert None not in full["metrics"]
    assert [sizes for sizes in full["artifacts"] if sizes] == [[200_000]] * sum(map(bool, full["artifacts"]))
    assert any("No space left on device" in notice for notice in full["notices"]), full["notices"]
    assert again == {"state": "COMPLETE", "n": 8}


def test_a_disk_that_became_read_only_is_told_before_anything_starts_and_can_be_read(tmp_path: Path) -> None:
    refused, read = on_disk(tmp_path, "8m", READ_ONLY)
    assert "Read-only file system" in refused["error"]
    assert "LAGOM_HOME" in refused["error"]
    assert None not in read["read"]
    assert len(read["listed"]) == 1
