"""Reads the files that trained models are saved as; used by `Run.load_model`."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lagom_magic.errors import ConfigError


def load_model(path: Path, model: Any = None) -> Any:
    """The model in a file, by its suffix.

    Args:
        path: `.pt` (a state dict), `.keras`, `.ubj` (XGBoost) or `.pkl` (scikit-learn: a pickle of your own trial).
        model: for `.pt`, what takes the weights: a class, a factory or a module; None = the state dict is returned.

    Raises:
        ConfigError: when its framework is not installed here, or `model` is given where none is needed.
    """
    if model is not None and path.suffix != ".pt":
        raise ConfigError(f"{path.name} holds a whole model: call load_model() without an argument.")
    try:
        return _LOADERS[path.suffix](path, model)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{path.name} needs {error.name}, which is missing: pip install {error.name}") from error


def _load_torch(path: Path, model: Any) -> Any:
    import torch

    weights = torch.load(path, map_location="cpu", weights_only=True)
    if model is None:
        return weights
    module = model if isinstance(model, torch.nn.Module) else model()
    module.load_state_dict(weights)
    return module


def _load_keras(path: Path, _: Any) -> Any:
    import keras

    return keras.saving.load_model(path)


def _load_xgboost(path: Path, _: Any) -> Any:
    import xgboost

    return xgboost.Booster(model_file=path)


def _load_pickle(path: Path, _: Any) -> Any:
    with open(path, "rb") as file:
        return pickle.load(file)


_LOADERS: dict[str, Callable[[Path, Any], Any]] = {
    ".pt": _load_torch,
    ".keras": _load_keras,
    ".ubj": _load_xgboost,
    ".pkl": _load_pickle,
}
