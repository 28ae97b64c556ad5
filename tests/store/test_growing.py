"""Event files that arrive while their trials run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import FileStored
from lagom_magic.store.files import FileReceiver
from lagom_magic.store.layout import RunLayout

NAME = "events.out.tfevents.1.host.2.0"
PATH = f"tensorboard/{NAME}"


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[FileReceiver]:
    (tmp_path / "trials").mkdir()
    receiver = FileReceiver(RunLayout(tmp_path))
    for worker_id, trial_id, attempt in ((1, 7, 1), (1, 7, 2), (2, 8, 1)):
        receiver.start(worker_id, trial_id, attempt)
    yield receiver
    receiver.close()


def piece(offset: int, so_far: bytes | None = None, path: str = PATH, **changes: Any) -> dict[str, Any]:
    """A header; `so_far` = the whole file, for the last piece."""
    is_last = so_far is not None
    header = {
        "grows": True,
        "trial_id": 7,
        "attempt": 1,
        "path": path,
        "offset": offset,
        "size_bytes": len(so_far) if so_far is not None else None,
        "is_last": is_last,
        "sha256": hashlib.sha256(so_far).hexdigest() if so_far is not None else None,
    }
    return header | changes


def test_every_piece_is_there_at_once_and_the_last_one_makes_the_fact(receiver: FileReceiver, tmp_path: Path) -> None:
    assert receiver.receive(1, piece(0), b"abc") is None
    assert (tmp_path / "tensorboard/0007" / NAME).read_bytes() == b"abc"
    assert receiver.receive(1, piece(3), b"de") is None
    assert (tmp_path / "tensorboard/0007" / NAME).read_bytes() == b"abcde"
    stored = receiver.receive(1, piece(5, b"abcdef"), b"f")
    assert stored == FileStored(7, 1, PATH, 6, hashlib.sha256(b"abcdef").hexdigest())
    assert (tmp_path / "tensorboard/0007" / NAME).read_bytes() == b"abcdef"
    assert os.listdir(tmp_path / "trials") == []


def test_an_empty_file_and_one_of_a_single_piece_arrive(receiver: FileReceiver, tmp_path: Path) -> None:
    assert receiver.receive(1, piece(0, b"", attempt=2), b"") is not None
    assert receiver.receive(1, piece(0, b"abc", path=f"tensorboard/train/{NAME}"), b"abc") is not None
    assert (tmp_path / "tensorboard/0007.2" / NAME).read_bytes() == b""
    assert (tmp_path / "tensorboard/0007/train" / NAME).read_bytes() == b"abc"


def test_files_grow_beside_each_other_and_beside_a_whole_one(receiver: FileReceiver, tmp_path: Path) -> None:
    whole = {"trial_id": 7, "attempt": 1, "path": "files/x", "size_bytes": 4}
    other = f"tensorboard/validation/{NAME}"
    receiver.receive(1, {**whole, "offset": 0}, b"12")
    receiver.receive(1, piece(0), b"a")
    receiver.receive(1, piece(0, path=other), b"b")
    with pytest.raises(StoreError):
        receiver.receive(1, piece(9), b"lost")
    receiver.receive(1, piece(1, path=other), b"b")
    stored = receiver.receive(
        1, {**whole, "offset": 2, "is_last": True, "sha256": hashlib.sha256(b"1234").hexdigest()}, b"34"
    )
    assert stored is not None
    assert (tmp_path / "trials/0007/files/x").read_bytes() == b"1234"
    assert (tmp_path / "tensorboard/0007/validation" / NAME).read_bytes() == b"bb"


def test_a_file_that_begins_anew_is_written_anew(receiver: FileReceiver, tmp_path: Path) -> None:
    receiver.receive(1, piece(0), b"abc")
    receiver.receive(1, piece(0), b"x")
    assert receiver.receive(1, piece(1, b"xy"), b"y") is not None
    assert (tmp_path / "tensorboard/0007" / NAME).read_bytes() == b"xy"


BAD_PATHS = [
    "",
    "tensorboard",
    "tensorboard/",
    "tensorboard/..",
    f"tensorboard/../{NAME}",
    f"tensorboard/../0008/{NAME}",
    f"tensorboard/./{NAME}",
    f"tensorboard//{NAME}",
    f"/tensorboard/{NAME}",
    f"tensorboard/..\\{NAME}",
    "tensorboard/tfevents\0",
    "tensorboard/tfevents" + "x" * 300,
    "tensorboard/" + "a/" * 100 + NAME,
    f"tensorboard/{NAME}.lagom",
    f"tensorboard/train/{NAME}.LAGOM",
    f"files/{NAME}",
    f"artifacts/{NAME}",
    "events.jsonl",
]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_that_leads_elsewhere_is_refused_once(receiver: FileReceiver, tmp_path: Path, path: str) -> None:
    with pytest.raises(StoreError, match="refused"):
        receiver.receive(1, piece(0, path=path), b"abc")
    assert receiver.receive(1, piece(3, path=path), b"abc") is None
    assert receiver.receive(1, piece(6, b"abcabcabc", path=path), b"abc") is None
    assert os.listdir(tmp_path) == ["trials"]


def test_the_drivers_own_event_files_cannot_be_written_whole_either(receiver: FileReceiver, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="refused"):
        receiver.receive(1, piece(0, b"abc", path=f"{PATH}.lagom", grows=False), b"abc")
    assert os.listdir(tmp_path) == ["trials"]


@pytest.mark.parametrize("change", [{"trial_id": 8}, {"trial_id": 9}, {"attempt": 3}])
def test_a_file_of_an_attempt_that_was_not_started_on_the_worker_is_refused(
    receiver: FileReceiver, tmp_path: Path, change: dict[str, Any]
) -> None:
    with pytest.raises(StoreError, match="was not started on worker 1"):
        receiver.receive(1, piece(0, **change), b"abc")
    assert os.listdir(tmp_path) == ["trials"]


def test_no_link_on_the_way_is_followed(receiver: FileReceiver, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "file").write_bytes(b"theirs")
    trial = tmp_path / "tensorboard/0007"
    trial.mkdir(parents=True)
    (trial / NAME).symlink_to(outside / "file")
    (trial / "train").symlink_to(outside / "folder")
    for path in (PATH, f"tensorboard/train/{NAME}"):
        with pytest.raises(StoreError):
            receiver.receive(1, piece(0, path=path), b"abc")
    (tmp_path / "tensorboard/0008").symlink_to(outside)
    with pytest.raises(StoreError):
        receiver.receive(2, piece(0, trial_id=8), b"abc")
    assert (outside / "file").read_bytes() == b"theirs"
    assert sorted(os.listdir(outside)) == ["file", "folder"]
    assert os.listdir(outside / "folder") == []


def test_a_file_that_somebody_else_has_changed_is_refused_once(receiver: FileReceiver, tmp_path: Path) -> None:
    receiver.receive(1, piece(0), b"abc")
    (tmp_path / "tensorboard/0007" / NAME).write_bytes(b"something else")
    with pytest.raises(StoreError, match="14 bytes are there, 3 were written"):
        receiver.receive(1, piece(3), b"de")
    assert receiver.receive(1, piece(5, b"abcdef"), b"f") is None
    assert (tmp_path / "tensorboard/0007" / NAME).read_bytes() == b"something else"


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"size_bytes": 9}, {"sha256": None}])
def test_a_wrong_size_or_hash_at_the_end_is_told(receiver: FileReceiver, change: dict[str, Any]) -> None:
    receiver.receive(1, piece(0), b"abc")
    with pytest.raises(StoreError, match="were announced"):
        receiver.receive(1, piece(3, b"abcd") | change, b"d")


def test_what_a_lost_worker_has_sent_stays(receiver: FileReceiver, tmp_path: Path) -> None:
    receiver.receive(1, piece(0), b"abc")
    receiver.abandon(1)
    assert (tmp_path / "tensorboard/0007" / NAME).read_bytes() == b"abc"
    with pytest.raises(StoreError, match="a piece at byte 3 came, 0 was expected"):
        receiver.receive(1, piece(3), b"d")


def test_no_descriptor_stays_open_between_pieces(receiver: FileReceiver) -> None:
    before = os.listdir("/proc/self/fd")
    for i in range(100):
        receiver.receive(1, piece(0, path=f"tensorboard/{i}/{NAME}"), b"abc")
    assert os.listdir("/proc/self/fd") == before


def test_a_worker_cannot_make_the_driver_remember_without_end(
    receiver: FileReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lagom_magic.store.growing._MAX_FILES", 3)
    for i in range(3):
        receiver.receive(1, piece(0, path=f"{PATH}.{i}"), b"")
    with pytest.raises(StoreError, match="3 files of worker 1 grow"):
        receiver.receive(1, piece(0, path=f"{PATH}.3"), b"")
    receiver.receive(2, piece(0, trial_id=8), b"")
