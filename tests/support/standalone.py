"""A real Spark cluster on loopback for tests: a master and two workers, started from the pip package.

What its workers see is what a stranger's machine would show: another Python environment, other working directories,
nothing of ours on their path, and GPUs that a discovery script announces.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lagom_magic.cluster.java import find_java
from lagom_magic.cluster.jvm import spark_home

START_TIMEOUT_S = 60.0
GPUS_PER_NODE = 2
CORES_PER_NODE = 2
N_NODES = 2


@dataclass(frozen=True)
class StandaloneCluster:
    """Where the cluster is; start a session on it with `settings` and PYSPARK_PYTHON=`python`."""

    master: str
    python: str
    settings: Mapping[str, str]


class _Daemon:
    """A master or worker; its log is read as long as it lives."""

    def __init__(self, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        folder.mkdir()
        self._log: list[str] = []
        self._has_line = threading.Condition()
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, name=f"standalone-{folder.name}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr:
            for line in self._process.stderr:
                with self._has_line:
                    self._log.append(line)
                    self._has_line.notify_all()

    def await_line(self, pattern: str) -> str:
        """The first group of the first log line that matches."""

        def found() -> re.Match[str] | None:
            return next((match for line in self._log if (match := re.search(pattern, line))), None)

        with self._has_line:
            match = self._has_line.wait_for(found, timeout=START_TIMEOUT_S)
        assert match is not None, f"no line {pattern!r} in {''.join(self._log)}"
        return match.group(1)

    def stop(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=10)
        self._reader.join(timeout=10)


@contextmanager
def running_cluster(folder: Path) -> Iterator[StandaloneCluster]:
    """The cluster, while the block runs."""
    spark_class = str(spark_home() / "bin" / "spark-class")
    environment = _environment()
    daemons = []
    try:
        daemons.append(
            _Daemon(
                [spark_class, "org.apache.spark.deploy.master.Master", *_address("127.0.0.1")],
                folder / "master",
                {**environment, "SPARK_LOCAL_IP": "127.0.0.1"},
            )
        )
        master = daemons[0].await_line(r"Starting Spark master at (spark://\S+)")
        discovery = _discovery_script(folder)
        for number in range(1, N_NODES + 1):
            # Each a host of its own for Spark, which never puts a task and its speculative copy on one.
            host = f"127.0.0.{number + 1}"
            daemons.append(_worker(spark_class, master, host, folder / f"node{number}", environment, discovery))
        for worker in daemons[1:]:
            worker.await_line(r"(Successfully registered) with master")
        yield StandaloneCluster(master, _other_python(folder / "python"), _settings(folder))
    finally:
        for daemon in reversed(daemons):
            daemon.stop()


def _environment() -> dict[str, str]:
    """Nothing of the tests' own but the way to bash, Java and Spark."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LAGOM_TEST_SESSION") if name in os.environ}
    return {
        **find_java(os.environ).environment({**kept, "JAVA_HOME": os.environ.get("JAVA_HOME", "")}),
        "SPARK_HOME": str(spark_home()),
    }


def _address(host: str) -> list[str]:
    return ["--host", host, "--port", "0", "--webui-port", "0"]


def _worker(
    spark_class: str, master: str, host: str, folder: Path, environment: Mapping[str, str], discovery: Path
) -> _Daemon:
    options = (
        f"-Dspark.worker.resource.gpu.amount={GPUS_PER_NODE} -Dspark.worker.resource.gpu.discoveryScript={discovery}"
    )
    size = ["--cores", str(CORES_PER_NODE), "--memory", "2g", "--work-dir", str(folder / "work")]
    return _Daemon(
        [spark_class, "org.apache.spark.deploy.worker.Worker", master, *_address(host), *size],
        folder,
        {
            **environment,
            "SPARK_LOCAL_IP": host,
            "SPARK_WORKER_OPTS": options,
            "SPARK_LOCAL_DIRS": str(folder / "local"),
        },
    )


def _discovery_script(folder: Path) -> Path:
    """Announces GPUs that nothing is behind; Spark only counts them and hands their numbers out."""
    script = folder / "discover_gpus.sh"
    addresses = ", ".join(f'"{number}"' for number in range(GPUS_PER_NODE))
    script.write_text(f"""#!/bin/sh\necho '{{"name": "gpu", "addresses": [{addresses}]}}'\n""")
    script.chmod(0o755)
    return script


def _other_python(folder: Path) -> str:
    """A Python of the same version with our environment's packages, but without what is installed as editable."""
    venv.create(folder, with_pip=False, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    # A path in a .pth file joins sys.path, and .pth files in that path are not looked at.
    (folder / "lib" / version / "site-packages" / "packages.pth").write_text("\n".join(sorted(packages)) + "\n")
    return str(folder / "bin" / "python")


def _settings(folder: Path) -> dict[str, str]:
    return {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.local.dir": str(folder / "driver"),
        "spark.executor.cores": str(CORES_PER_NODE),
        "spark.executor.memory": "512m",
        "spark.executor.resource.gpu.amount": str(GPUS_PER_NODE),
        "spark.task.resource.gpu.amount": "1",
    }


@pytest.fixture(scope="session")
def standalone_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneCluster]:
    """One cluster for all tests that ask for it."""
    with running_cluster(tmp_path_factory.mktemp("standalone")) as cluster:
        yield cluster
