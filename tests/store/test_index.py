from __future__ import annotations

import os
from pathlib import Path

import pytest
from store_runs import begun, complete_trial, record, run_on_disk, store_in

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import RunState
from lagom_magic.store.index import find_run, runs


def named(home: Path, experiment: str, run_id: str) -> Path:
    root = run_on_disk(home, experiment)
    return root.rename(root.with_name(run_id))


def test_runs_are_listed_newest_first_over_all_experiments(tmp_path: Path) -> None:
    named(tmp_path, "b", "20261121-093000-aaaa")
    named(tmp_path, "a", "20261122-093000-aaaa")
    named(tmp_path, "b", "20261123-093000-aaaa")
    assert [run.run_id[:8] for run in runs(tmp_path)] == ["20261123", "20261122", "20261121"]
    assert [run.experiment for run in runs(tmp_path, limit=2)] == ["b", "a"]


def test_a_summary_says_what_a_list_shows(tmp_path: Path) -> None:
    run_on_disk(tmp_path)
    (summary,) = runs(tmp_path)
    assert (summary.state, summary.kind, summary.n_done, summary.n_complete) == (RunState.COMPLETE, "hpo", 3, 3)
    assert (summary.metric, summary.best_id, summary.best_val) == ("accuracy", 1, 0.9)


def test_a_live_run_is_listed_as_it_stands(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        record(store, [*begun(), *complete_trial(0, 0.5)])
        (summary,) = runs(tmp_path)
        assert (summary.state, summary.n_done) == (RunState.RUNNING, 1)


def test_a_run_whose_driver_died_is_listed_as_failed(tmp_path: Path) -> None:
    root = run_on_disk(tmp_path)
    (root / "result.json").unlink()
    journal = (root / "events.jsonl").read_bytes()
    (root / "events.jsonl").write_bytes(journal[: len(journal) // 2])
    (summary,) = runs(tmp_path)
    assert summary.state is RunState.FAILED


def test_what_is_no_run_is_left_out(tmp_path: Path) -> None:
    root = run_on_disk(tmp_path)
    (tmp_path / "digits" / "notes").mkdir()
    (tmp_path / "digits" / "notes" / "run.json").write_text("{}")
    broken = tmp_path / "digits" / "20261122-093000-zzzz"
    broken.mkdir()
    (broken / "run.json").write_text("not json")
    assert [run.dir for run in runs(tmp_path)] == [root]
    assert runs(tmp_path / "nowhere") == []


@pytest.mark.parametrize("text", ["20261122-093000-k3f7", "20261122", "k3f7", "k3", "digits/20261122-093000-k3f7"])
def test_a_run_is_found_by_its_id_or_a_unique_beginning(tmp_path: Path, text: str) -> None:
    named(tmp_path, "digits", "20261121-093000-aaaa")
    wanted = named(tmp_path, "digits", "20261122-093000-k3f7")
    assert find_run(tmp_path, text) == wanted


def test_an_experiments_name_means_its_latest_run(tmp_path: Path) -> None:
    named(tmp_path, "digits", "20261121-093000-aaaa")
    wanted = named(tmp_path, "digits", "20261122-093000-bbbb")
    named(tmp_path, "other", "20261123-093000-cccc")
    assert find_run(tmp_path, "digits") == wanted


def test_a_folders_path_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = run_on_disk(tmp_path)
    assert find_run(tmp_path / "nowhere", str(root)) == root
    monkeypatch.chdir(tmp_path)
    assert find_run(tmp_path / "nowhere", os.path.relpath(root)) == root


def test_an_ambiguous_beginning_lists_its_runs(tmp_path: Path) -> None:
    named(tmp_path, "digits", "20261121-093000-aaaa")
    named(tmp_path, "digits", "20261122-093000-bbbb")
    with pytest.raises(StoreError, match="begins 2 runs: 20261122-093000-bbbb, 20261121-093000-aaaa"):
        find_run(tmp_path, "2026")


def test_a_misspelt_name_lists_those_near(tmp_path: Path) -> None:
    run_on_disk(tmp_path, "digits")
    with pytest.raises(StoreError, match="Near: digits"):
        find_run(tmp_path, "digit5")


@pytest.mark.parametrize("text", ["x", ""])
def test_an_empty_home_says_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(StoreError, match="no run lies in"):
        find_run(tmp_path, text)
