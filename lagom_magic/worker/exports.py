"""What `model.export` does with a file, a folder or a model: checks it and puts it into a folder.

In a trial that is one of the trial's own, which is sent when the trial ends, and the trial process states the fact;
the driver makes the version in the registry. Outside of a run `lagom_magic.model` calls `put` for the registry itself.
"""

from __future__ import annotations

import difflib
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import Metrics, ModelExported, to_record
from lagom_magic.spec.names import check_plain_name
from lagom_magic.worker.control import Control
from lagom_magic.worker.numbers import as_number
from lagom_magic.worker.result import model_saver
from lagom_magic.worker.signatures import signature_of
from lagom_magic.worker.trial_folder import MAX_FILES, TrialFolder

#: The audit event by which `lagom_magic.model` asks a trial process for its `TrialExports`.
EXPORTS_EVENT = "lagom_magic.exports"
#: Below a trial's artifacts.
_FOLDER = "models"

_FRAMEWORK_OF = {".pt": "torch", ".keras": "keras", ".ubj": "xgboost", ".lgb": "lightgbm", ".pkl": "sklearn"}
_MAX_METRICS = 1000
_MAX_CHARACTERS = 10_000
#: As the driver takes them, see `store/received.py`.
_MAX_NAME_BYTES, _MAX_DEPTH = 240, 60


@dataclass(frozen=True, slots=True)
class Put:
    """What was put into a folder.

    Attributes:
        path: the file or folder there.
        framework: of a model; "" for a path.
        signature: see `signature_of`.
    """

    path: str
    framework: str = ""
    signature: dict[str, str] = field(default_factory=dict)


def checked_metrics(metrics: object) -> Metrics:
    """The metrics of an export as plain numbers.

    Raises:
        ConfigError: when they are no dict of numbers, or too many.
    """
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        raise ConfigError(
            f"model.export: metrics={metrics!r:.200} is a {type(metrics).__name__}; allowed: a dict of numbers. "
            "Try metrics={'accuracy': 0.9}."
        )
    if len(metrics) > _MAX_METRICS:
        raise ConfigError(f"model.export: {len(metrics):,} metrics; allowed: {_MAX_METRICS:,}. Export a table as file.")
    numbers: Metrics = {}
    for name, value in metrics.items():
        number = as_number(value)
        if number is None or not isinstance(name, str) or not name:
            raise ConfigError(
                f"model.export: metrics has {name!r:.200}: {value!r:.200} ({type(value).__name__}); "
                "allowed: a name and a number. Try metrics={'accuracy': 0.9}."
            )
        numbers[name[:_MAX_NAME_BYTES]] = number
    return numbers


def checked_description(description: object) -> str:
    """The description of an export.

    Raises:
        ConfigError: when it is no text, or too long.
    """
    if description is None:
        return ""
    if not isinstance(description, str) or len(description) > _MAX_CHARACTERS:
        raise ConfigError(
            f"model.export: description={description!r:.80} must be text of at most {_MAX_CHARACTERS:,} characters. "
            "Keep a longer one in a file of its own."
        )
    return description


def check_exportable(value: Any) -> None:
    """Whether there is something to put, before anything is written.

    Raises:
        ConfigError: for a path where nothing is, or an object that is neither path nor model.
    """
    if isinstance(value, (str, os.PathLike)):
        _existing(os.fspath(value))
    elif model_saver(value) is None:
        raise ConfigError(
            f"model.export: {value!r:.200} is a {type(value).__name__}; allowed: a file's or folder's path, or a model "
            "of PyTorch, Keras, scikit-learn, XGBoost or LightGBM. Save it to a file and export its path."
        )


def put(value: Any, folder: str, state: Any = None) -> Put:
    """Copy a path, or save a model, into an empty folder.

    Args:
        value: one that `check_exportable` lets pass.
        folder: an existing one.
        state: of a PyTorch module, the weights to save in place of its own; see `_whole_state`.

    Raises:
        ConfigError: for a folder that holds what cannot be copied.
        OSError: as the file system reports it.
        Exception: what the model's own library raises.
    """
    if isinstance(value, (str, os.PathLike)):
        return Put(_copy(_existing(os.fspath(value)), folder))
    saver = model_saver(value)
    assert saver is not None
    suffix, save = saver
    path = os.path.join(folder, f"model{suffix}")
    if state is None:
        save(path)
    else:
        sys.modules["torch"].save(state, path)
    framework = _framework_of(value, suffix)
    return Put(path, framework, signature_of(value, framework))


def _whole_state(model: Any, *, keeps: bool) -> Any:
    """The weights of a module that is sharded over ranks, gathered from all of them; None for anything else.

    Args:
        model: anything.
        keeps: whether this rank wants them.
    """
    sharded = getattr(sys.modules.get("torch.distributed.tensor"), "DTensor", None)
    if sharded is None or not isinstance(model, sys.modules["torch"].nn.Module):
        return None
    if not any(isinstance(parameter, sharded) for parameter in model.parameters()):
        return None
    from lagom_magic.worker.distribution.torch_states import as_saved

    return as_saved(model.state_dict(), keeps=keeps)


def _framework_of(model: Any, suffix: str) -> str:
    """What it was made with: XGBoost's and LightGBM's estimators are scikit-learn's too."""
    modules = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    return next((name for name in ("xgboost", "lightgbm") if name in modules), _FRAMEWORK_OF[suffix])


def _existing(path: Any) -> str:
    """The path.

    Raises:
        ConfigError: when nothing is there.
    """
    if not isinstance(path, str) or not path or "\0" in path:
        raise ConfigError(f"model.export: {path!r:.200} is no path; allowed: the path of a file or folder, as text.")
    if os.path.exists(path):
        return path
    parent = os.path.dirname(path) or os.curdir
    try:
        entries = sorted(os.listdir(parent))
    except OSError:
        entries = []
    near = difflib.get_close_matches(os.path.basename(path), entries, n=1, cutoff=0.5)
    hint = f" Did you mean {os.path.join(os.path.dirname(path), near[0])}?" if near else ""
    raise ConfigError(
        f"model.export: there is no file or folder {path!r:.200} in {os.getcwd()}.{hint} Save the model first, "
        "or give the model itself."
    )


def _copy(path: str, folder: str) -> str:
    real = os.path.realpath(path)
    target = os.path.join(folder, os.path.basename(os.path.normpath(path)).lstrip(".") or os.path.basename(real))
    if not os.path.isdir(real):
        _copy_file(real, target)
        return target
    if os.path.realpath(folder).startswith(real.rstrip(os.sep) + os.sep):
        raise ConfigError(
            f"model.export: the folder {path!r} holds the place that it would be copied to. Export the folder of the "
            "model alone."
        )
    n_files = 0
    for inner in _files_of(real):
        n_files += 1
        copied = os.path.join(target, inner)
        os.makedirs(os.path.dirname(copied), exist_ok=True)
        _copy_file(os.path.join(real, inner), copied)
    if not n_files:
        raise ConfigError(f"model.export: the folder {path!r} holds no file. Save the model there first.")
    return target


def _files_of(folder: str) -> Iterator[str]:
    """Paths below a folder; a link to a file is that file.

    Raises:
        ConfigError: for a link to a folder, which may lead round in a circle.
    """
    for path, folders, names in os.walk(folder, onerror=_raise):
        folders.sort()
        linked = next((name for name in folders if os.path.islink(os.path.join(path, name))), None)
        if linked is not None:
            raise ConfigError(
                f"model.export: {os.path.join(path, linked)} is a link to a folder, which is not followed. Replace it "
                "by what it leads to."
            )
        yield from (os.path.relpath(os.path.join(path, name), folder) for name in sorted(names))


def _raise(error: OSError) -> None:
    raise error


def _copy_file(path: str, target: str) -> None:
    try:
        is_regular = stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError as error:
        raise ConfigError(f"model.export: the link {path!r} leads nowhere. Remove it, or mend it.") from error
    if not is_regular:
        raise ConfigError(f"model.export: {path!r} is a pipe, a socket or a device; allowed: files and folders.")
    shutil.copy2(path, target)


class TrialExports:
    """What one attempt of a trial exports; made by the trial process for `lagom_magic.model`."""

    def __init__(
        self, control: Control, folder: TrialFolder, trial_id: int, attempt: int, worker_id: int, rank: int
    ) -> None:
        self._control = control
        self._artifacts = folder.artifacts
        self._root = folder.path
        self._trial_id, self._attempt, self._worker_id, self._rank = trial_id, attempt, worker_id, rank
        self._pid = os.getpid()
        self._n_files = 0

    def add(self, value: Any, name: str, metrics: Metrics, description: str) -> str | None:
        """Keep a model with the trial's files and say so.

        Args:
            value: a path or a model.
            name: the model's.
            metrics: checked.
            description: checked.

        Returns:
            The file or folder among the trial's files; None on the ranks of a training beside the first, which keep
            nothing.

        Raises:
            ConfigError: for a name that is not plain, or what cannot be exported.
        """
        check_plain_name(name, "model")
        if os.getpid() != self._pid:
            raise ConfigError(
                "model.export was called in a child process; call it in the one that runs the training function."
            )
        state = _whole_state(value, keeps=self._rank == 0)  # with all ranks
        if self._rank != 0:
            return None
        check_exportable(value)
        folder = self._new_folder(name)
        try:
            done = put(value, folder, state)
            n_files = self._check_sendable(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._n_files += n_files
        self._control.send(
            to_record(
                ModelExported(
                    self._trial_id,
                    self._attempt,
                    self._worker_id,
                    name,
                    os.path.relpath(folder, self._root),
                    metrics,
                    description,
                    done.framework,
                    done.signature,
                    n_files,
                )
            )
        )
        return done.path

    def _new_folder(self, name: str) -> str:
        path, n = os.path.join(self._artifacts, _FOLDER, name), 2
        while True:
            try:
                os.makedirs(path)
                return path
            except FileExistsError:  # exported before in this trial
                path, n = os.path.join(self._artifacts, _FOLDER, f"{name}_{n}"), n + 1

    def _check_sendable(self, folder: str) -> int:
        """How many files there are.

        Raises:
            ConfigError: when the driver would not take them all.
        """
        paths = list(_files_of(folder))
        if self._n_files + len(paths) > MAX_FILES:
            raise ConfigError(
                f"model.export: {self._n_files + len(paths):,} files of models; a trial sends at most {MAX_FILES:,}. "
                "Pack them into one archive (shutil.make_archive)."
            )
        for path in paths:
            parts = path.split(os.sep)
            if "\\" in path or len(parts) > _MAX_DEPTH or any(len(os.fsencode(p)) > _MAX_NAME_BYTES for p in parts):
                raise ConfigError(
                    f"model.export: the path {path!r:.300} cannot be sent: names without '\\', of at most "
                    f"{_MAX_NAME_BYTES} bytes, at most {_MAX_DEPTH} deep. Rename it, or pack an archive."
                )
        return len(paths)
