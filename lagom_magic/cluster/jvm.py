"""Starts the JVM of a Spark of our own, so that an interrupted start leaves nothing behind.

pyspark's own launcher keeps the process to itself: a KeyboardInterrupt in it orphans a JVM, and what the JVM says on
stderr goes straight into the notebook. Here the process is ours until pyspark is connected to it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from lagom_magic.cluster.java import Java
from lagom_magic.cluster.private import private_folder, write_whole
from lagom_magic.errors import ClusterError

START_TIMEOUT_S = 120.0

#: Lines that every JVM of Spark prints and nobody can act upon.
_NOISE = (
    b"WARNING: Using incubator modules",
    b"WARNING: package sun.security.action not in java.base",
    b"WARNING: A terminally deprecated method in sun.misc.Unsafe",
    b"WARNING: sun.misc.Unsafe::",
    b"WARNING: Please consider reporting this to the maintainers",
    b"WARNING: A restricted method in java.lang.System has been called",
    b"WARNING: java.lang.System::loadLibrary",
    b"WARNING: Use --enable-native-access",
    b"WARNING: Restricted methods will be blocked",
    b"Using Spark's default log4j profile",
    b"Setting default log level to",
    b"To adjust logging level use",
)

_QUIET_LOGS = """\
status = error
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} Spark %p %c{1}: %m%n%throwable{3}
# A failed task raises its error in Python too; here it would only be a wall of Java.
logger.executor.name = org.apache.spark.executor
logger.executor.level = off
logger.tasks.name = org.apache.spark.scheduler.TaskSetManager
logger.tasks.level = off
"""


class Jvm:
    """A JVM that was started for pyspark; ends when our end of its stdin is closed."""

    def __init__(self, settings: Mapping[str, str], java: Java, environment: Mapping[str, str]) -> None:
        """Prepare it.

        Args:
            settings: Spark's settings, of which some work only at the JVM's start.
            java: what it runs on.
            environment: variables for the process, without JAVA_HOME.
        """
        home = spark_home()
        options = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
        arguments = shlex.split(os.environ.get("PYSPARK_SUBMIT_ARGS", "pyspark-shell"))
        self._connection_file = private_folder("spark") / f"connection-{uuid.uuid4().hex}"
        self._command = [str(home / "bin" / "spark-submit"), *options, *arguments]
        self._environment = {
            **java.environment(environment),
            "SPARK_HOME": str(home),
            "SPARK_CONNECT_MODE": "0",
            "_PYSPARK_DRIVER_CONN_INFO_PATH": str(self._connection_file),
        }
        self._last_lines: deque[bytes] = deque(maxlen=20)
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr_thread: threading.Thread | None = None

    def start(self, timeout_s: float = START_TIMEOUT_S) -> Any:
        """The gateway to the JVM, once it listens; `kill` it when anything is raised.

        Raises:
            ClusterError: when it ends or stays silent instead; with its last words.
        """
        from pyspark.java_gateway import launch_gateway

        # A session of its own: the SIGINT that a notebook sends to the kernel's group is not for Spark.
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=self._environment,
        )
        self._stderr_thread = threading.Thread(
            target=_forward_stderr,
            args=(self._process.stderr, self._last_lines),
            name="lagom-spark-stderr",
            daemon=True,
        )
        self._stderr_thread.start()
        port, secret = self._await_connection(self._process, time.monotonic() + timeout_s)
        with _variables(PYSPARK_GATEWAY_PORT=str(port), PYSPARK_GATEWAY_SECRET=secret):
            gateway = launch_gateway()
        gateway.proc = self._process
        return gateway

    def _await_connection(self, process: subprocess.Popen[bytes], deadline: float) -> tuple[int, str]:
        # Spark announces its port by a file's appearance; pyspark itself looks for it every 100 ms.
        while not self._connection_file.exists():
            try:
                status = process.wait(timeout=0.02)
            except subprocess.TimeoutExpired:
                if time.monotonic() < deadline:
                    continue
                raise ClusterError(f"Spark's JVM did not answer in time. It said:\n{self._said()}") from None
            raise ClusterError(f"Spark's JVM ended with status {status} while it started. It said:\n{self._said()}")
        content = self._connection_file.read_bytes()
        self._connection_file.unlink()
        port, length = struct.unpack_from("!ii", content)
        return port, content[8 : 8 + length].decode()

    def _said(self) -> str:
        if self._stderr_thread is not None:
            self._stderr_thread.join(timeout=1.0)
        return b"".join(self._last_lines).decode(errors="replace").rstrip() or "(nothing)"

    def kill(self) -> None:
        """End it at once, with all that it may hold; does nothing when it never started."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=10.0)
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._stderr_thread is not None and self._stderr_thread.is_alive():
            self._stderr_thread.join(timeout=2.0)
        self._connection_file.unlink(missing_ok=True)


def _forward_stderr(stream: IO[bytes], last_lines: deque[bytes]) -> None:
    """What the JVM and its Python workers say, to our stderr, but for the lines that always come."""
    with stream:
        for line in stream:
            last_lines.append(line)
            if not line.startswith(_NOISE):
                with contextlib.suppress(OSError):  # a closed stderr must not stop the draining
                    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, line)


@contextlib.contextmanager
def _variables(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def spark_home() -> Path:
    """SPARK_HOME, else the Spark inside the installed pyspark package."""
    from pyspark.find_spark_home import _find_spark_home

    return Path(_find_spark_home())


def quiet_log_options() -> str:
    """JVM options with which Spark logs errors only, each in a few lines."""
    path = private_folder("log4j", _QUIET_LOGS) / "log4j2.properties"
    write_whole(path, _QUIET_LOGS)
    return f'-Dlog4j2.configurationFile="{path.as_uri()}"'
