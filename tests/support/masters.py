"""The masters that the survival tests run on, and a run on one of them as a test sees it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from calling_home import call_home, open_home
from leak_checks import SESSION_MARKER
from spark_sessions import cluster_session, local_session, stop_session
from standalone import StandaloneCluster

from lagom_magic import Categorical, OptimizationConfig, Run, Searchspace
from lagom_magic.cluster.session import SessionInfo
from lagom_magic.errors import RunError
from lagom_magic.events.facts import Fact
from lagom_magic.experiment import launch
from lagom_magic.run import Trial
from lagom_magic.spec.config import BaseConfig
from lagom_magic.store.journal import JournalReader

if TYPE_CHECKING:
    from pyspark import SparkContext

WAIT_S = 60.0


@dataclass
class Master:
    """A Spark master with a session on it, and a folder for one test.

    Attributes:
        name: "local" or "standalone".
        folder: the test's own; runs go to `runs` in it, the notebook's folder is `notebook`.
    """

    name: str
    info: SessionInfo
    folder: Path

    @property
    def is_local(self) -> bool:
        return self.name == "local"

    @property
    def notebook_dir(self) -> Path:
        return self.folder / "notebook"

    def begin(self, train_fn: Callable[..., Any], **options: Any) -> Run:
        """A run that goes on behind the test."""
        return self._launch(train_fn, True, options)

    def run(self, train_fn: Callable[..., Any], **options: Any) -> Run:
        """A run from start to end, however it ends."""
        try:
            return self._launch(train_fn, False, options)
        except RunError as error:
            run = error.run
        assert run is not None
        return run

    def _launch(self, train_fn: Callable[..., Any], detach: bool, options: dict[str, Any]) -> Run:
        notebook_dir = options.pop("notebook_dir", self.notebook_dir)
        ui = options.pop("ui", "none")
        config: BaseConfig | None = options.pop("config", None)
        if config is not None:
            return launch(train_fn, config, detach=detach, ui=ui, notebook_dir=notebook_dir, **options)
        cases: list[Any] | None = options.pop("cases", None)
        if cases is not None:
            space = Searchspace(case=Categorical(cases))
            options = {"searchspace": space, "optimizer": "grid", "num_trials": len(cases), **options}
        config = OptimizationConfig(**{"workers": 2, "pruner": "none", **options})
        return launch(train_fn, config, detach=detach, ui=ui, notebook_dir=notebook_dir)


def by_case(run: Run) -> dict[Any, Trial]:
    """{the value of `case`: its trial}."""
    return {trial.hparams["case"]: trial for trial in run.trials}


def states(run: Run) -> list[str]:
    """The trials' states by id."""
    return [trial.state.value for trial in run.trials]


def facts_of(run: Run, *kinds: type[Fact]) -> list[Any]:
    """The journal's facts of these kinds, in order."""
    return [line.fact for line in JournalReader(run.dir).read_new() if not kinds or isinstance(line.fact, kinds)]


def output_of(trial: Trial) -> bytes:
    """What it printed, as captured."""
    path = trial.dir / "output.log"
    return path.read_bytes() if path.exists() else b""


def ended(run: Run) -> Run:
    """The run, waited for."""
    assert run.wait(WAIT_S), f"{run!r} does not end"
    return run


def worker_processes() -> list[psutil.Process]:
    """Everything that a worker of this test session has started: supervisors, trial processes, what those left."""
    marker = os.environ[SESSION_MARKER]
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            variables = process.environ()
            if "LAGOM_WORKER" in variables and variables.get(SESSION_MARKER) == marker:
                found.append(process)
    return found


def still_there(processes: Iterable[psutil.Process], timeout_s: float = 5.0) -> list[psutil.Process]:
    """Those that do not end in time."""
    _, alive = psutil.wait_procs(list(processes), timeout=timeout_s)
    return alive


@contextmanager
def busy_slots(context: SparkContext, n_slots: int) -> Iterator[threading.Thread]:
    """A job of the user's holds `n_slots` of Spark's slots while the block runs; yields the thread that runs it."""
    with open_home() as home:
        port = home.port

        def wait(_: int) -> str:
            return call_home(port)

        def work() -> None:
            words.extend(context.parallelize(range(n_slots), n_slots).map(wait).collect())

        words: list[str] = []
        thread = threading.Thread(target=work, name="users-own-job")
        thread.start()
        try:
            home.next_callers(n_slots)
            yield thread
        finally:
            home.close()
            thread.join(WAIT_S)
        assert words == [""] * n_slots, "the user's own job was hurt"


@contextmanager
def own_session(start: Callable[[], SessionInfo]) -> Iterator[SessionInfo]:
    """A session with settings of its own, in place of the shared one, which the next test starts anew."""
    stop_session()
    try:
        yield start()
    finally:
        stop_session()


def session_on(name: str, cluster: Callable[[], StandaloneCluster]) -> SessionInfo:
    """The shared session on a master, warm; started when another one is there."""
    info = local_session() if name == "local" else cluster_session(cluster())
    info.context.parallelize(range(info.slots), info.slots).foreach(bool)
    return info
