"""Facts: what has happened in a run, one frozen dataclass each, as they stand in `events.jsonl`.

The driver appends them, and every view (tables, reload, resume, a display in another process) is a fold of
them. Fields keep their names on the wire, in the journal and in TypeScript.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, ClassVar

from lagom_magic.events.paths import safe_parts

#: A hyperparameter's value: whatever JSON can hold.
HParams = dict[str, Any]
#: Metric name → number; nan and ±inf are written as "nan", "inf", "-inf" in JSON.
Metrics = dict[str, float]


class TrialState(StrEnum):
    """Where a trial stands; the last four are final."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"

    @property
    def is_final(self) -> bool:
        return self not in (TrialState.WAITING, TrialState.RUNNING)


class RunState(StrEnum):
    """Where a run stands; the last three are final."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    STOPPED = "STOPPED"
    FAILED = "FAILED"

    @property
    def is_final(self) -> bool:
        return self not in (RunState.STARTING, RunState.RUNNING)


#: Kinds as people say them; the others are names that people know, of exceptions and signals.
_SPOKEN_KINDS = {"NO_METRIC": "no metric", "NAN": "not a number"}


@dataclass(frozen=True, slots=True)
class TrialError:
    """Why a trial failed.

    Attributes:
        kind: the exception's class name, or SIGKILL, TIMEOUT, LOST, NO_METRIC, NAN …
        is_consequence: it looks as if another rank of the training had failed first.
    """

    kind: str
    message: str
    traceback: str = ""
    is_consequence: bool = False

    def __str__(self) -> str:
        return self.traceback.rstrip() or self.in_words

    @property
    def in_words(self) -> str:
        """Kind and message for people: 'no metric: it returned None …', 'ValueError: shapes do not match'."""
        kind = _SPOKEN_KINDS.get(self.kind, self.kind)
        return f"{kind}: {self.message}" if self.message else kind


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened; subclasses set `type`."""

    type: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class RunStarted(Fact):
    """First line of a journal."""

    type: ClassVar[str] = "run_started"
    run_id: str
    experiment: str
    kind: str  # hpo | ablate | train | run
    n_trials: int | None
    n_workers: int
    metric: str | None
    direction: str  # max | min
    sampler: str
    pruner: str
    seed: int | None
    hparam_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerRegistered(Fact):
    """A worker dialled in and passed the token; `incarnation` counts the starts of its slot from 1."""

    type: ClassVar[str] = "worker_registered"
    worker_id: int
    incarnation: int
    host: str
    pid: int
    gpus: tuple[str, ...] = ()
    python: str = ""


@dataclass(frozen=True, slots=True)
class WorkerLost(Fact):
    """A worker's connection ended before it was told to shut down."""

    type: ClassVar[str] = "worker_lost"
    worker_id: int
    incarnation: int
    reason: str


@dataclass(frozen=True, slots=True)
class TrialStarted(Fact):
    """A trial was handed to a worker; with a `world_size` > 1 to as many, of which `worker_id` holds rank 0."""

    type: ClassVar[str] = "trial_started"
    trial_id: int
    attempt: int
    worker_id: int
    hparams: HParams
    budget: int | None = None
    world_size: int = 1


@dataclass(frozen=True, slots=True)
class RankReady(Fact):
    """One rank of a trial can be met by the others at `address`, which only its framework reads."""

    type: ClassVar[str] = "rank_ready"
    trial_id: int
    attempt: int
    worker_id: int
    address: str


@dataclass(frozen=True, slots=True)
class MetricReported(Fact):
    """One `reporter.broadcast`; or, `is_automatic`, what a library has logged in a function that reports nothing."""

    type: ClassVar[str] = "metric_reported"
    trial_id: int
    attempt: int
    worker_id: int
    step: int
    metrics: Metrics
    is_automatic: bool = False


@dataclass(frozen=True, slots=True)
class TrialEnded(Fact):
    """The end of one attempt; `state` is final. `metric` is the value that counts (None without one)."""

    type: ClassVar[str] = "trial_ended"
    trial_id: int
    attempt: int
    worker_id: int
    state: TrialState
    metrics: Metrics = field(default_factory=dict)
    metric: float | None = None
    duration_s: float = 0.0
    error: TrialError | None = None
    warnings: tuple[str, ...] = ()
    #: Files that follow: `artifacts/…` or `files/…` in the trial's folder, `tensorboard/…` in the run's
    #: `tensorboard/<trial>/`.
    files: tuple[str, ...] = ()
    #: What the function returned beyond numbers and files: key → repr.
    values: dict[str, str] = field(default_factory=dict)
    #: In an ablation: parameters of the model that was made, and how its parts were left out, in words.
    n_parameters: int | None = None
    changes: tuple[str, ...] = ()
    #: What libraries were told to do, as auto-logging has seen it: {"keras.epochs": 3}, plain values.
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrialRequeued(Fact):
    """An attempt was lost or failed, and the trial waits for its next attempt."""

    type: ClassVar[str] = "trial_requeued"
    trial_id: int
    attempt: int  # the attempt that comes
    reason: str


#: Where the files begin from which a later attempt of a training goes on; of each attempt the last two are kept.
CHECKPOINTS = "checkpoint/"


@dataclass(frozen=True, slots=True)
class FileStored(Fact):
    """A file of a trial has arrived whole; `path` as in `TrialEnded.files`."""

    type: ClassVar[str] = "file_stored"
    trial_id: int
    attempt: int
    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelExported(Fact):
    """A trial called `model.export`; the version in the registry follows when all its files have arrived.

    Attributes:
        name: the model's.
        folder: where its files are, `artifacts/…` in the trial's folder; they are among `TrialEnded.files`.
        metrics: what the export names, so that versions can be compared.
        framework: such as torch, keras, sklearn, xgboost; "" for a path.
        signature: what goes in and comes out, in words: {"inputs": …, "outputs": …}; {} where it is not known.
        n_files: how many files are below the folder.
    """

    type: ClassVar[str] = "model_exported"
    trial_id: int
    attempt: int
    worker_id: int
    name: str
    folder: str
    metrics: Metrics = field(default_factory=dict)
    description: str = ""
    framework: str = ""
    signature: dict[str, str] = field(default_factory=dict)
    n_files: int = 0


@dataclass(frozen=True, slots=True)
class FilesUsed(Fact):
    """Which files a trial opened, said just before its end.

    Attributes:
        reads, writes: the first of them, {"path", "size_bytes", "mtime", "sha256" ("" beyond a limit)} each.
        n_more: how many more there were.
    """

    type: ClassVar[str] = "files_used"
    trial_id: int
    attempt: int
    worker_id: int
    reads: tuple[dict[str, Any], ...] = ()
    writes: tuple[dict[str, Any], ...] = ()
    n_more: int = 0


@dataclass(frozen=True, slots=True)
class Noticed(Fact):
    """Something a person should read above the table (fewer slots than asked for, lines dropped …)."""

    type: ClassVar[str] = "noticed"
    text: str


@dataclass(frozen=True, slots=True)
class RunEnded(Fact):
    """Last line of a journal."""

    type: ClassVar[str] = "run_ended"
    state: RunState
    reason: str = ""


FACTS: dict[str, type[Fact]] = {
    fact.type: fact
    for fact in (
        RunStarted,
        WorkerRegistered,
        WorkerLost,
        TrialStarted,
        RankReady,
        MetricReported,
        TrialEnded,
        TrialRequeued,
        FileStored,
        ModelExported,
        FilesUsed,
        Noticed,
        RunEnded,
    )
}

_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def number_to_json(value: float) -> float | str:
    """The number, or 'nan', 'inf', '-inf', which JSON lacks."""
    if math.isnan(value):
        return "nan"
    if value in (math.inf, -math.inf):
        return "inf" if value > 0 else "-inf"
    return value


def number_from_json(value: float | str) -> float:
    """The number that `number_to_json` wrote.

    Raises:
        ValueError: for any other text.
    """
    if isinstance(value, str):
        if value not in _SPECIAL:
            raise ValueError(f"{value!r} is no number; allowed: a number, 'nan', 'inf', '-inf'")
        return _SPECIAL[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is no number; allowed: a number, 'nan', 'inf', '-inf'")
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise ValueError("a whole number is beyond what a float holds")
    return value


#: What a step, a size or an id may be, either sign; what TensorBoard's files hold.
MAX_WHOLE = (1 << 63) - 1
_WHOLE_NUMBERS = frozenset(
    {"trial_id", "attempt", "worker_id", "incarnation", "step", "pid", "size_bytes", "world_size", "n_more", "n_files"}
)

_NAMES: dict[type[Fact], tuple[str, ...]] = {fact: tuple(f.name for f in fields(fact)) for fact in FACTS.values()}


def to_record(fact: Fact) -> dict[str, Any]:
    """The fact as a JSON-able dict with its `type`; `seq` and `time` are added by the journal."""
    record: dict[str, Any] = {"type": fact.type}
    for name in _NAMES[type(fact)]:
        value = getattr(fact, name)
        if name == "metrics":
            value = {key: number_to_json(number) for key, number in value.items()}
        elif name == "metric" and isinstance(value, float):
            value = number_to_json(value)
        elif name == "error" and value is not None:
            marks = {"is_consequence": True} if value.is_consequence else {}
            value = {"kind": value.kind, "message": value.message, "traceback": value.traceback, **marks}
        if name != "is_automatic" or value:  # most reports are not, and there are many
            record[name] = value
    return record


#: Where the files of an export are, in the trial's folder.
MODELS = "artifacts/models/"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_TEXT, _MAX_SIGNATURE, _MAX_FILES_USED = 10_000, 50, 2_000


def _check_export(values: Mapping[str, Any]) -> None:
    """What a worker says of an export becomes names of files.

    Raises:
        ValueError: when it cannot.
    """
    name, folder = values.get("name"), values.get("folder")
    if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name) or set(name) == {"."}:
        raise ValueError(f"malformed model_exported event: name is {name!r:.100}")
    parts = folder.removeprefix(MODELS).split("/") if isinstance(folder, str) and folder.startswith(MODELS) else [""]
    if any(part in ("", ".", "..") or "\0" in part or "\\" in part or len(part) > 240 for part in parts):
        raise ValueError(f"malformed model_exported event: folder is {folder!r:.200}")
    signature = values.get("signature", {})
    texts = [values.get("description", ""), values.get("framework", "")]
    texts += [*signature, *signature.values()] if isinstance(signature, Mapping) else [None]
    if not all(isinstance(text, str) and len(text) <= _MAX_TEXT for text in texts) or len(texts) > 2 * _MAX_SIGNATURE:
        raise ValueError("malformed model_exported event: description, framework or signature")


def _check_files_used(values: Mapping[str, Any]) -> None:
    for name in ("reads", "writes"):
        entries = values.get(name, ())
        if not isinstance(entries, (list, tuple)) or len(entries) > _MAX_FILES_USED:
            raise ValueError(f"malformed files_used event: {name}")
        if not all(isinstance(entry, dict) and isinstance(entry.get("path"), str) for entry in entries):
            raise ValueError(f"malformed files_used event: an entry of {name} has no path")


def from_record(record: Mapping[str, Any]) -> Fact:
    """The fact that `to_record` wrote; unknown fields are ignored, so newer journals can be read.

    Raises:
        ValueError: when `type` is unknown or a field is missing or of the wrong form.
    """
    cls = FACTS.get(record.get("type", ""))
    if cls is None:
        raise ValueError(f"unknown event type {record.get('type')!r}; known: {', '.join(FACTS)}")
    values = {name: record[name] for name in _NAMES[cls] if name in record}
    for name in _WHOLE_NUMBERS & values.keys():
        if type(values[name]) is not int or not -MAX_WHOLE <= values[name] <= MAX_WHOLE:
            given = repr(values[name])[:80]
            raise ValueError(f"malformed {cls.type} event: {name} is {given}, not a whole number of 64 bits")
    try:
        if "metrics" in values:
            values["metrics"] = {str(key): number_from_json(number) for key, number in values["metrics"].items()}
        if not isinstance(values.get("is_automatic", False), bool) or not isinstance(values.get("params", {}), dict):
            raise ValueError(f"malformed {cls.type} event: is_automatic or params is of the wrong kind")
        if cls in (TrialEnded, RunEnded):
            states: type[StrEnum] = TrialState if cls is TrialEnded else RunState
            values["state"] = states(values["state"])
        if cls is TrialEnded:
            if values.get("metric") is not None:
                values["metric"] = number_from_json(values["metric"])
            if values.get("error") is not None:
                values["error"] = TrialError(**values["error"])
        if cls is FileStored:
            safe_parts(values["path"])
        elif cls is ModelExported:
            _check_export(values)
        elif cls is FilesUsed:
            _check_files_used(values)
        for name in ("gpus", "warnings", "files", "hparam_names", "changes", "reads", "writes"):
            if name in values:
                values[name] = tuple(values[name])
        return cls(**values)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"malformed {cls.type} event: {error}") from error
