"""Two programs that run experiments in one $LAGOM_HOME at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from lagom_magic.events.facts import RunState
from lagom_magic.run import Run
from lagom_magic.store.index import runs
from lagom_magic.store.registry import versions

_ROOT = Path(__file__).resolve().parents[1]
N_RUNS, N_TRIALS = 3, 4

PROGRAM = f"""
import json, os, sys
from lagom_magic import Float, OptimizationConfig
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.experiment import launch

def train(x: Float(0, 1), trial):
    from lagom_magic import model
    with open("model.txt", "w") as file:
        file.write(str(x))
    model.export("model.txt", "shared", metrics={{"accuracy": x}})
    return {{"accuracy": x}}

print("ready", flush=True)
sys.stdin.readline()
for _ in range({N_RUNS}):
    config = OptimizationConfig(
        num_trials={N_TRIALS}, workers=1, seed=int(sys.argv[1]), optimization_key="accuracy", name="both", pruner="none"
    )
    run = launch(train, config, ui="none", make_launcher=lambda kit, _, n: ProcessLauncher(kit, n))
    print(json.dumps([str(run.dir), [trial.metric for trial in run.trials]]), flush=True)
"""


def test_their_runs_and_models_stay_apart(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    environment = {**os.environ, "LAGOM_HOME": str(home), "PYTHONPATH": str(_ROOT)}
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(seed)],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2)
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:  # both at once
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
    told = [json.loads(line) for program in programs for line in program.communicate(timeout=120)[0].splitlines()]
    assert [program.returncode for program in programs] == [0, 0]
    assert len({folder for folder, _ in told}) == 2 * N_RUNS
    for folder, metrics in told:
        run = Run(folder)
        assert run.state is RunState.COMPLETE
        assert [trial.metric for trial in run.trials] == metrics
    assert {str(summary.dir) for summary in runs(home)} == {folder for folder, _ in told}
    kept = versions(home, "shared").versions
    assert sorted(version.version for version in kept) == list(range(1, 2 * N_RUNS * N_TRIALS + 1))
    contents = sorted(float(version.path.read_text()) for version in kept)
    assert contents == sorted(metric for _, metrics in told for metric in metrics)
