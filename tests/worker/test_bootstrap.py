"""The bootstrap's folders: private, shared by content, whole."""

from __future__ import annotations

import ast
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from one_worker import zip_of

from lagom_magic.worker import bootstrap


@pytest.fixture
def tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def in_use() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def test_it_imports_nothing_of_ours() -> None:
    tree = ast.parse(Path(bootstrap.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_its_folder_is_private(tmp: Path) -> None:
    assert os.stat(bootstrap._private_folder()).st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["open to others", "a link"])
def test_a_folder_that_others_could_have_made_is_refused(kind: str, tmp: Path) -> None:
    home = tmp / f"lagom-{os.getuid()}"
    if kind == "a link":
        (tmp / "elsewhere").mkdir(mode=0o700)
        home.symlink_to(tmp / "elsewhere")
    else:
        home.mkdir()
        home.chmod(0o755)
    with pytest.raises(RuntimeError, match="only this user can enter"):
        bootstrap._private_folder()


def test_the_same_archive_is_unpacked_once_and_mended_if_files_are_missing(
    tmp: Path, in_use: contextlib.ExitStack
) -> None:
    archive = zip_of({"a/b.py": "b = 1", "c.py": "c = 1"})
    first = Path(bootstrap._unpacked(str(tmp), "package", archive, in_use))
    made = (first / "c.py").stat().st_ino
    (first / "a" / "b.py").unlink()
    assert bootstrap._unpacked(str(tmp), "package", archive, in_use) == str(first)
    assert (first / "a" / "b.py").read_text() == "b = 1"
    assert (first / "c.py").stat().st_ino == made
    assert sorted(os.listdir(first)) == ["a", "c.py"]


def test_an_archive_cannot_write_outside_its_folder(tmp: Path, in_use: contextlib.ExitStack) -> None:
    with pytest.raises(RuntimeError, match="leads out of its folder"):
        bootstrap._unpacked(str(tmp), "package", zip_of({"../evil.py": ""}), in_use)


def test_a_payload_is_kept_once_until_its_last_worker_ends(tmp: Path) -> None:
    scratches = [tmp / "w1", tmp / "w2"]
    for scratch in scratches:
        scratch.mkdir()
        shared = Path(bootstrap._stored(str(tmp), str(scratch), b"payload"))
        assert (scratch / "payload").read_bytes() == b"payload"
    assert shared.stat().st_nlink == 3
    bootstrap._forget(str(shared))
    assert shared.exists()
    for scratch in scratches:
        (scratch / "payload").unlink()
    bootstrap._forget(str(shared))
    assert not shared.exists()


def test_a_payload_of_a_killed_worker_is_removed_later(tmp: Path) -> None:
    (tmp / "payload-old").touch()
    os.utime(tmp / "payload-old", (1, 1))
    (tmp / "payload-new").touch()
    bootstrap._forget_stale(str(tmp))
    assert os.listdir(tmp) == ["payload-new"]


@pytest.mark.parametrize("name", ["package-0123", "user-code-0123", "20261122-093000-ab-w12-x_3456yz"])
def test_what_killed_workers_left_is_removed_unless_a_worker_holds_it(
    name: str, tmp: Path, in_use: contextlib.ExitStack
) -> None:
    folder = tmp / name
    bootstrap._hold(str(folder), in_use)
    (folder / "file").touch()
    os.utime(folder, (1, 1))
    bootstrap._forget_stale(str(tmp))
    assert (folder / "file").exists()
    in_use.close()
    bootstrap._forget_stale(str(tmp))
    assert not folder.exists()


def test_what_was_used_lately_stays_for_the_next_run(tmp: Path, in_use: contextlib.ExitStack) -> None:
    folder = Path(bootstrap._unpacked(str(tmp), "package", zip_of({"a.py": ""}), in_use))
    os.utime(folder, (1, 1))
    bootstrap._unpacked(str(tmp), "package", zip_of({"a.py": ""}), in_use)
    in_use.close()
    (tmp / "20261122-093000-ab-w1-abcdefgh").mkdir()
    bootstrap._forget_stale(str(tmp))
    assert len(os.listdir(tmp)) == 2


def test_marked_processes_are_killed_wherever_they_hang() -> None:
    process = subprocess.Popen(
        ["sleep", "1000"], env={**os.environ, bootstrap.MARKER: "of-this-test"}, start_new_session=True
    )
    bootstrap.kill_marked("of-this-test")
    assert process.wait(timeout=10) == -9
