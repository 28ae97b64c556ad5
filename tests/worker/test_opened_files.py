"""Which files a trial is said to have opened; real trial processes, without Spark."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from lagom_magic import BaseConfig, OptimizationConfig, Run
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.errors import RunFailed
from lagom_magic.events.facts import FilesUsed
from lagom_magic.experiment import launch
from lagom_magic.worker.audit_hook import Hook, shared_hook
from lagom_magic.worker.opened_files import MAX_NAMED, MAX_PENDING, OpenedFiles
from lagom_magic.worker.workdir import Workdir
from lagom_magic.worker.write_guard import WriteGuard

Started = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """Runs a function once, in `tmp_path/nb`, or more often with the options of a search."""
    notebook_dir = tmp_path / "nb"
    notebook_dir.mkdir()
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))
    monkeypatch.chdir(notebook_dir)

    def run(train_fn: Callable[..., Any], **options: Any) -> Run:
        config = OptimizationConfig(**options) if "num_trials" in options else BaseConfig(**options)
        return launch(
            train_fn, config, ui="none", make_launcher=lambda kit, _, n_workers: ProcessLauncher(kit, n_workers)
        )

    return run


def used(run: Run, trial_id: int = 0) -> FilesUsed | None:
    return run.view.trials[trial_id].files_used


def reads(run: Run, trial_id: int = 0) -> dict[str, dict[str, Any]]:
    files = used(run, trial_id)
    return {} if files is None else {entry["path"]: entry for entry in files.reads}


def writes(run: Run) -> dict[str, dict[str, Any]]:
    files = used(run)
    return {} if files is None else {entry["path"]: entry for entry in files.writes}


def test_a_file_read_by_its_relative_path_is_the_notebooks_with_size_time_and_hash(start: Started) -> None:
    csv = Path("data.csv").absolute()
    csv.write_text("a,b\n1,2\n")

    def train():
        with open("data.csv") as file:
            return len(file.read())

    assert reads(start(train)) == {
        str(csv): {
            "path": str(csv),
            "size_bytes": 8,
            "mtime": csv.stat().st_mtime,
            "sha256": hashlib.sha256(b"a,b\n1,2\n").hexdigest(),
        }
    }


def test_links_and_other_folders_lead_to_one_real_path(start: Started, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    rows = tmp_path / "lake" / "rows.csv"
    rows.write_text("1\n")
    Path("link.csv").symlink_to(rows)
    Path("lake").symlink_to(tmp_path / "lake")
    Path("sub").mkdir()
    Path("sub/own.txt").write_text("own")

    def train():
        for name in ("link.csv", "lake/rows.csv", "./lake/../lake/rows.csv", "sub/own.txt"):
            open(name).close()
        os.chdir("sub")
        open("own.txt").close()
        open(b"own.txt").close()
        return 1

    assert set(reads(start(train))) == {str(rows), str(Path("sub/own.txt").absolute())}


def test_what_is_read_through_a_link_that_the_trial_made_is_what_it_led_to(start: Started, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    make(lake, ["a.csv", "b.csv", "c.csv", "deep/d.csv", "deep/e.csv", "deep/f.csv"])
    make(Path("data"), ["own.csv", "rows.csv"])

    def train(lake):
        os.symlink(f"{lake}/a.csv", "train.csv")
        open("./train.csv").close()
        os.symlink(f"{lake}/b.csv", "data/b.csv")
        open("data/b.csv").close()
        os.makedirs("made")
        os.symlink(f"{lake}/deep", "made/part")
        open("made/part/d.csv").close()
        os.symlink("made/part", "again")
        open("again/../c.csv").close()
        open(os.path.abspath("again/e.csv")).close()
        os.symlink("data/rows.csv", "alias.csv")
        open("alias.csv").close()
        open("data/own.csv").close()
        os.symlink("round", "round")
        for wrong in ("round", "missing/../x", "made/gone.csv"):
            with contextlib.suppress(OSError):
                open(wrong).close()
        os.chdir("made")
        open("part/f.csv").close()
        return 1

    run = start(train, hparams={"lake": str(lake)})
    data = Path("data").absolute()
    files = {*lake.rglob("*.csv"), data / "own.csv", data / "rows.csv"}
    assert set(reads(run)) == {str(path) for path in files}
    assert writes(run) == {}


def test_names_count_from_a_folder_that_the_trial_made_and_ended_in(start: Started) -> None:
    Path("data.csv").write_text("1")

    def train():
        os.mkdir("made")
        os.chdir("made")
        open("../data.csv").close()
        return 1

    assert set(reads(start(train))) == {str(Path("data.csv").absolute())}


def test_what_is_written_through_a_link_that_the_trial_made_is_no_input(start: Started, tmp_path: Path) -> None:
    lake, out = tmp_path / "lake", tmp_path / "out"
    make(lake, ["a.csv"])
    out.mkdir()
    with contextlib.closing(sqlite3.connect(lake / "rows.sqlite")) as connection:
        connection.execute("create table t (x)")

    def train(lake, out):
        os.symlink(f"{out}/result.csv", "result.csv")
        os.symlink(out, "made")
        for name in ("result.csv", "made/more.csv"):
            with open(name, "w") as file:
                file.write("12345")
        for name in ("result.csv", f"{out}/result.csv", "made/more.csv", f"{out}/more.csv"):
            open(name).close()
        os.symlink(f"{lake}/a.csv", "new")
        os.replace("new", "train.csv")
        open("train.csv").close()
        os.symlink(f"{lake}/rows.sqlite", "rows.sqlite")
        sqlite3.connect("rows.sqlite").close()
        return 1

    run = start(train, hparams={"lake": str(lake), "out": str(out)})
    assert set(reads(run)) == {str(lake / "a.csv"), str(lake / "rows.sqlite")}
    assert set(writes(run)) == {str(out / "result.csv"), str(out / "more.csv")}


def test_what_a_trial_writes_elsewhere_is_told_and_its_own_folders_are_not(start: Started, tmp_path: Path) -> None:
    Path("own.txt").write_text("the notebook's")
    Path("both.txt").write_text("read, then written over")
    out = tmp_path / "out"
    out.mkdir()

    def train(folder, trial):
        with open("own.txt", "w") as file:
            file.write("the trial's")
        open("own.txt").close()
        with open("both.txt", "r+") as file:
            file.write("mine")
        with open(f"{trial.dir}/more.txt", "w") as file:
            file.write("more")
        with open(f"{folder}/result.txt", "w") as file:
            file.write("12345")
        open(f"{folder}/result.txt").close()
        with open(f"{folder}/appended.txt", "a+") as file:
            file.write("1")
        with open(f"{folder}/temporary.txt", "w") as file:
            file.write("1")
        os.unlink(f"{folder}/temporary.txt")
        return 1

    run = start(train, hparams={"folder": str(out)})
    assert set(writes(run)) == {str(out / "result.txt"), str(out / "appended.txt")}
    assert writes(run)[str(out / "result.txt")]["sha256"] == hashlib.sha256(b"12345").hexdigest()
    assert set(reads(run)) == {str(Path("both.txt").absolute()), str(out / "appended.txt")}


def test_a_file_that_is_moved_into_place_is_written(start: Started, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    Path("own.csv").write_text("the notebook's")

    def train(folder):
        import shutil

        with open(f"{folder}/prediction.tmp", "w") as file:
            file.write("12345")
        os.replace(f"{folder}/prediction.tmp", f"{folder}/prediction.csv")
        open(f"{folder}/prediction.csv").close()
        for name in ("local.csv", "own.tmp"):
            with open(name, "w") as file:
                file.write("1")
        shutil.move("local.csv", f"{folder}/moved.csv")
        os.rename("own.tmp", "own.csv")
        open("own.csv").close()
        return 1

    run = start(train, hparams={"folder": str(out)})
    assert set(writes(run)) == {str(out / "prediction.csv"), str(out / "moved.csv")}
    assert writes(run)[str(out / "prediction.csv")]["sha256"] == hashlib.sha256(b"12345").hexdigest()
    assert reads(run) == {}


def test_what_a_trial_wrote_first_is_no_input_however_it_is_named(start: Started, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for folder in (out, Path("sub")):
        folder.mkdir()
        for name in ("own", "input", "old"):
            (folder / f"{name}.csv").write_text("0")
    Path("results.csv").write_text("of a plain call")

    def train(folder, notebook):
        import tempfile

        handle, name = tempfile.mkstemp(dir=folder, prefix="new-")
        os.close(handle)
        with open("results.csv", "w") as file:
            file.write("mine")
        open("./results.csv").close()
        open(Path.cwd() / "results.csv").close()
        open(f"{folder}/./input.csv").close()
        for name in ("own", "input"):
            with open(f"{folder}/{name}.csv", "w") as file:
                file.write("1")
            with open(f"sub/{name}.csv", "w") as file:
                file.write("1")
        open(f"{notebook}/sub/own.csv").close()  # not the one that was just written
        os.chdir(folder)
        open("own.csv").close()
        open("input.csv").close()
        os.chdir("..")
        open("out/own.csv").close()
        open("out/old.csv").close()
        return 1

    run = start(train, hparams={"folder": str(out), "notebook": str(Path.cwd())})
    assert set(reads(run)) == {str(out / "input.csv"), str(out / "old.csv"), str(Path("sub/own.csv").absolute())}
    assert {Path(path).name.partition("-")[0] for path in writes(run)} == {"new", "own.csv", "input.csv"}


def test_code_packages_system_files_and_what_is_no_file_are_not_data(start: Started) -> None:
    Path("mine.py").write_text("import json.tool\nHERE = 1\n")
    os.mkfifo("pipe")

    def train():
        import importlib.metadata
        import socket
        import tempfile

        import mine
        import numpy.polynomial

        importlib.metadata.version("numpy")
        for name in ("/proc/self/status", "/etc/hostname", "/dev/null", "mine.py", numpy.__file__):
            open(name).close()
        os.close(os.open(".", os.O_RDONLY))
        os.close(os.open("pipe", os.O_RDONLY | os.O_NONBLOCK))
        with socket.socket() as made, open(made.fileno(), closefd=False):
            pass
        with tempfile.TemporaryFile() as file, tempfile.NamedTemporaryFile() as named:
            file.write(b"1")
            open(named.name).close()
        for wrong in ("missing.csv", "a\0b", ""):
            with contextlib.suppress(OSError, ValueError):
                open(wrong).close()
        return mine.HERE

    run = start(train)
    assert run.state == "COMPLETE"
    assert used(run) is None
    assert '"files_used"' not in (run.dir / "events.jsonl").read_text()


def test_each_trial_has_its_own_files_and_what_a_module_read_at_its_import_is_of_all(start: Started) -> None:
    Path("table.csv").write_text("1")
    Path("constants.py").write_text("with open('table.csv') as file:\n    TABLE = file.read()\n")
    for number in range(3):
        Path(f"{number}.csv").write_text(str(number))

    import importlib

    sys.path.insert(0, str(Path.cwd()))
    try:
        constants = importlib.import_module("constants")

        def train(trial, x):
            open(f"{trial.id}.csv").close()
            return float(constants.TABLE)

        run = start(train, num_trials=3, workers=1, searchspace={"x": ("DOUBLE", [0, 1])})
    finally:
        sys.path.remove(str(Path.cwd()))
        sys.modules.pop("constants", None)
    names = [{Path(path).name for path in reads(run, trial_id)} for trial_id in range(3)]
    assert names == [{"table.csv", f"{number}.csv"} for number in range(3)]


def test_a_failed_trial_tells_what_it_had_opened(start: Started) -> None:
    Path("bad.csv").write_text("?")

    def train():
        with open("bad.csv") as file:
            return float(file.read())

    with pytest.raises(RunFailed) as failed:
        start(train)
    assert set(reads(failed.value.run)) == {str(Path("bad.csv").absolute())}


def test_a_fork_of_the_function_says_nothing_and_its_files_are_not_seen(start: Started) -> None:
    for name in ("parent.csv", "child.csv"):
        Path(name).write_text("1")

    def train():
        pid = os.fork()
        if pid == 0:
            open("child.csv").close()
            os._exit(0)
        os.waitpid(pid, 0)
        open("parent.csv").close()
        return 1

    run = start(train)
    assert set(reads(run)) == {str(Path("parent.csv").absolute())}
    assert (run.dir / "events.jsonl").read_text().count('"files_used"') == 1


def test_isolated_trials_tell_theirs(start: Started) -> None:
    Path("data.csv").write_text("1")

    def train(x):
        open("data.csv").close()
        return x

    run = start(train, num_trials=2, workers=1, searchspace={"x": ("DOUBLE", [0, 1])}, isolate=True)
    assert [set(reads(run, trial_id)) for trial_id in (0, 1)] == [{str(Path("data.csv").absolute())}] * 2


def test_shipped_files_are_named_by_where_they_were(start: Started, tmp_path: Path) -> None:
    Path("shipped.csv").write_text("12")
    make(tmp_path / "lake", ["rows.csv", "parts/1.csv", "parts/deep/2.csv"])

    def train():
        for name in ("shipped.csv", "rows.csv", "parts/1.csv", "parts/deep/2.csv"):
            open(name).close()
        return 1

    found = reads(start(train, files=["shipped.csv", "../lake/rows.csv", str(tmp_path / "lake" / "parts")]))
    lake = tmp_path / "lake"
    assert set(found) == {
        str(Path("shipped.csv").absolute()),
        str(lake / "rows.csv"),
        str(lake / "parts/1.csv"),
        str(lake / "parts/deep/2.csv"),
    }
    entry = found[str(Path("shipped.csv").absolute())]
    assert (entry["size_bytes"], entry["sha256"]) == (2, hashlib.sha256(b"12").hexdigest())


def test_of_thousands_of_files_the_fullest_folder_is_named_once(start: Started) -> None:
    Path("images").mkdir()
    for number in range(3000):
        Path(f"images/{number}.png").write_bytes(b"")
    Path("labels.csv").write_text("1")

    def train():
        for number in range(3000):
            open(f"images/{number}.png").close()
        open("labels.csv").close()
        return 1

    run = start(train)
    images = str(Path("images").absolute()) + "/"
    assert set(reads(run)) == {images, str(Path("labels.csv").absolute())}
    assert reads(run)[images]["n_files"] == 3000
    assert reads(run)[images]["mtime"] == Path("images").stat().st_mtime


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenedFiles:
    """What a trial process has, not installed, in the working directory of `tmp_path/nb`; a test calls its hook."""
    for name in ("nb", "scratch/w1"):
        (tmp_path / name).mkdir(parents=True)
    workdir = Workdir(str(tmp_path / "scratch/w1/work"), str(tmp_path / "nb"))
    workdir.create()
    monkeypatch.chdir(workdir.path)
    opened = OpenedFiles(workdir, str(tmp_path / "scratch/user-code"), str(tmp_path / "scratch/w1"))
    opened.begin()
    return opened


@pytest.fixture
def hook(opened: OpenedFiles, tmp_path: Path) -> Hook:
    """What Python calls in a trial process at each audit event."""
    return shared_hook(WriteGuard(Workdir(str(tmp_path / "scratch/w1/work"), str(tmp_path / "nb"))), opened)


def make(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("1")


def note(opened: OpenedFiles, *names: str) -> None:
    for name in names:
        opened.on_event("open", (name, "r", os.O_RDONLY))


def test_of_too_many_files_beside_the_notebook_the_notebooks_folder_is_named(
    opened: OpenedFiles, tmp_path: Path
) -> None:
    names = [f"{number}.png" for number in range(MAX_NAMED + 1)]
    make(tmp_path / "nb", names)
    note(opened, *names)
    folder = {"path": f"{tmp_path}/nb/", "mtime": (tmp_path / "nb").stat().st_mtime, "n_files": MAX_NAMED + 1}
    assert opened.end() == {"reads": (folder,), "writes": (), "n_more": 0}


def test_the_fullest_folders_are_named_and_of_the_others_the_files(opened: OpenedFiles, tmp_path: Path) -> None:
    names = [f"{letter}/{number}" for letter, n in (("a", 900), ("b", 300), ("c", 5)) for number in range(n)]
    make(tmp_path / "lake", names)
    note(opened, *(f"{tmp_path}/lake/{name}" for name in names))
    used = opened.end()
    assert used is not None
    assert [entry["path"].removeprefix(f"{tmp_path}/lake/") for entry in used["reads"]] == ["a/", *names[900:]]


def test_folders_of_one_size_are_treated_alike(opened: OpenedFiles, tmp_path: Path) -> None:
    names = [f"{letter}/{number}" for letter in "abcd" for number in range(300)]
    make(tmp_path / "lake", names)
    note(opened, *(f"{tmp_path}/lake/{name}" for name in names))
    used = opened.end()
    assert used is not None
    assert [entry["n_files"] for entry in used["reads"]] == [300] * 4


def test_a_trial_that_goes_into_a_folder_for_each_of_thousands_of_files_ends_soon(
    opened: OpenedFiles, tmp_path: Path
) -> None:
    lake, work = str(tmp_path / "lake"), os.getcwd()
    os.mkdir(lake)
    for number in range(30_000):
        for folder, name in ((lake, "labels.csv"), (work, f"{number}.png")):
            opened.on_event("os.chdir", (folder, -1))
            os.chdir(folder)
            note(opened, f"{lake}/{name}" if folder == lake else f"../../../lake/{name}")
    begin = time.process_time()
    used = opened.end()
    assert time.process_time() - begin < 3
    folder = {"path": f"{lake}/", "mtime": Path(lake).stat().st_mtime, "n_files": 30_001}
    assert used == {"reads": (folder,), "writes": (), "n_more": 0}


def test_a_trial_that_reads_one_folder_from_thousands_of_others_ends_soon(opened: OpenedFiles, tmp_path: Path) -> None:
    lake, work = str(tmp_path / "lake"), os.getcwd()
    os.mkdir(lake)
    for number in range(10_000):
        os.mkdir(f"{lake}/{number}")
        opened.on_event("os.chdir", (f"{lake}/{number}", -1))
        os.chdir(f"{lake}/{number}")
        note(opened, f"{lake}/{number}.png")
    opened.on_event("os.chdir", (work, -1))
    os.chdir(work)
    begin = time.process_time()
    used = opened.end()
    assert time.process_time() - begin < 1
    assert used is not None
    assert [entry["n_files"] for entry in used["reads"]] == [10_000]


def test_what_is_moved_relative_to_an_open_folder_is_not_taken_for_another_file(
    opened: OpenedFiles, hook: Hook, tmp_path: Path
) -> None:
    make(tmp_path / "lake", ["a.csv", "b.csv"])
    hook("os.rename", (f"{tmp_path}/lake/0.tmp", f"{tmp_path}/lake/a.csv", -1, -1))
    hook("os.rename", (f"{tmp_path}/lake/1.tmp", f"{tmp_path}/lake/b.csv", -1, 3))
    used = opened.end()
    assert used is not None
    assert [entry["path"] for entry in used["writes"]] == [f"{tmp_path}/lake/a.csv"]


def test_files_in_countless_folders_are_counted_beyond_a_limit(opened: OpenedFiles, tmp_path: Path) -> None:
    names = [f"folder{number}/rows.csv" for number in range(MAX_NAMED + 200)]
    make(tmp_path / "lake", names)
    note(opened, *(f"{tmp_path}/lake/{name}" for name in names))
    used = opened.end()
    assert used is not None
    assert (len(used["reads"]), used["n_more"]) == (MAX_NAMED, 200)


def test_countless_names_are_not_remembered(opened: OpenedFiles) -> None:
    for number in range(100_500):
        opened.on_event("open", (f"/nowhere/{number}", "r", os.O_RDONLY))
        opened.on_event("os.chdir", (".", -1)) if number % 1000 == 0 else None
    for _ in range(300_000):
        opened.on_event("os.chdir", (".", -1))
    used = opened.end()
    assert used is not None
    assert used["reads"] == ()
    assert 0 < used["n_more"] < 102_000


def test_strange_names_and_a_current_directory_that_is_gone_do_no_harm(
    opened: OpenedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, ["gone/x", "lake/\udcff.csv"])
    for name in (
        3,
        None,
        b"bytes\xff",
        "",
        "/",
        "//",
        ".",
        "a\0b/c",
        "\0",
        Path("path"),
        object(),
        "x" * 10_000,
        "\ud800/x",
        "\ud800",
        ":memory:",
    ):
        opened.on_event("open", (name, None, os.O_RDONLY))
        opened.on_event("open", (name, None, os.O_RDWR | os.O_CREAT))
        opened.on_event("sqlite3.connect", (name,))
        opened.on_event("sqlite3.connect", (f"file://[{name}",))
    monkeypatch.chdir(tmp_path / "gone")
    note(opened, "x", f"{tmp_path}/lake/\udcff.csv")
    (tmp_path / "gone" / "x").unlink()
    (tmp_path / "gone").rmdir()
    opened.on_event("os.chdir", ("/", -1))
    monkeypatch.chdir(tmp_path)
    used = opened.end()
    assert used is not None
    assert [entry["path"] for entry in used["reads"]] == [f"{tmp_path}/lake/\udcff.csv"]
    json.dumps(used)


def test_a_path_object_is_not_kept_alive(opened: OpenedFiles, hook: Hook, tmp_path: Path) -> None:
    class Data(str):
        __slots__ = ("__weakref__", "rows")

    make(tmp_path / "lake", ["rows.csv"])
    data = Data(tmp_path / "lake" / "rows.csv")
    kept = weakref.ref(data)
    hook("open", (data, "r", os.O_RDONLY))
    del data
    assert kept() is None
    used = opened.end()
    assert used is not None
    assert [entry["path"] for entry in used["reads"]] == [f"{tmp_path}/lake/rows.csv"]


def test_a_file_that_is_opened_again_and_again_takes_no_more_memory(
    opened: OpenedFiles, hook: Hook, tmp_path: Path
) -> None:
    make(tmp_path / "lake", ["a.csv", "b.csv"])
    paths = [f"{tmp_path}/lake/a.csv", f"{tmp_path}/lake/b.csv"]
    for number in range(5 * MAX_PENDING):
        hook("open", (paths[number % 2], "r", os.O_RDONLY))
        assert len(opened.pending) <= MAX_PENDING
    used = opened.end()
    assert used is not None
    assert [entry["path"] for entry in used["reads"]] == paths
    assert used["n_more"] == 0


def test_what_a_trial_wrote_first_is_no_input_though_others_are_opened_between(
    opened: OpenedFiles, hook: Hook, tmp_path: Path
) -> None:
    make(tmp_path / "lake", ["own.csv", "input.csv", "other.csv"])
    own, read, other = (f"{tmp_path}/lake/{name}.csv" for name in ("own", "input", "other"))
    hook("open", (other, "r", os.O_RDONLY))
    hook("open", (own, "w", os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    hook("open", (read, "r", os.O_RDONLY))
    hook("open", (own, "r", os.O_RDONLY))
    hook("open", (read, "w", os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    hook("open", (read, "r", os.O_RDONLY))
    used = opened.end()
    assert used is not None
    assert [entry["path"] for entry in used["reads"]] == [other, read]
    assert [entry["path"] for entry in used["writes"]] == [own, read]


def in_threads(call: Callable[[int], None], n_threads: int) -> None:
    threads = [threading.Thread(target=call, args=(number,)) for number in range(n_threads)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(100)
    finally:
        sys.setswitchinterval(interval)


def test_threads_lose_no_name(opened: OpenedFiles, hook: Hook) -> None:
    def open_many(thread: int) -> None:
        for number in range(10_000):
            hook("open", (f"/nowhere/{thread}-{number}", "r", os.O_RDONLY))

    in_threads(open_many, 8)
    for number in range(20_007):  # so that exactly seven are beyond the limit
        hook("open", (f"/nowhere/{number}", "r", os.O_RDONLY))
    used = opened.end()
    assert used is not None
    assert used["n_more"] == 7


def test_threads_that_write_over_what_they_have_read_lose_no_input(
    opened: OpenedFiles, hook: Hook, tmp_path: Path
) -> None:
    make(tmp_path / "lake", (f"{thread}-{number}" for thread in range(8) for number in range(3000)))

    def update_many(thread: int) -> None:
        for number in range(3000):
            hook("open", (f"{tmp_path}/lake/{thread}-{number}", "r", os.O_RDONLY))
            hook("open", (f"{tmp_path}/lake/{thread}-{number}", "w", os.O_WRONLY | os.O_CREAT | os.O_TRUNC))

    in_threads(update_many, 8)
    used = opened.end()
    assert used is not None
    assert [entry["n_files"] for entry in (*used["reads"], *used["writes"])] == [24_000, 24_000]


def test_the_second_trial_that_reads_a_file_need_not_hash_it_again(opened: OpenedFiles, tmp_path: Path) -> None:
    rows = tmp_path / "lake" / "rows.csv"
    make(tmp_path / "lake", ["rows.csv"])
    note(opened, str(rows))
    first = opened.end()
    opened.begin()
    note(opened, str(rows))
    rows.chmod(0)
    assert opened.end() == first
    rows.chmod(0o644)
    rows.write_text("2")
    opened.begin()
    note(opened, str(rows))
    assert opened.end() != first


def test_beyond_64_mb_there_is_no_hash(start: Started) -> None:
    with open("large.bin", "wb") as file:
        file.truncate((64 << 20) + 1)
    Path("small.csv").write_text("1")

    def train():
        open("large.bin").close()
        open("small.csv").close()
        return 1

    found = {Path(path).name: entry for path, entry in reads(start(train)).items()}
    assert found["large.bin"]["sha256"] == ""
    assert found["large.bin"]["size_bytes"] == (64 << 20) + 1
    assert len(found["small.csv"]["sha256"]) == 64


def test_what_libraries_open_in_c_is_seen(start: Started) -> None:
    import h5py
    import numpy as np
    import pandas as pd
    import safetensors.torch
    import torch

    for name in ("table", "handle", "folder/part-1", "folder/part-2", "folder/deep/part-3", "dataset", "one", "two"):
        Path(f"{name}.parquet").parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"a": [1, 2]}).to_parquet(f"{name}.parquet")
    for name in ("old.h5", "appended.h5"):
        h5py.File(name, "w").close()
    safetensors.torch.save_file({"a": torch.zeros(2)}, "weights.safetensors")

    def train():
        import h5py
        import pyarrow.dataset as ds
        import pyarrow.parquet as pq
        from safetensors.torch import load_file

        pq.read_table("table.parquet")
        pq.ParquetFile(source="handle.parquet").read()
        pq.read_table("folder")
        ds.dataset(Path("dataset.parquet").absolute()).to_table()
        ds.dataset(["one.parquet", "two.parquet"])
        h5py.File("old.h5").close()
        h5py.File("appended.h5", mode="a").close()
        h5py.File("made.h5", "w").close()
        load_file("weights.safetensors")
        with open("handle.parquet", "rb") as file:
            pq.read_table(file)
        return float(np.ones(1)[0])

    run = start(train)
    here = str(Path.cwd()) + "/"
    assert run.state == "COMPLETE"
    assert {path.removeprefix(here) for path in reads(run)} == {
        "table.parquet",
        "handle.parquet",
        "folder/part-1.parquet",
        "folder/part-2.parquet",
        "folder/deep/part-3.parquet",
        "dataset.parquet",
        "one.parquet",
        "two.parquet",
        "old.h5",
        "appended.h5",
        "weights.safetensors",
    }
    assert writes(run) == {}


def test_a_database_that_changed_while_the_trial_had_it_was_written(start: Started, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("read", "only", "changed", "logged", "own"):
        folder = Path() if name == "own" else out
        with contextlib.closing(sqlite3.connect(folder / f"{name}.sqlite")) as connection:
            connection.execute("create table t (x)")

    def train(folder):
        import sqlite3

        with contextlib.closing(sqlite3.connect(f"{folder}/read.sqlite")) as connection:
            connection.execute("select * from t").fetchall()
        sqlite3.connect(f"file:{folder}/only.sqlite?mode=ro", uri=True).close()
        for path in (f"file:{folder}/changed.sqlite", "own.sqlite"):
            with contextlib.closing(sqlite3.connect(path, uri=True)) as connection, connection:
                connection.execute("insert into t values (1)")
        os.chdir(folder)
        with contextlib.closing(sqlite3.connect("made.sqlite")) as connection:
            connection.execute("create table t (x)")
        left_open = sqlite3.connect(os.fsencode("logged.sqlite"))
        left_open.execute("pragma journal_mode=wal").fetchall()
        with left_open:
            left_open.execute("insert into t values (1)")
        globals()["kept"] = left_open
        return 1

    run = start(train, hparams={"folder": str(out)})
    existing = {str(out / f"{name}.sqlite") for name in ("read", "only", "changed", "logged")}
    assert set(reads(run)) == existing | {str(Path("own.sqlite").absolute())}
    assert set(writes(run)) == {str(out / f"{name}.sqlite") for name in ("changed", "logged", "made")}


def test_an_hdf5_file_that_is_opened_for_update_is_written_too(start: Started, tmp_path: Path) -> None:
    import h5py

    out = tmp_path / "out"
    out.mkdir()
    for name in ("read", "updated", "appended", "replaced"):
        h5py.File(out / f"{name}.h5", "w").close()

    def train(folder):
        import h5py

        h5py.File(f"{folder}/read.h5").close()
        h5py.File(f"{folder}/updated.h5", "r+").close()
        h5py.File(f"{folder}/appended.h5", mode="a").close()
        h5py.File(f"{folder}/new.h5", "a").close()
        h5py.File(f"{folder}/made.h5", "x").close()
        h5py.File(f"{folder}/replaced.h5", "w").close()
        return 1

    run = start(train, hparams={"folder": str(out)})
    assert {Path(path).stem for path in reads(run)} == {"read", "updated", "appended"}
    assert {Path(path).stem for path in writes(run)} == {"updated", "appended", "new", "made", "replaced"}


def test_what_pandas_numpy_pillow_and_sqlite_open_is_seen(start: Started) -> None:
    import numpy as np
    import pandas as pd
    from PIL import Image

    frame = pd.DataFrame({"a": [1, 2]})
    frame.to_csv("frame.csv", index=False)
    frame.to_parquet("frame.parquet")
    np.save("array.npy", np.zeros(2))
    Image.new("L", (2, 2)).save("image.png")
    sqlite3.connect("base.sqlite").close()

    def train():
        pd.read_csv("frame.csv")
        pd.read_parquet("frame.parquet")
        np.load("array.npy", mmap_mode="r")
        Image.open("image.png").load()
        sqlite3.connect("base.sqlite").close()
        return 1

    assert {Path(path).name for path in reads(start(train))} == {
        "frame.csv",
        "frame.parquet",
        "array.npy",
        "image.png",
        "base.sqlite",
    }
