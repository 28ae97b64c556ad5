"""TensorBoard as a process: started, shared, stopped, gone with its parent or driver, and what it shows of a run."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from store_runs import SPACE, begun, hparams, record, run_on_disk, run_started, store_in

from lagom_magic.display import board as module
from lagom_magic.display.board import MIME_TYPE, Board, board_bundle, open_board, open_common_board, stop_board
from lagom_magic.errors import LagomError
from lagom_magic.events.facts import MetricReported, TrialEnded, TrialRequeued, TrialStarted, TrialState
from lagom_magic.spec.space import Int, Searchspace
from lagom_magic.spec.space_json import space_to_json
from lagom_magic.store.event_records import RecordEncoder
from lagom_magic.store.layout import RunLayout
from lagom_magic.store.store import RunStore
from lagom_magic.store.tensorboard import TensorBoardWriter
from lagom_magic.worker.torch_trace import xspace

WAIT_S = 30.0
#: TensorBoard follows recent files only.
NOW = time.time()


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    """An experiment's run; its board is stopped in the end."""
    folder = tmp_path / "digits" / "20261122-093000-k3f7"
    folder.mkdir(parents=True)
    yield folder
    stop_board(folder)


def get(board: Board, route: str, **query: str) -> Any:
    address = f"{board.url}{route}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(address, timeout=WAIT_S) as reply:
        data = reply.read()
        # The Profile tab's plugin packs its answers without being asked to.
        return json.loads(gzip.decompress(data) if reply.headers["Content-Encoding"] == "gzip" else data)


def post(board: Board, route: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{board.url}{route}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=WAIT_S) as reply:
        return json.load(reply)


def until(condition: Callable[[], Any]) -> Any:
    """TensorBoard looks for new data by its own clock, and tells nobody when it has."""
    deadline = time.monotonic() + WAIT_S
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return value


def writer_of(run_dir: Path) -> TensorBoardWriter:
    writer = TensorBoardWriter(RunLayout(run_dir), space_to_json(SPACE))
    for fact in begun():
        writer.add(fact, NOW)
    return writer


def tree(board: Board) -> list[psutil.Process]:
    """TensorBoard's process and its data server, if it has one."""
    process = psutil.Process(board._process.pid)
    return [process, *process.children(recursive=True)]


def test_it_serves_on_loopback_alone_and_in_a_session_of_its_own(run_dir: Path) -> None:
    board = open_board(run_dir)
    assert get(board, "data/environment")["data_location"] == str(run_dir / "tensorboard")
    listening = [
        connection.laddr
        for process in tree(board)
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert board.port in [address.port for address in listening]
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}
    assert os.getsid(board._process.pid) == board._process.pid


def test_a_second_call_gets_the_same_one_and_a_dead_one_is_started_anew(run_dir: Path) -> None:
    first = open_board(run_dir)
    assert open_board(str(run_dir)) is first
    processes = tree(first)
    processes[0].kill()
    assert psutil.wait_procs(processes, timeout=WAIT_S)[1] == []
    second = open_board(run_dir)
    assert second is not first
    assert second.is_alive
    assert get(second, "data/runs") == []


def test_stopping_it_leaves_nothing(run_dir: Path) -> None:
    processes = tree(open_board(run_dir))
    assert stop_board(run_dir)
    assert psutil.wait_procs(processes, timeout=WAIT_S)[1] == []
    assert not stop_board(run_dir)


def test_of_too_many_the_one_asked_for_longest_ago_makes_room(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BOARDS_LIMIT", 2)
    folders = [run_dir, *(run_dir.parent / f"20261122-093000-zzz{i}" for i in range(2))]
    boards = []
    try:
        for folder in folders:
            folder.mkdir(exist_ok=True)
            boards.append(open_board(folder))
            assert open_board(folders[0]) is boards[0]
        assert [board.is_alive for board in boards] == [True, False, True]
    finally:
        for folder in folders:
            stop_board(folder)


def test_two_runs_have_two(run_dir: Path) -> None:
    other = run_dir.parent / "20261122-093000-zzzz"
    other.mkdir()
    try:
        assert open_board(run_dir).port != open_board(other).port
    finally:
        stop_board(other)


PARENT = """
import os, signal, sys
from lagom_magic.display.board import open_board
board = open_board(sys.argv[1])
if sys.argv[2] == "fork" and os.fork() == 0:
    signal.pause()  # holds a copy of every pipe of its parent
print(board._process.pid, board.port, flush=True)
if sys.argv[2] == "exit":
    sys.exit()
signal.pause()
"""


@contextmanager
def parent_with_board(run_dir: Path, how: str) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """Another process that has opened a board; and the processes of that."""
    command = [sys.executable, "-c", PARENT, str(run_dir), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        assert parent.stdout is not None
        pid, _ = parent.stdout.readline().split()
        try:
            board = psutil.Process(int(pid))
            yield parent, [board, *board.children(recursive=True)]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)


@pytest.mark.parametrize("how", ["wait", "fork"])
def test_it_is_gone_when_its_parent_was_killed(run_dir: Path, how: str) -> None:
    with parent_with_board(run_dir, how) as (parent, processes):
        assert all(process.is_running() for process in processes)
        parent.kill()
        assert psutil.wait_procs(processes, timeout=WAIT_S)[1] == []


def test_it_is_gone_when_its_parent_ends(run_dir: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", PARENT, str(run_dir), "exit"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=True)
    pid, _ = done.stdout.split()
    with suppress(psutil.NoSuchProcess):
        assert psutil.wait_procs([psutil.Process(int(pid))], timeout=WAIT_S)[1] == []


@pytest.fixture
def driver() -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which may have driven a run."""
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        yield process
        process.kill()


def write_run_json(run_dir: Path, pid: Any, host: str | None = None, age_s: float = 0.0) -> None:
    """As the driver's process writes it, some seconds ago."""
    created_at = datetime.fromtimestamp(time.time() - age_s, UTC).isoformat(timespec="milliseconds")
    document = {"created_at": created_at, "driver": {"host": host or socket.gethostname(), "pid": pid}}
    (run_dir / "run.json").write_text(json.dumps(document))


def watched_pids(board: Board) -> set[int]:
    """The processes whose end the board's process waits for, as Linux tells."""
    lines: list[str] = []
    for info in Path(f"/proc/{board._process.pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            lines += info.read_text().splitlines()
    return {int(line.split()[1]) for line in lines if line.startswith("Pid:")}


def test_it_is_gone_when_the_runs_driver_was_killed_if_asked_for(
    run_dir: Path, driver: subprocess.Popen[bytes]
) -> None:
    write_run_json(run_dir, driver.pid)
    board = open_board(run_dir)
    assert watched_pids(board) == {os.getpid()}
    stop_board(run_dir)
    board = open_board(run_dir, end_with_driver=True)
    assert watched_pids(board) == {os.getpid(), driver.pid}
    processes = tree(board)
    driver.kill()
    assert psutil.wait_procs(processes, timeout=WAIT_S)[1] == []
    until(lambda: not processes[0].is_running())  # not even as a zombie of ours
    again = open_board(run_dir, end_with_driver=True)  # of a past run
    assert watched_pids(again) == {os.getpid()}
    assert get(again, "data/runs") == []


@pytest.mark.parametrize("other", [{"host": "elsewhere"}, {"age_s": 3600.0}], ids=["another host", "a later process"])
def test_it_does_not_end_with_a_process_that_is_not_the_runs_driver(
    run_dir: Path, driver: subprocess.Popen[bytes], other: dict[str, Any]
) -> None:
    write_run_json(run_dir, driver.pid, **other)
    assert watched_pids(open_board(run_dir, end_with_driver=True)) == {os.getpid()}


@pytest.mark.parametrize("pid", [-1, 0, 2**80, True, "1", None])
def test_a_run_json_that_names_no_process_does_not_keep_it_from_starting(run_dir: Path, pid: Any) -> None:
    write_run_json(run_dir, pid)
    assert watched_pids(open_board(run_dir, end_with_driver=True)) == {os.getpid()}


def test_the_driver_that_opens_it_is_its_parent(run_dir: Path) -> None:
    write_run_json(run_dir, os.getpid())
    assert watched_pids(open_board(run_dir, end_with_driver=True)) == {os.getpid()}


def test_what_stops_it_from_starting_is_told(run_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "tensorboard.py").write_text("raise ImportError('numpy was built for another Python')\n")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    with pytest.raises(LagomError, match="numpy was built for another Python"):
        open_board(run_dir)


def test_one_that_never_answers_is_given_up(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_START_TIMEOUT_S", 0.0)
    with pytest.raises(LagomError, match="did not start"):
        open_board(run_dir)


def test_a_users_module_in_the_working_directory_is_not_taken_for_tensorboard(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tensorboard.py").write_text("raise SystemExit('mine')\n")
    monkeypatch.chdir(tmp_path)
    assert open_board(run_dir).is_alive


@pytest.mark.parametrize(("n_trials", "interval_s"), [(20, 5.0), (1000, 15.0), (None, 5.0)])
def test_many_trials_are_read_less_often(run_dir: Path, n_trials: int | None, interval_s: float) -> None:
    if n_trials is not None:
        (run_dir / "run.json").write_text(json.dumps({"config": {"num_trials": n_trials}}))
    flags = get(open_board(run_dir), "data/environment")["debug"]["flags"]
    assert flags["reload_interval"] == interval_s


def test_it_shows_a_live_runs_scalars_as_they_come(run_dir: Path) -> None:
    writer = writer_of(run_dir)
    board = open_board(run_dir)  # before there is anything
    writer.add(TrialStarted(0, 1, 1, hparams(0)), NOW)
    writer.add(MetricReported(0, 1, 1, 0, {"accuracy": 0.25}), NOW + 1)
    writer.flush()
    until(lambda: "accuracy" in get(board, "data/plugin/scalars/tags").get("0000", {}))
    writer.add(MetricReported(0, 1, 1, 1, {"accuracy": 0.5}), NOW + 2)
    writer.flush()

    def scalars() -> list[tuple[int, float]]:
        return [
            (step, value) for _, step, value in get(board, "data/plugin/scalars/scalars", run="0000", tag="accuracy")
        ]

    until(lambda: scalars() == [(0, 0.25), (1, 0.5)])
    writer.add(TrialEnded(0, 1, 1, TrialState.COMPLETE, {"accuracy": 0.5}, 0.5), NOW + 3)
    writer.close()


@pytest.mark.parametrize("is_fast", [True, False], ids=["data server", "without data server"])
def test_a_trials_reports_and_its_own_event_file_are_one_run_and_both_are_followed(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, is_fast: bool
) -> None:
    import google_crc32c

    if not is_fast:
        monkeypatch.setenv("TENSORBOARD_DATA_SERVER_BINARY", "/nonexistent")
    records = RecordEncoder(google_crc32c.value, b"")
    writer = writer_of(run_dir)
    writer.add(TrialStarted(0, 1, 1, hparams(0)), NOW)
    writer.add(MetricReported(0, 1, 1, 0, {"accuracy": 0.25}), NOW + 1)
    writer.flush()
    own = run_dir / "tensorboard" / "0000" / "events.out.tfevents.1000000001.host.7.0"
    own.write_bytes(records.file_start(NOW) + records.scalars({"loss": 1.0}, 0, NOW))
    board = open_board(run_dir)

    def last(tag: str) -> float | None:
        if tag not in get(board, "data/plugin/scalars/tags").get("0000", {}):
            return None
        scalars = get(board, "data/plugin/scalars/scalars", run="0000", tag=tag)
        return float(scalars[-1][2]) if scalars else None

    until(lambda: (last("accuracy"), last("loss")) == (0.25, 1.0))
    writer.add(MetricReported(0, 1, 1, 1, {"accuracy": 0.5}), NOW + 2)
    writer.flush()
    with open(own, "ab") as file:
        file.write(records.scalars({"loss": 0.5}, 1, NOW + 2))
    until(lambda: (last("accuracy"), last("loss")) == (0.5, 0.5))
    assert get(board, "data/runs") == ["0000"] or set(get(board, "data/runs")) == {".", "0000"}
    writer.close()


def test_a_deleted_run_leaves_it_serving_nothing(run_dir: Path) -> None:
    board = open_board(run_dir)
    shutil.rmtree(run_dir)
    assert get(board, "data/runs") == []


def test_a_cell_gets_a_link_for_every_front_end(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENSORBOARD_PROXY_URL", raising=False)
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/me/")
    board = open_board(run_dir)
    bundle = board_bundle(board)
    assert bundle[MIME_TYPE] == {"format": 1, "port": board.port, "dir": str(run_dir)}
    assert f'href="http://127.0.0.1:{board.port}/"' in bundle["text/html"]
    assert "<script" not in bundle["text/html"]
    assert f"/user/me/proxy/{board.port}/" in bundle["text/plain"]
    monkeypatch.setenv("TENSORBOARD_PROXY_URL", "https://hub/user/me/proxy/%PORT%/")
    assert f'href="https://hub/user/me/proxy/{board.port}/"' in board_bundle(board)["text/html"]


def test_several_runs_have_one_with_the_columns_of_all(tmp_path: Path) -> None:
    folders = []
    for name, space, hparam in (("digits", SPACE, "lr"), ("wine", Searchspace(depth=Int(1, 9)), "depth")):
        document = {"kind": "hpo", "searchspace": space_to_json(space)}
        store = RunStore.create(tmp_path, name, document, "", pytest.fail)
        store.record(run_started(run_id=store.run_id, experiment=name, metric="accuracy"), NOW)
        for trial_id in range(2):
            store.record(TrialStarted(trial_id, 1, 1, {hparam: trial_id + 1}), NOW)
            metrics = {"accuracy": 0.5, f"loss_{name}": 1.0}
            store.record(TrialEnded(trial_id, 1, 1, TrialState.COMPLETE, metrics, 0.5), NOW)
        store.close()
        folders.append(store.layout.root)
    board = open_common_board(folders)
    links = Path(get(board, "data/environment")["data_location"])
    try:
        names = {f"{folder.parent.name}-{folder.name}" for folder in folders}
        runs = until(lambda: found if len(found := get(board, "data/runs")) >= 4 else None)
        assert {run.partition("/")[0] for run in runs} - {"."} == names
        experiment = post(board, "data/plugin/hparams/experiment", {"experimentName": "", "includeMetrics": True})
        assert {info["name"] for info in experiment["hparamInfos"]} == {"lr", "activation", "depth"}
        tags = {info["name"]["tag"] for info in experiment["metricInfos"]}
        assert tags >= {"accuracy", "loss_digits", "loss_wine"}
        wanted = {"experimentName": "", "startIndex": 0, "sliceSize": 100, "allowedStatuses": ["STATUS_SUCCESS"]}
        rows = post(board, "data/plugin/hparams/session_groups", wanted | {"includeMetrics": True})["sessionGroups"]
        assert {row["name"]: row["hparams"] for row in rows} == {
            f"{folder.parent.name}-{folder.name}/{trial:04}": {hparam: trial + 1}
            for folder, hparam in zip(folders, ("lr", "depth"), strict=True)
            for trial in range(2)
        }
    finally:
        assert stop_board(*folders)
    assert not links.exists()


def test_the_one_of_several_runs_has_a_live_runs_later_attempts_too(tmp_path: Path) -> None:
    stored = run_on_disk(tmp_path, "wine")
    with store_in(tmp_path) as store:
        live = store.layout.root
        record(store, [*begun(), TrialStarted(0, 1, 1, hparams(0))])
        board = open_common_board([live, stored])
        name = f"{live.parent.name}-{live.name}"
        try:
            record(store, [TrialRequeued(0, 2, "worker 1 was lost"), TrialStarted(0, 2, 1, hparams(0))])
            record(store, [MetricReported(0, 2, 1, 0, {"accuracy": 0.5})])
            until(lambda: f"{name}/0000.2" in get(board, "data/runs"))
            for attempt in range(3, 9):  # retried by hand, more often than could be foreseen
                record(store, [TrialRequeued(0, attempt, "retried"), TrialStarted(0, attempt, 1, hparams(0))])
            record(store, [MetricReported(0, 8, 1, 0, {"accuracy": 0.75})])
            assert open_common_board([live, stored]) is board
            until(lambda: f"{name}/0000.8" in get(board, "data/runs"))
        finally:
            stop_board(live, stored)


def test_the_one_of_several_runs_has_their_profiler_traces_that_are_there_when_it_is_asked_for(tmp_path: Path) -> None:
    runs = [run_on_disk(tmp_path, name) for name in ("digits", "wine")]
    event = {"ph": "X", "name": "aten::mm", "pid": 1, "tid": 1, "ts": 1.0, "dur": 2.0}
    sessions = [f"{run.parent.name}-{run.name}/profiles/0001/session" for run in runs]

    def trace(run: Path) -> None:
        folder = run / "tensorboard" / "0001" / "plugins" / "profile" / "session"
        folder.mkdir(parents=True)
        (folder / "host.xplane.pb").write_bytes(xspace({"traceEvents": [event]}))

    trace(runs[0])
    board = open_common_board(runs)
    try:
        assert get(board, "data/plugin/profile/runs") == sessions[:1]
        trace(runs[1])
        assert open_common_board(runs) is board
        assert sorted(get(board, "data/plugin/profile/runs")) == sessions
        assert "trace_viewer@" in get(board, "data/plugin/profile/run_tools", run=sessions[1])
    finally:
        stop_board(*runs)
    assert [path.name for path in runs[0].rglob("session/*")] == ["host.xplane.pb"]  # the plugin's cache is elsewhere
