"""The public `model` module: keeps trained models in a registry, in versions that can be compared and loaded.

    from lagom_magic import Metric, model

    model.export("model.xgb", "titanic", metrics={"accuracy": 0.83})      # in a training function, or in a cell
    best = model.get_best_model("titanic", "accuracy", Metric.MAX)
    booster = model.load("titanic", best["version"])

The registry is a folder beside the runs: `$LAGOM_HOME/.models/<name>/<version>/`.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lagom_magic.errors import ConfigError, StoreError, nearest
from lagom_magic.events.facts import Metrics
from lagom_magic.spec.names import check_plain_name
from lagom_magic.worker.exports import (
    EXPORTS_EVENT,
    TrialExports,
    check_exportable,
    checked_description,
    checked_metrics,
    put,
)

if TYPE_CHECKING:
    from lagom_magic.store.model_version import ModelVersion

#: Set by the trial process for the length of a trial, and inherited by what it starts.
_TRIAL_DIR_VARIABLE = "LAGOM_TRIAL_DIR"


class Metric(Enum):
    """Which value of a metric is the best."""

    MAX = "max"
    MIN = "min"


def export(
    path_or_model: Any, name: str, metrics: Mapping[str, Any] | None = None, description: str | None = None
) -> dict[str, Any]:
    """Put a model into the registry as the next version of its name.

    In a trial the files travel with the trial's own, and the version is made when the trial has ended and they have
    arrived; it is linked to run, trial and the files that the trial had read. A trial that fails later keeps what it
    exported. In a training on several workers call it on all ranks alike; the first one's is kept.

    Args:
        path_or_model: the path of a file or a folder, or a model: a PyTorch module (its state dict is saved as
            `model.pt`), a Keras model, a scikit-learn estimator, a booster of XGBoost or LightGBM.
        name: 1 to 64 letters, digits, '.', '_' and '-'.
        metrics: {name: number} to compare versions by; in a trial, when left out, the numbers that it returns.
        description: a line about this version.

    Returns:
        `name`, `version`, `metrics`, `path` of the kept file or folder, and what else is known of the version. In a
        trial `version` is None, for it gets its number when its files have arrived; and on the ranks of a training
        beside the first, `path` too.

    Raises:
        ConfigError: for a path where nothing is, an object that is no model, a name or a metric that cannot be.
        StoreError: outside of a trial, when the registry cannot be written.
    """
    check_plain_name(name, "model")
    numbers, text = checked_metrics(metrics), checked_description(description)
    exports = _trial_exports()
    if exports is not None:
        path = exports.add(path_or_model, name, numbers, text)
        return {"name": name, "version": None, "metrics": numbers, "path": None if path is None else Path(path)}
    return _exported_here(path_or_model, name, numbers, text)


def _exported_here(path_or_model: Any, name: str, metrics: Metrics, description: str) -> dict[str, Any]:
    from lagom_magic.store.layout import default_home, home_url
    from lagom_magic.store.model_version import Details
    from lagom_magic.store.registry import add

    check_exportable(path_or_model)

    def place(folder: Path) -> Details:
        try:
            done = put(path_or_model, str(folder))
        except OSError as error:  # such as a full disk
            raise StoreError(f"model.export: {name} could not be put into {default_home()}: {error}.") from error
        return Details(metrics=metrics, description=description, framework=done.framework, signature=done.signature)

    version = add(default_home(), name, place)
    if home_url() is not None:
        from lagom_magic.store.model_mirror import send_export

        version, problem = send_export(version)
        if problem:
            warnings.warn(problem, stacklevel=3)
    return _mapping(version)


def _trial_exports() -> TrialExports | None:
    """What keeps the models of the trial that this process runs; None outside of a trial.

    Raises:
        ConfigError: in a process that a trial has started.
    """
    found: list[TrialExports] = []
    sys.audit(EXPORTS_EVENT, found)
    if found:
        return found[0]
    if _TRIAL_DIR_VARIABLE in os.environ:
        raise ConfigError(
            "model.export was called in a process that a trial started; call it in the one that runs the training "
            "function, with the path of the file."
        )
    return None


def get_best_model(name: str, metric: str, direction: Metric | str = Metric.MAX) -> dict[str, Any]:
    """The version of a model with the best value of a metric, the earliest among equals.

    Args:
        name: the model's.
        metric: one of those that versions were exported with; versions without it, or with nan, are passed over.
        direction: `Metric.MAX` or `Metric.MIN`; "max" and "min" too.

    Returns:
        `name version metrics path` and what else is known of it, as `get_model`.

    Raises:
        ConfigError: when no version has the metric, or for another direction.
        StoreError: when there is no such model.
    """
    from lagom_magic.store.layout import default_home
    from lagom_magic.store.registry import best

    _refuse_in_trial("get_best_model")
    if not isinstance(direction, Metric):
        words = [choice.value for choice in Metric]
        if direction not in words:
            raise ConfigError(
                f"model.get_best_model: direction={direction!r:.80}; allowed: Metric.MAX and Metric.MIN."
                f"{nearest(str(direction).lower(), words)}"
            )
        direction = Metric(direction)
    _refresh()
    found, notes = best(default_home(), name, metric, direction.value)
    for note in notes:
        warnings.warn(f"model.get_best_model: passed over: {note}", stacklevel=2)
    return _mapping(_fetched(found))


def get_model(name: str, version: int | None = None) -> dict[str, Any]:
    """One version of a model, the newest when none is named.

    Returns:
        `name`, `version`, `metrics`, `path` (the file or folder that was exported), `description`, `framework`,
        `signature`, `created_at`, `user`, `run` (`id experiment dir`, or None), `trial_id`, `attempt`, `state` (how
        the trial ended), `inputs` (files that the trial had read), `files`.

    Raises:
        ConfigError: for a name or a version that cannot be.
        StoreError: when there is none.
    """
    _refuse_in_trial("get_model")
    return _mapping(_found(name, version))


def load(name: str, version: int | None = None, model: Any = None) -> Any:
    """The model itself, from its file; the newest version when none is named.

    The file is compared with what was exported before it is read. A scikit-learn model is a pickle: load only what
    you or people whom you trust have exported.

    Args:
        name: the model's.
        version: from 1.
        model: of PyTorch, a class, a factory, or a module that takes the weights in; None gives the state dict.

    Raises:
        ConfigError: for a folder or a kind of file that lagom does not load, or when its framework is missing here.
        StoreError: when there is none, or its files have changed since.
    """
    from lagom_magic.trained import SUFFIXES, load_model

    _refuse_in_trial("load")
    found = _found(name, version)
    path = found.path
    if not path.is_file() or path.suffix not in SUFFIXES:
        kind = "a folder" if path.is_dir() else f"a file of kind {path.suffix or path.name!r}"
        raise ConfigError(
            f"model.load reads {', '.join(SUFFIXES)}; {name} version {found.version} is {kind}. Read it with what "
            f"wrote it: model.get_model({name!r}, {found.version})['path']"
        )
    found.check_files()
    return load_model(path, model)


def _found(name: str, version: int | None) -> ModelVersion:
    from lagom_magic.store.layout import default_home
    from lagom_magic.store.registry import find

    _refresh()
    return _fetched(find(default_home(), name, version))


def _refresh() -> None:
    """Learn of what others have exported since, where LAGOM_HOME is a URL."""
    from lagom_magic.store.layout import home_url

    if home_url() is not None:
        from lagom_magic.store.mirror import refresh_home

        if problem := refresh_home():
            warnings.warn(problem, stacklevel=4)


def _fetched(version: ModelVersion) -> ModelVersion:
    """The version with its files on this machine."""
    from lagom_magic.store.layout import home_url

    if home_url() is not None:
        from lagom_magic.store.model_mirror import fetch_model

        fetch_model(version)
    return version


def _refuse_in_trial(what: str) -> None:
    """The registry lies where the notebook is; a worker need not see it.

    Raises:
        ConfigError: in a trial.
    """
    if _TRIAL_DIR_VARIABLE in os.environ:
        raise ConfigError(
            f"model.{what} reads the registry beside the notebook, which a worker need not see. Call it in the "
            "notebook, and give the function the file with --files or its content as an argument."
        )


def _mapping(version: ModelVersion) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "metrics": dict(version.metrics),
        "path": version.path,
        "description": version.description,
        "framework": version.framework,
        "signature": dict(version.signature),
        "created_at": version.created_at,
        "user": version.user,
        "run": None if version.run is None else dict(version.run),
        "trial_id": version.trial_id,
        "attempt": version.attempt,
        "state": version.state,
        "inputs": [dict(item) for item in version.inputs],
        "files": [dict(item) for item in version.files],
    }
