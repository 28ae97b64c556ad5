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
from lagom_magic.worker.arrays import as_array, as_pixels, is_too_sparse, save_array, save_pixels, save_sparse
from lagom_magic.worker.numbers import as_number
from lagom_magic.worker.workdir import free_name

_MAX_REPR_CHARACTERS = 10_000
#: Beyond as many values the rest is only counted: the end of a trial is one message of limited size.
_MAX_VALUES = 200
_MAX_WARNINGS = 2 * _MAX_VALUES
_MAX_METRICS = 10_000
_MAX_ERROR_CHARACTERS = 500
#: What a PNG can hold of Pillow's modes, and which of them comes nearest to some others; of all else it is RGB.
_PNG_MODES = frozenset({"1", "L", "LA", "I;16", "I;16B", "P", "RGB", "RGBA"})
_NEAREST_PNG_MODE = {"I": "I;16", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}


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


@dataclass(frozen=True, slots=True)
class _Folders:
    """Where files go, and of what is returned by its path the only places that something may be moved from."""

    artifacts: str
    work: str

    def may_be_moved(self, path: str) -> bool:
        """Whether a file is the trial's own, and not shown by a link; artifacts of the trial have their place."""
        if os.path.islink(path) or os.path.isabs(path):
            return False
        homes = (self.work, os.path.join(os.path.dirname(self.artifacts), "files"))
        return _is_below(path, [home for home in homes if home])

    def holds_folder(self, path: str) -> bool:
        """Whether a folder lies inside the current directory, the working directory or the trial's own."""
        return _is_below(path, [os.curdir, os.path.dirname(self.artifacts), *([self.work] if self.work else [])])


def _is_below(path: str, folders: list[str]) -> bool:
    real = os.path.realpath(path)
    return any(real.startswith(os.path.realpath(folder) + os.sep) for folder in folders)


def normalise(
    returned: Any,
    metric_name: str,
    artifacts_dir: str,
    *,
    workdir: str = "",
    keeps_files: bool = True,
    keeps_models: bool = True,
) -> Result:
    """Sorts a returned value.

    Args:
        returned: anything.
        metric_name: what a bare number is called.
        artifacts_dir: where files go, in the trial's folder; made when there is one.
        workdir: the trial's working directory, whose own files are moved when they are returned; others are copied.
        keeps_files: False = only numbers count, as of a rank beside the first.
        keeps_models: False = models are passed over, for they are saved already.
    """
    result = Result()
    if returned is None:
        return result
    n_metrics_dropped = n_values_dropped = 0
    for key, value in _items_of(returned, metric_name).items():
        number, is_done = None, False
        try:
            number = as_number(value)
            if number is None and keeps_files:
                is_done = not keeps_models and model_saver(value) is not None
                is_done = is_done or _keep_file(result, key, value, _Folders(artifacts_dir, workdir))
        except Exception as error:  # an odd object of the user's: the numbers count more
            result.warnings.append(f"{key!r} raised {_brief(error)} when it was looked at.")
        if number is not None:
            if len(result.metrics) < _MAX_METRICS or key == metric_name:
                result.metrics[key] = number
            else:
                n_metrics_dropped += 1
        elif keeps_files and not is_done:
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


def _items_of(returned: Any, metric_name: str) -> dict[str, Any]:
    """Key → value of what was returned; of what raises when it is looked at, itself under the key "value"."""
    try:
        if isinstance(returned, dict):
            return {_text_of(key): value for key, value in returned.items()}
        if isinstance(returned, (list, tuple)) and all(as_number(value) is not None for value in returned):
            return {f"metric_{i}": value for i, value in enumerate(returned)}
        return {metric_name if as_number(returned) is not None else _name_of(returned): returned}
    except Exception:  # will be told when the value itself is looked at, or its repr
        return {"value": returned}


def _text_of(key: Any) -> str:
    try:
        return str(key)
    except Exception:  # the user's own __str__
        return type(key).__name__


def _name_of(value: Any) -> str:
    """The key of something returned alone."""
    if model_saver(value) is not None:
        return "model"
    return "figure" if _image_saver(value) is not None else "value"


def _keep_file(result: Result, key: str, value: Any, folders: _Folders) -> bool:
    """Puts a path, figure, image or model under `artifacts/`; False when it is none or that failed."""
    if isinstance(value, (str, os.PathLike)):
        return _keep_path(result, key, os.fspath(value), folders)
    saver = model_saver(value) or _image_saver(value)
    if saver is None:
        return _keep_array(result, key, value, folders.artifacts)
    suffix, save = saver
    try:
        os.makedirs(folders.artifacts, exist_ok=True)
        _save_whole(save, free_name(folders.artifacts, _file_name(key) + suffix))
    except Exception as error:  # the user's object and a foreign library: whatever it is, the numbers count more
        result.warnings.append(f"{key!r} could not be saved ({_brief(error)}); its repr was kept.")
        return False
    return True


def _keep_array(result: Result, key: str, value: Any, artifacts_dir: str) -> bool:
    """Puts an array or tensor under `artifacts/`, and a PNG beside it when it can be an image."""
    try:
        if is_too_sparse(value):
            os.makedirs(artifacts_dir, exist_ok=True)
            _save_whole(partial(save_sparse, value), free_name(artifacts_dir, _file_name(key) + ".pt"))
            return True
        found = as_array(value)
        if found is None:
            return False
        array, is_tensor = found
        os.makedirs(artifacts_dir, exist_ok=True)
        _save_whole(partial(save_array, array), free_name(artifacts_dir, _file_name(key) + ".npy"))
    except Exception as error:  # a foreign library, a full disk: the numbers count more
        result.warnings.append(f"{key!r} could not be saved ({_brief(error)}); its repr was kept.")
        return False
    try:
        pixels = as_pixels(array, colours_first=is_tensor)
        if pixels is not None:
            _save_whole(partial(save_pixels, pixels), free_name(artifacts_dir, _file_name(key) + ".png"))
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


def _keep_path(result: Result, key: str, path: Any, folders: _Folders) -> bool:
    if not isinstance(path, str) or not path or "\0" in path or len(path) > os.pathconf("/", "PC_PATH_MAX"):
        return False
    if not os.path.exists(path):
        return False
    if os.path.isdir(path) and not folders.holds_folder(path):
        return False  # such as "." or a data folder: too much to copy for a word that may mean something else
    target = free_name(folders.artifacts, os.path.basename(os.path.normpath(path)))
    try:
        os.makedirs(folders.artifacts, exist_ok=True)
        _put(path, target, is_movable=folders.may_be_moved(path))
    except OSError as error:  # such as a full disk: the numbers count more
        with contextlib.suppress(OSError):
            os.unlink(target)  # half a file; of a folder stays what could be copied
        result.warnings.append(f"{key!r}: {path!r} could not be kept whole ({_brief(error)}); its repr was kept.")
        return False
    return True


def _put(path: str, target: str, *, is_movable: bool) -> None:
    if os.path.isdir(path):
        shutil.copytree(path, target, symlinks=True)  # a link may lead nowhere, or round in a circle
    elif not os.path.isfile(path):
        raise OSError("it is a pipe, a socket or a device")  # reading it may never end
    elif is_movable:
        shutil.move(path, target)
    else:
        shutil.copy2(path, target)  # the notebook's file, or one from elsewhere


def _brief(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARACTERS]
    except Exception:  # the user's own __str__
        return type(error).__name__


def _keep_repr(result: Result, key: str, value: Any) -> None:
    try:
        text = repr(value)
    except Exception as error:  # the user's own __repr__
        text = f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    if len(text) > _MAX_REPR_CHARACTERS:
        text = f"{text[:_MAX_REPR_CHARACTERS]}… ({len(text):,} characters)"
    result.values[key] = text
    if type(value) is str and (os.path.splitext(value)[1] or os.sep in value):
        what = f"{key!r}: there is no file {value!r:.300}; the text was kept."
    else:
        kinds = "neither number, file, figure, image, array nor model"
        what = f"{key!r} is a {type(value).__name__}, {kinds}; its repr was kept."
    result.warnings.append(what)


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
        return ".png", lambda path: _for_png(value).save(path)
    return None


def _for_png(image: Any) -> Any:
    """A PIL image in a mode that PNG has."""
    if image.mode in _PNG_MODES:
        return image
    if image.mode == "F" and image.getextrema()[0] >= 0 and image.getextrema()[1] <= 1:
        image = image.point(lambda value: value * 255)
    return image.convert(_NEAREST_PNG_MODE.get(image.mode, "RGB"))


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
