"""From the facts of an export to a version in the registry, by the store that keeps the run."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from store_runs import begun, record, store_in

from lagom_magic.events.facts import (
    Fact,
    FileStored,
    FilesUsed,
    ModelExported,
    Noticed,
    RunEnded,
    RunState,
    TrialEnded,
    TrialError,
    TrialRequeued,
    TrialStarted,
    TrialState,
)
from lagom_magic.store import registry
from lagom_magic.store.journal import JournalReader
from lagom_magic.store.store import RunStore

FOLDER = "artifacts/models/digits"


def exported(trial_id: int = 0, attempt: int = 1, n_files: int = 1, **fields: Any) -> ModelExported:
    return ModelExported(trial_id, attempt, 1, **{"name": "digits", "folder": FOLDER, "n_files": n_files} | fields)


def ended(state: TrialState = TrialState.COMPLETE, trial_id: int = 0, attempt: int = 1, **fields: Any) -> TrialEnded:
    return TrialEnded(trial_id, attempt, 1, state, **fields)


def send(store: RunStore, path: str, data: bytes = b"w", trial_id: int = 0, attempt: int = 1) -> None:
    """A worker's file, as the driver takes it."""
    sha256 = hashlib.sha256(data).hexdigest()
    header = {"trial_id": trial_id, "attempt": attempt, "path": path, "offset": 0, "is_last": True}
    stored = store.write_chunk(1, header | {"size_bytes": len(data), "sha256": sha256}, data)
    assert isinstance(stored, FileStored)
    record(store, [stored])


def start(store: RunStore, *facts: Fact) -> None:
    record(store, [*begun(), TrialStarted(0, 1, 1, {"lr": 0.1}), *facts])


def notices(root: Path) -> list[str]:
    return [line.fact.text for line in JournalReader(root).read_new() if isinstance(line.fact, Noticed)]


def resume(root: Path) -> list[str]:
    """Go on with a run, and end at once; what it told of."""
    told: list[str] = []
    n_facts = len(JournalReader(root).read_new())
    RunStore.resume(root, {}, "", n_facts, told.append).close()
    return told


def run_with_two_versions(home: Path) -> Path:
    """The folder of a run whose trials 0 and 1 exported digits 1 and 2."""
    with store_in(home) as store:
        record(store, begun())
        for trial_id in range(2):
            record(store, [TrialStarted(trial_id, 1, 1, {}), exported(trial_id), ended(trial_id=trial_id)])
            send(store, f"{FOLDER}/a", trial_id=trial_id)
    return store.layout.root


def numbers(home: Path) -> list[tuple[str, int]]:
    return [(one.name, one.version) for one in registry.versions(home).versions]


def test_a_version_is_made_when_the_trial_has_ended_and_all_files_are_there(tmp_path: Path) -> None:
    used = FilesUsed(
        0,
        1,
        1,
        reads=({"path": "/data/x.csv", "size_bytes": 3, "mtime": 1.0, "sha256": "abc"},),
        writes=({"path": "/data/x.csv"}, {"path": "/own"}),  # read, and rewritten in place: an input all the same
    )
    about = {"description": "a line", "framework": "keras", "signature": {"inputs": "x"}, "metrics": {"auc": 0.8}}
    with store_in(tmp_path) as store:
        start(store, exported(n_files=2, **about), used, ended(metrics={"accuracy": 0.9}))
        send(store, f"{FOLDER}/saved/a")
        send(store, "artifacts/models/digits_2/other")
        send(store, f"{FOLDER}/saved/b/c", b"content")
        record(store, [RunEnded(RunState.COMPLETE)])
    (version,) = registry.versions(tmp_path).versions
    assert (version.name, version.version, version.metrics) == ("digits", 1, {"auc": 0.8})
    root = store.layout.root
    assert version.run == {"id": root.name, "experiment": "digits", "dir": str(root)}
    assert (version.trial_id, version.attempt, version.state, version.folder) == (0, 1, "COMPLETE", FOLDER)
    assert version.inputs == ({"path": "/data/x.csv", "size_bytes": 3, "mtime": 1.0, "sha256": "abc"},)
    assert (version.description, version.framework, version.signature) == ("a line", "keras", {"inputs": "x"})
    assert sorted(file["path"] for file in version.files) == ["saved/a", "saved/b/c"]
    assert (version.path / "b/c").read_bytes() == b"content"
    assert (version.path / "b/c").samefile(root / "trials/0000" / FOLDER / "saved/b/c")
    version.check_files()
    assert notices(root) == []


@pytest.mark.parametrize("is_early", [True, False])
def test_the_order_of_files_and_end_does_not_matter(tmp_path: Path, is_early: bool) -> None:
    with store_in(tmp_path) as store:
        start(store, exported())
        if is_early:
            send(store, f"{FOLDER}/a")
        record(store, [ended()])
        if not is_early:
            send(store, f"{FOLDER}/a")
    assert [one.version for one in registry.versions(tmp_path).versions] == [1]


def test_the_last_export_of_a_name_without_metrics_has_those_of_its_trial(tmp_path: Path) -> None:
    second = exported(folder="artifacts/models/digits_2")
    with store_in(tmp_path) as store:
        start(store, exported(), second, ended(metrics={"accuracy": 0.9}))
        send(store, f"{FOLDER}/a")
        send(store, "artifacts/models/digits_2/a")
    assert [one.metrics for one in registry.versions(tmp_path).versions] == [{}, {"accuracy": 0.9}]


def test_each_attempt_counts_by_itself_also_when_its_files_come_late(tmp_path: Path) -> None:
    error = TrialError("ValueError", "no")
    with store_in(tmp_path) as store:
        start(store, exported(), ended(TrialState.FAILED, error=error), TrialRequeued(0, 2, "retried"))
        record(store, [TrialStarted(0, 2, 1, {}), exported(attempt=2)])
        send(store, f"{FOLDER}/a", b"first")
        record(store, [ended(TrialState.PRUNED, attempt=2)])
        send(store, f"{FOLDER}/a", b"second", attempt=2)
    versions = registry.versions(tmp_path).versions
    assert [(one.attempt, one.state, one.path.read_bytes()) for one in versions] == [
        (1, "FAILED", b"first"),
        (2, "PRUNED", b"second"),
    ]


def test_exports_that_never_became_whole_are_one_notice_before_the_end(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        start(store, exported(), TrialRequeued(0, 2, "lost"), TrialStarted(0, 2, 1, {}))
        record(store, [exported(attempt=2, n_files=2), ended(attempt=2)])
        send(store, f"{FOLDER}/a", attempt=2)
        record(store, [RunEnded(RunState.COMPLETE)])
    facts = [line.fact for line in JournalReader(store.layout.root).read_new()]
    assert isinstance(facts[-1], RunEnded)
    assert notices(store.layout.root) == [
        "Not in the model registry, because the trial did not end or files did not arrive: digits of trial 0, "
        "digits of trial 0."
    ]
    assert registry.versions(tmp_path).versions == ()


def test_a_registry_that_cannot_be_written_is_told_of_and_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / ".models").write_text("in the way")
    told: list[str] = []
    with store_in(tmp_path, on_error=told.append) as store:
        start(store, exported(), ended(metrics={"accuracy": 0.9}, metric=0.9))
        send(store, f"{FOLDER}/a")
        record(store, [RunEnded(RunState.COMPLETE)])
    assert len(told) == 1
    assert told[0].startswith("digits is not in the model registry: The model registry")
    assert json.loads(store.layout.result.read_text())["best_val"] == 0.9


def test_a_name_or_a_folder_that_a_worker_made_up_leads_nowhere(tmp_path: Path) -> None:
    told: list[str] = []
    with store_in(tmp_path, on_error=told.append) as store:
        start(store, exported(name="../../x"), exported(folder="../../.."), exported(folder=""), ended())
        send(store, f"{FOLDER}/a")
        send(store, "files/b")
        record(store, [RunEnded(RunState.COMPLETE)])
    assert len(told) == 1
    assert "'../../x' cannot be the name of a model" in told[0]
    assert not (tmp_path / ".models").exists()
    assert "digits of trial 0, digits of trial 0." in notices(store.layout.root)[0]


def test_a_resumed_run_makes_the_versions_that_its_driver_died_before_and_no_second_ones(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        start(store, exported(), exported(name="other", folder="artifacts/models/other"), ended())
        send(store, f"{FOLDER}/a")
        send(store, "artifacts/models/other/a")
    (version,) = registry.versions(tmp_path, "other").versions
    shutil.rmtree(version.dir)
    (tmp_path / registry.FOLDER / "other@newest").unlink()  # as if it had never been made
    shutil.rmtree(tmp_path / registry.FOLDER / "other@exports")
    assert registry.names(tmp_path) == ["digits"]
    for _ in range(2):
        resume(store.layout.root)
        assert numbers(tmp_path) == [("digits", 1), ("other", 1)]


@pytest.mark.parametrize("deleted", ["digits/1", "digits"])
def test_a_deleted_version_does_not_come_back_when_its_run_is_resumed(tmp_path: Path, deleted: str) -> None:
    root = run_with_two_versions(tmp_path)
    shutil.rmtree(tmp_path / registry.FOLDER / deleted)
    left = numbers(tmp_path)
    for trial_id in range(2):  # also where nothing is left of what it was made of
        shutil.rmtree(root / "trials" / f"{trial_id:04d}" / FOLDER)
    assert resume(root) == []
    assert numbers(tmp_path) == left


def test_a_version_of_which_only_the_folder_tells_is_not_made_twice_and_is_known_from_then_on(tmp_path: Path) -> None:
    root = run_with_two_versions(tmp_path)
    shutil.rmtree(tmp_path / registry.FOLDER / "digits@exports")  # a killed driver, or an older lagom_magic
    resume(root)
    assert numbers(tmp_path) == [("digits", 1), ("digits", 2)]
    shutil.rmtree(tmp_path / registry.FOLDER / "digits/1")
    resume(root)
    assert numbers(tmp_path) == [("digits", 2)]


def test_a_registry_that_cannot_take_an_export_down_still_gets_its_version_and_no_second_one(tmp_path: Path) -> None:
    (tmp_path / registry.FOLDER).mkdir()
    (tmp_path / registry.FOLDER / "digits@exports").write_text("in the way")
    root = run_with_two_versions(tmp_path)
    assert resume(root) == []
    assert numbers(tmp_path) == [("digits", 1), ("digits", 2)]


def test_an_export_whose_files_were_tidied_away_before_it_was_registered_says_so(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        start(store, exported())
        send(store, f"{FOLDER}/a")
    (store.layout.root / "trials" / "0000" / FOLDER / "a").unlink()
    told: list[str] = []
    n_facts = len(JournalReader(store.layout.root).read_new())
    resumed = RunStore.resume(store.layout.root, {}, "", n_facts, told.append)
    record(resumed, [ended()])
    resumed.close()
    (line,) = told
    assert line.startswith("digits is not in the model registry: ")
    assert line.endswith(f"{FOLDER}/a is not there any more.")


def test_the_journal_of_somebody_elses_run_writes_over_no_file_when_it_is_resumed(tmp_path: Path) -> None:
    mine = tmp_path / "digits" / "mine" / "call.pkl"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with store_in(tmp_path) as store:
        start(store, exported(), ended())
    root = store.layout.root
    hostile = root / "trials" / "mine" / "call.pkl"
    hostile.parent.mkdir(parents=True)
    hostile.write_text("hostile")
    (root / "trials" / "0000" / FOLDER).mkdir(parents=True)
    lines = [json.loads(line) for line in (root / "events.jsonl").read_text().splitlines()]
    stored = {"type": "file_stored", "trial_id": 0, "attempt": 1, "size_bytes": 7, "sha256": "0" * 64}
    climbing = {"path": f"{FOLDER}/../../../../mine/call.pkl", "seq": lines[-1]["seq"] + 1, "time": lines[-1]["time"]}
    with (root / "events.jsonl").open("a") as journal:
        journal.write(json.dumps(stored | climbing) + "\n")
    n_facts = len(JournalReader(root).read_new())
    RunStore.resume(root, {}, "", n_facts, lambda text: None).close()
    assert mine.read_text() == "mine"
    assert registry.versions(tmp_path).versions == ()


def test_a_link_that_leads_out_of_a_trial_brings_nothing_into_the_registry(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    (private / "a").write_text("secret")
    with store_in(tmp_path) as store:
        start(store, exported())
        send(store, f"{FOLDER}/a")
    folder = store.layout.root / "trials" / "0000" / FOLDER
    shutil.rmtree(folder)
    folder.symlink_to(private)
    told: list[str] = []
    n_facts = len(JournalReader(store.layout.root).read_new())
    resumed = RunStore.resume(store.layout.root, {}, "", n_facts, told.append)
    record(resumed, [ended()])
    resumed.close()
    assert "is no regular file of the trial any more" in told[0]
    assert registry.versions(tmp_path).versions == ()
