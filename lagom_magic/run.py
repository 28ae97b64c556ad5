"""`Run` and `Trial`: what a person holds when a run has begun, and when it lies on disk from last week.

Both are read from the run's folder alone, so they work on any folder: of a live run, a past one, or one whose
driver died.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.events.facts import HParams, Metrics, RunState, TrialError, TrialState
from lagom_magic.events.fold import RunView, TrialView, fold
from lagom_magic.store.index import find_run
from lagom_magic.store.journal import JournalReader, interrupt, is_being_written, wait_for_driver
from lagom_magic.store.layout import RunLayout, default_home
from lagom_magic.store.requests import BY_USER, Request, send_request
from lagom_magic.store.summary import RESULT_KEYS, result_of
from lagom_magic.store.tags import note_of, tags_of

if TYPE_CHECKING:
    import optuna
    import pandas

    from lagom_magic.statistics.ablation import Ablation


class LiveOutcome(Protocol):
    """How a live run ended; `crash` is a bug of ours."""

    @property
    def crash(self) -> BaseException | None: ...


#: What a returned model is saved as, see `worker/result.py`, and the first of several trained together.
_MODEL_FILES = ("model.pt", "model.keras", "model.pkl", "model.ubj", "model.lgb", "model_0.pt")
#: Characters of a traceback that an error shows.
_MOST_TRACEBACK = 4000


class LiveRun(Protocol):
    """The driver of a run in this process."""

    @property
    def is_alive(self) -> bool: ...

    @property
    def outcome(self) -> LiveOutcome | None: ...

    def wait(self, timeout_s: float | None = None) -> bool: ...

    def stop(self, reason: str) -> None: ...

    def prune(self, trial_id: int) -> None: ...

    def retry(self, trial_id: int) -> None: ...

    def abandon(self) -> None: ...


@dataclass(frozen=True, slots=True, repr=False)
class Trial:
    """One evaluation of the training function, as its latest attempt stands.

    Attributes:
        id: from 0.
        attempt: from 1.
        state: WAITING RUNNING COMPLETE PRUNED FAILED STOPPED.
        hparams: what it was called with, searched and fixed.
        metrics: every number that it reported or returned; a returned one wins over the last report.
        metric: the one that counts; None until it is COMPLETE, and without one.
        worker: the worker's id; None before its start.
        duration_s: of the training function; so far, while it runs.
        dir: its folder.
        error: why it failed, or None.
        warnings: what to know of it, one line each, such as a returned value that could not be kept.
        params: what auto-logging has seen libraries be told, such as {"SVC.C": 1.0}; at its end.
    """

    id: int
    attempt: int
    state: TrialState
    hparams: HParams
    metrics: Metrics
    metric: float | None
    worker: int | None
    duration_s: float
    dir: Path
    error: TrialError | None
    warnings: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        attempt = f", attempt={self.attempt}" if self.attempt > 1 else ""
        error = f", error={self.error.kind}: {self.error.message}" if self.error else ""
        return (
            f"Trial(id={self.id}{attempt}, state={self.state.value}, metric={self.metric}, hparams={self.hparams}, "
            f"duration_s={self.duration_s:.3g}{error})"
        )

    @property
    def artifacts(self) -> dict[str, Path]:
        """Returned files that have arrived: name below artifacts/ → path."""
        root = self.dir / "artifacts"
        return {
            path.relative_to(root).as_posix(): path
            for path in sorted(root.rglob("*"))
            if path.is_file() and not (path.name.startswith(".") and path.name.endswith(".part"))
        }

    @property
    def checkpoint(self) -> Path | None:
        """The newest file that `reporter.checkpoint` has kept, of this attempt or an earlier one; None without one."""
        for attempt in range(self.attempt, 0, -1):
            folder = self.dir.parent / RunLayout.trial_name(self.id, attempt) / "checkpoint"
            kept = sorted(path for path in folder.glob("*") if not path.name.startswith("."))
            if kept:
                return kept[-1]
        return None


def stored_importances(run_dir: Path) -> dict[str, float]:
    """`search.importance.importances` of the run in a folder.

    Raises:
        ConfigError: as that says.
    """
    from lagom_magic.search.importance import importances

    return importances(Run(run_dir).study)


class Run(Mapping[str, Any]):
    """One run; also a mapping with Maggy's result keys (`run["best_config"]`).

    Everything is read anew from the journal while the run lives. Two are equal when they are of the same folder.
    """

    def __init__(self, run_dir: Path | str, live: LiveRun | None = None) -> None:
        """A view of a run's folder.

        Args:
            run_dir: the folder, or a text that `%lagom show` takes: the id, its last four letters …
            live: its driver when it lives in this process.

        Raises:
            StoreError: when the folder holds no run, or there is no such run.
        """
        if isinstance(run_dir, str) and not os.path.exists(run_dir):
            run_dir = find_run(default_home(), run_dir)
        self._layout = RunLayout(Path(run_dir).absolute())
        if not self._layout.run_json.is_file() and not self._layout.journal.is_file():
            raise StoreError(f"{self._layout.root} holds no run: it has neither run.json nor events.jsonl.")
        self._live = live
        self._reader = JournalReader(self._layout.root)
        self._folded = RunView()
        self._lock = threading.Lock()

    @property
    def view(self) -> RunView:
        """The whole view, for drawing; read it, do not change it."""
        with self._lock:
            if not self._folded.state.is_final:
                is_alive = self.is_alive  # before reading: a run that ends in between has its end in the journal
                for line in self._reader.read_new():
                    fold(self._folded, line.fact, line.time)
                if not is_alive:
                    interrupt(self._folded)
            return self._folded

    @property
    def id(self) -> str:
        return self._layout.root.name

    @property
    def name(self) -> str:
        """The experiment's name."""
        header = self.view.header
        return header.experiment if header else self._layout.root.parent.name

    @property
    def dir(self) -> Path:
        return self._layout.root

    @property
    def state(self) -> RunState:
        """STARTING RUNNING COMPLETE STOPPED FAILED; a run whose driver died is FAILED."""
        return self.view.state

    @property
    def error(self) -> str | None:
        """Why it is FAILED or STOPPED, in one line; else None."""
        view = self.view
        return view.state_reason or None if view.state in (RunState.FAILED, RunState.STOPPED) else None

    @property
    def is_alive(self) -> bool:
        """Whether a driver works on it, in this process or another."""
        return self._live.is_alive if self._live is not None else is_being_written(self._layout.root)

    @property
    def crash(self) -> BaseException | None:
        """The exception that ended its driver: a bug of ours."""
        outcome = self._live.outcome if self._live is not None else None
        return outcome.crash if outcome is not None else None

    @property
    def config(self) -> dict[str, Any]:
        """Content of run.json; {} when it is lost."""
        try:
            document = json.loads(self._layout.run_json.read_bytes())
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def description(self) -> str:
        """Of `--description`; "" without one."""
        config = self.config.get("config")
        return str(config.get("description") or "") if isinstance(config, dict) else ""

    @property
    def tags(self) -> tuple[str, ...]:
        """Of `--tag`, and of `%lagom tag` since."""
        return tags_of(self.dir)

    @property
    def note(self) -> str:
        """What `%lagom tag RUN --note` has kept; "" without one."""
        return note_of(self.dir)

    @property
    def trials(self) -> list[Trial]:
        """All trials by id."""
        view = self.view
        return [self._trial(view.trials[trial_id]) for trial_id in sorted(view.trials)]

    @property
    def best(self) -> Trial | None:
        """The COMPLETE trial with the best finite metric."""
        best = self.view.best
        return None if best is None else self._trial(best)

    @property
    def result(self) -> dict[str, Any]:
        """Maggy's result as a plain dict; of a single tracked call, what it returned."""
        view = self.view
        if _is_single(view) and 0 in view.trials:
            return {**view.trials[0].metrics, **view.trials[0].values}
        return result_of(view)

    @property
    def model_path(self) -> Path | None:
        """The model of the best trial, or of the only one: the file that it was saved as; None without one."""
        trials = self.trials
        trial = self.best or (trials[0] if len(trials) == 1 else None)
        if trial is None:
            return None
        return next((path for path in trial.artifacts.values() if path.name in _MODEL_FILES), None)

    def load_model(self, model: Any = None) -> Any:
        """The model at `model_path`.

        A scikit-learn model is a pickle, which can run code when it is loaded. Of a run that may be somebody else's it
        is refused: where its file belongs to another user, and where files of the run were fetched from the place that
        LAGOM_HOME names by a URL. PyTorch's weights and Keras' models are loaded from any run.

        Args:
            model: of PyTorch, a class, a factory, or an object that takes the weights in; None gives the weights
                alone, as a state dict on the CPU. Keras' models and scikit-learn's need none.

        Raises:
            StoreError: when the run has no model, or one that is refused; says how to load it if you trust it.
            ConfigError: when its framework is not installed here.
        """
        path = self.model_path
        if path is None:
            raise StoreError(f"run {self.id} has no model: {self._why_no_model()}.")
        from lagom_magic.store.run_copy import was_fetched
        from lagom_magic.trained import load_model_of_run

        return load_model_of_run(path, model, was_fetched(self.dir))

    def _why_no_model(self) -> str:
        view = self.view
        if view.counts[TrialState.COMPLETE] == 0 and view.state is not RunState.COMPLETE:
            reason = f": {self.error.rstrip('.')}" if self.error else ""
            return f"it {_PHRASES[view.state]}{reason}"
        return "let the training function return it, such as return {'accuracy': accuracy, 'model': model}"

    @property
    def study(self) -> optuna.Study:
        """The run as an `optuna.Study`, for its plots and importances."""
        from lagom_magic.search.study import build_study
        from lagom_magic.spec.space_json import space_from_json

        view, document = self.view, self.config.get("searchspace")
        direction: Literal["max", "min"] = "max" if view.is_maximised else "min"
        return build_study(list(view.trials.values()), space_from_json(document) if document else None, direction)

    def to_dataframe(self) -> pandas.DataFrame:
        """One row a trial, indexed by its id: state, hyperparameters, metrics, worker, seconds …

        A hyperparameter that is called as a metric or another column gets the prefix `hparams.`, a metric that is
        called as another column `metrics.`.

        Raises:
            ConfigError: when pandas is missing.
        """
        try:
            import pandas
        except ImportError as error:
            raise ConfigError("to_dataframe needs pandas, which is not installed: pip install 'pandas<3'.") from error
        rows = [_row(trial) for trial in self.trials]
        return pandas.DataFrame(rows, index=pandas.Index([trial.id for trial in self.trials], name="id"))

    @property
    def ablation(self) -> pandas.DataFrame:
        """What each component of an ablation is worth, of every metric: one row each, the baseline first.

        Raises:
            ConfigError: for a run of another kind, or when pandas is missing.
        """
        from lagom_magic.statistics.tables import frame_of

        return frame_of(self._ablation("ablation"))

    def ablation_table(self, format: Literal["markdown", "latex"] = "markdown", metric: str | None = None) -> str:
        """The table of an ablation for a paper: evidence in bold, the test and its correction in the caption.

        Args:
            format: "markdown", or "latex" with the package booktabs.
            metric: None = the one that counts.

        Raises:
            ConfigError: for a run of another kind, an unknown format or metric, or before the first trial.
        """
        from lagom_magic.statistics.tables import table_of

        return table_of(self._ablation("ablation_table"), format, metric)

    @property
    def is_ablation(self) -> bool:
        """Whether it leaves components out, so that its best trial is no result; see `ablation`."""
        header = self.view.header
        return header is not None and header.kind == "ablate"

    def _ablated(self) -> str:
        """'Baseline: accuracy 0.93 (n 5). Evidence for 1 of 3 components. The table: lagom_run.ablation'."""
        from lagom_magic.statistics.ablation import BASELINE

        rows = self._ablation("ablation").rows
        counted = [row for row in rows if row.metric == rows[0].metric]
        baseline = next((row for row in counted if row.component == BASELINE and row.mean is not None), None)
        told = [row for row in counted if row.evidence is not None]
        of = f"Baseline: {baseline.metric} {baseline.mean:g} (n {baseline.n}). " if baseline is not None else ""
        n_found = sum(row.evidence != "none" for row in told)
        found = f"Evidence for {n_found} of {len(told)} components. " if told else ""
        return f"{of}{found}The table: lagom_run.ablation"

    def _ablation(self, what: str) -> Ablation:
        from lagom_magic.statistics.ablation import ablation_of

        header = self.view.header
        if header is None or header.kind != "ablate":
            state = "has not begun" if header is None else f"is of %%lagom {header.kind}"
            raise ConfigError(f"run {self.id} {state}: run.{what} is of %%lagom ablate.")
        return ablation_of(self.view)

    def stop(self, now: bool = False) -> None:
        """End the run: finished trials are kept, running ones become STOPPED. Nothing for a run that has ended.

        Args:
            now: do not wait for the workers; a run that another process drives gives them their second all the same.

        Raises:
            StoreError: when another process drives it and cannot be asked.
        """
        if self._live is not None:
            self._live.abandon() if now else self._live.stop(BY_USER)
        elif self.is_alive:
            send_request(self.dir, {"action": "stop"})

    def prune(self, trial_id: int) -> None:
        """Give up on a running trial: it learns of it at its next broadcast and becomes PRUNED.

        Returns at once. A trial that does not run is left alone, and a notice above the table says so.

        Raises:
            ConfigError: when `trial_id` is no trial's number.
            StoreError: when the run has ended, or another process drives it and cannot be asked.
        """
        self._steer("prune", trial_id)

    def retry(self, trial_id: int) -> None:
        """Run a FAILED trial once more, before those that wait.

        Returns at once. A trial that has not failed is left alone, and a notice above the table says so.

        Raises:
            As `prune`.
        """
        self._steer("retry", trial_id)

    def _steer(self, action: Literal["prune", "retry"], trial_id: int) -> None:
        request = Request(action, trial_id)
        if not self.is_alive:
            raise StoreError(f"run {self.id} has ended: it is too late to {action} trial {trial_id}.")
        if self._live is None:
            send_request(self.dir, {"action": request.action, "trial_id": request.trial_id})
        elif action == "prune":
            self._live.prune(trial_id)
        else:
            self._live.retry(trial_id)

    def abandon(self) -> None:
        """`stop(now=True)`."""
        self.stop(now=True)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False when `timeout_s` passed first.

        Raises:
            StoreError: when another process drives it and `timeout_s` is given: such a wait cannot be cut short.
        """
        if self._live is not None:
            return self._live.wait(timeout_s)
        if self.is_alive and timeout_s is not None:
            raise StoreError(
                f"run {self.id} belongs to another process ({self._driver()}): wait for it without a timeout."
            )
        wait_for_driver(self.dir)
        return True

    def describe_end(self) -> str:
        """One line for a person: how it ended or stands, and what it has."""
        view, best = self.view, self.best
        reason = f": {view.state_reason.rstrip('.')}" if view.state_reason else ""
        if view.state is RunState.STOPPED and reason.startswith(": stopped "):
            reason = reason.removeprefix(": stopped")  # the phrase says that already
        stop = "" if reason.endswith("?") else "."
        found = ""
        if self.is_ablation:
            found = f" {self._ablated()}"
        elif best:
            found = f" Best: trial {best.id}, {view.metric_name or 'metric'} {best.metric:g}."
        return f"Run {self.id} {_PHRASES[view.state]}{reason}{stop} {_counted(view)}.{found}{self._where_to_look(view)}"

    @property
    def traceback(self) -> str:
        """Of the function that failed, for a single call or a training, at most its end; "" where there is none."""
        view = self.view
        failed = _first_with_traceback(view)
        if failed is None or failed.error is None or not _is_single(view):
            return ""
        text = failed.error.traceback.rstrip()
        if len(text) <= _MOST_TRACEBACK:
            return text
        end = text[-_MOST_TRACEBACK:]
        lines = end.partition("\n")[2] or end  # the first one may be cut
        return f"… the end of it; all: {_how_to_print(failed)}\n{lines}"

    def _where_to_look(self, view: RunView) -> str:
        failed = _first_with_traceback(view)
        if failed is None or view.best_id is not None or _is_single(view):
            return ""
        return f" Traceback of trial {failed.id}: {_how_to_print(failed)}"

    def _driver(self) -> str:
        driver = self.config.get("driver") or {}
        return f"process {driver.get('pid', '?')} on {driver.get('host', '?')}"

    def _trial(self, view: TrialView) -> Trial:
        return Trial(
            id=view.id,
            attempt=view.attempt,
            state=view.state,
            hparams=dict(view.hparams),
            metrics=dict(view.metrics),
            metric=view.metric,
            worker=view.worker_id,
            duration_s=view.elapsed_s(time.time()) or 0.0,
            dir=self._layout.trial_dir(view.id, view.attempt),
            error=view.error,
            warnings=view.warnings,
            params=dict(view.params),
        )

    def __getitem__(self, key: str) -> Any:
        if key not in RESULT_KEYS:
            raise KeyError(key)
        return result_of(self.view)[key]

    def __iter__(self) -> Iterator[str]:
        return iter(RESULT_KEYS)

    def __len__(self) -> int:
        return len(RESULT_KEYS)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self.dir == other.dir

    def __hash__(self) -> int:
        return hash(self.dir)

    def __repr__(self) -> str:
        view, best = self.view, self.best
        lines = [f"Run {self.name}/{self.id}: {view.state.lower()}, {_counted(view)}"]
        if self.is_ablation:
            lines.append(f"  {self._ablated()}")
        elif best is not None:
            hparams = ", ".join(
                f"{name}={_short(best.hparams[name])}" for name in view.hparam_columns if name in best.hparams
            )
            lines.append(
                f"  best: {view.metric_name or 'metric'} {best.metric:g} in trial {best.id}"
                + (hparams and f" ({hparams})")
            )
        if self.error:
            lines.append(f"  error: {self.error}")
        return "\n".join([*lines, f"  {os.path.relpath(self.dir)}"])


_PHRASES = {
    RunState.STARTING: "is starting",
    RunState.RUNNING: "is running",
    RunState.COMPLETE: "is complete",
    RunState.STOPPED: "was stopped",
    RunState.FAILED: "failed",
}


def _first_with_traceback(view: RunView) -> TrialView | None:
    return next((trial for trial in view.trials.values() if trial.error is not None and trial.error.traceback), None)


def _how_to_print(failed: TrialView) -> str:
    return f"print(lagom_run.trials[{failed.id}].error)"


def _is_single(view: RunView) -> bool:
    """Whether a run is one call or one training, and not many trials that are compared."""
    return view.header is not None and view.header.kind not in ("hpo", "ablate")


def _counted(view: RunView) -> str:
    """'20 of 30 trials: 14 complete, 5 pruned, 1 failed'."""
    n_trials = f" of {view.n_trials}" if view.n_trials is not None and view.n_trials != view.n_done else ""
    states = ", ".join(f"{n} {state.lower()}" for state, n in view.counts.items() if n)
    noun = "trial" if (view.n_trials or view.n_done) == 1 else "trials"
    return f"{view.n_done}{n_trials} {noun}" + (states and f": {states}")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


def _row(trial: Trial) -> dict[str, Any]:
    fixed: dict[str, Any] = {"attempt": trial.attempt, "state": trial.state.value}
    ending: dict[str, Any] = {
        "metric": trial.metric,
        "worker": trial.worker,
        "duration_s": trial.duration_s,
        "error": trial.error and f"{trial.error.kind}: {trial.error.message}",
        "dir": str(trial.dir),
    }
    taken = {*fixed, *ending} - {"metric"}
    metrics = {f"metrics.{name}" if name in taken else name: value for name, value in trial.metrics.items()}
    taken |= {*metrics, "metric"}
    hparams = {f"hparams.{name}" if name in taken else name: value for name, value in trial.hparams.items()}
    return fixed | hparams | metrics | ending
