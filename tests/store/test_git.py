"""What git is asked about a folder, in real repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lagom_magic.store import git as module
from lagom_magic.store.git import MAX_DIFF_BYTES, GitState, git_state


def git(folder: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    answer = subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return answer.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """With a folder `nb` and one commit."""
    folder = tmp_path / "repository"
    (folder / "nb").mkdir(parents=True)
    (folder / "nb" / "train.py").write_text("lr = 1\n")
    (folder / "elsewhere.py").write_text("a = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def state(folder: Path) -> GitState:
    found = git_state(folder)
    assert found is not None
    return found


def test_a_clean_folder_is_a_commit_on_a_branch(repository: Path) -> None:
    assert state(repository / "nb") == GitState(
        root=str(repository),
        commit=git(repository, "rev-parse", "HEAD"),
        branch="main",
        remote="",
        diff=b"",
        is_whole=True,
    )


def test_a_repository_whose_folder_has_a_line_break_in_its_name_is_known_by_all_of_it(repository: Path) -> None:
    moved = repository.rename(repository.with_name("new\nline\n"))
    assert state(moved / "nb").root == str(moved)


def test_changes_of_the_folder_are_its_diff_staged_or_not_and_notebooks_come_last(repository: Path) -> None:
    nb = repository / "nb"
    (nb / "a.ipynb").write_text("{}\n")
    (nb / "b.py").write_text("b = 1\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "second")
    (nb / "a.ipynb").write_text('{"cells": []}\n')
    (nb / "b.py").write_text("b = 2\n")
    git(repository, "add", "nb/b.py")
    (nb / "train.py").write_text("lr = 2\n")
    (nb / "untracked.py").write_text("x\n")
    (repository / "elsewhere.py").write_text("a = 2\n")
    diff = state(nb).diff.decode()
    assert [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")] == [
        "-b = 1",
        "+b = 2",
        "-lr = 1",
        "+lr = 2",
        "-{}",
        '+{"cells": []}',
    ]
    assert state(nb).is_whole


def test_no_repository_no_commit_no_branch_and_no_git_are_no_errors(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert git_state(tmp_path) is None
    assert git_state(tmp_path / "missing") is None
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    assert (state(empty).commit, state(empty).diff, state(empty).branch) == ("", b"", "main")
    git(repository, "checkout", "-q", "--detach")
    assert state(repository).branch == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(repository) is None


def test_the_password_of_a_remote_is_not_told(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://me:hunter2@example.org/repository.git?token=hunter3")
    assert state(repository).remote == "https://***@example.org/repository.git?***"


def test_files_that_hold_secrets_are_not_in_the_diff(repository: Path) -> None:
    names = [".env", ".env.local", "nb/.env", "server.KEY", "a/b/tls.pem", "my-credentials.json", "id_rsa", ".netrc"]
    for name in names:
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("old\n")
    git(repository, "add", "-f", ".")
    git(repository, "commit", "-qm", "second")
    for name in names:
        (repository / name).write_text("hunter2\n")
    (repository / "elsewhere.py").write_text("a = 3\n")
    assert b"a = 3" in state(repository).diff
    assert b"hunter2" not in state(repository).diff


def test_a_huge_diff_is_cut_at_a_line(repository: Path) -> None:
    (repository / "nb" / "train.py").write_text("".join(f"line {i}\n" for i in range(400_000)))
    found = state(repository)
    assert not found.is_whole
    assert MAX_DIFF_BYTES - 100 < len(found.diff) <= MAX_DIFF_BYTES
    assert found.diff.endswith(b"\n")


def test_a_git_that_hangs_is_given_up(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    slow = tmp_path / "bin" / "git"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.2)
    assert git_state(repository) is None


def test_variables_of_a_git_hook_do_not_mislead(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    assert state(repository).root == str(repository)
