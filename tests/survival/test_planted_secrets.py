"""Secrets in the environment, in Spark's settings and in git's remote are nowhere in a run's folder; without Spark."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from lagom_magic import OptimizationConfig
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.experiment import launch
from lagom_magic.store.store import RunStore

SECRET = "hunter2-Xq9"
FORMS = (SECRET.encode(), base64.b64encode(SECRET.encode()), SECRET.encode().hex().encode())


def found_in(home: Path) -> list[str]:
    """Files below a folder that hold the secret, in their names or their content."""
    files = [path for path in home.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"run.json", "provenance.json", "events.jsonl", "environment.txt"}
    return [str(path) for path in files for form in FORMS if form in str(path).encode() + path.read_bytes()]


@pytest.fixture
def runs_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A notebook's folder with a repository, in an environment with secrets; the folder of its runs."""
    notebook_dir = tmp_path / "nb"
    notebook_dir.mkdir()
    monkeypatch.chdir(notebook_dir)
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))
    for name in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "HARMLESS", "GIT_ASKPASS_PASSWORD"):
        monkeypatch.setenv(name, SECRET)
    for name in (".env", "train.py"):
        Path(name).write_text("x = 1\n")
    for command in (
        "init -q",
        "add -f .",
        "-c user.name=A -c user.email=a@b commit -qm first",
        f"remote add origin https://me:{SECRET}@example.org/a.git",
        f"config http.extraHeader Authorization:{SECRET}",
    ):
        subprocess.run(["git", *command.split()], check=True)
    Path(".env").write_text(f"TOKEN={SECRET}\n")
    Path("train.py").write_text("x = 2\n")
    return tmp_path / "runs"


def test_of_a_run_and_of_a_failed_trial(runs_home: Path) -> None:
    def train(x):
        import os

        print(len(os.environ["AWS_SECRET_ACCESS_KEY"]))
        open(".env").close()
        if x > 0.5:
            raise ValueError("with a traceback")
        return x

    config = OptimizationConfig(num_trials=4, workers=1, searchspace={"x": ("DOUBLE", [0.0, 1.0])}, seed=1)
    run = launch(train, config, ui="none", make_launcher=lambda kit, _, n: ProcessLauncher(kit, n))
    assert {trial.state.value for trial in run.trials} == {"COMPLETE", "FAILED"}
    assert "example.org" in (run.dir / "provenance.json").read_text()
    assert "x = 2" in (run.dir / "git.diff").read_text()
    assert found_in(runs_home) == []


def test_of_sparks_settings(runs_home: Path) -> None:
    conf = {
        "spark.hadoop.fs.s3a.secret.key": SECRET,
        "spark.executorEnv.HARMLESS": SECRET,
        "spark.driver.extraJavaOptions": f"-Dstore.password={SECRET}",
        "spark.jars.repositories": f"https://me:{SECRET}@repo/maven",
        "spark.master": "local[2]",
    }
    inputs = [{"argument": "dataset", "kind": "path", "paths": [f"s3://me:{SECRET}@bucket/x"], "n_files": 1}]
    errors: list[str] = []
    store = RunStore.create(runs_home, "digits", {}, "x = 1\n", errors.append)
    store.keep_provenance(Path.cwd(), lambda: {"spark": conf, "inputs": inputs})
    store.close()
    assert errors == []
    assert '"spark.master":"local[2]"' in (store.layout.provenance).read_text()
    assert found_in(runs_home) == []
