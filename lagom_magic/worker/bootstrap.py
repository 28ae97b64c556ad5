"""Runs inside the Spark task: unpacks this package, starts the supervisor with it, and waits for its end.

`cluster` ships the SOURCE of this file in a closure and execs it, so it is the standard library and itself only:
nothing of ours is importable yet. Whatever is installed on the executor never wins, because the unpacked package
comes first on the supervisor's path.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import re
import secrets
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from typing import Any

#: In the environment of every process of a worker, so that none can hide; not a secret.
MARKER = "LAGOM_WORKER"
_END_TIMEOUT_S = 10.0
_STDERR_LINES = 20
#: Older than any worker between writing a payload and linking to it.
_STALE_S = 60.0
#: Packages and user code may serve the next run, so they stay this long after their last.
_UNUSED_S = 86_400.0
_SCRATCH_NAME = re.compile(r"-w\d+-\w{8}$")


def run_worker(launch: dict[str, Any]) -> None:
    """Is one worker, from start to end; called on the main thread of the task.

    Args:
        launch: ticket, package_zip, payload, user_code_zip, gpus, notebook_dir, notebook_python, spark_attempt,
            session_path and distribution.

    Raises:
        RuntimeError: the supervisor failed; holds the last lines of its stderr.
    """
    with contextlib.ExitStack() as in_use:
        _run_worker(launch, in_use)


def _run_worker(launch: dict[str, Any], in_use: contextlib.ExitStack) -> None:
    home = _private_folder()
    _forget_stale(home)
    package = _unpacked(home, "package", launch["package_zip"], in_use)
    user_code = _unpacked(home, "user-code", launch["user_code_zip"], in_use)
    worker_id = launch["ticket"]["worker_id"]
    scratch = tempfile.mkdtemp(prefix=f"{launch['ticket']['run_id']}-w{worker_id}-", dir=home)
    _hold(scratch, in_use)
    payload = _stored(home, scratch, launch["payload"])
    marker = secrets.token_hex(8)
    path = [package, *launch["session_path"], *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in path if p), MARKER: marker}
    handed_over = {
        "ticket": launch["ticket"],
        "scratch": scratch,
        "payload": os.path.join(scratch, "payload"),
        "user_code": user_code,
        "gpus": launch["gpus"],
        "notebook_dir": launch["notebook_dir"],
        "notebook_python": launch["notebook_python"],
        "spark_attempt": launch["spark_attempt"],
        "distribution": launch["distribution"],
    }
    try:
        _run_supervisor(json.dumps(handed_over).encode() + b"\n", environment, home, worker_id)
    finally:
        kill_marked(marker)
        shutil.rmtree(scratch, ignore_errors=True)
        _forget(payload)


def _run_supervisor(first_line: bytes, environment: dict[str, str], home: str, worker_id: int) -> None:
    with tempfile.TemporaryFile(dir=home) as stderr:
        process = subprocess.Popen(
            # -S: it needs the standard library only, and reading site-packages takes longer than all its imports.
            [sys.executable, "-S", "-P", "-m", "lagom_magic.worker.supervisor"],
            stdin=subprocess.PIPE,
            stdout=stderr,
            stderr=stderr,
            env=environment,
            cwd=home,
            start_new_session=True,
        )
        assert process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # it died already; its exit code says so
                process.stdin.write(first_line)
                process.stdin.flush()
            code = process.wait()  # as long as the run; its death or ours ends it
        finally:
            _end(process)
        if code:
            stderr.seek(0)
            lines = stderr.read().decode("utf-8", "replace").splitlines()[-_STDERR_LINES:]
            raise RuntimeError(f"lagom worker {worker_id} ended with exit code {code}:\n" + "\n".join(lines))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the supervisor if it runs still: the task was interrupted."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # it kills what is below it and exits
    try:
        process.wait(timeout=_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=_END_TIMEOUT_S)


def kill_marked(marker: str) -> None:
    """Kills every process that carries the marker: what outlived a supervisor that was killed itself."""
    deadline = time.monotonic() + _END_TIMEOUT_S
    while found := _marked(f"{MARKER}={marker}".encode()):  # a process may have forked while we looked
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                ended = os.pidfd_open(pid)
                try:
                    os.kill(pid, signal.SIGKILL)
                    select.select([ended], [], [], max(0.0, deadline - time.monotonic()))
                finally:
                    os.close(ended)
        if time.monotonic() > deadline:  # stuck in the kernel; it cannot run any more of our code
            return


def _marked(wanted: bytes) -> list[int]:
    """The living processes with an entry in their environment."""
    found = []
    for pid in os.listdir("/proc") if os.path.isdir("/proc") else []:
        # Processes of others cannot be read, and any may end meanwhile.
        with contextlib.suppress(PermissionError, FileNotFoundError, ProcessLookupError):
            if pid.isdigit() and wanted in _environment_of(pid) and not _is_dead(pid):
                found.append(int(pid))
    return found


def _environment_of(pid: str) -> list[bytes]:
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")


def _is_dead(pid: str) -> bool:
    """Whether it is a zombie; its memory, and so its environment, is gone anyway."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b") ")[2][:1] in b"ZX"


def _private_folder() -> str:
    """`<tmp>/lagom-<uid>`, which must be ours alone: code is run from it."""
    home = os.path.join(tempfile.gettempdir(), f"lagom-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(home, 0o700)
    status = os.lstat(home)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise RuntimeError(
            f"{home} is not a folder that only this user can enter (owner {status.st_uid}, "
            f"mode {stat.S_IMODE(status.st_mode):o}). Remove it, or set TMPDIR for the Spark executors."
        )
    return home


def _hold(folder: str, in_use: contextlib.ExitStack) -> None:
    """Makes a folder if needed and keeps `_forget_stale` of other workers off it until `in_use` closes, or we die."""
    while True:
        os.makedirs(folder, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # it was removed just now
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            in_use.callback(os.close, fd)
            with contextlib.suppress(OSError):  # a file system without locks; then nobody removes anything
                fcntl.flock(fd, fcntl.LOCK_SH)
            os.utime(folder)
            if os.path.samestat(os.fstat(fd), os.stat(folder)):
                return


def _unpacked(home: str, kind: str, archive: bytes, in_use: contextlib.ExitStack) -> str:
    """The folder with the archive's content; shared by all workers that were sent the same."""
    folder = os.path.join(home, f"{kind}-{hashlib.sha256(archive).hexdigest()[:16]}")
    _hold(folder, in_use)
    if archive:
        with zipfile.ZipFile(io.BytesIO(archive)) as content:
            for name in content.namelist():
                path = os.path.normpath(os.path.join(folder, name))
                if not path.startswith(folder + os.sep):
                    raise RuntimeError(f"{name!r} in the shipped {kind} leads out of its folder")
                if not name.endswith("/") and not os.path.exists(path):
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    _write_whole(path, content.read(name))
    return folder


def _stored(home: str, scratch: str, payload: bytes) -> str:
    """Keeps a payload once a machine; each worker holds a link to it, as `<scratch>/payload`."""
    shared = os.path.join(home, f"payload-{hashlib.sha256(payload).hexdigest()[:32]}")
    link = os.path.join(scratch, "payload")
    try:
        os.link(shared, link)
    except FileNotFoundError:
        _write_whole(shared, payload)
        try:
            os.link(shared, link)
        except FileNotFoundError:  # the last other holder removed it just now
            _write_whole(link, payload)
    return shared


def _forget(payload: str) -> None:
    """Removes a shared payload that no worker holds any more."""
    with contextlib.suppress(FileNotFoundError):
        if os.stat(payload).st_nlink == 1:
            os.unlink(payload)


def _forget_stale(home: str) -> None:
    """Removes what killed workers left, and packages and user code that no worker has used for long."""
    for name in os.listdir(home):
        path = os.path.join(home, name)
        with contextlib.suppress(OSError):  # another worker removes or uses it: keeping house must not cost this one
            if name.startswith("payload-"):
                if _age_s(os.stat(path)) > _STALE_S:
                    _forget(path)
            elif name.startswith(("package-", "user-code-")):
                _remove_unheld(path, _UNUSED_S)
            elif _SCRATCH_NAME.search(name):
                _remove_unheld(path, _STALE_S)


def _remove_unheld(folder: str, unused_s: float) -> None:
    """Removes a folder that is old enough and that no living worker holds."""
    if _age_s(os.stat(folder)) <= unused_s:
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: it is in use
        if _age_s(os.fstat(fd)) > unused_s:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(fd)


def _age_s(status: os.stat_result) -> float:
    return time.time() - status.st_mtime


def _write_whole(path: str, data: bytes) -> None:
    """Writes a file that nobody can see half written, and only this user can read."""
    fd, beside = tempfile.mkstemp(dir=os.path.dirname(path))
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    os.replace(beside, path)
