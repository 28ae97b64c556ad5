from __future__ import annotations

import io
import math
import os
import pickle
import shutil
import sys
import threading
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from golden import JOURNALS
from store_runs import begun, complete_trial, hparams, record, run_on_disk, store_in, whole_run

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.events.facts import (
    Fact,
    MetricReported,
    RunEnded,
    RunState,
    TrialEnded,
    TrialError,
    TrialStarted,
    TrialState,
)
from lagom_magic.run import Run
from lagom_magic.store.layout import default_home
from lagom_magic.store.mirror import fetch, mark_changed, refresh_home
from lagom_magic.store.requests import Request


class Driver:
    """A live run that ends when it is told to."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self.orders: list[str] = []
        self.outcome = None

    @property
    def is_alive(self) -> bool:
        return not self._ended.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        return self._ended.wait(timeout_s)

    def stop(self, reason: str) -> None:
        self.orders.append(reason)
        self._ended.set()

    def prune(self, trial_id: int) -> None:
        self.orders.append(f"prune {trial_id}")

    def retry(self, trial_id: int) -> None:
        self.orders.append(f"retry {trial_id}")

    def abandon(self) -> None:
        self.orders.append("abandoned")
        self._ended.set()


def golden(name: str, tmp_path: Path) -> Run:
    shutil.copy(JOURNALS / f"{name}.jsonl", tmp_path / "events.jsonl")
    return Run(tmp_path)


def test_a_run_is_a_mapping_with_maggys_keys(tmp_path: Path) -> None:
    run = Run(run_on_disk(tmp_path))
    assert dict(run) == {
        "best_id": 1,
        "best_val": 0.9,
        "best_config": hparams(1),
        "best_hp": hparams(1),
        "worst_id": 0,
        "worst_val": 0.5,
        "worst_config": hparams(0),
        "avg": pytest.approx(0.7),
        "metric_list": [0.5, 0.9, 0.7],
        "num_trials": 3,
        "early_stopped": 0,
    }
    assert run.result == dict(run)
    with pytest.raises(KeyError):
        run["best"]


def test_a_run_without_any_trial_has_all_keys_and_no_best(tmp_path: Path) -> None:
    run = Run(run_on_disk(tmp_path, facts=begun()))
    assert run["best_id"] is run["best_config"] is run["avg"] is run.best is None
    assert run["metric_list"] == run.trials == []
    assert len(run.to_dataframe()) == 0


def test_best_is_a_trial_whose_hparams_can_be_used_again(tmp_path: Path) -> None:
    best = Run(run_on_disk(tmp_path)).best
    assert best is not None
    assert best.hparams == hparams(1)
    assert best.metrics == {"accuracy": 0.9, "loss": pytest.approx(0.1)}
    assert best.dir.is_dir()
    with pytest.raises(FrozenInstanceError):
        best.id = 2  # type: ignore[misc]


def test_the_artifacts_of_a_trial_are_those_that_have_arrived(tmp_path: Path) -> None:
    root = run_on_disk(tmp_path)
    folder = root / "trials/0001/artifacts/plots"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"x")
    (folder / ".b.png.part").write_bytes(b"half")
    best = Run(root).best
    assert best is not None
    assert best.artifacts == {"plots/a.png": folder / "a.png"}
    assert Run(root).trials[0].artifacts == {}


def test_a_live_run_is_read_anew_each_time(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        run = Run(store.layout.root)
        assert run.state is RunState.STARTING
        record(store, begun())
        assert (run.state, run.name, run.is_alive) == (RunState.RUNNING, "digits", True)
        record(store, complete_trial(0, 0.5))
        assert run["best_val"] == 0.5
        record(store, [TrialStarted(1, 1, 1, {}), MetricReported(1, 1, 1, 0, {"accuracy": 0.9})])
        assert run.trials[1].state is TrialState.RUNNING
        assert run["best_val"] == 0.5


def test_another_processes_run_is_stopped_and_steered_but_not_awaited_with_a_limit(
    tmp_path: Path,
) -> None:
    with store_in(tmp_path) as store:
        run = Run(store.layout.root)
        run.prune(3)
        run.retry(4)
        run.stop()
        assert store.requests is not None
        assert store.requests.read() == [Request("prune", 3), Request("retry", 4), Request("stop")]
        with pytest.raises(StoreError, match="belongs to another process"):
            run.wait(0.1)


def test_another_processes_run_is_awaited(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        run = Run(store.layout.root)
        ended = threading.Event()
        waiting = threading.Thread(target=lambda: run.wait() and ended.set())
        waiting.start()
        assert not ended.wait(0.2)
        store.close()
        assert ended.wait(10)
        waiting.join()


def test_trials_of_this_processes_run_are_pruned_and_retried_by_its_driver(tmp_path: Path) -> None:
    driver = Driver()
    run = Run(run_on_disk(tmp_path), driver)
    run.prune(3)
    run.retry(4)
    assert driver.orders == ["prune 3", "retry 4"]
    with pytest.raises(ConfigError, match="takes the number of a trial, not '4'"):
        run.retry("4")  # type: ignore[arg-type]


def test_nothing_can_be_pruned_or_retried_in_a_past_run(tmp_path: Path) -> None:
    run = Run(run_on_disk(tmp_path))
    with pytest.raises(StoreError, match="has ended: it is too late to prune trial 1"):
        run.prune(1)
    with pytest.raises(StoreError, match="has ended: it is too late to retry trial 1"):
        run.retry(1)


def test_stop_and_wait_reach_the_driver_of_this_process(tmp_path: Path) -> None:
    driver = Driver()
    run = Run(run_on_disk(tmp_path), driver)
    assert run.is_alive
    assert not run.wait(0.0)
    run.stop()
    assert run.wait(1.0)
    run.abandon()
    assert driver.orders == ["stopped by its user", "abandoned"]
    assert run.crash is None


def test_a_past_run_needs_no_waiting_and_no_stopping(tmp_path: Path) -> None:
    run = Run(run_on_disk(tmp_path))
    assert run.wait()
    run.stop()
    assert not run.is_alive


def test_a_run_whose_driver_died_is_failed_and_keeps_what_it_has(tmp_path: Path) -> None:
    run = golden("torn", tmp_path)
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert run.error.startswith("interrupted")
    assert run["best_val"] == 0.5
    assert [trial.state for trial in run.trials] == [TrialState.COMPLETE, TrialState.STOPPED]
    assert "failed" in repr(run)


def test_a_stopped_run_says_why_and_a_complete_one_has_no_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert golden("stopped", tmp_path / "a").error == "stopped by its user"
    (tmp_path / "b").mkdir()
    assert golden("complete", tmp_path / "b").error is None


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        Run(tmp_path)


def test_a_stored_run_is_opened_by_what_names_it_on_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))
    root = run_on_disk(tmp_path / "runs")
    for text in (root.name, root.name[-4:], f"digits/{root.name}", "digits", str(root)):
        assert Run(text) == Run(root)
    with pytest.raises(StoreError, match=r"There is no run 'k3f' in .*\. Near: "):
        Run("k3f")


def test_the_text_of_a_run_shows_state_best_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = run_on_disk(tmp_path)
    assert repr(Run(root)).splitlines() == [
        f"Run digits/{root.name}: complete, 3 trials: 3 complete",
        "  best: accuracy 0.9 in trial 1 (lr=0.05, activation='relu')",
        f"  digits/{root.name}",
    ]
    assert Run(root).describe_end() == (
        f"Run {root.name} is complete. 3 trials: 3 complete. Best: trial 1, accuracy 0.9."
    )


def test_the_line_at_the_end_of_a_stopped_run_says_what_it_has(tmp_path: Path) -> None:
    text = golden("stopped", tmp_path).describe_end()
    assert text == (
        f"Run {tmp_path.name} was stopped by its user. "
        "3 of 20 trials: 1 complete, 2 stopped. Best: trial 0, accuracy 0.5."
    )


def test_the_dataframe_has_a_row_for_each_trial(tmp_path: Path) -> None:
    frame = Run(run_on_disk(tmp_path)).to_dataframe()
    assert list(frame.index) == [0, 1, 2]
    assert list(frame["accuracy"]) == [0.5, 0.9, 0.7]
    assert list(frame["lr"]) == [hparams(trial_id)["lr"] for trial_id in range(3)]
    assert set(frame["state"]) == {"COMPLETE"}
    assert list(frame.columns)[:5] == ["attempt", "state", "lr", "activation", "epochs"]


def test_columns_of_the_same_name_are_kept_apart(tmp_path: Path) -> None:
    facts = [
        *begun(),
        TrialStarted(0, 1, 1, {"accuracy": "high", "state": "x"}),
        TrialEnded(0, 1, 1, TrialState.COMPLETE, {"accuracy": 0.5, "duration_s": 9.0}, 0.5, duration_s=1.0),
    ]
    row = Run(run_on_disk(tmp_path, facts=facts)).to_dataframe().loc[0]
    assert (row["accuracy"], row["hparams.accuracy"], row["hparams.state"]) == (0.5, "high", "x")
    assert (row["duration_s"], row["metrics.duration_s"]) == (1.0, 9.0)


def test_a_missing_pandas_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="pip install 'pandas<3'"):
        Run(run_on_disk(tmp_path)).to_dataframe()


def test_the_study_has_the_space_and_every_trial(tmp_path: Path) -> None:
    study = Run(run_on_disk(tmp_path)).study
    assert study.best_trial.number == 1
    assert study.best_params == {"lr": 0.05, "activation": "relu"}
    assert len(study.trials) == 3


@pytest.mark.parametrize("name", sorted(path.name.removesuffix(".jsonl") for path in JOURNALS.glob("*.jsonl")))
def test_every_golden_journal_makes_a_run_with_all_its_faces(name: str, tmp_path: Path) -> None:
    run = golden(name, tmp_path)
    assert len(run.to_dataframe()) == len(run.trials) == len(run.study.trials)
    assert run.describe_end()
    assert not math.isnan(run["best_val"])


def test_an_ablation_is_a_table_of_its_components(tmp_path: Path) -> None:
    run = golden("ablation_pair", tmp_path)
    frame = run.ablation
    accuracy = frame[frame["metric"] == "accuracy"].set_index("component")
    assert list(accuracy.index) == ["baseline", "conv2 + augment", "conv2", "augment", "flatten"]
    assert accuracy.loc["conv2", "delta"] == pytest.approx(-0.1241667)
    assert list(accuracy["state"]) == ["COMPLETE"] * 4 + ["FAILED"]
    assert run.ablation_table().startswith("| component | Δ accuracy | p (Holm) | n | interaction | parameters |")
    assert r"\toprule" in run.ablation_table("latex", metric="loss")


def test_a_run_of_another_kind_is_no_ablation(tmp_path: Path) -> None:
    run = Run(run_on_disk(tmp_path))
    with pytest.raises(ConfigError, match=r"is of %%lagom hpo: run\.ablation is of %%lagom ablate"):
        _ = run.ablation
    with pytest.raises(ConfigError, match=r"run\.ablation_table is of %%lagom ablate"):
        run.ablation_table()


def test_an_ablation_that_has_not_begun_says_so(tmp_path: Path) -> None:
    with store_in(tmp_path) as store, pytest.raises(ConfigError, match="has not begun"):
        _ = Run(store.layout.root).ablation


def test_the_result_of_a_single_call_is_what_it_returned(tmp_path: Path) -> None:
    facts = [
        *begun(kind="run"),
        TrialStarted(0, 1, 1, {}),
        TrialEnded(0, 1, 1, TrialState.COMPLETE, {"accuracy": 0.5}, 0.5, values={"note": "'ok'"}),
    ]
    assert Run(run_on_disk(tmp_path, facts=facts)).result == {"accuracy": 0.5, "note": "'ok'"}


def failed_call(error: TrialError, kind: str = "train") -> list[Fact]:
    return [
        *begun(kind=kind, n_trials=1),
        TrialStarted(0, 1, 1, {}),
        TrialEnded(0, 1, 1, TrialState.FAILED, error=error),
        RunEnded(RunState.FAILED, f"the trial failed with {error.in_words}"),
    ]


def test_a_long_traceback_is_cut_to_its_end_and_says_where_the_whole_is(tmp_path: Path) -> None:
    text = "Traceback (most recent call last):\n" + "  File 'train.py', deep\n" * 1000 + "ValueError: at last\n"
    shown = Run(run_on_disk(tmp_path, facts=failed_call(TrialError("ValueError", "at last", text)))).traceback
    first, *lines = shown.splitlines()
    assert first == "… the end of it; all: print(lagom_run.trials[0].error)"
    assert set(lines[:-1]) == {"  File 'train.py', deep"}
    assert lines[-1] == "ValueError: at last"
    assert len(shown) < 5000


def test_a_search_names_the_way_to_its_first_traceback_and_shows_none(tmp_path: Path) -> None:
    error = TrialError("ValueError", "bad", "Traceback …\nValueError: bad")
    run = Run(run_on_disk(tmp_path, facts=failed_call(error, kind="hpo")))
    assert run.traceback == ""
    assert run.describe_end().endswith(" Traceback of trial 0: print(lagom_run.trials[0].error)")


def test_a_run_that_failed_has_no_model_for_that_reason(tmp_path: Path) -> None:
    run = Run(run_on_disk(tmp_path, facts=failed_call(TrialError("ValueError", "bad"))))
    with pytest.raises(StoreError, match="has no model: it failed: the trial failed with ValueError: bad"):
        run.load_model()


def test_a_run_that_is_complete_without_a_model_says_how_to_keep_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="has no model: let the training function return it, such as"):
        Run(run_on_disk(tmp_path, facts=whole_run())).load_model()


class Planted:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def with_model(home: Path, name: str, data: bytes) -> Path:
    """The folder of a run whose best trial returned this model."""
    run_dir = run_on_disk(home, facts=whole_run())
    folder = run_dir / "trials/0001/artifacts"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(data)
    return run_dir


def fetched_from_another_machine(run_dir: Path) -> Run:
    """The run in the working copy of a machine that did not make it."""
    assert refresh_home() == ""
    copy = default_home() / run_dir.parent.name / run_dir.name
    fetch(copy)
    return Run(copy)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that LAGOM_HOME names by a URL."""
    monkeypatch.setenv("LAGOM_HOME", f"file://{tmp_path}/there")
    monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "there"


def test_the_pickled_model_of_an_own_run_is_loaded(tmp_path: Path) -> None:
    assert Run(with_model(tmp_path, "model.pkl", pickle.dumps([1, 2]))).load_model() == [1, 2]


def test_a_pickled_model_from_another_machine_is_refused_however_it_is_reached(place: Path, tmp_path: Path) -> None:
    data = pickle.dumps(Planted(tmp_path / "ran"))
    run = fetched_from_another_machine(with_model(place, "model.pkl", data))
    assert run.model_path is not None
    link = tmp_path / "link"
    link.symlink_to(run.dir)
    for reached in (run, Run(Path(os.path.relpath(run.dir))), Run(link)):
        with pytest.raises(StoreError, match="a pickle of somebody else would run their code as you") as caught:
            reached.load_model()
        assert str(reached.model_path) in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert run.model_path.read_bytes() == data


def test_a_pickled_model_that_the_working_copy_had_lost_is_refused_too(place: Path, tmp_path: Path) -> None:
    run_dir = with_model(default_home(), "model.pkl", pickle.dumps([1, 2]))
    mark_changed(run_dir)
    assert refresh_home() == ""
    assert Run(run_dir).load_model() == [1, 2]
    (run_dir / "trials/0001/artifacts/model.pkl").unlink()
    path = place / run_dir.parent.name / run_dir.name / "trials/0001/artifacts/model.pkl"
    path.write_bytes(pickle.dumps(Planted(tmp_path / "ran")))
    fetch(run_dir)
    with pytest.raises(StoreError, match="fetched"):
        Run(run_dir).load_model()
    assert not (tmp_path / "ran").exists()


def test_weights_without_code_are_loaded_from_wherever_they_came(place: Path) -> None:
    import torch

    data = io.BytesIO()
    torch.save({"weight": torch.ones(2)}, data)
    run = fetched_from_another_machine(with_model(place, "model.pt", data.getvalue()))
    assert list(run.load_model()) == ["weight"]


def test_a_pickled_model_that_belongs_to_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(with_model(tmp_path, "model.pkl", pickle.dumps(Planted(tmp_path / "ran"))))
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(StoreError, match=f"belongs to user {user}.* If you trust .*: pickle.loads") as caught:
        run.load_model()
    assert str(run.model_path) in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_the_warnings_of_a_trial_are_there(tmp_path: Path) -> None:
    ended = TrialEnded(0, 1, 1, TrialState.COMPLETE, {"loss": 1.0}, 1.0, warnings=("it had no effect",))
    run = Run(run_on_disk(tmp_path, facts=[*begun(), TrialStarted(0, 1, 1, {}), ended]))
    assert run.trials[0].warnings == ("it had no effect",)


def test_what_libraries_were_told_in_a_trial_is_there(tmp_path: Path) -> None:
    ended = TrialEnded(0, 1, 1, TrialState.COMPLETE, {"accuracy": 0.5}, 0.5, params={"SVC.C": 2.0})
    run = Run(run_on_disk(tmp_path, facts=[*begun(), TrialStarted(0, 1, 1, hparams(0)), ended]))
    assert run.trials[0].params == {"SVC.C": 2.0}
    assert run.trials[0].hparams == hparams(0)


def test_runs_are_equal_when_they_are_of_the_same_folder(tmp_path: Path) -> None:
    root = run_on_disk(tmp_path, facts=whole_run())
    assert Run(root) == Run(root)
    assert len({Run(root), Run(root)}) == 1
    assert Run(root) != Run(run_on_disk(tmp_path))
