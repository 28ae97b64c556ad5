"""Leaves modules out of PyTorch models; called by `removal`.

In a Sequential an identity takes the entry's place, so that positions and slices mean what they meant. Elsewhere a
stand-in does, which decides when it first runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from lagom_magic.errors import NotRemovableError
from lagom_magic.worker.ablation.changes import Changes, first_line, not_removable
from lagom_magic.worker.ablation.torch_check import check_at_first_run, without_values


def without_modules(model: Any, names: list[str], changes: Changes) -> Any:
    """The same model; the parameters of what was left out are gone from `model.parameters()` at once.

    Entries of a Sequential that stay keep their keys, their names in the state dict, and their positions.

    Raises:
        NotRemovableError: a part is a ScriptModule; or, at the first run, when the rest does not fit together, or gives
            an output of another shape.
    """
    torch = sys.modules["torch"]
    check = check_at_first_run(model, names, changes)
    for name in names:
        module = model.get_submodule(name)
        if isinstance(module, (torch.nn.ModuleList, torch.nn.ModuleDict)):  # never called itself: its entries are
            for key, entry in list(module.named_children()):
                _leave_out(model, entry, f"{name}.{key}", changes)
        else:
            _leave_out(model, module, name, changes)
    check()
    return model


def _leave_out(model: Any, module: Any, name: str, changes: Changes) -> None:
    """Takes the module out wherever it is registered; one that is shared may be at several places."""
    torch = sys.modules["torch"]
    stand_in = None
    if any(isinstance(inner, torch.jit.ScriptModule) for inner in module.modules()):  # which knows no tripwire
        raise NotRemovableError(f"{name} cannot be left out: it is, or has, a ScriptModule. Script it after `model()`.")
    changes.expect_run(name)
    places = [(parent, key) for parent in model.modules() for key, child in parent._modules.items() if child is module]
    for parent, key in places:
        if type(parent).forward is torch.nn.Sequential.forward:
            parent._modules[key] = torch.nn.Identity()
            parent._modules[key].register_forward_pre_hook(_FirstCall(name, changes))
        else:
            stand_in = stand_in or _stand_in_class()(module, name, changes)
            parent._modules[key] = stand_in
    for inner in module.modules():
        inner.register_forward_pre_hook(_Tripwire(name))
    for encoder in model.modules():
        if isinstance(encoder, torch.nn.TransformerEncoder) and any(inner is stand_in for inner in encoder.modules()):
            encoder.use_nested_tensor = False  # else it evaluates from the weights of its modules, without calling them


class _FirstCall:
    """A hook of an identity in a Sequential, which says once that it ran."""

    def __init__(self, name: str, changes: Changes) -> None:
        self._name = name
        self._changes = changes

    def __call__(self, module: Any, args: Any) -> None:
        self._changes.say_run(self._name, "identity in its place")
        for hook_id in [i for i, hook in module._forward_pre_hooks.items() if isinstance(hook, _FirstCall)]:
            module._forward_pre_hooks.pop(hook_id, None)  # replicas of a module share them


class _Tripwire:
    """A hook of a module that was left out: whoever holds it still may not run it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, module: Any, args: Any) -> None:
        raise NotRemovableError(
            f"{self._name} cannot be left out: the model calls it, or a part of it, by another way than its name, "
            "such as a plain list. Use nn.ModuleList, or let it be called by its name alone."
        )


def _empty_stand_in() -> Any:
    """One that is about to get its state, of a copy or a pickle."""
    return _stand_in_class().__new__(_stand_in_class())


def _pass(module: Any, args: Any) -> None:
    """The hook of a stand-in: PyTorch's encoder layer calls its modules, in evaluation too, while one has a hook."""


@cache
def _stand_in_class() -> Any:
    """The class of stand-ins; made late, for PyTorch is not there when this module is loaded."""
    torch = sys.modules["torch"]
    tree = torch.utils._pytree

    class StandIn(torch.nn.Module):  # type: ignore[misc,name-defined]
        """Gives its input where the module's output has the same shape, else zeros of the output's.

        Of several outputs the first is so, and the others are zeros. A copy of the module without values is run once
        for each shape of input to learn the output's; nothing is computed.
        """

        def __init__(self, module: Any, name: str, changes: Changes) -> None:
            super().__init__()
            try:
                copied = without_values(module)
            except Exception as error:  # whatever a custom module raises
                raise not_removable([name], f"{type(module).__name__} cannot be copied: {first_line(error)}") from error
            # Beside nn.Module's books: the copy's parameters are not the model's, and follow it to no device.
            self.__dict__["_left_out"] = (copied, name, changes)
            self.__dict__["_outlines"] = {}
            self.register_buffer("_device", torch.empty(0), persistent=False)
            self.register_forward_pre_hook(_pass)
            if isinstance(module, torch.nn.MultiheadAttention):
                self.in_proj_bias = None  # tells PyTorch's encoder layer to call it

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                if "_left_out" not in self.__dict__:
                    raise
                module, shown, _ = self.__dict__["_left_out"]
                value = getattr(module, name)
                if isinstance(value, torch.Tensor):
                    raise AttributeError(f"{name!r} of {shown} is used without {shown} being called") from None
                return value

        def __reduce__(self) -> tuple[Callable[[], Any], tuple[()], dict[str, Any]]:
            return _empty_stand_in, (), self.__dict__

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            leaves, structure = tree.tree_flatten((args, kwargs))
            tensors = [x for x in leaves if isinstance(x, torch.Tensor)]
            outputs, layout = tree.tree_flatten(self._outline(leaves, structure))
            first = next(i for i, x in enumerate(outputs) if isinstance(x, torch.Tensor))
            is_same = bool(tensors) and outputs[first].shape == tensors[0].shape
            is_same = is_same and outputs[first].is_floating_point() == tensors[0].is_floating_point()
            _, name, changes = self.__dict__["_left_out"]
            changes.say_run(name, f"{'identity' if is_same else 'zeros'} in its place")
            device = tensors[0].device if tensors else self._device.device
            given = [torch.zeros_like(x, device=device) if isinstance(x, torch.Tensor) else x for x in outputs]
            if is_same:
                given[first] = tensors[0]
            return tree.tree_unflatten(given, layout)

        def _outline(self, leaves: list[Any], structure: Any) -> Any:
            """The module's output, of tensors without values."""
            seen = [(x.shape, x.dtype) if isinstance(x, torch.Tensor) else repr(x) for x in leaves]
            key = (self.training, torch.is_autocast_enabled(), str(structure), str(seen))
            outlines = self.__dict__["_outlines"]
            if key not in outlines:
                module, name, _ = self.__dict__["_left_out"]
                args, kwargs = tree.tree_unflatten([_on_meta(x) for x in leaves], structure)
                try:
                    with torch.no_grad(), torch.device("meta"):
                        outlines[key] = module.train(self.training)(*args, **kwargs)
                except Exception as error:  # whatever the module's own forward raises
                    raise not_removable(
                        [name], f"the shape of its output cannot be told without values: {first_line(error)}"
                    ) from error
            return outlines[key]

    return StandIn


def _on_meta(value: Any) -> Any:
    """A tensor's shape and kind without its values; anything else as it is."""
    return value.detach().to("meta") if isinstance(value, sys.modules["torch"].Tensor) else value
