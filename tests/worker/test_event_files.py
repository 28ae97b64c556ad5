"""Event files of a trial: what is read of them when, and how they reach the driver while the trial runs."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from calling_home import call_home, open_home
from one_worker import one_worker

from lagom_magic.worker.event_files import EventFiles, Piece
from lagom_magic.worker.trial_folder import TrialFolder
from lagom_magic.worker.upload import Uploader

NAME = "events.out.tfevents.1.host.2.0"
PATH = f"tensorboard/{NAME}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tensorboard").mkdir()
    return tmp_path


def append(folder: Path, data: bytes, path: str = PATH) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    with open(folder / path, "ab") as file:
        file.write(data)


def grown(files: EventFiles) -> list[tuple[str, int, bytes]]:
    """What a look finds."""
    files.look()
    found = []
    while (piece := files.next_piece()) is not None:
        header, data = piece
        assert (header["grows"], header["is_last"]) == (True, False)
        found.append((header["path"], header["offset"], data))
    return found


def joined(pieces: Iterable[Piece]) -> tuple[bytes, dict[str, Any]]:
    """The bytes of some pieces, and the last header."""
    data, header = b"", {}
    for header, part in pieces:  # noqa: B007
        data += part
    return data, header


def files_of(folder: Path) -> EventFiles:
    return EventFiles(7, 1, TrialFolder(str(folder)))


def test_each_byte_is_given_out_once_and_the_end_has_the_whole_files_hash(folder: Path) -> None:
    files = files_of(folder)
    assert grown(files) == []
    append(folder, b"abc")
    assert grown(files) == [(PATH, 0, b"abc")]
    assert grown(files) == []
    append(folder, b"de")
    assert grown(files) == [(PATH, 3, b"de")]
    append(folder, b"f")
    rest, last = joined(files.rest_of(PATH))
    assert (rest, last["offset"], last["size_bytes"]) == (b"f", 5, 6)
    assert last["sha256"] == hashlib.sha256(b"abcdef").hexdigest()
    assert list(files.ends_of_removed()) == []


def test_sub_folders_are_looked_into_and_other_files_are_left_for_the_end(folder: Path) -> None:
    append(folder, b"a", f"tensorboard/train/{NAME}")
    append(folder, b"profile", "tensorboard/plugins/profile/trace.json")
    append(folder, b"mine", "files/tfevents")
    assert grown(files_of(folder)) == [(f"tensorboard/train/{NAME}", 0, b"a")]


def test_a_large_file_comes_in_pieces_of_a_mebibyte(folder: Path) -> None:
    append(folder, bytes(2_500_000))
    assert [len(data) for _, _, data in grown(files_of(folder))] == [1 << 20, 1 << 20, 2_500_000 - (2 << 20)]


def test_a_file_that_grows_while_it_is_sent_does_not_hold_up_the_others(folder: Path) -> None:
    other = f"tensorboard/other/{NAME}"
    append(folder, b"a")
    append(folder, b"b", other)
    files = files_of(folder)
    files.look()
    append(folder, b"more")
    append(folder, b"more", other)
    assert {data for _, data in filter(None, (files.next_piece(), files.next_piece()))} == {b"a", b"b"}
    assert files.next_piece() is None


@pytest.mark.parametrize("is_shorter", [True, False])
def test_a_file_that_was_written_anew_is_sent_anew(folder: Path, is_shorter: bool) -> None:
    files = files_of(folder)
    append(folder, b"abcdef")
    grown(files)
    if is_shorter:
        (folder / PATH).write_bytes(b"xyz")
    else:
        (folder / "beside").write_bytes(b"another file")
        (folder / "beside").replace(folder / PATH)
    ((_, offset, data),) = grown(files)
    assert (offset, data) == (0, (folder / PATH).read_bytes())
    _, last = joined(files.rest_of(PATH))
    assert last["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_file_that_was_removed_ends_where_it_was(folder: Path) -> None:
    files = files_of(folder)
    append(folder, b"abc")
    grown(files)
    (folder / PATH).unlink()
    assert grown(files) == []
    ((header, data),) = files.ends_of_removed()
    assert (data, header["is_last"], header["size_bytes"]) == (b"", True, 3)
    assert header["sha256"] == hashlib.sha256(b"abc").hexdigest()


def test_a_folder_that_was_removed_has_no_files(folder: Path) -> None:
    (folder / "tensorboard").rmdir()
    assert grown(files_of(folder)) == []


def run(scenario: Any) -> None:
    asyncio.run(scenario)


@pytest.mark.parametrize("isolate", [False, True], ids=["reused process", "isolated"])
def test_events_arrive_while_the_trial_runs_and_are_whole_at_its_end(tmp_path: Path, isolate: bool) -> None:
    def train(i, port):
        import os

        from lagom_magic import tensorboard

        path = os.path.join(tensorboard.logdir(), "train", "events.out.tfevents.1")
        os.mkdir(os.path.dirname(path))
        with open(path, "wb", buffering=0) as file:
            file.write(b"first ")
            call_home(port)
            file.write(bytes(3_000_000))

    async def scenario(port: int) -> None:
        key = (3, 1, "tensorboard/train/events.out.tfevents.1")
        async with one_worker(train, tmp_path, names=("i", "port"), isolate=isolate) as worker:
            worker.start(3, i=0, port=port)
            await worker.until(lambda: worker.files.get(key) == b"first ")
            caller = await asyncio.to_thread(home.next_caller)
            caller.say()
            ended = await worker.ended(3)
            assert ended.record["files"] == [key[2]]
        assert worker.files == {key: b"first " + bytes(3_000_000)}
        assert [m for m in worker.messages if m["type"] == "noticed"] == []

    with open_home() as home:
        run(scenario(home.port))


def test_events_of_a_process_that_was_killed_are_all_there(tmp_path: Path) -> None:
    def train():
        import os
        import signal

        from lagom_magic import tensorboard

        with open(os.path.join(tensorboard.logdir(), "tfevents"), "wb", buffering=0) as file:
            file.write(b"all that there was")
        os.kill(os.getpid(), signal.SIGKILL)

    async def scenario() -> None:
        async with one_worker(train, tmp_path) as worker:
            assert (await worker.run(0)).state == "FAILED"
        assert worker.files == {(0, 1, "tensorboard/tfevents"): b"all that there was"}

    run(scenario())


def test_events_that_only_a_subprocess_writes_come_at_the_end(tmp_path: Path) -> None:
    def train():
        import subprocess
        import sys

        program = "import os\nfrom lagom_magic import tensorboard\n"
        program += "open(os.path.join(tensorboard.logdir(), 'tfevents'), 'w').write('theirs')"
        subprocess.run([sys.executable, "-c", program], check=True)

    async def scenario() -> None:
        async with one_worker(train, tmp_path) as worker:
            assert (await worker.run(0)).record["files"] == ["tensorboard/tfevents"]
        assert worker.files == {(0, 1, "tensorboard/tfevents"): b"theirs"}

    run(scenario())


def test_events_that_the_trial_has_removed_are_no_loss_and_nothing_stays_on_the_worker(tmp_path: Path) -> None:
    def train(port):
        import os

        from lagom_magic import tensorboard

        path = os.path.join(tensorboard.logdir(), "tfevents")
        with open(path, "wb") as file:
            file.write(b"abc")
        call_home(port, folder=os.path.dirname(tensorboard.logdir()))
        os.unlink(path)

    async def scenario(port: int) -> None:
        async with one_worker(train, tmp_path, names=("port",)) as worker:
            worker.start(0, port=port)
            await worker.until(lambda: worker.files)
            caller = await asyncio.to_thread(home.next_caller)
            caller.say()
            assert (await worker.ended(0)).record["files"] == []
            second = await worker.run(1, port=0)
            assert second.state == "FAILED"
            await worker.until(lambda: (1, 1, "tensorboard/tfevents") in worker.whole)  # then the first is gone
            assert not os.path.exists(caller.facts["folder"])
        assert worker.files[0, 1, "tensorboard/tfevents"] == b"abc"

    with open_home() as home:
        run(scenario(home.port))


def test_a_trial_without_a_logdir_loads_watches_and_sends_nothing(tmp_path: Path) -> None:
    def train(use):
        import sys

        if use:
            from lagom_magic import tensorboard

            tensorboard.logdir()
        return {"is_loaded": int("lagom_magic.tensorboard" in sys.modules)}

    async def scenario() -> None:
        async with one_worker(train, tmp_path, names=("use",)) as worker:
            first = await worker.run(0, use=False)
            second = await worker.run(1, use=True)
        assert [ended.record["metrics"]["is_loaded"] for ended in (first, second)] == [0.0, 1.0]
        assert [ended.record["files"] for ended in (first, second)] == [[], []]
        assert worker.files == {}

    run(scenario())


def test_an_uploader_that_follows_nothing_has_no_timer() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        uploader = Uploader(loop, lambda header, data: None, print)
        assert uploader._next_look is None
        uploader.follow(0, 1, TrialFolder("/nonexistent"))
        assert uploader.is_following
        uploader.add(0, 1, TrialFolder("/nonexistent"), [])
        assert uploader._next_look is None
        await uploader.finished()

    run(scenario())
