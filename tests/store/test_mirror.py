"""LAGOM_HOME as a URL: the place that it names and the working copy hold the same, and nothing is lost on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest
from calling_home import by_value, call_home, open_home
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from store_runs import run_on_disk

from lagom_magic import Float, OptimizationConfig, Run
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.errors import ConfigError
from lagom_magic.experiment import launch
from lagom_magic.store.index import run_dirs
from lagom_magic.store.layout import default_home
from lagom_magic.store.mirror import fetch, forget, mark_changed, pull, refresh_home, send_unsent
from lagom_magic.store.remote import Remote, open_remote

Start = Callable[..., Run]

WAIT_S = 60.0
URLS = ("memory://bucket/runs", "file://{tmp}/there")


@pytest.fixture(params=URLS)
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A home's URL, set in the environment."""
    url = request.param.format(tmp=tmp_path)
    monkeypatch.setenv("LAGOM_HOME", url)
    monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield url
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def start() -> Start:
    def start(train_fn: Callable[..., Any], *, detach: bool = False, **options: Any) -> Run:
        config = OptimizationConfig(**{"num_trials": 3, "workers": 2, "optimization_key": "score"} | options)
        launcher = {
            "detach": detach,
            "ui": "none",
            "make_launcher": lambda kit, _, n_workers: ProcessLauncher(kit, n_workers),
        }
        return launch(train_fn, config, **launcher)

    return start


def quadratic(x: Float(-1, 1) = 0.0, reporter=None):
    for step in range(3):
        reporter.broadcast(1 - x * x, step=step)
    print("x is", x)
    with open("notes.txt", "w") as file:
        file.write(f"x was {x}")
    return {"score": 1 - x * x, "notes": "notes.txt"}


def files_of(run_dir: Path) -> dict[str, bytes]:
    return {path.relative_to(run_dir).as_posix(): path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}


def files_there(url: str, run: Run) -> dict[str, bytes]:
    """What the file system holds of a run, read by fsspec alone."""
    filesystem, root = fsspec.core.url_to_fs(url)
    folder = f"{root}/{run.name}/{run.id}"
    return {name[len(folder) + 1 :]: filesystem.cat_file(name) for name in filesystem.find(folder)}


def only_run() -> Run:
    """The only run of the working copy."""
    (run_dir,) = run_dirs(default_home())
    return Run(run_dir)


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not come"
        threading.Event().wait(0.1)


@contextmanager
def in_thread(call: Callable[[], None]) -> Iterator[None]:
    """Does something beside; what it raises is raised here at the end."""
    with ThreadPoolExecutor(1, "test") as pool:
        done = pool.submit(call)
        yield
        done.result(WAIT_S)


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From now on this is another machine: the same URL, with no working copy yet."""
    monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / "other"))


def test_the_folder_and_the_url_hold_the_same_bytes_at_the_end(start: Start, url: str) -> None:
    run = start(quadratic)
    assert run.state == "COMPLETE"
    assert run.dir.parent.parent == default_home()
    here = files_of(run.dir)
    assert {"run.json", "events.jsonl", "result.json", "trials/0002/artifacts/notes.txt"} <= here.keys()
    assert any(name.startswith("tensorboard/0000/") for name in here)
    assert files_there(url, run) == here
    assert refresh_home() == ""
    assert not list((default_home() / ".remote" / "unsent").iterdir())


def test_a_run_is_sent_while_it_goes_on(start: Start, url: str) -> None:
    with open_home() as home:
        port = home.port

        @by_value
        def waiting(x: Float(0, 1) = 0.0, reporter=None):
            reporter.broadcast(x, step=0)
            call_home(port)
            return {"score": x}

        def watch() -> None:
            home.next_caller()  # the first trial waits
            until(lambda: b'"metric_reported"' in files_there(url, only_run()).get("events.jsonl", b""))
            seen.append("reported")
            home.close()

        seen: list[str] = []
        with in_thread(watch):
            run = start(waiting, num_trials=1, workers=1)
    assert seen == ["reported"]
    assert files_there(url, run) == files_of(run.dir)


def exporting(x: Float(0, 1) = 0.5):
    from pathlib import Path

    from lagom_magic import model

    Path("weights.txt").write_text(f"weights {x}")
    model.export("weights.txt", "digits")
    return {"score": x}


def test_models_that_a_run_exported_are_there_at_its_end(start: Start, url: str) -> None:
    run = start(exporting)
    filesystem, root = fsspec.core.url_to_fs(url)
    there = [name.removeprefix(f"{root}/") for name in filesystem.find(f"{root}/.models")]
    assert sorted(there) == sorted(
        path.relative_to(default_home()).as_posix()
        for path in (default_home() / ".models").rglob("*")
        if path.is_file()
    )
    assert len(there) == 2 * 3
    assert files_there(url, run) == files_of(run.dir)


def test_what_a_run_no_longer_has_is_removed_there(start: Start, url: str) -> None:
    run = start(quadratic, num_trials=1)
    (run.dir / "trials" / "0000" / "output.log").unlink()
    (run.dir / "notes.json").write_text('{"note": "good"}')
    mark_changed(run.dir)
    assert refresh_home() == ""
    assert files_there(url, run) == files_of(run.dir)


def test_another_machine_lists_and_shows_the_run_and_fetches_its_files_when_asked(
    start: Start, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = start(quadratic)
    elsewhere(monkeypatch, tmp_path)
    assert refresh_home() == ""
    (run_dir,) = run_dirs(default_home())
    fetched = Run(run_dir)
    assert (fetched.id, fetched.state, fetched.best) == (made.id, "COMPLETE", fetched.trials[made["best_id"]])
    assert [trial.metrics for trial in fetched.trials] == [trial.metrics for trial in made.trials]
    assert fetched.trials[0].artifacts == {}
    fetch(run_dir)
    assert files_of(run_dir) == {name: data for name, data in files_of(made.dir).items() if "call/" not in name}
    fetch(run_dir)  # nothing is left to do


def test_a_run_that_was_fetched_in_part_never_removes_what_is_there(
    start: Start, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = start(quadratic, num_trials=1)
    there = files_there(url, made)
    elsewhere(monkeypatch, tmp_path)
    refresh_home()
    (run_dir,) = run_dirs(default_home())
    (run_dir / "notes.json").write_text("{}")
    mark_changed(run_dir)
    assert refresh_home() == ""
    assert files_there(url, made) == there | {"notes.json": b"{}"}


def test_what_was_changed_here_is_not_overwritten_from_there(
    start: Start, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = start(quadratic, num_trials=1)
    elsewhere(monkeypatch, tmp_path)
    refresh_home()
    (run_dir,) = run_dirs(default_home())
    with open(run_dir / "events.jsonl", "ab") as journal:  # as a run that goes on here does
        journal.write(b"{}\n")
    mark_changed(run_dir)
    fetch(run_dir)
    (run_dir / "result.json").unlink()
    pull(default_home(), open_remote(url))
    assert (run_dir / "events.jsonl").read_bytes() == (made.dir / "events.jsonl").read_bytes() + b"{}\n"
    assert (run_dir / "trials" / "0000" / "artifacts" / "notes.txt").exists()


def test_a_deleted_run_does_not_come_back(
    start: Start, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(quadratic, num_trials=1)
    forget(run.dir)
    assert files_there(url, run) == {}
    elsewhere(monkeypatch, tmp_path)
    refresh_home()
    assert run_dirs(default_home()) == []


def test_a_stopped_run_is_back_at_once_and_sent_all_the_same(start: Start, url: str) -> None:
    with open_home() as home:
        port = home.port

        @by_value
        def waiting(x: Float(0, 1) = 0.0):
            call_home(port)

        run = start(waiting, num_trials=1, workers=1, detach=True)
        home.next_caller()
        run.stop()
        assert run.wait(WAIT_S)
    assert run.state == "STOPPED"
    until(lambda: files_there(url, run) == files_of(run.dir))


def test_a_log_of_the_driver_is_there_whole(start: Start, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGOM_LOG", "debug")
    run = start(quadratic, num_trials=1)
    assert "driver.log" in files_of(run.dir)
    assert files_there(url, run) == files_of(run.dir)


# places that fail


class Failing(MemoryFileSystem):
    """Takes no files while `is_down`; `broken` names take none at all, and `cut` ones lose their last byte."""

    protocol = "failing"
    store: dict[str, Any] = {}  # noqa: RUF012 - as MemoryFileSystem has it
    pseudo_dirs = [""]  # noqa: RUF012
    is_down = False
    broken = ""
    cut = ""

    def put_file(self, lpath: str, rpath: str, *args: Any, **options: Any) -> None:
        if Failing.is_down or (Failing.broken and rpath.endswith(Failing.broken)):
            raise ConnectionError("no route to host with s3cret")
        super().put_file(lpath, rpath, *args, **options)
        if Failing.cut and rpath.endswith(Failing.cut):
            self.pipe_file(rpath, self.cat_file(rpath)[:-1])


@pytest.fixture
def failing_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    fsspec.register_implementation("failing", Failing, clobber=True)
    monkeypatch.setenv("LAGOM_HOME", "failing://user:s3cret@bucket/runs")
    monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Failing.is_down, Failing.broken, Failing.cut = False, "", ""
    yield "failing://user:s3cret@bucket/runs"
    Failing.store.clear()


def test_a_place_that_takes_nothing_loses_nothing_says_so_and_gets_it_later(start: Start, failing_url: str) -> None:
    Failing.is_down = True
    run = start(quadratic)
    assert run.state == "COMPLETE"
    assert len(run.trials) == 3
    assert files_there(failing_url, run) == {}
    (notice,) = run.view.notices
    assert notice.startswith("failing://***@bucket/runs takes no files (no route to host with ***)")
    said = (run.dir / "console.log").read_text().splitlines()[-1]
    assert said.startswith("[lagom] failing://***@bucket/runs has not got all of this run: ")
    assert f"It is whole in {run.dir}; the next run or `%lagom runs` sends the rest." in said
    assert "takes no" not in refresh_home()
    assert "no route to host" in refresh_home()

    Failing.is_down = False
    assert refresh_home() == ""
    assert files_there(failing_url, run) == files_of(run.dir)


def test_a_run_that_ended_offline_is_sent_by_the_next_one(start: Start, failing_url: str) -> None:
    Failing.is_down = True
    first = start(quadratic, num_trials=1)
    Failing.is_down = False
    second = start(quadratic, num_trials=1)
    for run in (first, second):
        assert files_there(failing_url, run) == files_of(run.dir)


def test_one_file_that_is_not_taken_keeps_no_other_back(start: Start, failing_url: str) -> None:
    Failing.broken = "source.py"
    run = start(quadratic, num_trials=1)
    expected = files_of(run.dir)
    del expected["source.py"]
    there = files_there(failing_url, run)
    del there["console.log"], expected["console.log"]  # which says what is missing
    assert there == expected
    assert "1 of " in (run.dir / "console.log").read_text()


def test_a_file_that_is_not_there_as_it_was_sent_is_told(start: Start, failing_url: str) -> None:
    Failing.cut = "result.json"
    run = start(quadratic, num_trials=1)
    said = (run.dir / "console.log").read_text()
    assert "result.json: it is not there as it was sent" in said


def test_the_password_of_the_url_is_nowhere_in_the_folder(start: Start, failing_url: str) -> None:
    Failing.is_down = True
    run = start(quadratic, num_trials=1)
    assert all(b"s3cret" not in content for content in files_of(default_home()).values())
    assert "s3cret" not in "".join(run.view.notices)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("nosuch://bucket/runs", "has the scheme 'nosuch', with which fsspec can do nothing"),
        ("s3://bucket/runs", "needs a package that is missing: Install s3fs"),
    ],
)
def test_a_url_that_cannot_work_is_refused_before_anything_starts(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, what: str
) -> None:
    monkeypatch.setenv("LAGOM_HOME", url)
    monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match=what):
        start(quadratic)
    assert not (tmp_path / "cache").exists()


def test_names_from_there_stay_inside_the_home(tmp_path: Path) -> None:
    root = tmp_path / "there"
    good = run_on_disk(root)
    for name in (".hidden", "a b"):
        run_on_disk(tmp_path / "other").rename(folder(root / name) / good.name)
    (root / "digits" / "no-run").mkdir()
    home = tmp_path / "home"
    pull(home, open_remote(f"file://{root}"))
    assert [path.name for path in run_dirs(home)] == [good.name]
    assert sorted(path.name for path in home.iterdir()) == [".remote", "digits"]


def test_a_checksum_that_differs_is_settled_by_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class WithTags(LocalFileSystem):
        """Says of every file an ETag that is no MD5 of it, as S3 does with keys of its own."""

        def find(self, path: str, *args: Any, detail: bool = False, **options: Any) -> Any:
            found = super().find(path, *args, detail=True, **options)
            return {name: info | {"ETag": '"' + "0" * 32 + '"'} for name, info in found.items()} if detail else found

    monkeypatch.setenv("LAGOM_HOME", f"file://{tmp_path}/there")
    monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / "cache"))
    run_dir = run_on_disk(default_home())
    mark_changed(run_dir)
    opened = open_remote(f"file://{tmp_path}/there")
    send_unsent(default_home(), Remote(opened.address, WithTags(), str(tmp_path / "there")))
    assert files_of(tmp_path / "there" / "digits" / run_dir.name) == files_of(run_dir)


def folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
