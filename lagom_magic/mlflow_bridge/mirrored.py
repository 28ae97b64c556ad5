"""A run of ours as runs of MLflow: the facts of the journal are gathered here and sent in batches.

The parent is our run, and each attempt of a trial a child of it. What was sent is forgotten only after the server took
it, so that a failed sending is made again; and the server's own tags say how far an earlier one came.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lagom_magic.events.facts import (
    Fact,
    FileStored,
    HParams,
    MetricReported,
    ModelExported,
    RunEnded,
    RunStarted,
    RunState,
    TrialEnded,
    TrialRequeued,
    TrialStarted,
    TrialState,
)
from lagom_magic.mlflow_bridge.tracking import (
    RUN_ID,
    SEQ,
    TRIAL,
    Batch,
    Known,
    Metric,
    Refused,
    Tracking,
    Unreachable,
    tags_of,
)
from lagom_magic.store.journal import JournalLine
from lagom_magic.store.layout import RunLayout

#: How MLflow calls our states; it has no word for pruned. The tag `lagom.state` has ours.
_STATUS = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.FAILED: "FAILED",
    RunState.COMPLETE: "FINISHED",
    RunState.FAILED: "FAILED",
}
_KILLED = "KILLED"
_DESCRIPTION, _USER = "mlflow.note.content", "mlflow.user"
#: Files of a trial that become artifacts of its run.
_SENT_FOLDERS = ("artifacts/", "files/")


@dataclass(slots=True)
class _Export:
    """A model that waits for its files."""

    fact: ModelExported
    #: Those that have not been sent yet; None until the trial's end names them.
    missing: set[str] | None = None
    #: The run is over: nothing is waited for any more.
    is_last_call: bool = False


@dataclass(slots=True)
class _Trial:
    """One attempt of a trial: what is still to be sent of it."""

    trial_id: int
    attempt: int
    started_ms: int
    hparams: HParams
    known: Known | None = None
    batch: Batch = field(default_factory=Batch)
    #: The journal's line up to which `batch` and `files` go.
    seq: int = -1
    last_step: int = 0
    files: list[str] = field(default_factory=list)
    error_text: str = ""
    exports: list[_Export] = field(default_factory=list)
    #: (status, milliseconds) to close it with; and whether the journal has its end.
    ending: tuple[str, int] | None = None
    has_ended: bool = False
    wants_log: bool = False

    @property
    def is_pending(self) -> bool:
        return self.known is None or bool(self.batch or self.files or self.ending or self.error_text or self.exports)


class MirroredRun:
    """One run's copy in a tracking server."""

    def __init__(self, layout: RunLayout, tracking: Tracking) -> None:
        self._layout, self.tracking = layout, tracking
        self._started_ms = 0
        self._ending: tuple[RunState, str, int] | None = None
        self._experiment_id = ""
        #: MLflow's parent run, and those of its children that were there before.
        self._parent: Known | None = None
        self._known: dict[str, Known] = {}
        #: By (trial_id, attempt): those with something to send, or of which more may come.
        self._trials: dict[tuple[int, int], _Trial] = {}
        #: Of the parent.
        self._batch = Batch()
        #: What the server would not take, in words; the first of each kind of thing.
        self.refusals: dict[str, str] = {}
        self.n_trials = 0
        #: Set from another thread: send nothing more.
        self.is_given_up = False

    # facts in

    def take(self, lines: Iterable[JournalLine]) -> None:
        """Gather what the lines say."""
        for line in lines:
            self._take(line.seq, round(line.time * 1000), line.fact)

    def _take(self, seq: int, time_ms: int, fact: Fact) -> None:
        match fact:
            case RunStarted():
                self._started_ms, self._ending = time_ms, None  # a resumed run begins again
                self._batch.tags = {"lagom.sampler": fact.sampler, "lagom.pruner": fact.pruner}
            case RunEnded():
                self._ending = (fact.state, fact.reason, time_ms)
            case TrialStarted():
                self._start(seq, time_ms, fact)
            case TrialRequeued():
                before = self._trials.get((fact.trial_id, fact.attempt - 1))
                if before is not None and not before.has_ended:
                    self._close(before, seq, time_ms, _KILLED, {"lagom.state": "LOST", "lagom.reason": fact.reason})
            case MetricReported():
                if trial := self._trials.get((fact.trial_id, fact.attempt)):
                    trial.last_step = fact.step
                    trial.batch.metric_names.know(fact.metrics)  # also of what was sent earlier
                if trial := self._of(seq, fact):
                    trial.batch.metrics += [Metric(*item, time_ms, fact.step) for item in fact.metrics.items()]
            case TrialEnded():
                self._end(seq, time_ms, fact)
            case FileStored():
                trial = self._of(seq, fact)
                if trial and fact.path.startswith(_SENT_FOLDERS):
                    trial.files.append(fact.path)
            case ModelExported():
                # Also one that was sent: its files may have been on their way, and nothing is registered twice.
                if (trial := self._trials.get((fact.trial_id, fact.attempt))) is not None:
                    trial.exports.append(_Export(fact))

    def _of(self, seq: int, fact: MetricReported | FileStored) -> _Trial | None:
        """The trial that a fact is of, unless an earlier sending had the fact already."""
        trial = self._trials.get((fact.trial_id, fact.attempt))
        if trial is None or (trial.known is not None and seq <= trial.known.seq):
            return None
        trial.seq = seq
        return trial

    def _start(self, seq: int, time_ms: int, fact: TrialStarted) -> None:
        name = RunLayout.trial_name(fact.trial_id, fact.attempt)
        trial = _Trial(fact.trial_id, fact.attempt, time_ms, fact.hparams, self._known.get(name), seq=seq)
        self._trials[fact.trial_id, fact.attempt] = trial
        trial.batch.param_names.know(fact.hparams)
        self.n_trials += 1
        if trial.known is None or seq > trial.known.seq:
            trial.batch.params = dict(fact.hparams)

    def _end(self, seq: int, time_ms: int, fact: TrialEnded) -> None:
        trial = self._trials.get((fact.trial_id, fact.attempt))
        if trial is None:
            return
        status = _STATUS.get(fact.state, _KILLED)
        if trial.known is not None and seq <= trial.known.seq:
            trial.has_ended = True
            if not trial.known.is_ended:
                trial.ending, trial.wants_log = (status, time_ms), True
            return
        tags = {"lagom.state": fact.state.value, "lagom.worker": str(fact.worker_id)}
        tags |= {f"lagom.value.{name}": text for name, text in fact.values.items()}
        if fact.error is not None:
            tags["lagom.error"] = fact.error.in_words
            trial.error_text = str(fact.error)
        trial.batch.metrics += [Metric(*item, time_ms, trial.last_step) for item in fact.metrics.items()]
        # What auto-logging has seen; MLflow takes no second value by a name.
        trial.batch.params |= {name: value for name, value in fact.params.items() if name not in trial.hparams}
        self._close(trial, seq, time_ms, status, tags)
        trial.wants_log = True
        for export in trial.exports:
            folder = export.fact.folder.rstrip("/")
            export.missing = {path for path in fact.files if path == folder or path.startswith(f"{folder}/")}

    def _close(self, trial: _Trial, seq: int, time_ms: int, status: str, tags: dict[str, str]) -> None:
        trial.seq = seq
        trial.batch.tags |= tags
        trial.ending, trial.has_ended = (status, time_ms), True

    # requests out

    def connect(self) -> None:
        """Find what the server has of the run, or begin it; before anything is taken.

        Raises:
            Unreachable, Refused: when the server does not do it.
        """
        if self._parent is not None:
            return
        document = _read_json(self._layout.run_json)
        run_id = self._layout.root.name
        self._experiment_id = self.tracking.experiment(str(document.get("experiment") or self._layout.root.parent.name))
        hparams = document.get("fixed_hparams")
        self._batch.params = dict(hparams) if isinstance(hparams, dict) else {}
        parent = self.tracking.find_run(self._experiment_id, run_id)
        if parent is not None:
            self._known = self.tracking.find_trials(self._experiment_id, parent.id)
            self._parent = parent
            return
        started_ms = round(_seconds_of(document) * 1000)
        tags = _tags_of_document(document) | {RUN_ID: run_id}
        self._parent = Known(self.tracking.create_run(self._experiment_id, run_id, started_ms, tags))

    def send(self) -> None:
        """Send all that was taken.

        Raises:
            Unreachable: when the server is lost on the way; what is left goes with the next call.
        """
        assert self._parent is not None
        if self._batch:
            self._try("fixed hyperparameters", self.tracking.log, self._parent.id, self._batch)
            self._batch.clear()
        for trial in list(self._trials.values()):
            if trial.is_pending:
                self._send_trial(trial)

    def _send_trial(self, trial: _Trial) -> None:
        assert self._parent is not None
        if self.is_given_up:
            raise Unreachable("there is no more time")
        name = RunLayout.trial_name(trial.trial_id, trial.attempt)
        folder = self._layout.trial_dir(trial.trial_id, trial.attempt)
        if trial.known is None:
            tags = {TRIAL: name, "lagom.attempt": str(trial.attempt)}
            made = self.tracking.create_run(self._experiment_id, name, trial.started_ms, tags, self._parent.id)
            trial.known = Known(made)
        run = trial.known.id
        # Numbers first, for files may take long; how far we are is told when the files are there too.
        has_files = bool(trial.files or trial.error_text)
        self._log(run, trial, is_all=not has_files)
        while trial.files:
            self._send_file(run, folder / trial.files[0], trial.files[0])
            for export in trial.exports:
                if export.missing:
                    export.missing.discard(trial.files[0])
            del trial.files[0]
        if trial.error_text:
            self._try("an error", self.tracking.log_text, run, trial.error_text, "error.txt")
            trial.error_text = ""
        for export in [one for one in trial.exports if one.missing is not None and not one.missing]:
            if self._register(run, name, export):
                trial.exports.remove(export)
        if has_files:
            trial.batch.tags[SEQ] = str(trial.seq)
            self._log(run, trial)
        if trial.ending is not None:
            self.tracking.end(run, *trial.ending)
            trial.ending = None
        if trial.wants_log and (folder / "trial.json").exists():
            self._send_file(run, folder / "output.log", "output.log")
            trial.wants_log = False

    def _log(self, run: str, trial: _Trial, *, is_all: bool = False) -> None:
        if not trial.batch:
            return
        if is_all:
            trial.batch.tags[SEQ] = str(trial.seq)
        self._try("hyperparameters or metrics", self.tracking.log, run, trial.batch)
        trial.batch.clear()

    def _send_file(self, run: str, path: Path, name: str) -> None:
        # Else it was deleted meanwhile, or a link that somebody put there leads out of the run.
        if path.is_file() and path.resolve().is_relative_to(self._layout.root.resolve()):
            self._try("a file", self.tracking.log_file, run, path, name)

    def _register(self, run: str, trial: str, export: _Export) -> bool:
        """Registers the model, as soon as ours has its version; False when it has not."""
        fact = export.fact
        version = self._version_of(fact)
        if version is None and not export.is_last_call:
            return False
        key = {RUN_ID: self._layout.root.name, TRIAL: trial, "lagom.folder": fact.folder}
        tags = {f"lagom.metric.{name}": repr(value) for name, value in fact.metrics.items()}
        if fact.framework:
            tags["lagom.framework"] = fact.framework
        if version is not None:
            tags["lagom.version"] = str(version)
        self._try("a model", self.tracking.register, fact.name, run, fact.folder, key, tags, fact.description)
        return True

    def _version_of(self, fact: ModelExported) -> int | None:
        """The version that the model has in our registry."""
        ours = (self._layout.root.name, fact.trial_id, fact.attempt, fact.folder.rstrip("/"))
        for path in (self._layout.root.parent.parent / ".models" / fact.name).glob("*/model.json"):
            known = _read_json(path)
            folder = str(known.get("folder", "")).rstrip("/")
            if ((known.get("run") or {}).get("id"), known.get("trial_id"), known.get("attempt"), folder) == ours:
                return int(known["version"])
        return None

    def _try(self, what: str, call: Any, *args: Any) -> None:
        """Asks the server, once; a refusal is kept for the end."""
        try:
            call(*args)
        except Refused as error:
            self.refusals.setdefault(what, str(error))

    def send_end(self) -> None:
        """Send what belongs to the run as a whole, and close it; when all its lines were taken and sent.

        Raises:
            Unreachable: as in `send`.
        """
        assert self._parent is not None
        run, layout = self._parent.id, self._layout
        state, reason, ended_ms = self._ending or (RunState.FAILED, "interrupted", self._started_ms)
        for trial in self._trials.values():
            if not trial.has_ended:
                trial.ending = (_KILLED, ended_ms)
            for export in trial.exports:
                export.missing, export.is_last_call = set(), True
            if trial.is_pending or trial.wants_log:
                self._send_trial(trial)
        for path in (layout.run_json, *layout.sources(), layout.environment, layout.result):
            self._send_file(run, path, path.name)
        batch = Batch(tags={"lagom.state": state.value, **({"lagom.reason": reason} if reason else {})})
        self._add_best(batch, ended_ms)
        self._try("the result", self.tracking.log, run, batch)
        self.tracking.end(run, _STATUS.get(state, _KILLED), ended_ms)

    def _add_best(self, batch: Batch, ended_ms: int) -> None:
        result = _read_json(self._layout.result)
        best_id, metric, value = result.get("best_id"), result.get("metric"), result.get("best_val")
        if best_id is not None:
            batch.tags["lagom.best_trial"] = str(best_id)
        if isinstance(value, (int, float)):
            batch.metrics.append(Metric(str(metric or "metric"), float(value), ended_ms, 0))


def _read_json(path: Path) -> dict[str, Any]:
    """A file's JSON object; {} where there is none."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _seconds_of(document: dict[str, Any]) -> float:
    try:
        return datetime.fromisoformat(document["created_at"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return 0.0


def _tags_of_document(document: dict[str, Any]) -> dict[str, str]:
    """What run.json says of the run, as tags; the user's own first, so that they hide none of ours."""
    config = document.get("config") or {}
    driver = document.get("driver") or {}
    told = {
        "lagom.kind": document.get("kind"),
        "lagom.function": document.get("train_fn"),
        "lagom.metric": config.get("optimization_key"),
        "lagom.direction": config.get("direction"),
        "lagom.seed": config.get("seed"),
        _DESCRIPTION: config.get("description"),
        _USER: driver.get("user"),
    }
    ours = {name: str(value) for name, value in told.items() if value not in (None, "")}
    return tags_of(config.get("tags") or ()) | ours
