"""Sees, when an ablated PyTorch model first runs, whether its parts still fit together; used by `torch_removal`.

Both models, the whole one and the ablated one, are run without values (on the meta device): nothing is computed.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

from lagom_magic.errors import NotRemovableError
from lagom_magic.spec.random_state import untouched_random_state
from lagom_magic.worker.ablation.changes import Changes, first_line, not_removable

_NOT_CHECKED = "whether the output kept its shape could not be checked"
_CUT_OFF = "nothing of the input reaches the output, so what is left can only guess"


def check_at_first_run(model: Any, names: list[str], changes: Changes) -> Callable[[], None]:
    """What to call once the parts are left out of the model, which is whole yet."""
    try:
        whole = without_values(model)
    except Exception:  # a custom module that cannot be copied: then PyTorch's own errors must do
        changes.say(_NOT_CHECKED)
        return lambda: None
    first_run = _FirstRun(whole, names, changes)
    return lambda: first_run.watch(model)


class _FirstRun:
    """A hook that looks once."""

    def __init__(self, whole: Any, names: list[str], changes: Changes) -> None:
        self._whole = whole
        self._names = names
        self._changes = changes

    def watch(self, model: Any) -> None:
        model.register_forward_pre_hook(self, with_kwargs=True)

    def __deepcopy__(self, memo: Any) -> _FirstRun:
        return self

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _FirstRun, (None, self._names, Changes())

    def __call__(self, model: Any, args: Any, kwargs: Any) -> None:
        _take_off(model)
        if self._whole is None:  # a copy of the model has run before
            return
        whole, self._whole = self._whole, None
        torch = sys.modules["torch"]
        inputs = torch.utils._pytree.tree_map(_on_meta, (args, kwargs))
        with untouched_random_state(), torch.device("meta"):
            try:
                expected = _outputs(whole.train(model.training), inputs)
            except Exception:  # its way depends on values, or it makes tensors on a device of its own
                self._changes.say(_NOT_CHECKED)
                return
            try:
                found = _outputs(without_values(model), inputs)
            except NotRemovableError:
                raise
            except Exception as error:  # whatever the model's own forward raises
                reason = f"the rest of the model does not run without it: {first_line(error)}"
                raise not_removable(self._names, reason) from error
            if _uses_input(whole, args, kwargs) and _uses_input(without_values(model), args, kwargs) is False:
                self._changes.say(_CUT_OFF)
        self._compare(expected, found)

    def _compare(self, expected: list[Any], found: list[Any]) -> None:
        shapes = [[tuple(x.shape) for x in outputs] for outputs in (found, expected)]
        if shapes[0] != shapes[1]:
            shown = [" and ".join(map(str, some)) for some in shapes]
            raise not_removable(self._names, f"the model's output would be of shape {shown[0]}, not {shown[1]}.")
        if any(x.requires_grad for x in expected) and not any(x.requires_grad for x in found):
            raise not_removable(
                self._names, "nothing of what is left reaches the output, so there is nothing to train."
            )


def without_values(model: Any) -> Any:
    """A copy whose parameters and buffers have shapes only; without the hooks that look at results."""
    torch = sys.modules["torch"]
    memo: dict[int, Any] = {}
    plain = [value for module in model.modules() for value in vars(module).values() if isinstance(value, torch.Tensor)]
    for tensor in (*model.parameters(), *model.buffers(), *plain):
        if hasattr(tensor, "materialize"):  # of a lazy module
            memo[id(tensor)] = type(tensor)(requires_grad=tensor.requires_grad, device="meta")
        elif isinstance(tensor, torch.nn.Parameter):
            memo[id(tensor)] = torch.nn.Parameter(tensor.detach().to("meta"), requires_grad=tensor.requires_grad)
        else:
            memo[id(tensor)] = tensor.detach().to("meta")
    shadow = copy.deepcopy(model, memo)
    for module in shadow.modules():
        if isinstance(module, torch.nn.TransformerEncoder):
            module.use_nested_tensor = False  # which knows no tensors without values
        module._forward_hooks.clear()
        _take_off(module)
    return shadow


def _take_off(module: Any) -> None:
    """Removes the hook; a copy of the model has its own, which the handle of the first does not know."""
    for hook_id in [i for i, hook in module._forward_pre_hooks.items() if isinstance(hook, _FirstRun)]:
        del module._forward_pre_hooks[hook_id]
        module._forward_pre_hooks_with_kwargs.pop(hook_id, None)


def _outputs(model: Any, inputs: Any) -> list[Any]:
    torch = sys.modules["torch"]
    leaves = torch.utils._pytree.tree_leaves(model(*inputs[0], **inputs[1]))
    return [x for x in leaves if isinstance(x, torch.Tensor)]


def _uses_input(model: Any, args: Any, kwargs: Any) -> bool | None:
    """Whether a model without values lets something of its inputs through; None where that cannot be told.

    Followed by gradients, which whole numbers, such as token ids, do not have.
    """
    torch = sys.modules["torch"]
    sources: list[Any] = []

    def traced(value: Any) -> Any:
        shadow = _on_meta(value)
        if not isinstance(shadow, torch.Tensor) or not shadow.is_floating_point():
            return shadow
        sources.append(shadow.detach().requires_grad_())
        return sources[-1].clone()  # which, unlike the source, may be changed in place

    inputs = torch.utils._pytree.tree_map(traced, (args, kwargs))
    if not sources:
        return None
    try:
        with torch.enable_grad():
            sums = [x.sum() for x in _outputs(model, inputs) if x.requires_grad]
            gradients = torch.autograd.grad(sums, sources, allow_unused=True) if sums else ()
    except Exception:  # of the model's own forward, or of an operation that has no gradient without values
        return None
    return any(gradient is not None for gradient in gradients)


def _on_meta(value: Any) -> Any:
    if not isinstance(value, sys.modules["torch"].Tensor):
        return value
    return value.detach().to("meta").requires_grad_(value.requires_grad)
