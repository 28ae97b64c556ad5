"""What came from what, of run folders and a registry that the store has made."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from store_runs import begun, record, store_in

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import (
    Fact,
    FilesUsed,
    RunEnded,
    RunState,
    TrialEnded,
    TrialRequeued,
    TrialStarted,
    TrialState,
)
from lagom_magic.store import registry
from lagom_magic.store.data_files import change_of, file_entries
from lagom_magic.store.lineage import How, Maker, Trace, maker_of, model_file, models_of, trace_of, users_of
from lagom_magic.store.model_version import Details, ModelVersion

Entries = Sequence[dict[str, Any]]


def entry(path: str, sha256: str = "", **more: Any) -> dict[str, Any]:
    return {"path": path, "size_bytes": 3, "mtime": 1.0, "sha256": sha256, **more}


def trial(
    trial_id: int, reads: Entries = (), writes: Entries = (), n_more: int = 0, attempt: int = 1, *, fails: bool = False
) -> list[Fact]:
    ended = TrialEnded(trial_id, attempt, 1, TrialState.COMPLETE, {"accuracy": 0.5}, 0.5, duration_s=1.0)
    return [
        TrialStarted(trial_id, attempt, 1, {"lr": 0.1}),
        FilesUsed(trial_id, attempt, 1, tuple(reads), tuple(writes), n_more),
        TrialRequeued(trial_id, attempt + 1, "failed") if fails else ended,
    ]


def run_with(
    home: Path, *trials: list[Fact], experiment: str = "digits", inputs: list[dict[str, Any]] | None = None
) -> Path:
    with store_in(home, experiment) as store:
        if inputs is not None:
            store.keep_provenance(home, lambda: {"inputs": inputs})
        record(store, [*begun(), *(fact for facts in trials for fact in facts), RunEnded(RunState.COMPLETE)])
        return store.layout.root


def model_of(
    home: Path, run_dir: Path | None, trial_id: int = 0, inputs: Entries = (), attempt: int = 1
) -> ModelVersion:
    run = None if run_dir is None else {"id": run_dir.name, "experiment": run_dir.parent.name, "dir": str(run_dir)}

    def place(folder: Path) -> Details:
        (folder / "model.bin").write_bytes(b"weights")
        by = {} if run is None else {"trial_id": trial_id, "attempt": attempt}
        return Details(run=run, inputs=tuple(inputs), **by)

    return registry.add(home, "trees", place)


def uses(trace: Trace) -> list[tuple[How, str, tuple[int, ...]]]:
    return [(use.how, use.path, use.trials) for use in trace.uses]


def test_a_trace_gathers_what_trials_opened_by_file(tmp_path: Path) -> None:
    run_dir = run_with(
        tmp_path,
        trial(0, [entry("/d/a.csv", "11")], [entry("/out/x")]),
        trial(1, [entry("/d/b.csv"), entry("/d/a.csv", "11")], n_more=5),
        trial(2, [entry("/d/a.csv", "22")]),
    )
    trace = trace_of(run_dir)
    assert uses(trace) == [("read", "/d/a.csv", (0, 1, 2)), ("written", "/out/x", (0,)), ("read", "/d/b.csv", (1,))]
    assert trace.uses[0].versions == 2
    assert trace.uses[0].entry["sha256"] == "22"
    assert trace.n_more == 5
    assert uses(trace_of(run_dir, 1)) == [("read", "/d/b.csv", (1,)), ("read", "/d/a.csv", (1,))]
    assert trace_of(run_dir, 1).uses[1].entry["sha256"] == "11"
    assert (trace.experiment, trace.run_id) == ("digits", run_dir.name)


def test_what_the_run_was_given_comes_first(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("abc")
    inputs = [{"argument": "train_set", "kind": "path", "paths": [str(rows)], "n_files": 1}]
    trace = trace_of(run_with(tmp_path / "runs", trial(0, [entry("/d/a.csv")]), inputs=inputs))
    assert uses(trace) == [("given", str(rows), ()), ("read", "/d/a.csv", (0,))]
    assert trace.uses[0].argument == "train_set"
    assert trace.provenance["format"] == 1


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b'{"type":"files_used"}\n',
        b'{"type":"files_used","trial_id":0,"reads":7,"n_more":-3}\n',
        b'{"type":"files_used","trial_id":0,"reads":[7,{"path":8},{}]}\n',
        b'["files_used"]\n',
        b'"files_used" \xff\xfe\n',
        b'{"type":"files_used","trial_id":"0","reads":[{"path":"/x"}]}\n',
        b'{"type":"files_used","trial_id":0,"reads":[{"path":"/unfinished"}]}',
    ],
)
def test_damaged_lines_tell_nothing_and_hide_nothing(tmp_path: Path, damage: bytes) -> None:
    run_dir = run_with(tmp_path, trial(0, [entry("/d/a.csv")]))
    with (run_dir / "events.jsonl").open("ab") as file:
        file.write(damage)
    (run_dir / "provenance.json").write_text('{"inputs": [{"files": [3]}, 4]}')
    assert uses(trace_of(run_dir)) == [("read", "/d/a.csv", (0,))]
    (run_dir / "provenance.json").write_text("{")
    assert trace_of(run_dir).provenance == {}


def test_a_run_from_before_has_no_files(tmp_path: Path) -> None:
    run_dir = run_with(tmp_path)
    (run_dir / "events.jsonl").unlink()
    assert uses(trace_of(run_dir)) == []
    (run_dir / "events.jsonl").mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        trace_of(run_dir)


def test_users_of_a_file_are_its_runs_and_the_models_of_trials_that_read_it(tmp_path: Path) -> None:
    reader = run_with(tmp_path, trial(0, [entry("/d/a.csv")]), trial(1, [entry("/d/b.csv")]))
    writer = run_with(tmp_path, trial(0, writes=[entry("/d/a.csv")]), experiment="prepare")
    run_with(tmp_path, trial(0, [entry("/d/c.csv")]), experiment="other")
    of_reader, _, of_writer = (
        model_of(tmp_path, reader, 0),
        model_of(tmp_path, reader, 1),
        model_of(tmp_path, writer, 0),
    )
    found = users_of(tmp_path, "/d/a.csv")
    assert {trace.dir for trace in found.traces} == {reader, writer}
    assert found.models == {reader.name: [of_reader], writer.name: []}
    assert found.orphans == ()
    assert of_writer in models_of(tmp_path)[writer.name]


def test_of_a_retried_trial_each_attempt_has_its_own_files_and_models(tmp_path: Path) -> None:
    first = trial(0, [entry("/d/a.csv")], [entry("/out/a")], n_more=3, fails=True)
    second = trial(0, [entry("/d/b.csv")], [entry("/out/b")], attempt=2)
    run_dir = run_with(tmp_path, first, second)
    failed, complete = model_of(tmp_path, run_dir), model_of(tmp_path, run_dir, attempt=2)
    assert uses(trace_of(run_dir, 0, 1)) == [("read", "/d/a.csv", (0,)), ("written", "/out/a", (0,))]
    assert uses(trace_of(run_dir, 0, 2)) == [("read", "/d/b.csv", (0,)), ("written", "/out/b", (0,))]
    assert (trace_of(run_dir, 0, 1).n_more, trace_of(run_dir, 0, 2).n_more, trace_of(run_dir).n_more) == (3, 0, 3)
    assert [use.attempts for use in trace_of(run_dir).uses] == [((0, 1),), ((0, 1),), ((0, 2),), ((0, 2),)]
    assert users_of(tmp_path, "/d/a.csv").models == {run_dir.name: [failed]}
    assert users_of(tmp_path, "/d/b.csv").models == {run_dir.name: [complete]}


def test_a_model_of_given_data_came_of_them(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("abc")
    inputs = [{"argument": "dataset", "kind": "path", "paths": [str(rows)], "n_files": 1}]
    run_dir = run_with(tmp_path / "runs", trial(0), inputs=inputs)
    version = model_of(tmp_path / "runs", run_dir)
    assert users_of(tmp_path / "runs", str(rows)).models == {run_dir.name: [version]}


def test_a_model_outlives_the_folder_of_its_run(tmp_path: Path) -> None:
    run_dir = run_with(tmp_path, trial(0, [entry("/d/a.csv")]))
    version = model_of(tmp_path, run_dir, 0, [entry("/d/a.csv")])
    model_of(tmp_path, None)
    shutil.rmtree(run_dir)
    found = users_of(tmp_path, "/d/a.csv")
    assert (found.traces, found.orphans) == ((), (version,))


def test_folders_cover_their_files_and_files_their_folders(tmp_path: Path) -> None:
    run_dir = run_with(tmp_path, trial(0, [{"path": "/d/images/", "mtime": 1.0, "n_files": 9}, entry("/d/a.csv")]))

    def found(path: str) -> list[str]:
        return [use.path for trace in users_of(tmp_path, path).traces for use in trace.uses]

    assert found("/d/images/7.png") == ["/d/images/"]
    assert found("/d/images/") == found("/d/images") == ["/d/images/"]
    assert found("/d/") == ["/d/images/", "/d/a.csv"]
    assert found("/d/image") == found("/d/a.csv.gz") == found("/d/a") == []
    assert uses(trace_of(run_dir))[0][1] == "/d/images/"


def test_a_file_in_a_run_or_the_registry_says_so(tmp_path: Path) -> None:
    run_dir = run_with(tmp_path, trial(0))
    version = model_of(tmp_path, run_dir)
    assert maker_of(tmp_path, str(run_dir / "trials/0007/files/x.csv")) == Maker(run_dir, (7, 1))
    assert maker_of(tmp_path, str(run_dir / "trials/0007.2/files/x.csv")) == Maker(run_dir, (7, 2))
    assert maker_of(tmp_path, str(run_dir / "trials/0007.x/files/x.csv")) == Maker(run_dir)
    assert maker_of(tmp_path, str(run_dir / "source.py")) == Maker(run_dir)
    assert maker_of(tmp_path, "/d/a.csv") is None
    assert maker_of(tmp_path, str(tmp_path / "digits" / "notes" / "x")) is None
    assert model_file(tmp_path, str(version.path)) == ("trees", 1)
    assert model_file(tmp_path, str(run_dir / "source.py")) is None


def test_an_unreadable_run_does_not_hide_the_others(tmp_path: Path) -> None:
    reader = run_with(tmp_path, trial(0, [entry("/d/a.csv")]))
    damaged = run_with(tmp_path, trial(0, [entry("/d/a.csv")]))
    (damaged / "events.jsonl").unlink()
    (damaged / "events.jsonl").mkdir()
    assert [trace.dir for trace in users_of(tmp_path, "/d/a.csv").traces] == [reader]


def test_a_thousand_runs_are_read_in_less_than_two_seconds(tmp_path: Path) -> None:
    first = run_with(tmp_path, *(trial(i, [entry(f"/d/{n}.csv") for n in range(5)]) for i in range(20)))
    for number in range(999):
        folder = tmp_path / "digits" / f"20250101-{number:06d}-aaaa"
        folder.mkdir()
        for name in ("run.json", "events.jsonl"):
            os.link(first / name, folder / name)
    begin = time.process_time()
    found = users_of(tmp_path, "/d/3.csv")
    seconds = time.process_time() - begin
    assert len(found.traces) == 1000
    assert seconds < 2.0


def test_what_has_become_of_a_file_is_told_by_size_time_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("abc")
    [then], n_more = file_entries([str(path)])
    assert n_more == 0
    assert change_of(then) == "same"
    os.utime(path, (5, 5))
    assert change_of(then) == "same"  # another time, the same content
    assert change_of({**then, "sha256": ""}) == "changed"
    path.write_text("abd")
    assert change_of(then) == "changed"
    path.write_text("abcd")
    assert change_of(then) == "changed"
    path.unlink()
    assert change_of(then) == "gone"
    assert change_of({"path": "s3://bucket/a"}) == change_of({"path": "/a\0b"}) == "unknown"


def test_of_a_folder_files_that_come_and_go_are_noticed(tmp_path: Path) -> None:
    then = {"path": f"{tmp_path}/", "mtime": tmp_path.stat().st_mtime, "n_files": 2}
    assert change_of(then) == "same"
    (tmp_path / "new.png").write_text("")
    os.utime(tmp_path, (5, 5))
    assert change_of(then) == "changed"


def test_entries_of_folders_are_those_of_their_data_files(tmp_path: Path) -> None:
    for name in ("b/part-1.parquet", "a.parquet", "_SUCCESS", ".hidden", "_temporary/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    os.mkfifo(tmp_path / "pipe")
    entries, n_more = file_entries([str(tmp_path), str(tmp_path / "missing"), "hdfs://me:pw@host/x"])
    assert [one["path"] for one in entries] == [
        str(tmp_path / "a.parquet"),
        str(tmp_path / "b/part-1.parquet"),
        "hdfs://***@host/x",
    ]
    assert n_more == 0
    many = tmp_path / "many"
    many.mkdir()
    for number in range(250):
        (many / str(number)).write_text("")
    entries, n_more = file_entries([str(many)])
    assert (len(entries), n_more) == (200, 50)
    assert json.dumps(entries)
