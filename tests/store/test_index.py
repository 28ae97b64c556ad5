from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from store_runs import begun, complete_trial, record, run_on_disk, store_in

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import RunState
from lagom_magic.store.index import find_run, list_runs, run_dirs, runs, settled_runs
from lagom_magic.store.index_file import VERSION
from lagom_magic.store.snapshot import INDEX_NAME
from lagom_magic.store.tags import change_notes


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


#: Long after everything was written, so that its times tell of every change.
LATER_S = 4e9


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an index may lie beside the home folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "lagom_magic"


def kinds(home: Path) -> list[str]:
    return [run.kind for run in list_runs(home, now_s=LATER_S).runs]


def change_row(file: Path, change: str) -> None:
    """Give the index something to say that no folder says."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(f"UPDATE runs SET {change}")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("lagom_magic")]


def test_what_was_read_of_a_run_is_taken_from_the_index(tmp_path: Path) -> None:
    run_on_disk(tmp_path)
    assert kinds(tmp_path) == ["hpo"]
    change_row(tmp_path / INDEX_NAME, "kind = 'kept'")
    assert kinds(tmp_path) == ["kept"]


@pytest.mark.parametrize("name", ["run.json", "events.jsonl", "source.py", "source.2.py", "source.3.py", "notes.json"])
@pytest.mark.parametrize("change", ["in place", "by another file", "deleted"])
def test_a_run_whose_files_have_changed_is_read_anew(tmp_path: Path, name: str, change: str) -> None:
    run = run_on_disk(tmp_path)
    change_notes(run, ["pii"])
    for further in ("source.2.py", "source.3.py") if "source" in name else ():
        (run / further).write_text("mended")
    kinds(tmp_path)
    change_row(tmp_path / INDEX_NAME, "kind = 'kept'")
    assert kinds(tmp_path) == ["kept"]
    path = run / name
    if change == "in place":
        path.write_bytes(path.read_bytes())
    elif change == "by another file":
        (run / "new").write_bytes(path.read_bytes())
        (run / "new").rename(path)
    else:
        path.unlink()
    assert kinds(tmp_path) == ([] if (name, change) == ("run.json", "deleted") else ["hpo"])


def test_a_file_that_is_new_in_a_run_is_seen(tmp_path: Path) -> None:
    run = run_on_disk(tmp_path)
    kinds(tmp_path)
    change_notes(run, ["pii"])
    assert [summary.tags for summary in list_runs(tmp_path, now_s=LATER_S).runs] == [("pii",)]


def test_a_deleted_folder_is_gone_from_list_and_index(tmp_path: Path) -> None:
    gone, stays = run_on_disk(tmp_path, "gone"), run_on_disk(tmp_path, "stays")
    assert len(kinds(tmp_path)) == 2
    shutil.rmtree(gone)
    assert [run.dir for run in list_runs(tmp_path, now_s=LATER_S).runs] == [stays]
    with closing(sqlite3.connect(tmp_path / INDEX_NAME)) as connection:
        for table in ("runs", "trials", "words"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)


def test_what_has_just_been_written_is_not_kept(tmp_path: Path) -> None:
    run_on_disk(tmp_path)
    runs(tmp_path)
    change_row(tmp_path / INDEX_NAME, "kind = 'kept'")
    assert [run.kind for run in runs(tmp_path)] == ["hpo"]


def test_a_live_run_is_read_from_its_journal_each_time(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        record(store, [*begun(), *complete_trial(0, 0.5)])
        assert [run.n_done for run in list_runs(tmp_path, now_s=LATER_S).runs] == [1]
        record(store, complete_trial(1, 0.7))
        (summary,) = list_runs(tmp_path, now_s=LATER_S).runs
        assert (summary.n_done, summary.best_val, summary.state) == (2, 0.7, RunState.RUNNING)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b"no database" * 1000),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
        lambda file: file.write_bytes(file.read_bytes()[:4096] + b"\xff" * (file.stat().st_size - 4096)),
        lambda file: change_row(file, "signature = x'00', created_at = 'never'"),
        lambda file: change_row(file, "created_at = 'never'"),
        lambda file: change_row(file, "state = 'DREAMING'"),
        lambda file: file.unlink(),
    ],
    ids=["garbage", "empty", "half", "pages", "signature", "time", "state", "missing"],
)
def test_a_damaged_index_is_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], object]
) -> None:
    run_on_disk(tmp_path)
    kinds(tmp_path)
    damage(tmp_path / INDEX_NAME)
    assert kinds(tmp_path) == ["hpo"]
    assert len(said(caplog)) <= 1
    change_row(tmp_path / INDEX_NAME, "kind = 'kept'")
    assert kinds(tmp_path) == ["kept"]


def test_an_index_of_another_version_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_on_disk(tmp_path)
    with closing(sqlite3.connect(tmp_path / INDEX_NAME)) as connection, connection:
        connection.execute("CREATE TABLE runs (other)")
        connection.execute("PRAGMA user_version = 99")
    assert kinds(tmp_path) == ["hpo"]
    assert said(caplog) == [
        f"the index of runs {tmp_path / INDEX_NAME} is made anew: it is of version 99, and not of {VERSION}"
    ]


def test_where_the_home_takes_no_index_it_lies_in_the_users_cache(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_on_disk(tmp_path)
    (tmp_path / INDEX_NAME).mkdir()
    assert kinds(tmp_path) == ["hpo"]
    (file,) = cache.iterdir()
    change_row(file, "kind = 'kept'")
    assert kinds(tmp_path) == ["kept"]
    assert said(caplog)[0] == f"the index of runs {tmp_path / INDEX_NAME} is not used: unable to open database file"


def test_without_any_place_for_an_index_the_folders_are_read(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_on_disk(tmp_path)
    (tmp_path / INDEX_NAME).mkdir()
    cache.write_text("no folder")
    assert kinds(tmp_path) == ["hpo"]
    assert [text.split(":")[0] for text in said(caplog)] == [
        f"the index of runs {tmp_path / INDEX_NAME} is not used",
        f"there is no place for an index of runs in {cache.parent}",
    ]


def test_an_index_that_another_kernel_writes_for_long_is_gone_around(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_on_disk(tmp_path, "old")
    kinds(tmp_path)
    run_on_disk(tmp_path, "new")
    with closing(sqlite3.connect(tmp_path / INDEX_NAME, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert len(kinds(tmp_path)) == 2
    assert said(caplog) == [f"the index of runs {tmp_path / INDEX_NAME} is not used: database is locked"]


def test_several_may_use_the_index_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(12):
        run_on_disk(tmp_path, f"e{number}")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: {run.experiment for run in list_runs(tmp_path, now_s=LATER_S).runs}, range(12)))
    assert found == [{f"e{number}" for number in range(12)}] * 12
    assert said(caplog) == []


def test_one_run_that_cannot_be_read_leaves_the_others(tmp_path: Path) -> None:
    good, bad, piped = (run_on_disk(tmp_path, name) for name in ("good", "bad", "piped"))
    (bad / "run.json").write_text('{"kind": ')
    (piped / "run.json").unlink()
    os.mkfifo(piped / "run.json")
    listing = list_runs(tmp_path, now_s=LATER_S)
    assert [run.dir for run in listing.runs] == [good]
    assert listing.unreadable == {
        f"bad/{bad.name}": "it is not as a run's folder is made (JSONDecodeError: Expecting value: line 1 column 10 "
        "(char 9))",
        f"piped/{piped.name}": "it is no file",
    }


@pytest.mark.parametrize("name", ["result.json", "source.py", "source.2.py", "notes.json", "environment.txt"])
def test_a_file_beside_that_cannot_be_read_takes_nothing_else_away(tmp_path: Path, name: str) -> None:
    run = run_on_disk(tmp_path)
    (run / name).unlink(missing_ok=True)
    (run / name).mkdir()
    (summary,) = list_runs(tmp_path, now_s=LATER_S).runs
    assert (summary.state, summary.n_complete, summary.best_val) == (RunState.COMPLETE, 3, 0.9)


def test_a_torn_last_line_and_a_lost_folder_of_trials_take_nothing_away(tmp_path: Path) -> None:
    run = run_on_disk(tmp_path)
    (run / "result.json").unlink()
    shutil.rmtree(run / "trials")
    with open(run / "events.jsonl", "ab") as file:
        file.write(b'{"seq":99,"time":1.0,"type":"trial_en')
    (summary,) = list_runs(tmp_path, now_s=LATER_S).runs
    assert (summary.state, summary.n_complete) == (RunState.COMPLETE, 3)


def test_the_newest_are_listed_and_the_older_ones_counted(tmp_path: Path) -> None:
    for day in range(21, 26):
        named(tmp_path, "digits", f"202611{day}-093000-aaaa")
    (tmp_path / "digits" / "20261130-093000-zzzz").mkdir()  # not begun yet
    listing = list_runs(tmp_path, limit=2)
    assert ([run.run_id[6:8] for run in listing.runs], listing.n_more) == (["25", "24"], 3)
    assert len(run_dirs(tmp_path)) == 5


def test_a_home_without_runs_gets_no_index(tmp_path: Path) -> None:
    assert runs(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_one_experiments_runs_are_listed_alone(tmp_path: Path) -> None:
    for name in ("digits", "digits2", "digits"):
        run_on_disk(tmp_path, name)
    assert [run.experiment for run in list_runs(tmp_path, experiment="digits").runs] == ["digits", "digits"]
    listing = list_runs(tmp_path, 1, "digits")
    assert (len(listing.runs), listing.n_more) == (1, 1)


def test_a_server_takes_what_is_over_from_its_own_users_index(tmp_path: Path, cache: Path) -> None:
    run = run_on_disk(tmp_path)
    paths = [f"digits/{run.name}"]
    assert kinds(tmp_path) == ["hpo"]
    change_row(tmp_path / INDEX_NAME, "kind = 'foreign'")
    assert [found.kind for found in settled_runs(tmp_path, paths, LATER_S).values()] == ["hpo"]
    change_row(next(cache.iterdir()), "kind = 'kept'")
    assert [found.kind for found in settled_runs(tmp_path, paths, LATER_S).values()] == ["kept"]
    assert settled_runs(tmp_path, paths, 0.0).keys() == set(paths)


def test_old_indices_in_the_users_cache_go_when_a_new_one_comes(tmp_path: Path, cache: Path) -> None:
    run_on_disk(tmp_path)
    cache.mkdir()
    for name, age_s in (("index-old.sqlite", 1e7), ("index-new.sqlite", 1e6), ("mine.sqlite", 1e7)):
        (cache / name).touch()
        os.utime(cache / name, (0, time.time() - age_s))
    settled_runs(tmp_path, [])
    assert {path.name for path in cache.iterdir()} > {"index-new.sqlite", "mine.sqlite"}
    assert not (cache / "index-old.sqlite").exists()


def test_a_live_run_is_not_over(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        record(store, begun())
        assert settled_runs(tmp_path, [f"digits/{store.run_id}"], LATER_S) == {}
