"""States of modules and optimisers as one process would have them, in files that are read without running code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lagom_magic.errors import ConfigError, StoreError

if TYPE_CHECKING:
    import torch


def as_saved(value: Any, *, keeps: bool = True, where: str = "") -> Any:
    """A state with whole tensors in place of shards, NumPy's numbers as Python's, arrays as tensors.

    All ranks must call it: each shard is gathered.

    Args:
        value: the state.
        keeps: whether this rank wants the whole tensors; None stands in their place where not.
        where: the name of the value, for the message.

    Raises:
        ConfigError: it holds something that could not be read back.
    """
    import torch
    from torch.distributed.tensor import DTensor

    match value:
        case DTensor():
            whole = value.detach().full_tensor()
            return whole.cpu() if keeps else None
        case torch.Tensor():
            return value.detach()
        case None | bool() | int() | float() | complex() | str() | bytes():
            return value
        case Mapping():
            return {key: as_saved(item, keeps=keeps, where=f"{where}.{key}") for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            items = [as_saved(item, keeps=keeps, where=f"{where}[{index}]") for index, item in enumerate(value)]
            return tuple(items) if isinstance(value, tuple) else set(items) if isinstance(value, set) else items
        case torch.Size() | torch.dtype() | torch.device():
            return value
    if type(value).__module__ == "numpy":
        return torch.from_numpy(value.copy()) if getattr(value, "ndim", 0) else value.item()
    raise ConfigError(
        f"a checkpoint cannot hold {where.lstrip('.') or 'this'}: {type(value).__name__}. "
        "It takes what has state_dict, tensors, arrays, numbers, text, and lists and dicts of these."
    )


def placed_like(value: Any, example: Any) -> Any:
    """A whole tensor cut as `example` is, for this rank; anything else as it is."""
    import torch
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(example, DTensor) or isinstance(value, DTensor) or not isinstance(value, torch.Tensor):
        return value
    if value.shape != example.shape:
        return value
    value = value.to(example.device)
    return distribute_tensor(value, example.device_mesh, example.placements, src_data_rank=None)


def restore(thing: Any, state: Any) -> None:
    """Loads a whole state into a thing, which keeps its shards where it has them."""
    import torch

    if isinstance(thing, torch.optim.Optimizer):
        state = _of_optimiser(thing, state)
    thing.load_state_dict(state)


def _of_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> dict[str, Any]:
    """An optimiser's state, in which tensors lie as the parameter that they belong to."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    keys = [key for group in state["param_groups"] for key in group["params"]]
    of_key = dict(zip(keys, parameters, strict=False))
    placed = {
        key: {name: placed_like(value, of_key[key]) for name, value in values.items()} if key in of_key else values
        for key, values in state["state"].items()
    }
    return {**state, "state": placed}


def write(path: str, content: Any) -> None:
    """Writes a file whole or not at all."""
    import torch

    beside = Path(f"{path}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: str) -> Any:
    """What `write` wrote, with tensors on the CPU; runs no code of the file's.

    Raises:
        StoreError: there is no such file, or it holds something else.
    """
    import pickle

    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise StoreError(f"the checkpoint {path} cannot be read: {error}") from error
