from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import FileStored
from lagom_magic.store.files import FileReceiver
from lagom_magic.store.layout import RunLayout
from lagom_magic.store.received import safe_parts


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[FileReceiver]:
    (tmp_path / "trials").mkdir()
    receiver = FileReceiver(RunLayout(tmp_path))
    for worker_id, trial_id, attempt in ((1, 7, 1), (1, 7, 2), (2, 8, 1)):
        receiver.start(worker_id, trial_id, attempt)
    yield receiver
    receiver.close()


def chunks(path: str, data: bytes, size: int = 4, **changes: Any) -> list[tuple[dict[str, Any], bytes]]:
    found = []
    for offset in range(0, max(len(data), 1), size):
        part = data[offset : offset + size]
        is_last = offset + size >= len(data)
        header = {
            "trial_id": 7,
            "attempt": 1,
            "path": path,
            "offset": offset,
            "size_bytes": len(data),
            "is_last": is_last,
            "sha256": hashlib.sha256(data).hexdigest() if is_last else None,
        }
        found.append(({**header, **changes}, part))
    return found


def send(receiver: FileReceiver, path: str, data: bytes, **changes: Any) -> FileStored | None:
    stored = None
    for header, part in chunks(path, data, **changes):
        stored = receiver.receive(1, header, part)
    return stored


@pytest.mark.parametrize("data", [b"", b"abc", b"0123456789" * 3])
def test_a_file_appears_whole_in_its_trials_folder(receiver: FileReceiver, tmp_path: Path, data: bytes) -> None:
    stored = send(receiver, "artifacts/plots/a.png", data)
    assert stored == FileStored(7, 1, "artifacts/plots/a.png", len(data), hashlib.sha256(data).hexdigest())
    assert (tmp_path / "trials/0007/artifacts/plots/a.png").read_bytes() == data


def test_nothing_is_seen_before_the_last_chunk(receiver: FileReceiver, tmp_path: Path) -> None:
    header, part = chunks("files/x", b"12345678")[0]
    assert receiver.receive(1, header, part) is None
    assert not (tmp_path / "trials/0007/files/x").exists()
    receiver.abandon(1)
    assert os.listdir(tmp_path / "trials/0007/files") == []


def test_a_second_attempt_writes_into_its_own_folder(receiver: FileReceiver, tmp_path: Path) -> None:
    send(receiver, "files/x", b"abc", attempt=2)
    assert (tmp_path / "trials/0007.2/files/x").read_bytes() == b"abc"


BAD_PATHS = [
    "",
    "x",
    "/etc/passwd",
    "../x",
    "artifacts/../../x",
    "artifacts/..",
    "artifacts/.",
    "artifacts//x",
    "artifacts/",
    "artifacts",
    "files/a\0b",
    "files/..\\x",
    "trial.json",
    "files/" + "x" * 300,
    "files/" + "a/" * 100 + "b",
    "./files/x",
]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_that_leads_elsewhere_is_refused(receiver: FileReceiver, tmp_path: Path, path: str) -> None:
    with pytest.raises(StoreError, match="refused"):
        send(receiver, path, b"abc")
    assert os.listdir(tmp_path) == ["trials"]


@given(st.text(st.sampled_from("./\\\0ab~ ") | st.characters(codec="utf-8"), max_size=30))
def test_a_path_is_refused_or_stays_below_its_folder(path: str) -> None:
    for candidate in (path, f"artifacts/{path}", f"tensorboard/{path}"):
        try:
            parts = safe_parts(candidate)
        except StoreError:
            continue
        joined = os.path.normpath(os.path.join("/run/trials/0007", *parts))
        assert joined.startswith(tuple(f"/run/trials/0007/{root}/" for root in ("artifacts", "files", "tensorboard")))
        assert joined == "/run/trials/0007/" + candidate


def test_a_profile_for_tensorboard_lies_beside_the_trials_events(receiver: FileReceiver, tmp_path: Path) -> None:
    assert send(receiver, "tensorboard/plugins/profile/trace.json", b"abcdef") is not None
    assert (tmp_path / "tensorboard/0007/plugins/profile/trace.json").read_bytes() == b"abcdef"


def test_a_link_that_leads_out_of_the_folder_is_not_followed(receiver: FileReceiver, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "trials/0007/files").mkdir(parents=True)
    (tmp_path / "trials/0007/files/link").symlink_to(outside)
    (tmp_path / "trials/0007/files/target").symlink_to(outside / "stolen")
    with pytest.raises(StoreError):
        send(receiver, "files/link/x", b"abc")
    send(receiver, "files/target", b"abc")
    assert os.listdir(outside) == []
    assert (tmp_path / "trials/0007/files/target").read_bytes() == b"abc"


def test_a_trial_folder_that_is_a_link_is_not_followed(receiver: FileReceiver, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "trials/0007").symlink_to(outside)
    with pytest.raises(StoreError):
        send(receiver, "files/x", b"abc")
    assert os.listdir(outside) == []


@pytest.mark.parametrize(
    ("number", "change"),
    [(1, {"offset": 5}), (1, {"offset": 3}), (2, {"sha256": "0" * 64}), (2, {"size_bytes": 99}), (2, {"sha256": None})],
)
def test_a_wrong_offset_size_or_hash_is_refused_once_and_leaves_nothing(
    receiver: FileReceiver, tmp_path: Path, number: int, change: dict[str, Any]
) -> None:
    sent = chunks("files/x", b"0123456789ab")
    sent[number][0].update(change)
    for header, part in sent[:number]:
        assert receiver.receive(1, header, part) is None
    with pytest.raises(StoreError, match="files/x"):
        receiver.receive(1, *sent[number])
    for header, part in sent[number + 1 :]:
        assert receiver.receive(1, header, part) is None
    assert os.listdir(tmp_path / "trials/0007/files") == []


def test_a_file_may_be_sent_again_after_it_was_refused(receiver: FileReceiver) -> None:
    with pytest.raises(StoreError):
        send(receiver, "files/x", b"abc", sha256="0" * 64)
    assert send(receiver, "files/x", b"abc") is not None


@pytest.mark.parametrize("change", [{"trial_id": 8}, {"trial_id": 9}, {"attempt": 3}])
def test_a_file_of_an_attempt_that_was_not_started_on_the_worker_is_refused_once(
    receiver: FileReceiver, tmp_path: Path, change: dict[str, Any]
) -> None:
    first, *others = chunks("files/x", b"0123456789ab", **change)
    with pytest.raises(StoreError, match="was not started on worker 1"):
        receiver.receive(1, *first)
    assert [receiver.receive(1, *chunk) for chunk in others] == [None, None]
    assert os.listdir(tmp_path / "trials") == []


@pytest.mark.parametrize(
    "change", [{"trial_id": "7"}, {"trial_id": -1}, {"trial_id": True}, {"attempt": 0}, {"path": 1}, {"trial_id": None}]
)
def test_a_header_of_the_wrong_form_is_refused(receiver: FileReceiver, change: dict[str, Any]) -> None:
    header, part = chunks("files/x", b"abc")[0]
    with pytest.raises(StoreError, match="names trial"):
        receiver.receive(1, header | change, part)


def test_workers_may_send_at_the_same_time(receiver: FileReceiver, tmp_path: Path) -> None:
    one, two = chunks("files/x", b"11111111"), chunks("files/x", b"22222222", trial_id=8)
    for first, second in zip(one, two, strict=True):
        receiver.receive(1, *first)
        receiver.receive(2, *second)
    assert (tmp_path / "trials/0007/files/x").read_bytes() == b"11111111"
    assert (tmp_path / "trials/0008/files/x").read_bytes() == b"22222222"


def test_a_folder_in_the_files_place_is_an_error(receiver: FileReceiver) -> None:
    send(receiver, "files/x/y", b"abc")
    with pytest.raises(StoreError, match="files/x"):
        send(receiver, "files/x", b"abc")


def test_giving_up_a_file_whose_folder_was_deleted_is_silent_and_closes_it(
    receiver: FileReceiver, tmp_path: Path
) -> None:
    before = os.listdir("/proc/self/fd")
    header, part = chunks("files/x", b"12345678")[0]
    receiver.receive(1, header, part)
    shutil.rmtree(tmp_path / "trials")
    receiver.abandon(1)
    assert os.listdir("/proc/self/fd") == before


def test_a_file_that_cannot_get_its_name_leaves_no_part_and_no_open_descriptor(
    receiver: FileReceiver, tmp_path: Path
) -> None:
    before = os.listdir("/proc/self/fd")
    (tmp_path / "trials/0007/files/x/y").mkdir(parents=True)
    with pytest.raises(StoreError, match="files/x"):
        send(receiver, "files/x", b"abc")
    assert os.listdir(tmp_path / "trials/0007/files") == ["x"]
    assert os.listdir("/proc/self/fd") == before
