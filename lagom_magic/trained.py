"""Reads the files that trained models are saved as; used by `Run.load_model` and `model.load`."""

from __future__ import annotations

import inspect
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lagom_magic.errors import ConfigError, StoreError

#: Of PyTorch's list of what does not fit.
_MOST_LINES = 5


def load_model(path: Path, model: Any = None) -> Any:
    """The model in a file, by its suffix.

    Args:
        path: `.pt` (a state dict), `.keras`, `.ubj` (XGBoost), `.lgb` (LightGBM) or `.pkl` (scikit-learn: a pickle of
            somebody whom you trust).
        model: for `.pt`, what takes the weights: a class, a factory or a module; None = the state dict is returned.

    Raises:
        ConfigError: when its framework is not installed here, `model` is given where none is needed, or the weights do
            not fit it.
    """
    return _loaded(path, model, _LOADERS[path.suffix])


def load_model_of_run(path: Path, model: Any, is_fetched: bool) -> Any:
    """`load_model`, but no pickle that somebody else may have made: it would run their code.

    Args:
        path: as there.
        model: as there.
        is_fetched: files of the run may have come from where others write.

    Raises:
        StoreError: for a `.pkl` that is fetched, or belongs to another user.
        ConfigError: as there.
    """
    if path.suffix != ".pkl":
        return load_model(path, model)
    if is_fetched:
        raise _foreign(path, "was fetched from where others can write, too")
    return _loaded(path, model, _load_own_pickle)


def _loaded(path: Path, model: Any, load: Callable[[Path, Any], Any]) -> Any:
    if model is not None and path.suffix != ".pt":
        raise ConfigError(f"{path.name} holds a whole model: leave model= out.")
    try:
        return load(path, model)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{path.name} needs {error.name}, which is missing: pip install {error.name}") from error


def _load_torch(path: Path, model: Any) -> Any:
    import torch

    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"{path.name} holds more than tensors, or is damaged; here a state dict alone is read, because a pickle "
            f"can run code. If you trust it: torch.load({str(path)!r}, weights_only=False)."
        ) from error
    if model is None:
        return weights
    module = model if isinstance(model, torch.nn.Module) else _made(model)
    if not isinstance(module, torch.nn.Module):
        raise ConfigError(f"model= takes a class or factory of a torch module; this one made {module!r:.200}.")
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        lines = str(error).splitlines()
        more = f"\n\t… {len(lines) - _MOST_LINES} more" if len(lines) > _MOST_LINES else ""
        raise ConfigError(
            f"The weights in {path.name} are not those of this {type(module).__name__}. Give what the run was "
            "given as its module; where the function gave it arguments, these too: model=lambda: Net(width=64).\n"
            + "\n".join(lines[:_MOST_LINES])
            + more
        ) from error
    return module


def _made(model: Any) -> Any:
    """What a class or factory makes of no arguments."""
    if not callable(model):
        raise ConfigError(f"model= takes a class, a factory or a torch module, not {model!r:.200}.")
    try:
        inspect.signature(model).bind()
    except ValueError:  # one written in C, which does not tell
        pass
    except TypeError as error:
        name = getattr(model, "__name__", type(model).__name__)
        raise ConfigError(
            f"{name} is called without arguments, and that does not do: {error}. Give a function that makes the model "
            f"as the training function does: model=lambda: {name}(…)."
        ) from error
    return model()


def _load_keras(path: Path, _: Any) -> Any:
    import keras

    return keras.saving.load_model(path)


def _load_xgboost(path: Path, _: Any) -> Any:
    import xgboost

    return xgboost.Booster(model_file=path)


def _load_lightgbm(path: Path, _: Any) -> Any:
    import lightgbm

    return lightgbm.Booster(model_file=path)


def _load_pickle(path: Path, _: Any) -> Any:
    with open(path, "rb") as file:
        return pickle.load(file)


def _load_own_pickle(path: Path, _: Any) -> Any:
    with open(path, "rb") as file:  # looked at when it is open: nobody can put another one in its place
        owner = os.fstat(file.fileno()).st_uid
        if owner != os.geteuid():
            raise _foreign(path, f"belongs to user {owner}")
        return pickle.load(file)


def _foreign(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{path} {why}, and a pickle of somebody else would run their code as you. If you trust whoever made it: "
        f"pickle.loads(pathlib.Path({str(path)!r}).read_bytes())."
    )


_LOADERS: dict[str, Callable[[Path, Any], Any]] = {
    ".pt": _load_torch,
    ".keras": _load_keras,
    ".ubj": _load_xgboost,
    ".lgb": _load_lightgbm,
    ".pkl": _load_pickle,
}

#: Of the files that `load_model` reads.
SUFFIXES = tuple(_LOADERS)
