"""The pipe as a driver reads it and as other processes write into it, and what must never get through."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from store_runs import store_in

from lagom_magic.cluster.usercode import UserCode
from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.store import requests as requests_module
from lagom_magic.store.journal import JournalReader, wait_for_driver
from lagom_magic.store.layout import RunLayout
from lagom_magic.store.requests import MAX_REQUEST_BYTES, Request, RequestPipe, send_request
from lagom_magic.store.store import RunStore

#: A driver's store that says where its run is and then waits.
HOLD = """
import sys
from pathlib import Path
from lagom_magic.store.store import RunStore
store = RunStore.create(Path(sys.argv[1]), "exp", {"kind": "hpo"}, "", print)
print(store.layout.root, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "20261122-093000-k3f7"
    folder.mkdir()
    return folder


@pytest.fixture
def pipe(run_dir: Path) -> Iterator[RequestPipe]:
    opened = RequestPipe(RunLayout(run_dir).requests)
    yield opened
    opened.close()


def write(pipe_path: Path, data: bytes) -> None:
    """What any program of the user can do."""
    descriptor = os.open(pipe_path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        assert os.write(descriptor, data) == len(data)
    finally:
        os.close(descriptor)


def read_all(pipe: RequestPipe) -> list[Request]:
    """Everything that is there, as the loop takes it."""
    found = []
    while select.select([pipe], [], [], 0)[0]:
        found += pipe.read()
    return found


def test_requests_arrive_in_their_order(pipe: RequestPipe, run_dir: Path) -> None:
    send_request(run_dir, {"action": "prune", "trial_id": 3})
    send_request(run_dir, {"action": "retry", "trial_id": 0})
    send_request(run_dir, {"action": "stop", "trial_id": None})
    send_request(run_dir, {"action": "stop"})
    assert select.select([pipe], [], [], 0)[0] == [pipe]
    assert pipe.read() == [Request("prune", 3), Request("retry", 0), Request("stop"), Request("stop")]


def test_an_empty_pipe_does_not_block_its_reader_and_looks_empty_when_writers_have_gone(
    pipe: RequestPipe, run_dir: Path
) -> None:
    assert pipe.read() == []
    send_request(run_dir, {"action": "stop"})
    assert pipe.read() == [Request("stop")]
    assert select.select([pipe], [], [], 0)[0] == []


def test_only_its_user_can_open_it(pipe: RequestPipe, run_dir: Path) -> None:
    status = os.lstat(run_dir / "requests")
    assert stat.S_ISFIFO(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o600


WRONG: list[Any] = [
    {},
    {"action": "explode"},
    {"action": ["stop"]},
    {"action": None},
    {"action": "stop", "trial_id": 3},
    {"action": "prune"},
    {"action": "prune", "trial_id": None},
    {"action": "prune", "trial_id": "3"},
    {"action": "prune", "trial_id": -1},
    {"action": "prune", "trial_id": 2**53},
    {"action": "prune", "trial_id": True},
    {"action": "prune", "trial_id": 3.0},
    {"action": "stop", "reason": "x"},
    [],
    "stop",
    None,
]


@pytest.mark.parametrize("record", WRONG, ids=repr)
def test_what_is_no_request_is_neither_sent_nor_taken(
    pipe: RequestPipe, run_dir: Path, record: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError):
        send_request(run_dir, record)
    assert read_all(pipe) == []
    write(run_dir / "requests", json.dumps(record).encode() + b'\n{"action": "stop"}\n')
    assert pipe.read() == [Request("stop")]
    assert [entry.levelno for entry in caplog.records] == [logging.WARNING]


GARBAGE = {
    "not json": b"stop now!\n",
    "binary": bytes(range(256)) + b"\n",
    "a number": b"17\n",
    "deeply nested": b"[" * (MAX_REQUEST_BYTES - 1) + b"\n",
    "a number too long for Python": b'{"action": "prune", "trial_id": ' + b"9" * 4050 + b"}\n",
    "nan": b'{"action": "prune", "trial_id": NaN}\n',
    "empty lines": b"\n\n\n",
    "half an object": b'{"action": "sto\n',
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_and_the_next_request_taken(pipe: RequestPipe, run_dir: Path, name: str) -> None:
    write(run_dir / "requests", GARBAGE[name])
    send_request(run_dir, {"action": "stop"})
    assert read_all(pipe) == [Request("stop")]


def test_many_bad_lines_make_one_line_of_the_log(
    pipe: RequestPipe, run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(run_dir / "requests", b"x\n" * 2000)
    assert pipe.read() == []
    assert len(caplog.records) == 1
    assert "lines refused: 2000" in caplog.text


def test_a_line_that_comes_in_pieces_is_taken_when_it_is_whole(pipe: RequestPipe, run_dir: Path) -> None:
    whole = b'{"action": "prune", "trial_id": 12}\n'
    for cut in range(1, len(whole)):
        write(run_dir / "requests", whole[:cut])
        assert pipe.read() == []
        write(run_dir / "requests", whole[cut:])
        assert pipe.read() == [Request("prune", 12)]


def test_a_writer_that_left_half_a_line_spoils_nobody_elses_request(pipe: RequestPipe, run_dir: Path) -> None:
    write(run_dir / "requests", b'{"action": "prune", "tri')
    assert pipe.read() == []
    send_request(run_dir, {"action": "retry", "trial_id": 1})
    assert pipe.read() == [Request("retry", 1)]


def test_a_giant_line_is_refused_without_being_kept(pipe: RequestPipe, run_dir: Path) -> None:
    for _ in range(100):  # 400 KiB without an end
        write(run_dir / "requests", b"x" * 4096)
        assert pipe.read() == []
        assert len(pipe._unfinished) <= MAX_REQUEST_BYTES + 1
    write(run_dir / "requests", b'{"action": "stop"}\n')  # still the same line
    assert pipe.read() == []
    send_request(run_dir, {"action": "stop"})
    assert pipe.read() == [Request("stop")]


def test_requests_of_many_processes_at_once_do_not_mix(pipe: RequestPipe, run_dir: Path) -> None:
    ask_often = (
        "import sys; from lagom_magic.store.requests import send_request\n"
        "for i in range(200): send_request(sys.argv[1], {'action': 'prune', 'trial_id': int(sys.argv[2]) * 1000 + i})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", ask_often, run_dir, str(number)]) for number in range(2)]
    found: list[Request] = []
    while len(found) < 400:
        assert select.select([pipe], [], [], 30)[0], "a request is lost"
        found += pipe.read()
    assert [writer.wait(30) for writer in writers] == [0, 0]
    for number in range(2):
        mine = [request.trial_id for request in found if (request.trial_id or 0) // 1000 == number]
        assert mine == [number * 1000 + i for i in range(200)]


def test_a_pipe_that_nobody_empties_refuses_instead_of_blocking(pipe: RequestPipe, run_dir: Path) -> None:
    with open(run_dir / "requests", "wb", buffering=0) as file:
        os.set_blocking(file.fileno(), False)
        while file.write(b"\n" * MAX_REQUEST_BYTES):
            pass
    with pytest.raises(StoreError, match="cannot be asked to stop: its driver does not read"):
        send_request(run_dir, {"action": "stop"})
    assert read_all(pipe) == []
    send_request(run_dir, {"action": "stop"})
    assert pipe.read() == [Request("stop")]


def test_a_run_that_has_ended_is_a_clear_error(run_dir: Path) -> None:
    pipe = RequestPipe(RunLayout(run_dir).requests)
    pipe.close()
    pipe.close()
    assert os.listdir(run_dir) == []
    with pytest.raises(StoreError, match="run 20261122-093000-k3f7 cannot be asked to stop: it has ended"):
        send_request(run_dir, {"action": "stop"})


def test_a_run_that_ends_while_it_is_asked_is_a_clear_error(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = RequestPipe(RunLayout(run_dir).requests)
    open_own_pipe = requests_module._open_own_pipe

    def open_and_end(path: Path) -> int:
        descriptor = open_own_pipe(path)
        pipe.close()
        return descriptor

    monkeypatch.setattr(requests_module, "_open_own_pipe", open_and_end)
    with pytest.raises(StoreError, match="it has just ended"):
        send_request(run_dir, {"action": "stop"})


def test_the_pipe_of_a_killed_driver_is_a_clear_error(tmp_path: Path) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with driver:
        assert driver.stdout is not None
        run_dir = Path(driver.stdout.readline().strip())
        send_request(run_dir, {"action": "stop"})
        driver.send_signal(signal.SIGKILL)
    wait_for_driver(run_dir)  # what it was just starting has its descriptors for a moment longer
    assert stat.S_ISFIFO(os.lstat(run_dir / "requests").st_mode)
    with pytest.raises(StoreError, match="its driver is gone"):
        send_request(run_dir, {"action": "stop"})


def make_file(path: Path) -> None:
    path.write_bytes(b"precious")


def make_link_to_a_file(path: Path) -> None:
    make_file(path.with_name("other"))
    path.symlink_to("other")


def make_link_to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("other"))
    path.symlink_to("other")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))


@pytest.mark.parametrize(
    "make",
    [make_file, make_link_to_a_file, make_link_to_a_pipe, make_socket, Path.mkdir],
    ids=lambda make: make.__name__,
)
def test_what_is_not_the_users_own_pipe_is_not_written_into(run_dir: Path, make: Any) -> None:
    make(run_dir / "requests")
    with pytest.raises(StoreError, match="is not a named pipe of yours"):
        send_request(run_dir, {"action": "stop"})
    if make is make_file:
        assert (run_dir / "requests").read_bytes() == b"precious"


def test_somebody_elses_pipe_is_not_written_into(
    pipe: RequestPipe, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(StoreError, match="is not a named pipe of yours"):
        send_request(run_dir, {"action": "stop"})
    assert read_all(pipe) == []


def test_a_store_has_its_pipe_for_as_long_as_it_is_open(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        send_request(store.layout.root, {"action": "stop"})
        assert store.requests is not None
        assert store.requests.read() == [Request("stop")]
    assert not store.layout.requests.exists()
    with pytest.raises(StoreError, match="it has ended"):
        send_request(store.layout.root, {"action": "stop"})


def test_the_pipe_that_a_killed_driver_has_left_gives_way_to_the_next_drivers(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        root = store.layout.root
    os.mkfifo(store.layout.requests)
    told: list[str] = []
    resumed = RunStore.resume(root, {}, "", len(JournalReader(root).read_new()), told.append)
    send_request(root, {"action": "prune", "trial_id": 3})
    assert resumed.requests is not None
    assert resumed.requests.read() == [Request("prune", 3)]
    resumed.close()
    assert told == []
    assert not store.layout.requests.exists()


def test_where_no_pipe_can_be_made_the_run_goes_on_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkfifo(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))  # as FAT and some network file systems do

    monkeypatch.setattr(os, "mkfifo", mkfifo)
    told: list[str] = []
    store = RunStore.create(tmp_path, "exp", {"kind": "hpo"}, "", told.append)
    assert store.requests is None
    with pytest.raises(StoreError, match="its folder cannot hold named pipes"):
        send_request(store.layout.root, {"action": "stop"})
    store.close()
    assert len(told) == 1
    assert told[0].startswith("no other process can stop or steer this run")
    assert store.layout.result.exists()


def test_a_pipe_costs_no_descriptor_after_its_end(run_dir: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    pipe = RequestPipe(RunLayout(run_dir).requests)
    send_request(run_dir, {"action": "stop"})
    pipe.close()
    with pytest.raises(StoreError):
        send_request(run_dir, {"action": "stop"})
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_shipping_the_folder_of_a_living_run_passes_over_its_pipe(pipe: RequestPipe, run_dir: Path) -> None:
    (run_dir / "run.json").write_text("{}")

    def ship() -> None:
        code = UserCode(run_dir.parent)
        code.add_file(run_dir.name)
        code.add_py_file(run_dir.name)
        shipped.append(code.zip())

    shipped: list[bytes] = []
    thread = threading.Thread(target=ship, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it waits for the pipe"
    assert b"run.json" in shipped[0]
    assert b"requests" not in shipped[0]
