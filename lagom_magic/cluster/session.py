"""The Spark session of a run: the one that the notebook has, else a local one of our own.

Called on the caller's thread, since a session that is made on another thread is not the active one of the notebook.
Only the SparkContext is made here: building Spark's SQL session as well would double the start, and
`SparkSession.builder.getOrCreate()` in any later cell finds the context.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lagom_magic.cluster import spark_daemon
from lagom_magic.cluster.java import find_java
from lagom_magic.cluster.jvm import Jvm, quiet_log_options, spark_home
from lagom_magic.cluster.private import private_folder, write_whole
from lagom_magic.cluster.slots import RESERVED_SLOTS_SETTING, count_gpus, count_slots, is_local
from lagom_magic.errors import ClusterError

if TYPE_CHECKING:
    from pyspark import SparkContext

#: Slots that our own local Spark has beyond its workers, so that other cells can still use Spark.
RESERVED_SLOTS = 2

_APP_NAME = "lagom"


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A running Spark application, as a run needs it and `%lagom spark` shows it.

    Attributes:
        context: pyspark's SparkContext.
        version: Spark's version.
        master: its master URL.
        slots: how many workers of one CPU task it can hold now; a cluster's number may grow.
        n_gpus: GPUs it has now, of the machine in a local master.
        ui_link: Spark's web UI; "" when it is off.
        is_ours: whether we started it as a local Spark, which keeps `RESERVED_SLOTS` for other cells.
    """

    context: SparkContext
    version: str
    master: str
    slots: int
    n_gpus: int
    ui_link: str
    is_ours: bool

    @property
    def is_local(self) -> bool:
        """Whether workers run on this machine, in slots whose number is fixed."""
        return is_local(self.master)


def current_session() -> SparkContext | None:
    """The SparkContext that this process has, of whoever made it; None without one. Never imports pyspark.

    Raises:
        ClusterError: when the notebook's session is a Spark Connect session.
    """
    if sys.modules.get("pyspark") is None:
        return None
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    if context is not None and _is_alive(context):
        return context
    if context is not None:
        _forget_jvm()
    _refuse_connect_session()
    return None


def _is_alive(context: SparkContext) -> bool:
    from py4j.protocol import Py4JError

    try:
        return not context._jsc.sc().isStopped()
    except (Py4JError, OSError, AttributeError):  # its JVM is gone, or another thread is stopping it
        return False


def _refuse_connect_session() -> None:
    connect = sys.modules.get("pyspark.sql.connect.session")
    has_session = connect is not None and (
        connect.SparkSession.getActiveSession() is not None or connect.SparkSession._get_default_session() is not None
    )
    if has_session or "SPARK_REMOTE" in os.environ or "SPARK_CONNECT_MODE_ENABLED" in os.environ:
        raise ClusterError(
            "This notebook uses Spark Connect, which lagom_magic cannot use yet: it starts workers through a classic "
            "SparkContext. Stop that session and unset SPARK_REMOTE, then start a classic one with "
            "`SparkSession.builder.master(...).getOrCreate()`, or let %%lagom start its own."
        )


def describe_session() -> SessionInfo | None:
    """What Spark this process has; None without one."""
    context = current_session()
    return None if context is None else _describe(context)


def _describe(context: SparkContext) -> SessionInfo:
    return SessionInfo(
        context=context,
        version=context.version,
        master=context.master,
        slots=count_slots(context),
        n_gpus=count_gpus(context),
        ui_link=context.uiWebUrl or "",
        is_ours=context.getConf().get(RESERVED_SLOTS_SETTING) is not None,
    )


def settings_of(context: SparkContext) -> dict[str, str] | None:
    """All settings of a session, secrets too; None when it has been stopped. Takes some 20 ms."""
    from py4j.protocol import Py4JError

    try:
        return dict(context._conf.getAll())
    except (Py4JError, OSError, AttributeError):
        return None


def ensure_session(workers: int | None = None, conf: Mapping[str, str] | None = None) -> SessionInfo:
    """The session that is there, else a local one of our own with room for `workers`.

    Args:
        workers: how many workers will run at once; None = as many as the machine has cores.
        conf: Spark settings for a session that we start; they win over ours.

    Raises:
        ClusterError: without pyspark or Java, with Spark Connect, or when Spark does not start.
    """
    context = current_session()
    if context is not None:
        return _describe(context)
    _require_pyspark()
    cores = os.cpu_count() or 1
    # Slots cost nothing, and a later cell may want more workers than this one.
    return start_session(
        f"local[{max(workers or cores, cores) + RESERVED_SLOTS}]", _local_settings() | dict(conf or {})
    )


def start_session(master: str, conf: Mapping[str, str] | None = None) -> SessionInfo:
    """A new session on `master`; quiet, and shut down with this process.

    Interrupted or failing, it leaves no JVM behind, and the next start begins afresh.

    Raises:
        ClusterError: without pyspark or Java, when there is a session already, or when Spark does not start.
    """
    _require_pyspark()
    if (context := current_session()) is not None:
        raise ClusterError(
            f"There is a Spark session already ({context.master}). Stop it first with `spark.stop()`, "
            "or run on it as it is."
        )
    settings = {"spark.master": master, "spark.app.name": _APP_NAME, "spark.ui.showConsoleProgress": "false"}
    settings |= dict(conf or {})
    options = settings.get("spark.driver.extraJavaOptions", "")
    settings["spark.driver.extraJavaOptions"] = f"{options} {quiet_log_options()}".strip()
    context = _start_context(settings)
    if is_local(master):
        _warm_up(context)
    return _describe(context)


def _require_pyspark() -> None:
    try:
        import pyspark  # noqa: F401 - optional
    except ImportError as error:
        raise ClusterError(
            "Spark is not installed here (there is no pyspark). "
            'Run `pip install "lagom-magic[local]"`, which brings Spark and a Java for it.'
        ) from error


def _local_settings() -> dict[str, str]:
    """Of our own local Spark: on loopback only, no UI, and no files in the user's folder."""
    scratch = private_folder("spark")
    return {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.catalogImplementation": "in-memory",
        # Measured: half the processor time to start and to run a first job; the trials want the processor.
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
        RESERVED_SLOTS_SETTING: str(RESERVED_SLOTS),
        **_daemon_settings(),
    }


def _daemon_settings() -> dict[str, str]:
    """Spark's Python daemon without the zip that is slow to import, where pyspark is installed beside this Spark."""
    import pyspark

    assert pyspark.__file__ is not None
    if spark_home() != Path(pyspark.__file__).parent:
        return {}
    source = Path(spark_daemon.__file__).read_text(encoding="utf-8")
    folder = private_folder("daemon", source)
    write_whole(folder / "lagom_spark_daemon.py", source)
    return {"spark.python.daemon.module": "lagom_spark_daemon", "spark.executorEnv.PYTHONPATH": str(folder)}


def _start_context(settings: Mapping[str, str]) -> SparkContext:
    from py4j.protocol import Py4JJavaError
    from pyspark import SparkConf, SparkContext

    environment = {**os.environ, **_variables_of_start(settings)}
    jvm = None if SparkContext._gateway else Jvm(settings, find_java(os.environ), environment)
    with _as_before_when_it_fails(jvm), _quiet_py4j():
        gateway = SparkContext._gateway if jvm is None else jvm.start()
        SparkContext._ensure_initialized(gateway=gateway)
        conf = SparkConf(loadDefaults=True)
        for name, value in settings.items():
            conf.set(name, value)
        try:
            context = SparkContext(conf=conf)
        except Py4JJavaError as error:
            raise ClusterError(
                f"Spark does not start on {settings['spark.master']}: {error.java_exception.getMessage()}"
            ) from error
        if "PYSPARK_PYTHON" not in os.environ:
            context.pythonExec = environment["PYSPARK_PYTHON"]
    return context


def _variables_of_start(settings: Mapping[str, str]) -> dict[str, str]:
    """What Spark's JVM and the Python of its local workers find in their environment beside ours."""
    variables = {"PYSPARK_PYTHON": os.environ.get("PYSPARK_PYTHON", _python_for(settings["spark.master"]))}
    if is_local(settings["spark.master"]):
        variables["SPARK_LOCAL_IP"] = "127.0.0.1"
    return variables


def _python_for(master: str) -> str:
    """Local workers use this very Python; a cluster's have their own `python3`."""
    return sys.executable if is_local(master) else "python3"


@contextmanager
def _as_before_when_it_fails(jvm: Jvm | None) -> Iterator[None]:
    """A failed or interrupted start takes its JVM, its traces in pyspark and pyspark's SIGINT handler with it."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except BaseException:
        if jvm is not None:
            jvm.kill()
        _forget_jvm()
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGINT, handler)
        raise


@contextmanager
def _quiet_py4j() -> Iterator[None]:
    """An interrupt is raised as ever, but py4j does not log it with its stack to the root logger as well."""

    def keep(record: logging.LogRecord) -> bool:
        return "while sending command" not in str(record.msg)

    root = logging.getLogger()
    root.addFilter(keep)
    try:
        yield
    finally:
        root.removeFilter(keep)


def _forget_jvm() -> None:
    """Make pyspark start a new JVM next time; ends the old one if it still listens to its stdin."""
    from pyspark import SparkContext

    process: Any = getattr(SparkContext._gateway, "proc", None)
    if process is not None and process.stdin is not None:
        process.stdin.close()
    SparkContext._gateway = None
    SparkContext._jvm = None
    SparkContext._active_spark_context = None
    if (sql := sys.modules.get("pyspark.sql.session")) is not None:
        sql.SparkSession._instantiatedSession = None


def _warm_up(context: SparkContext) -> None:
    """Start Spark's Python daemon in the background, so that the first worker does not wait for it."""
    from py4j.protocol import Py4JError

    def run_nothing() -> None:
        try:
            context.setLocalProperty("spark.job.description", "lagom: warm up")
            context.parallelize([0], 1).foreach(bool)
        except (Py4JError, OSError, AttributeError):
            return  # the session was stopped meanwhile; a run would meet the same error and tell it

    threading.Thread(target=run_nothing, name="lagom-spark-warm-up", daemon=True).start()
