"""An IPython shell with the magics, and a package behind them that starts nothing but keeps real run folders."""

from __future__ import annotations

import atexit
import json
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from traitlets.config import Config

from lagom_magic.cluster.session import SessionInfo
from lagom_magic.events.facts import Fact, RunEnded, RunStarted, RunState, TrialEnded, TrialStarted, TrialState
from lagom_magic.magics.backend import PackageBackend
from lagom_magic.magics.extension import load, unload
from lagom_magic.run import Run
from lagom_magic.spec.config import BaseConfig
from lagom_magic.store.journal import JournalWriter
from lagom_magic.store.layout import create_run_dir, default_home

BEGAN = 1_700_000_000.0


def store_run(experiment: str = "digits", state: RunState | None = RunState.COMPLETE) -> Run:
    """A run of one trial in the home folder; None leaves it without an end."""
    started = datetime.fromtimestamp(BEGAN, UTC)
    layout = create_run_dir(default_home(), experiment, started)
    document = {"format": 1, "kind": "hpo", "created_at": started.isoformat()}
    layout.run_json.write_text(json.dumps(document))
    facts: list[Fact] = [
        RunStarted(layout.root.name, experiment, "hpo", 1, 1, "accuracy", "max", "random", "median", 0, ("lr",)),
        TrialStarted(0, 1, 1, {"lr": 0.25}),
    ]
    if state is not None:
        facts += [
            TrialEnded(0, 1, 1, TrialState.COMPLETE, {"accuracy": 0.75}, 0.75, duration_s=2.0),
            RunEnded(state),
        ]
    journal = JournalWriter(layout.journal, on_error=_fail)
    for second, fact in enumerate(facts):
        journal.append(fact, BEGAN + second)
    journal.close()
    return Run(layout.root)


def _fail(text: str) -> None:
    raise AssertionError(text)


@dataclass
class Launch:
    """One call of `launch`."""

    train_fn: Callable[..., Any]
    config: BaseConfig
    detach: bool
    ui: str
    source: str | None
    resumed: Run | None = None


class LiveStandIn:
    """A driver that lives until it is stopped."""

    def __init__(self) -> None:
        self.is_alive, self.outcome, self.stops = True, None, list[str]()
        self.asked: list[tuple[str, int]] = []

    def wait(self, timeout_s: float | None = None) -> bool:
        return not self.is_alive

    def stop(self, reason: str) -> None:
        self.stops.append("in order")

    def prune(self, trial_id: int) -> None:
        self.asked.append(("prune", trial_id))

    def retry(self, trial_id: int) -> None:
        self.asked.append(("retry", trial_id))

    def abandon(self) -> None:
        self.stops.append("now")


@dataclass
class QuietBackend(PackageBackend):
    """The package, but a launch only stores a run of one trial, and Spark is a note.

    Attributes:
        ends_with: raised by a launch, after its run is stored.
    """

    launches: list[Launch] = field(default_factory=list)
    ends_with: Callable[[Run], Exception] | None = None
    live: Run | None = None
    session: SessionInfo | None = None

    def launch(
        self,
        train_fn: Callable[..., Any],
        config: BaseConfig,
        *,
        detach: bool,
        ui: str,
        source: str | None,
        resumed: Run | None,
    ) -> Run:
        self.launches.append(Launch(train_fn, config, detach, ui, source, resumed))
        run = store_run(config.name or getattr(train_fn, "__name__", "again"))
        if self.ends_with is not None:
            raise self.ends_with(run)
        return run

    def current_run(self) -> Run | None:
        return self.live

    def describe_session(self) -> SessionInfo | None:
        return self.session

    def start_session(self, master: str, conf: Mapping[str, str]) -> SessionInfo:
        self.session = SessionInfo(None, "4.0.0", f"{master} {dict(conf)}", 6, 0, "", is_ours=False)  # type: ignore[arg-type]
        return self.session


class Notebook:
    """A shell with the magics, as a person uses it."""

    def __init__(self, shell: InteractiveShell, backend: QuietBackend) -> None:
        self.shell, self.backend = shell, backend

    def run(self, cell: str) -> ExecutionResult:
        return self.shell.run_cell(cell)

    def error(self, cell: str) -> str:
        """'Kind: message' of the error that the cell ended with."""
        error = self.run(cell).error_in_exec
        assert error is not None, "the cell ended well"
        return f"{type(error).__name__}: {error}"

    def launched(self, cell: str) -> Launch:
        """The one launch of a cell that ended well."""
        before = len(self.backend.launches)
        self.run(cell).raise_error()
        assert len(self.backend.launches) == before + 1
        return self.backend.launches[-1]

    def __getitem__(self, name: str) -> Any:
        return self.shell.user_ns[name]


@contextmanager
def bare_shell(folder: Path) -> Iterator[InteractiveShell]:
    """A shell without history, whose notebook is a module of its own."""
    config = Config()
    config.HistoryManager.enabled = False
    module = types.ModuleType("notebook_under_test")
    shell = InteractiveShell(config=config, colors="nocolor", ipython_dir=str(folder), user_module=module)
    try:
        yield shell
    finally:
        shell.restore_sys_module_state()
        sys.modules.pop("notebook_under_test", None)
        shell.atexit_operations()
        atexit.unregister(shell.atexit_operations)


@contextmanager
def open_notebook(folder: Path) -> Iterator[Notebook]:
    """A shell with the magics loaded."""
    with bare_shell(folder) as shell:
        backend = QuietBackend()
        load(shell, backend)
        try:
            yield Notebook(shell, backend)
        finally:
            unload(shell)
