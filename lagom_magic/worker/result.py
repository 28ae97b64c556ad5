"""What a training function returned, sorted into metrics, files and the rest; nothing is thrown away."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lagom_magic.events.facts import Metrics
from lagom_magic.worker.arrays import as_array, as_pixels, save_array, save_pixels
from lagom_magic.worker.numbers import as_number

_MAX_REPR_CHARACTERS = 10_000
#: Beyond as many values the rest is only counted: the end of a trial is one message of limited size.
_MAX_VALUES = 200
_MAX_WARNINGS = 2 * _MAX_VALUES
_MAX_METRICS = 10_000
_MAX_ERROR_CHARACTERS = 500


@dataclass(slots=True)
class Result:
    """A trial's outcome.

    Attributes:
        metrics: name → number; nan and inf are the driver's to judge.
        values: key → repr of what is neither number nor file.
        warnings: one line each, for the person who wrote the function.
    """

    metrics: Metrics = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def normalise(
    returned: Any, metric_name: str, artifacts_dir: str, *, keeps_files: bool = True, keeps_models: bool = True
) -> Result:
    """Sorts a returned value.

    Args:
        returned: anything.
        metric_name: what a bare number is called.
        artifacts_dir: where files go; made when there is one.
        keeps_files: False = only numbers count, as of a rank beside the first.
        keeps_models: False = models are passed over, for they are saved already.
    """
    result = Result()
    if returned is None:
        return result
    if isinstance(returned, dict):
        items = {str(key): value for key, value in returned.items()}
    elif isinstance(returned, (list, tuple)) and all(as_number(value) is not None for value in returned):
        items = {f"metric_{i}": value for i, value in enumerate(returned)}
    else:
        items = {metric_name if as_number(returned) is not None else _name_of(returned): returned}
    n_metrics_dropped = n_values_dropped = 0
    for key, value in items.items():
        number = as_number(value)
        if number is not None:
            if len(result.metrics) < _MAX_METRICS or key == metric_name:
                result.metrics[key] = number
            else:
                n_metrics_dropped += 1
        elif not keeps_files or (not keeps_models and model_saver(value) is not None):
            continue
        elif not _keep_file(result, key, value, artifacts_dir):
            if len(result.values) < _MAX_VALUES:
                _keep_repr(result, key, value)
            else:
                n_values_dropped += 1
    del result.warnings[_MAX_WARNINGS:]
    if n_metrics_dropped:
        result.warnings.append(
            f"{n_metrics_dropped:,} numbers after the first {_MAX_METRICS:,} were dropped; return a table as a file."
        )
    if n_values_dropped:
        result.warnings.append(
            f"{n_values_dropped:,} values after the first {_MAX_VALUES} that are no numbers were dropped."
        )
    return result


def _name_of(value: Any) -> str:
    """The key of something returned alone."""
    if model_saver(value) is not None:
        return "model"
    return "figure" if _image_saver(value) is not None else "value"


def _keep_file(result: Result, key: str, value: Any, artifacts_dir: str) -> bool:
    """Puts a path, figure, image or model under `artifacts/`; False when it is none or that failed."""
    if isinstance(value, (str, os.PathLike)):
        return _keep_path(result, key, os.fspath(value), artifacts_dir)
    saver = model_saver(value) or _image_saver(value)
    if saver is None:
        return _keep_array(result, key, value, artifacts_dir)
    suffix, save = saver
    try:
        os.makedirs(artifacts_dir, exist_ok=True)
        save(_free_name(artifacts_dir, _file_name(key) + suffix))
    except Exception as error:  # the user's object and a foreign library: whatever it is, the numbers count more
        result.warnings.append(f"{key!r} could not be saved ({_brief(error)}); its repr was kept.")
        return False
    return True


def _keep_array(result: Result, key: str, value: Any, artifacts_dir: str) -> bool:
    """Puts an array or tensor under `artifacts/`, and a PNG beside it when it can be an image."""
    try:
        found = as_array(value)
        if found is None:
            return False
        array, is_tensor = found
        os.makedirs(artifacts_dir, exist_ok=True)
        _save_whole(partial(save_array, array), _free_name(artifacts_dir, _file_name(key) + ".npy"))
    except Exception as error:  # a foreign library, a full disk: the numbers count more
        result.warnings.append(f"{key!r} could not be saved ({_brief(error)}); its repr was kept.")
        return False
    try:
        pixels = as_pixels(array, colours_first=is_tensor)
        if pixels is not None:
            _save_whole(partial(save_pixels, pixels), _free_name(artifacts_dir, _file_name(key) + ".png"))
    except Exception as error:
        result.warnings.append(f"{key!r} is kept as an array, but not as an image ({_brief(error)}).")
    return True


def _save_whole(save: Callable[[str], Any], path: str) -> None:
    try:
        save(path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)  # half a file
        raise


def _keep_path(result: Result, key: str, path: Any, artifacts_dir: str) -> bool:
    if not isinstance(path, str) or not path or "\0" in path or len(path) > os.pathconf("/", "PC_PATH_MAX"):
        return False
    if not os.path.exists(path):
        if os.path.splitext(path)[1] or os.sep in path:
            result.warnings.append(f"{key!r}: there is no file {path!r}; the text was kept.")
        return False
    if os.path.isdir(path) and not _is_trials_own(path, artifacts_dir):
        return False  # such as "." or a data folder: too much to copy for a word that may mean something else
    target = _free_name(artifacts_dir, os.path.basename(os.path.normpath(path)))
    try:
        os.makedirs(artifacts_dir, exist_ok=True)
        _put(path, target)
    except OSError as error:  # such as a full disk: the numbers count more
        with contextlib.suppress(OSError):
            os.unlink(target)  # half a file; of a folder stays what could be copied
        result.warnings.append(f"{key!r}: {path!r} could not be kept whole ({_brief(error)}); its repr was kept.")
        return False
    return True


def _put(path: str, target: str) -> None:
    if os.path.isdir(path):
        shutil.copytree(path, target, symlinks=True)  # a link may lead nowhere, or round in a circle
    elif not os.path.isfile(path):
        raise OSError("it is a pipe, a socket or a device")  # reading it may never end
    elif os.path.islink(path) or os.path.isabs(path) or path.startswith(os.pardir):
        shutil.copy2(path, target)  # not the trial's own: the notebook's file, or one from elsewhere
    else:
        shutil.move(path, target)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARACTERS]


def _is_trials_own(folder: str, artifacts_dir: str) -> bool:
    """Whether a folder lies inside the working directory or the trial's own."""
    real = os.path.realpath(folder)
    homes = (os.path.realpath(os.curdir), os.path.dirname(os.path.realpath(artifacts_dir)))
    return any(real.startswith(home + os.sep) for home in homes)


def _keep_repr(result: Result, key: str, value: Any) -> None:
    try:
        text = repr(value)
    except Exception as error:  # the user's own __repr__
        text = f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    if len(text) > _MAX_REPR_CHARACTERS:
        text = f"{text[:_MAX_REPR_CHARACTERS]}… ({len(text):,} characters)"
    result.values[key] = text
    result.warnings.append(
        f"{key!r} is a {type(value).__name__}, neither number, file, figure, image, array nor model; its repr was kept."
    )


def _image_saver(value: Any) -> tuple[str, Callable[[str], Any]] | None:
    """File suffix and function for a figure (Matplotlib, Plotly) or a PIL image."""
    module = type(value).__module__ or ""
    if hasattr(value, "savefig"):
        return ".png", value.savefig
    if module.startswith("matplotlib") and hasattr(value, "figure"):  # an Axes
        return ".png", value.figure.savefig
    if module.startswith("plotly") and hasattr(value, "write_html"):
        return ".html", value.write_html
    if module.startswith("PIL") and hasattr(value, "save"):
        return ".png", value.save
    return None


def model_saver(value: Any) -> tuple[str, Callable[[str], Any]] | None:
    """File suffix and function for a torch, Keras, scikit-learn, XGBoost or LightGBM model; also of `exports.py`."""
    if _is_instance(value, "torch.nn", "Module"):
        torch = sys.modules["torch"]
        return ".pt", lambda path: torch.save(value.state_dict(), path)
    if _is_instance(value, "keras", "Model") or _is_instance(value, "tf_keras", "Model"):
        return ".keras", value.save
    if _is_instance(value, "xgboost", "Booster"):
        return ".ubj", value.save_model
    if _is_instance(value, "lightgbm", "Booster"):
        return ".lgb", value.save_model
    if _is_instance(value, "sklearn.base", "BaseEstimator"):
        return ".pkl", lambda path: _pickle(value, path)
    return None


def _is_instance(value: Any, module: str, name: str) -> bool:
    """Isinstance without an import: what is not imported has no instances."""
    cls = getattr(sys.modules.get(module), name, None)
    return isinstance(cls, type) and isinstance(value, cls)


def _pickle(value: Any, path: str) -> None:
    """With cloudpickle where there is one: it keeps classes that were defined in the notebook."""
    pickler = _import_first("cloudpickle", "pyspark.cloudpickle", "pickle")
    with open(path, "wb") as file:
        pickler.dump(value, file)


def _import_first(*names: str) -> Any:
    """The first of these modules that is installed here; not the one of our payload, which only workers have."""
    *optional, last = names
    for name in optional:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    return importlib.import_module(last)


def _file_name(key: str) -> str:
    return "".join(c if c.isalnum() or c in "._- " else "_" for c in key).strip(". ") or "value"


def _free_name(folder: str, name: str) -> str:
    """A path in `folder` that does not exist: `name`, or with a counter before its suffix."""
    stem, suffix = os.path.splitext(name)
    path, n = os.path.join(folder, name), 2
    while os.path.lexists(path):
        path, n = os.path.join(folder, f"{stem}_{n}{suffix}"), n + 1
    return path
