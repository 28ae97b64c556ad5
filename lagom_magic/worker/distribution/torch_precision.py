"""Mixed precision for a module whose code does not know: its `forward` computes in bf16 or fp16 and returns float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lagom_magic.errors import ConfigError

if TYPE_CHECKING:
    import torch

#: Values of the setting.
DTYPES = {"bf16": "bfloat16", "fp16": "float16"}


def dtype_of(mixed_precision: str) -> torch.dtype:
    """The type that a setting names.

    Raises:
        ConfigError: unknown, or one that the devices of this rank cannot train in.
    """
    import torch

    if mixed_precision not in DTYPES:
        raise ConfigError(f"mixed_precision={mixed_precision!r} is unknown; known: {', '.join(DTYPES)} and False")
    if mixed_precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError(
            "mixed_precision='fp16' needs a GPU, and this rank sees none: on a CPU small gradients become zero. "
            "Use 'bf16'."
        )
    dtype: torch.dtype = getattr(torch, DTYPES[mixed_precision])
    return dtype


def in_mixed_precision(module: torch.nn.Module, mixed_precision: str) -> None:
    """Gives a module, in place, a `forward` under autocast whose floating results are float32.

    Its class becomes one of the same name that is a subclass of its own; copies and pickles are of its own class.
    Parameters, gradients and the optimiser stay in float32. Scaling of fp16 losses is the function's affair.
    """
    import torch
    from torch.utils._pytree import tree_map

    dtype = dtype_of(mixed_precision)
    cls = type(module)

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        device = next(self.parameters()).device.type
        with torch.autocast(device, dtype=dtype):
            result = cls.forward(self, *args, **kwargs)
        return tree_map(_as_float32, result)

    def reduced(self: Any, protocol: Any) -> Any:
        _, _, *state = super(type(self), self).__reduce_ex__(protocol)
        return (object.__new__, (cls,), *state)

    members = {"forward": forward, "__reduce_ex__": reduced, "__module__": cls.__module__}
    module.__class__ = type(cls.__name__, (cls,), members | {"__qualname__": cls.__qualname__, "__doc__": cls.__doc__})


def _as_float32(value: Any) -> Any:
    import torch

    is_reduced = isinstance(value, torch.Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if is_reduced else value
