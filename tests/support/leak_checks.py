"""What a test may leave behind: nothing, but for the few things listed here with their reasons.

`tests/conftest.py` takes a `Snapshot` before and after each test and fails the test on the difference. Things that are
going away (a thread in its last lines, a process that was just killed) get `GRACE_S` to do so.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

#: How long something that is ending may take to end.
GRACE_S = 3.0

#: Set for the whole test session and inherited by everything that tests start, also by daemons that left our tree.
SESSION_MARKER = "LAGOM_TEST_SESSION"

#: Thread name → why it may outlive a test.
ALLOWED_THREADS: dict[str, str] = {
    r"IPythonHistorySavingThread": "IPython's history; one a shell, lives as long as it",
    r"Thread-\d+ \(serve_forever\)": "Spark's accumulator server; belongs to the SparkContext, which tests share",
    r"tqdm_monitor|Thread-\d+ \(tqdm_monitor\)": "tqdm's monitor; one a process, made by the first bar",
    r"pytest_timeout .*": "the timeout of the test itself",
    r"playwright_\d+": "Playwright's own helpers, which end with the test session",
}

#: First words of a command line → why the process may outlive a test.
ALLOWED_PROCESSES: dict[str, str] = {
    r"\S*java .*": "Spark's JVM: tests share one session",
    r".* -m (pyspark\.daemon|lagom_spark_daemon) .*": "Spark's Python daemon and its idle workers, kept by design",
    r".* from multiprocessing\.(resource_tracker|forkserver) .*": "one per interpreter, ends with it",
}

#: Environment variable → why it may change.
ALLOWED_VARIABLES: dict[str, str] = {
    r"PYTEST_.*": "pytest's own",
    r"SPARK_AUTH_SOCKET_TIMEOUT|SPARK_BUFFER_SIZE|PYSPARK_GATEWAY_.*": "pyspark sets them with the first SparkContext",
    r"KMP_.*|TORCHINDUCTOR_.*|TF_CPP_MIN_LOG_LEVEL|TF2_BEHAVIOR": "set at import by scikit-learn, torch, TensorFlow",
    r"ENABLE_RUNTIME_UPTIME_TELEMETRY|HDF5_PLUGIN_PATH|TPU_ML_PLATFORM(_VERSION)?": "set at import by TensorFlow",
    r"COLUMNS|LINES": "set by terminal libraries",
}

#: Things that patches replace; compared by identity.
WATCHED: dict[str, Callable[[], object]] = {
    "builtins.print": lambda: builtins.print,
    "builtins.open": lambda: builtins.open,
    "builtins.input": lambda: builtins.input,
    "builtins.__import__": lambda: builtins.__import__,
    "sys.stdout": lambda: sys.stdout,
    "sys.stderr": lambda: sys.stderr,
    "sys.stdin": lambda: sys.stdin,
    "sys.excepthook": lambda: sys.excepthook,
    "sys.displayhook": lambda: sys.displayhook,
    "threading.excepthook": lambda: threading.excepthook,
}
WATCHED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2)

#: What a run or a library leaves in the working directory when nobody told it where to go.
LITTER = ("lagom_runs", "tensorboard", "spark-warehouse", "metastore_db", "derby.log")


@dataclass(frozen=True)
class Snapshot:
    """The state that a test must give back."""

    threads: frozenset[threading.Thread]
    processes: frozenset[int]
    sockets: frozenset[str]
    variables: Mapping[str, str]
    patched: Mapping[str, object]
    directory: str
    litter: frozenset[str]

    @classmethod
    def take(cls) -> Snapshot:
        return cls(
            threads=frozenset(threading.enumerate()),
            processes=frozenset(_processes_of_session()),
            sockets=frozenset(_sockets()),
            variables=dict(os.environ),
            patched=_patched(),
            directory=os.getcwd(),
            litter=_litter(os.getcwd()),
        )


def leaks_since(before: Snapshot) -> list[str]:
    """One line for each thing that is there now and was not there `before`; empty when all is well."""
    return [
        *_leaked_threads(before),
        *_leaked_processes(before),
        *_leaked_sockets(before),
        *_changed_variables(before),
        *_changed_functions(before),
        *_changed_directory(before),
    ]


def _is_allowed(text: str, allowed: Mapping[str, str]) -> bool:
    return any(re.fullmatch(pattern, text) for pattern in allowed)


def _leaked_threads(before: Snapshot) -> Iterator[str]:
    new = [t for t in threading.enumerate() if t not in before.threads and not _is_allowed(t.name, ALLOWED_THREADS)]
    for thread in new:
        if thread is not threading.current_thread():
            thread.join(GRACE_S)
            if thread.is_alive():
                yield f"thread {thread.name!r} ({'daemon' if thread.daemon else 'not daemon'}) still runs"


def _processes_of_session() -> Iterator[int]:
    """Process ids of our children, zombies included, and of everything that carries this session's marker."""
    own = os.getpid()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has just ended
            for pid in (task / "children").read_text().split():
                yield int(pid)
    marker = f"{SESSION_MARKER}={os.environ.get(SESSION_MARKER, '')}".encode()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != own:
            try:
                with open(f"/proc/{entry.name}/environ", "rb") as file:
                    if marker in file.read().split(b"\0"):
                        yield int(entry.name)
            except OSError:  # ended meanwhile, or another user's
                continue


def _leaked_processes(before: Snapshot) -> Iterator[str]:
    new = []
    for pid in set(_processes_of_session()) - before.processes:
        try:
            process = psutil.Process(pid)
            if not _is_allowed(" ".join(process.cmdline()), ALLOWED_PROCESSES):
                new.append(process)
        except psutil.NoSuchProcess:
            continue
    if not new:
        return
    _, alive = psutil.wait_procs(new, timeout=GRACE_S)
    for process in alive:
        try:
            yield f"process {process.pid} ({process.status()}) still there: {' '.join(process.cmdline())[:200]}"
        except psutil.NoSuchProcess:
            continue


def _sockets() -> Iterator[str]:
    """Inode names of our open sockets, as `/proc` shows them: 'socket:[12345]'."""
    for entry in os.scandir("/proc/self/fd"):
        try:
            target = os.readlink(entry.path)
        except FileNotFoundError:  # the scan's own descriptor
            continue
        if target.startswith("socket:"):
            yield target


def _leaked_sockets(before: Snapshot) -> Iterator[str]:
    if not set(_sockets()) - before.sockets:
        return
    gc.collect()  # what nobody refers to any more is no leak; left open, it was a ResourceWarning, which is an error
    ends = _ends_of_sockets()
    allowed = _ports_of_spark()
    for name in set(_sockets()) - before.sockets:
        local, remote = ends.get(name, (0, 0))
        if not {local, remote} & allowed:
            where = f"port {local} to port {remote}" if (local or remote) else "not TCP"
            yield f"{name} is still open ({where})"


def _ends_of_sockets() -> dict[str, tuple[int, int]]:
    """{'socket:[inode]': (local port, remote port)} of the TCP sockets that we can see."""
    ends = {}
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        if os.path.exists(table):
            for line in Path(table).read_text().splitlines()[1:]:
                columns = line.split()
                local, remote = (int(columns[i].rpartition(":")[2], 16) for i in (1, 2))
                ends[f"socket:[{columns[9]}]"] = (local, remote)
    return ends


def _ports_of_spark() -> set[int]:
    """Ports between this process and Spark's JVM: py4j keeps a pool of connections that grows as it likes."""
    jvm_pids = {process.pid for process in psutil.Process().children() if process.name() == "java"}
    if not jvm_pids:
        return set()
    ports = set()
    for pid in jvm_pids:
        for connection in psutil.Process(pid).net_connections(kind="tcp"):
            ports.update(end.port for end in (connection.laddr, connection.raddr) if end)
    return ports


def _changed_variables(before: Snapshot) -> Iterator[str]:
    now = dict(os.environ)
    for name in sorted(before.variables.keys() | now.keys()):
        if before.variables.get(name) != now.get(name) and not _is_allowed(name, ALLOWED_VARIABLES):
            yield f"environment variable {name}: was {before.variables.get(name)!r}, is {now.get(name)!r}"


def _patched() -> dict[str, object]:
    handlers = {number.name: _handler_of(number) for number in WATCHED_SIGNALS}
    return {name: look() for name, look in WATCHED.items()} | handlers


def _handler_of(number: signal.Signals) -> object:
    """The signal's handler; Python's own stands for pyspark's too.

    pyspark leaves its SIGINT handler behind with the session that tests share, and nbclient, which runs notebooks, puts
    Python's own in place of whatever it finds.
    """
    handler = signal.getsignal(number)
    is_pysparks = getattr(handler, "__module__", "").startswith("pyspark.")
    return signal.default_int_handler if is_pysparks else handler


def _changed_functions(before: Snapshot) -> Iterator[str]:
    now = _patched()
    for name, was in before.patched.items():
        if now[name] is not was and now[name] != was:
            yield f"{name}: was {was!r}, is {now[name]!r}"


def _litter(*directories: str) -> frozenset[str]:
    paths = (os.path.join(directory, name) for directory in directories for name in LITTER)
    return frozenset(path for path in paths if os.path.exists(path))


def _changed_directory(before: Snapshot) -> Iterator[str]:
    if os.getcwd() != before.directory:
        yield f"working directory: was {before.directory}, is {os.getcwd()}"
    for path in sorted(_litter(before.directory, os.getcwd()) - before.litter):
        yield f"{path} was left in the working directory"
