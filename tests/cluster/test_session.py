"""Our own local Spark and sessions that are there already. Each test has an interpreter of its own: a JVM stays."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import lagom_magic

pytestmark = [pytest.mark.spark, pytest.mark.slow]

assert lagom_magic.__file__ is not None
ROOT = str(Path(lagom_magic.__file__).parents[1])

#: What Spark's scripts and Hadoop call, as a system without Java would have it.
PROGRAMS = (
    "bash",
    "sh",
    "env",
    "dirname",
    "basename",
    "ps",
    "chmod",
    "ls",
    "rm",
    "mkdir",
    "cat",
    "uname",
    "head",
    "tr",
)


#: A session that is stopped while its warm-up still runs makes Spark log an error; a person is not that quick.
SETTLE = """
def settle():
    import threading
    for thread in threading.enumerate():
        if thread.name == "lagom-spark-warm-up":
            thread.join(60)
"""


def start_script(source: str, folder: Path, **variables: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYSPARK_PYTHON"}
    environment |= {"PYTHONPATH": ROOT, "TMPDIR": str(folder / "tmp"), **variables}
    (folder / "tmp").mkdir()
    (folder / "cwd").mkdir()
    return subprocess.Popen(
        [sys.executable, "-c", SETTLE + re.sub(r"(\S+\.stop\(\))", r"settle(); \1", textwrap.dedent(source))],
        cwd=folder / "cwd",
        env={name: value for name, value in environment.items() if value},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_script(source: str, folder: Path, **variables: str) -> str:
    process = start_script(source, folder, **variables)
    out, err = process.communicate(timeout=110)
    assert process.returncode == 0, err
    assert err == "", "Spark is to be quiet"
    return out


RUN_A_JOB = """
    from lagom_magic.cluster.session import current_session, ensure_session
    info = ensure_session(3)
    print(info.context.parallelize(range(10), 2).sum(), info.is_local, info.is_ours, info.ui_link, sep=",")
    assert current_session() is info.context
    assert ensure_session(1).context is info.context
    info.context.stop()
"""


def test_our_own_spark_runs_a_job_quietly_and_leaves_no_litter(tmp_path: Path) -> None:
    assert run_script(RUN_A_JOB, tmp_path) == "45,True,True,\n"
    assert list((tmp_path / "cwd").iterdir()) == []


def test_it_starts_without_java_home_and_without_a_java_on_path(tmp_path: Path) -> None:
    links = tmp_path / "bin"
    links.mkdir()
    for name in PROGRAMS:
        program = next((Path(folder, name) for folder in ("/usr/bin", "/bin") if Path(folder, name).exists()), None)
        if program is not None:
            (links / name).symlink_to(program)
    assert run_script(RUN_A_JOB, tmp_path, JAVA_HOME="", PATH=str(links)) == "45,True,True,\n"


def test_its_workers_import_the_installed_pyspark_and_not_a_zip_that_is_compiled_each_time(tmp_path: Path) -> None:
    source = """
        import pyspark
        from lagom_magic.cluster.session import ensure_session
        info = ensure_session(1)
        found = info.context.parallelize([0], 1).map(lambda _: __import__("pyspark").__file__).first()
        print(found == pyspark.__file__)
        info.context.stop()
    """
    assert run_script(source, tmp_path) == "True\n"


def test_other_cells_have_slots_left_and_an_sql_session_finds_the_context(tmp_path: Path) -> None:
    source = """
        import os
        from lagom_magic.cluster.session import ensure_session
        info = ensure_session(os.cpu_count() + 5)
        print(info.slots - os.cpu_count(), info.context.defaultParallelism - info.slots)
        from pyspark.sql import SparkSession
        spark = SparkSession.builder.getOrCreate()
        print(spark.sparkContext is info.context, spark.range(3).count())
        spark.stop()
    """
    assert run_script(source, tmp_path) == "5 2\nTrue 3\n"


def test_a_session_that_is_there_is_used_as_it_is(tmp_path: Path) -> None:
    source = """
        import logging
        from pyspark.sql import SparkSession
        from lagom_magic.cluster.session import ensure_session, start_session, current_session
        from lagom_magic.errors import ClusterError
        first = start_session("local[3]", {"spark.ui.enabled": "false"})
        info = ensure_session(8)
        print(info.context is first.context, info.slots, info.is_ours, info.master)
        try:
            start_session("local[1]")
        except ClusterError as error:
            print(error)
        info.context.stop()
        print(current_session(), ensure_session(1).is_ours)
        current_session().stop()
    """
    lines = run_script(source, tmp_path).splitlines()
    assert lines[0] == "True 3 False local[3]"
    assert lines[1].startswith("There is a Spark session already (local[3]).")
    assert lines[2] == "None True"


INTERRUPTED = """
    import os, signal, sys, threading
    from lagom_magic.cluster import jvm
    from lagom_magic.cluster.session import current_session, ensure_session
    from pyspark import SparkContext

    def interrupt_at(owner, name):
        real = getattr(owner, name)
        def wrapped(*arguments, **options):
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            return real(*arguments, **options)
        setattr(owner, name, wrapped)
        return real

    owner, name = {"jvm": (jvm.Jvm, "_await_connection"), "context": (SparkContext, "_initialize_context")}[sys.argv[1]]
    real = interrupt_at(owner, name)
    handler = signal.getsignal(signal.SIGINT)
    try:
        ensure_session(1)
    except KeyboardInterrupt as error:
        kept = error  # as IPython keeps the last traceback, with all its frames
        print("interrupted", current_session(), signal.getsignal(signal.SIGINT) is handler)
    children = [p for p in os.listdir("/proc") if p.isdigit() and is_child(p)]
    print("orphans", children)
    setattr(owner, name, real)
    context = ensure_session(1).context
    print(context.parallelize(range(10), 1).sum())
    context.stop()
"""

CHILDREN = """
    def is_child(pid):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return f"LAGOM_TEST_MARK={mark}".encode() in file.read() and int(pid) != os.getpid()
        except OSError:
            return False
    import os
    mark = os.environ["LAGOM_TEST_MARK"]
"""


@pytest.mark.parametrize("moment", ["jvm", "context"])
def test_an_interrupted_start_leaves_no_jvm_and_the_next_start_works(tmp_path: Path, moment: str) -> None:
    source = textwrap.dedent(CHILDREN) + textwrap.dedent(INTERRUPTED).replace("sys.argv[1]", repr(moment))
    out = run_script(source, tmp_path, LAGOM_TEST_MARK=f"{tmp_path}")
    assert out.splitlines() == ["interrupted None True", "orphans []", "45"]


def test_the_jvm_ends_with_a_killed_interpreter(tmp_path: Path) -> None:
    process = start_script(
        """
        from lagom_magic.cluster.session import ensure_session
        context = ensure_session(1).context
        print(context._gateway.proc.pid, flush=True)
        input()
        """,
        tmp_path,
    )
    assert process.stdout is not None
    jvm = int(process.stdout.readline())
    descriptor = os.pidfd_open(jvm)
    try:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        assert select.select([descriptor], [], [], 30)[0], "the JVM outlived its interpreter"
    finally:
        os.close(descriptor)


def test_a_jvm_that_does_not_start_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    source = """
        from lagom_magic.cluster.session import current_session, ensure_session
        from lagom_magic.errors import ClusterError
        try:
            ensure_session(1, {"spark.driver.extraJavaOptions": "-agentlib:nosuchagent"})
        except ClusterError as error:
            print(error)
        print(current_session())
    """
    out = run_script(source, tmp_path)
    assert "ended with status 1 while it started" in out
    assert "nosuchagent" in out
    assert out.endswith("None\n")


def test_without_pyspark_the_error_names_the_command(tmp_path: Path) -> None:
    source = """
        import sys
        sys.modules["pyspark"] = None
        from lagom_magic.cluster.session import ensure_session
        from lagom_magic.errors import ClusterError
        try:
            ensure_session(1)
        except ClusterError as error:
            print(error)
    """
    assert 'pip install "lagom-magic[local]"' in run_script(source, tmp_path)


def test_spark_connect_is_refused_with_one_clear_error(tmp_path: Path) -> None:
    source = """
        import pyspark
        from lagom_magic.cluster.session import ensure_session
        from lagom_magic.errors import ClusterError
        try:
            ensure_session(1)
        except ClusterError as error:
            print(error)
    """
    assert "uses Spark Connect" in run_script(source, tmp_path, SPARK_REMOTE="sc://localhost:15002")
