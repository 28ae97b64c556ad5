"""`--log-weights` in PyTorch: after a step of an optimizer, its parameters and their gradients."""

from __future__ import annotations

import gc
from typing import Any
from weakref import WeakKeyDictionary

from lagom_magic.worker.autolog.histograms import MAX_ELEMENTS, Histograms
from lagom_magic.worker.autolog.patches import Patches
from lagom_magic.worker.autolog.record import Record


def patch(module: Any, patches: Patches, record: Record, histograms: Histograms) -> None:
    """Hooks the steps of all optimizers."""
    steps: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
    names: WeakKeyDictionary[Any, dict[int, str]] = WeakKeyDictionary()

    def after_step(optimizer: Any, *_: Any) -> None:
        steps[optimizer] = step = steps.get(optimizer, 0) + 1
        if not histograms.is_due(step):
            return
        with record.guard("weights"):
            if optimizer not in names:
                names[optimizer] = _names_of(optimizer)
            histograms.write(_arrays(optimizer, names[optimizer]), step)

    patches.on_close(module.register_optimizer_step_post_hook(after_step).remove)


def _arrays(optimizer: Any, names: dict[int, str]) -> dict[str, Any]:
    arrays = {}
    for number, parameter in enumerate(_parameters(optimizer)):
        name = names.get(id(parameter), f"parameter_{number}")
        arrays[f"weights/{name}"] = _array(parameter)
        if parameter.grad is not None:
            arrays[f"gradients/{name}"] = _array(parameter.grad)
    return arrays


def _parameters(optimizer: Any) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _array(tensor: Any) -> Any:
    """What this rank has of it, thinned before it leaves the GPU."""
    tensor = tensor.detach()
    tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    tensor = tensor.coalesce().values() if tensor.is_sparse else tensor
    flat = tensor.reshape(-1)
    return flat[:: max(1, -(-flat.numel() // MAX_ELEMENTS))].float().cpu().numpy()


def _names_of(optimizer: Any) -> dict[int, str]:
    """Parameter's id → its name in the module that has most of them; optimizers know no names."""
    from torch.nn import Module

    wanted = {id(parameter) for parameter in _parameters(optimizer)}
    best: dict[int, str] = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), Module):
            found = {id(parameter): name for name, parameter in thing.named_parameters() if id(parameter) in wanted}
            if len(found) > len(best):
                best = found
    return best
