"""TensorBoard's event files, without TensorFlow: written by the store's thread for all trials.

Each trial is a TensorBoard run of its own (`tensorboard/0007`) with its hyperparameters from its start, every
reported number as it comes, and its status at its end. A trial without reports costs one open, write, close.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lagom_magic.events.facts import (
    Fact,
    HParams,
    MetricReported,
    Metrics,
    RunStarted,
    TrialEnded,
    TrialRequeued,
    TrialStarted,
    TrialState,
)
from lagom_magic.events.paths import OWN_SUFFIX
from lagom_magic.events.views import RunView
from lagom_magic.store.event_records import RecordEncoder, encodable
from lagom_magic.store.layout import RunLayout, write_all, write_whole


@dataclass(slots=True)
class _TrialFile:
    """The event file of one attempt and what waits to be written to it."""

    folder: str
    name: str
    pending: bytearray
    is_created: bool = False
    last_step: int = 0
    last_metrics: Metrics = field(default_factory=dict)


class TensorBoardWriter:
    """Turns facts into event files; nothing is on disk before `flush` or a trial's end."""

    def __init__(self, layout: RunLayout, searchspace: Mapping[str, Mapping[str, Any]]) -> None:
        """Import what encodes the files (0.05 s and more).

        Args:
            layout: of the run.
            searchspace: as in run.json, see `spec.space_json`; {} without a search.

        Raises:
            ImportError: when tensorboard or google-crc32c is missing.
        """
        self._encoder = _Encoder(searchspace)
        self._root = layout.tensorboard
        self._file_name = f"events.out.tfevents.{{:010d}}.{socket.gethostname()}.{os.getpid()}.0{OWN_SUFFIX}"
        self._open: dict[tuple[int, int], _TrialFile] = {}
        #: The open attempts that have something to write.
        self._dirty: set[tuple[int, int]] = set()
        self._started_at = 0.0
        self._metric: str | None = None
        self._metric_names: dict[str, None] = {}
        self._hparams: HParams = {}
        self._n_configured = 0

    @property
    def is_dirty(self) -> bool:
        """Whether `flush` has something to write."""
        return bool(self._dirty)

    def add(self, fact: Fact, time: float) -> None:
        """Take one fact, of a trial's present attempt.

        Raises:
            OSError: as the file system reports it.
        """
        match fact:
            case MetricReported():
                self._add_report(fact, time)
            case TrialStarted():
                self._start(fact, time)
            case TrialEnded():
                self._end(fact, time)
            case TrialRequeued():
                self._close((fact.trial_id, fact.attempt - 1), TrialState.FAILED, time)
            case RunStarted():
                self._started_at, self._metric = time, fact.metric

    def recall(self, hparams: HParams, metrics: Metrics) -> None:
        """Know of a trial whose files are there already, so that it has its columns among the others."""
        self._hparams.update(hparams)
        self._metric_names.update(dict.fromkeys(metrics))

    def make_up(self, facts: Iterable[tuple[Fact, float]], unfinished: Mapping[tuple[int, int], str]) -> None:
        """Write what a driver that was killed has left unwritten; an attempt without an end is taken for lost.

        Args:
            facts: of the journal, each with its time; without those of attempts that were over.
            unfinished: as `unfinished_sessions` finds them. Their files are replaced, so no number stands twice.

        Raises:
            OSError: as the file system reports it.
        """
        last_time = 0.0
        for fact, last_time in facts:
            key = _key_of(fact)
            if not isinstance(fact, RunStarted) and key not in unfinished:
                continue
            self.add(fact, last_time)
            if key is not None and isinstance(fact, TrialStarted) and (name := unfinished[key]):
                self._open[key].name = name
                os.unlink(f"{self._open[key].folder}/{name}")
        for key in list(self._open):
            self._close(key, TrialState.FAILED, last_time)

    def flush(self) -> None:
        """Write what waits, so that TensorBoard sees the running trials.

        Raises:
            OSError: as the file system reports it; the rest of what waits is written all the same next time.
        """
        for key in list(self._dirty):
            self._write(key)
        if not self._n_configured and self._metric_names:
            self._write_config()

    def close(self) -> None:
        """Write the rest.

        Raises:
            OSError: as the file system reports it.
        """
        self.flush()
        if len(self._metric_names) > self._n_configured:
            self._write_config()

    def _start(self, fact: TrialStarted, time: float) -> None:
        name = RunLayout.trial_name(fact.trial_id, fact.attempt)
        folder = os.path.join(self._root, name)
        events = self._encoder.file_start(time) + self._encoder.session_start(fact.hparams, time)
        key = fact.trial_id, fact.attempt
        self._open[key] = _TrialFile(folder, self._file_name.format(int(time)), bytearray(events))
        self._dirty.add(key)
        self._hparams.update(fact.hparams)

    def _add_report(self, fact: MetricReported, time: float) -> None:
        key = fact.trial_id, fact.attempt
        if (file := self._open.get(key)) is not None:
            file.last_step = fact.step
            file.last_metrics.update(fact.metrics)
            self._add_scalars(key, fact.metrics, fact.step, time)

    def _add_scalars(self, key: tuple[int, int], metrics: Metrics, step: int, time: float) -> None:
        self._metric_names.update(dict.fromkeys(metrics))
        self._open[key].pending += self._encoder.scalars(metrics, step, time)
        self._dirty.add(key)

    def _end(self, fact: TrialEnded, time: float) -> None:
        key = fact.trial_id, fact.attempt
        if (file := self._open.get(key)) is None:
            return
        new = {name: value for name, value in fact.metrics.items() if file.last_metrics.get(name) != value}
        if new:
            self._add_scalars(key, new, file.last_step, time)
        self._close(key, fact.state, time)

    def _close(self, key: tuple[int, int], state: TrialState, time: float) -> None:
        if key in self._open:
            self._open[key].pending += self._encoder.session_end(state, time)
            try:
                self._write(key)
            finally:
                del self._open[key]
                self._dirty.discard(key)

    def _write(self, key: tuple[int, int]) -> None:
        file = self._open[key]
        if not file.is_created:
            self._make_folder(file.folder)
            file.is_created = True
        descriptor = os.open(f"{file.folder}/{file.name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            write_all(descriptor, file.pending)
        finally:
            os.close(descriptor)
        file.pending.clear()
        self._dirty.discard(key)

    def _make_folder(self, folder: str) -> None:
        try:
            os.mkdir(folder)
        except FileNotFoundError:  # the run's first trial, or somebody has cleaned up
            os.makedirs(folder, exist_ok=True)
        except FileExistsError:
            return

    def _write_config(self) -> None:
        """Write the columns of the HParams tab; again at the end when more metrics have shown up."""
        names = sorted(self._metric_names, key=lambda name: name != self._metric)  # the one that counts is first
        data = self._encoder.file_start(self._started_at)
        data += self._encoder.experiment(self._hparams, names, self._started_at)
        self._root.mkdir(exist_ok=True)
        path = self._root / self._file_name.format(int(self._started_at))
        write_whole(path, data)
        for earlier in self._root.glob(f"events.out.tfevents.*{OWN_SUFFIX}"):
            if earlier != path:  # of the run before it was resumed; TensorBoard shows the first that it finds
                earlier.unlink()
        self._n_configured = len(names)


def _key_of(fact: Fact) -> tuple[int, int] | None:
    """The attempt that a fact is written for; None for none."""
    match fact:
        case TrialStarted() | MetricReported() | TrialEnded():
            return fact.trial_id, fact.attempt
        case TrialRequeued():
            return fact.trial_id, fact.attempt - 1
    return None


def write_common_columns(folder: Path, runs: Iterable[tuple[Mapping[str, Mapping[str, Any]], RunView]]) -> None:
    """Write the columns of the HParams tab for several runs together, of which TensorBoard would take the first one's.

    Args:
        folder: the logdir that has a folder for each run.
        runs: search space, as in run.json, and view of each.

    Raises:
        OSError: as the file system reports it.
        ImportError: when tensorboard or google-crc32c is missing.
    """
    entries: dict[str, list[Mapping[str, Any]]] = {}
    hparams: HParams = {}
    metrics: dict[str, None] = {}
    for searched, view in runs:
        for name, entry in searched.items():
            entries.setdefault(name, []).append(entry)
        metrics.update(dict.fromkeys([view.metric_name] if view.metric_name else []) | view.metric_names)
        for trial in view.trials.values():
            hparams.update(trial.hparams)
    space = {name: merged for name, same in entries.items() if (merged := _merged(same)) is not None}
    encoder = _Encoder(space)
    data = encoder.file_start(0.0) + encoder.experiment(hparams, metrics, 0.0)
    write_whole(folder / f"events.out.tfevents.0000000000.columns{OWN_SUFFIX}", data)


def _merged(entries: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What spans the domains of one hyperparameter in several runs; None when they are of different kinds."""
    choices = [entry.get("choices") for entry in entries]
    if all(choices):
        distinct = {repr(choice): choice for those in choices for choice in those or ()}
        return {"choices": list(distinct.values())}
    if any(choices):
        return None
    return {"low": min(entry["low"] for entry in entries), "high": max(entry["high"] for entry in entries)}


class _Encoder:
    """Event records as bytes; holds the protocol buffer modules, which are imported when it is made."""

    def __init__(self, searchspace: Mapping[str, Mapping[str, Any]]) -> None:
        import google_crc32c
        from tensorboard.compat.proto import tensor_pb2, types_pb2
        from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

        no_tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape={"dim": [{"size": 0}]})
        self._records = RecordEncoder(google_crc32c.value, no_tensor.SerializeToString())
        self._api, self._data = api_pb2, plugin_data_pb2
        self._searchspace = searchspace
        #: Hyperparameters of mixed kinds: TensorBoard gives a column one type, so these are text.
        self._as_text = {name for name, entry in searchspace.items() if _kind(entry.get("choices") or [0.0]) is str}
        self._status = {
            TrialState.COMPLETE: int(api_pb2.STATUS_SUCCESS),
            TrialState.PRUNED: int(api_pb2.STATUS_SUCCESS),
            TrialState.FAILED: int(api_pb2.STATUS_FAILURE),
        }
        self.file_start = self._records.file_start
        self.scalars = self._records.scalars

    def session_start(self, hparams: HParams, time: float) -> bytes:
        values = {key: _as_kind(value, key in self._as_text) for key, value in hparams.items()}
        return self._records.session_start(values, time)

    def session_end(self, state: TrialState, time: float) -> bytes:
        return self._records.session_end(self._status.get(state, int(self._api.STATUS_UNKNOWN)), time)

    def experiment(self, hparams: HParams, metrics: Iterable[str], time: float) -> bytes:
        """The columns: the searched hyperparameters, then the fixed ones, then the metrics."""
        infos = [self._searched(name, entry) for name, entry in self._searchspace.items()]
        infos += [
            self._api.HParamInfo(name=encodable(name), type=self._type(_kind([value])))
            for name, value in hparams.items()
            if name not in self._searchspace
        ]
        columns = [self._api.MetricInfo(name=self._api.MetricName(tag=encodable(name))) for name in metrics]
        experiment = self._api.Experiment(hparam_infos=infos, metric_infos=columns, time_created_secs=time)
        content = self._data.HParamsPluginData(version=0, experiment=experiment).SerializeToString()
        return self._records.hparams("experiment", content, time)

    def _searched(self, name: str, entry: Mapping[str, Any]) -> Any:
        choices = entry.get("choices")
        if choices is None:
            info = self._api.HParamInfo(name=encodable(name), type=self._api.DATA_TYPE_FLOAT64, differs=True)
            info.domain_interval.min_value, info.domain_interval.max_value = entry["low"], entry["high"]
            return info
        info = self._api.HParamInfo(name=encodable(name), type=self._type(_kind(choices)), differs=True)
        for choice in choices:
            self._set_value(info.domain_discrete.values.add(), choice, name in self._as_text)
        return info

    def _type(self, kind: type) -> int:
        types = {bool: self._api.DATA_TYPE_BOOL, float: self._api.DATA_TYPE_FLOAT64, str: self._api.DATA_TYPE_STRING}
        return int(types[kind])

    @staticmethod
    def _set_value(target: Any, value: Any, as_text: bool) -> None:
        plain = _as_kind(value, as_text)
        if isinstance(plain, bool):
            target.bool_value = plain
        elif isinstance(plain, float):
            target.number_value = plain
        else:
            target.string_value = encodable(plain)


def _as_kind(value: Any, as_text: bool) -> bool | float | str:
    """A hyperparameter's value as TensorBoard can hold it."""
    kind = str if as_text else _kind([value])
    return bool(value) if kind is bool else float(value) if kind is float else str(value)


def _kind(values: Iterable[Any]) -> type:
    """What a column of these values is for TensorBoard: bool, float or str."""
    kinds = {_kind_of(value) for value in values}
    return kinds.pop() if len(kinds) == 1 else str


def _kind_of(value: Any) -> type:
    if isinstance(value, bool):
        return bool
    return float if isinstance(value, (int, float)) and abs(value) <= sys.float_info.max else str
