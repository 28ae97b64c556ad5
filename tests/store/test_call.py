"""What a run calls, kept in its folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from lagom_magic.errors import StoreError
from lagom_magic.store import call as calls
from lagom_magic.store.call import StoredCall, read_call, write_call
from lagom_magic.store.layout import RunLayout


def call_of(payload: bytes) -> StoredCall:
    return StoredCall(payload, b"zip", {"epochs": 3}, None, takes_budget=False, preload_modules=["json"])


def killed_at_step(n_steps: int, layout: RunLayout, call: StoredCall) -> bool:
    """Keep a call in a process that ends without a word before its nth step on the disk; whether it got that far."""
    pid = os.fork()
    if pid == 0:
        left = [n_steps]

        def count(event: str, arguments: tuple[object, ...]) -> None:
            if event == "open" or event.startswith(("os.", "shutil.")):
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)

        sys.addaudithook(count)
        write_call(layout, call)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def test_a_call_is_read_as_it_was_kept(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    assert write_call(layout, call_of(b"first"))
    assert write_call(layout, call_of(b"second"))
    assert read_call(layout) == call_of(b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["call"]


def test_a_kill_at_any_moment_leaves_the_old_call_or_the_new_one(tmp_path: Path) -> None:
    layout, found = RunLayout(tmp_path), []
    for n_steps in range(100):
        assert write_call(layout, call_of(b"old"))
        was_killed = killed_at_step(n_steps, layout, call_of(b"new"))
        found.append(read_call(layout).payload)
        if not was_killed:
            break
    assert n_steps > 10
    assert set(found) == {b"old", b"new"}
    assert found == sorted(found, reverse=True)
    assert [path.name for path in tmp_path.iterdir()] == ["call"]


def test_kills_one_after_the_other_lose_nothing(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    assert write_call(layout, call_of(b"old"))
    for n_steps in range(100):
        was_killed = killed_at_step(n_steps, layout, call_of(b"new"))
        assert read_call(layout).payload in (b"old", b"new")
        if not was_killed:
            break
    assert read_call(layout).payload == b"new"


def test_a_call_that_is_too_big_leaves_no_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = RunLayout(tmp_path)
    assert write_call(layout, call_of(b"old"))
    monkeypatch.setattr(calls, "MAX_PAYLOAD_BYTES", 10)
    assert not write_call(layout, call_of(b"x" * 11))
    with pytest.raises(StoreError, match="does not keep its function"):
        read_call(layout)
    assert list(tmp_path.iterdir()) == []


def test_a_call_that_cannot_be_written_leaves_no_older_one(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    assert write_call(layout, call_of(b"old"))
    (tmp_path / ".call.part").write_text("in the way")
    with pytest.raises(FileExistsError):
        write_call(layout, call_of(b"new"))
    with pytest.raises(StoreError, match="does not keep its function"):
        read_call(layout)
