"""What earlier versions stored is read, found, compared and gone on with; see stored_runs/README.md."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from magic_shell import open_notebook
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.errors import StoreError
from lagom_magic.events.facts import RunState, TrialState
from lagom_magic.experiment import launch
from lagom_magic.resuming import RepeatedCall, config_of, inherited_options
from lagom_magic.run import Run
from lagom_magic.spec.config import OptimizationConfig
from lagom_magic.store.index import find_run, list_runs

STORED = Path(__file__).parent / "stored_runs"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with copies of the stored runs."""
    shutil.copytree(STORED, tmp_path / "runs")
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def train(lr, width, activation, reporter):  # type: ignore[no-untyped-def]
    """As in the stored run's source.py, in short."""
    if width == 3:
        raise ValueError("width 3 does not divide the batch")
    accuracy = 0.0
    for epoch in range(3):
        accuracy = 1 - abs(lr - 0.01) * 10 - 1 / (width + epoch)
        reporter.broadcast(accuracy, step=epoch)
    return {"accuracy": accuracy, "loss": 1 - accuracy}


def test_a_run_of_format_1_is_read_whole(home: Path) -> None:
    run = Run(find_run(home, "digits"))
    assert (run.state, run.name, run.tags, len(run.trials)) == (RunState.COMPLETE, "digits", ("paper",), 6)
    assert run.best is not None
    assert (run.best.id, round(run.best.metrics["accuracy"], 6)) == (4, 0.786514)
    assert run["best_id"] == 4
    assert run.config["format"] == 1
    failed = run.trials[1]
    assert failed.error is not None
    assert (failed.state, failed.error.kind) == (TrialState.FAILED, "ValueError")
    assert run.trials[4].artifacts["summary.txt"].read_text() == "accuracy 0.787\n"
    frame = run.to_dataframe()
    assert list(frame["state"]).count("COMPLETE") == 5
    assert len(run.study.trials) == 6
    events = EventAccumulator(str(run.dir / "tensorboard" / "0004"))
    events.Reload()
    assert [event.step for event in events.Scalars("accuracy")] == [0, 1, 2]


def test_a_run_of_format_1_is_listed_found_shown_and_compared_and_nothing_of_it_is_changed(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = find_run(home, "digits").name
    before = contents(home / "digits")
    with open_notebook(tmp_path / "ipython") as notebook:

        def said(line: str) -> str:
            notebook.run(line).raise_error()
            return capsys.readouterr().out

        assert [summary.best_id for summary in list_runs(home).runs] == [4]
        assert run_id in said("%lagom runs")
        assert run_id in said("%lagom search paper lr<0.002 accuracy>0.78 tag:paper state:complete user:ada")
        assert "width 3 does not divide the batch" in said(f"%lagom show {run_id}")
        shown = said(f"%lagom show {run_id} --html report.html")
        assert "report.html" in shown
        assert "0.7865" in (tmp_path / "report.html").read_text()
        shutil.copytree(home / "digits" / run_id, home / "digits" / "20261124-080000-copy")
        assert "0.7865" in said(f"%lagom compare {run_id} 20261124-080000-copy")
        assert run_id in said(f"%lagom lineage {run_id}")
    assert {path: text for path, text in contents(home / "digits").items() if run_id in path} == before


def resumed(what: Any, config: OptimizationConfig, run: Run) -> Run:
    return launch(what, config, ui="none", make_launcher=lambda kit, _, n: ProcessLauncher(kit, n), resumed=run)


def test_a_run_of_format_1_is_extended_by_its_function(home: Path) -> None:
    run = Run(find_run(home, "digits"))
    config = OptimizationConfig(**inherited_options(run, {"num_trials"}), num_trials=8)
    extended = resumed(train, config, run)
    assert extended.dir == run.dir
    assert [trial.hparams for trial in extended.trials][:6] == [trial.hparams for trial in Run(run.dir).trials][:6]
    assert extended.view.counts[TrialState.COMPLETE] + extended.view.counts[TrialState.FAILED] == 8


def test_a_run_of_format_1_that_was_cut_off_is_finished_with_the_numbers_that_it_had(home: Path) -> None:
    whole = Run(find_run(home, "digits"))
    shutil.copytree(whole.dir, home / "digits" / "20261124-080000-cuts")
    cut = Run(home / "digits" / "20261124-080000-cuts")
    journal = cut.dir / "events.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    ends = [number for number, line in enumerate(lines, 1) if '"type":"trial_ended"' in line]
    journal.write_text("".join(lines[: ends[2]]))
    (cut.dir / "result.json").unlink()
    finished = resumed(train, OptimizationConfig(**inherited_options(cut, set())), cut)
    assert finished.state is RunState.COMPLETE
    assert {trial.id: (trial.state, trial.metric) for trial in finished.trials} == {
        trial.id: (trial.state, trial.metric) for trial in whole.trials
    }


def test_a_run_that_keeps_no_function_says_how_to_go_on_with_it(home: Path) -> None:
    run = Run(find_run(home, "digits"))
    with pytest.raises(StoreError, match=f"--resume {run.id}"):
        resumed(RepeatedCall(run), config_of(run, {"num_trials": 8}), run)
