"""What git knows of a folder: commit, branch and what is not committed; asked once a run by `provenance.py`.

Git runs as a program, without its locks, prompts and helpers, and within a time limit. No git, no repository, or a
git that refuses the folder is no error: there is nothing to tell then.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lagom_magic.spec.secret_urls import without_secrets

#: Seconds for all that is asked, and bytes of a diff.
_TIMEOUT_S = 5.0
MAX_DIFF_BYTES = 1 << 20
#: Names of files whose changes are not kept, because they are there to hold secrets.
_SECRET_FILES = (
    ".env*",
    ".netrc",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "id_rsa*",
    "id_ed25519*",
    "*credential*",
)
#: Would make git look elsewhere than at the folder.
_MISLEADING = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")


@dataclass(frozen=True, slots=True)
class GitState:
    """A folder in its repository.

    Attributes:
        root: the repository's folder.
        commit: the whole hash; "" before the first commit.
        branch: "" when no branch is checked out.
        remote: URL of `origin` without credentials; "" without one.
        diff: what tracked files of the folder have that the commit has not, notebooks last; at most `MAX_DIFF_BYTES`.
        is_whole: whether nothing of the diff was cut off, by its length or by time.
    """

    root: str
    commit: str
    branch: str
    remote: str
    diff: bytes
    is_whole: bool


def git_state(folder: Path) -> GitState | None:
    """The state of the repository that a folder is in, None when there is none or git is not there."""
    git = _Git(folder)
    root = git.line("rev-parse", "--show-toplevel")
    if not root:
        return None
    commit = git.line("rev-parse", "--verify", "--quiet", "HEAD")
    diff, is_whole = git.diff() if commit else (b"", True)
    return GitState(
        root=root,
        commit=commit,
        branch=git.line("symbolic-ref", "--short", "--quiet", "HEAD"),
        remote=without_secrets(git.line("config", "--get", "remote.origin.url")),
        diff=diff,
        is_whole=is_whole,
    )


class _Git:
    """Asks git about a folder until the time is up."""

    def __init__(self, folder: Path) -> None:
        self._command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false"]
        plain = {name: value for name, value in os.environ.items() if name not in _MISLEADING}
        self._environment = plain | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        self._deadline = time.monotonic() + _TIMEOUT_S

    def line(self, *arguments: str) -> str:
        """An answer of one line, or of more where a folder's name has them; "" for none."""
        answer, is_whole = self._ask(arguments, 1 << 16)
        return os.fsdecode(answer.removesuffix(b"\n")) if is_whole else ""

    def diff(self) -> tuple[bytes, bool]:
        """The diff and whether it is whole."""
        hidden = [f":(exclude,glob,icase)**/{name}" for name in _SECRET_FILES]
        options = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--relative", "HEAD", "--")
        code, is_code_whole = self._ask((*options, ".", ":(exclude,glob)**/*.ipynb", *hidden), MAX_DIFF_BYTES)
        notebooks, are_whole = self._ask((*options, ":(glob)**/*.ipynb", *hidden), MAX_DIFF_BYTES - len(code))
        return code + notebooks, is_code_whole and are_whole

    def _ask(self, arguments: tuple[str, ...], max_bytes: int) -> tuple[bytes, bool]:
        """At most so much of what git prints, whole lines; and whether that is all. (b"", False) when it fails."""
        try:
            process = subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
            )
        except OSError:  # there is no git
            return b"", False
        return _read(process, max_bytes, self._deadline)


def _read(process: subprocess.Popen[bytes], max_bytes: int, deadline: float) -> tuple[bytes, bool]:
    """What it prints until the deadline, as `_Git._ask`."""
    assert process.stdout is not None
    data, is_at_end = bytearray(), False
    try:
        with process.stdout as pipe:
            while len(data) <= max_bytes and select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
                piece = os.read(pipe.fileno(), 1 << 16)
                data += piece
                if not piece:
                    is_at_end = True
                    break
        if is_at_end:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # with the filters that it has started
            process.wait(_TIMEOUT_S)
    if is_at_end:
        return (bytes(data), True) if process.returncode == 0 else (b"", False)
    return bytes(data[: data.rfind(b"\n", 0, max_bytes) + 1]), False
