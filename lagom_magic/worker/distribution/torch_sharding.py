"""FSDP2 for a module whose code does not know: parameters, gradients and optimiser states are cut over the ranks.

Each rank builds the whole module (in host memory), takes rank 0's weights, and keeps its part of each parameter. What
`state_dict()` returns is whole and plain, and `load_state_dict()` takes that, so the function can save and load its
model as ever.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from lagom_magic.errors import ConfigError
from lagom_magic.worker.distribution.base import Place
from lagom_magic.worker.distribution.torch_collectives import broadcast_all, together
from lagom_magic.worker.distribution.torch_models import Strategy
from lagom_magic.worker.distribution.torch_precision import dtype_of
from lagom_magic.worker.distribution.torch_shares import BatchWeight
from lagom_magic.worker.distribution.torch_states import as_saved, placed_like

if TYPE_CHECKING:
    import torch

#: Parts with fewer parameters are gathered with what they are in: a message of their own would cost more than it saves.
SMALLEST_BLOCK = 2**17

_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE_BYTES = 2**17


class InParts(Strategy):
    """A strategy under which parameters lie in parts on the ranks, and states are whole all the same."""

    def __init__(self, place: Place, mixed_precision: str | None) -> None:
        self._place = place
        self._mixed_precision = mixed_precision
        self._mesh: Any = None
        self._keeps = True

    def mesh(self) -> Any:
        """All ranks in a row."""
        import torch

        if self._mesh is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
            self._mesh = torch.distributed.device_mesh.init_device_mesh(device, (self._place.world_size,))
        return self._mesh

    @contextmanager
    def gathering(self, *, keeps: bool) -> Iterator[None]:
        self._keeps, kept = keeps, self._keeps
        try:
            yield
        finally:
            self._keeps = kept

    def hook_states(self, module: torch.nn.Module) -> None:
        """Makes `state_dict()` return whole tensors, and `load_state_dict()` take them."""
        module.register_state_dict_post_hook(partial(self._gather))  # it sets an attribute of its hook
        module.register_load_state_dict_pre_hook(_cut_for_rank)

    def _gather(self, module: torch.nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
        from torch.distributed.tensor import DTensor

        for name, value in state.items():
            if name.startswith(prefix) and isinstance(value, DTensor):
                state[name] = as_saved(value, keeps=self._keeps)


class Sharded(InParts):
    """Each rank holds 1/world_size of each module (`fsdp`)."""

    def __init__(self, place: Place, weight: BatchWeight, mixed_precision: str | None) -> None:
        super().__init__(place, mixed_precision)
        import torch
        from torch.distributed import fsdp

        knows_fsdp = hasattr(getattr(fsdp, "FSDPModule", None), "set_custom_reduce_scatter")
        if not knows_fsdp or not hasattr(torch.distributed, "reduce_scatter_single"):
            raise ConfigError(
                "--strategy fsdp needs a torch with FSDPModule.set_custom_reduce_scatter and reduce_scatter_single, "
                f"as 2.13 has; this is {torch.__version__}."
            )
        if not torch.cuda.is_available():
            _give_memory_back()
        self._weight = weight
        self._means: dict[int, _WeighedReduceScatter] = {}

    def adopt(self, module: torch.nn.Module) -> None:
        import torch
        from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

        broadcast_all([*module.parameters(), *module.buffers()])
        policy = MixedPrecisionPolicy()
        if self._mixed_precision:
            dtype = dtype_of(self._mixed_precision)
            policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, output_dtype=torch.float32)
        try:
            for part in _normalisations(module) if self._mixed_precision else []:
                # Their running statistics are float32, and so their weights must be.
                in_float32 = MixedPrecisionPolicy(cast_forward_inputs=False)
                fully_shard(part, mesh=self.mesh(), mp_policy=in_float32, reshard_after_forward=True)
            for part in [*blocks_of(module), module]:
                # The outermost part, too, is in shards again after a forward: the function may ask for parameters,
                # to make an optimiser, right after an evaluation.
                fully_shard(part, mesh=self.mesh(), mp_policy=policy, reshard_after_forward=True)
        except ValueError as error:
            raise ConfigError(f"{type(module).__name__} cannot be sharded: {error}. Use --strategy ddp.") from error
        mean = _WeighedReduceScatter(self._weight)
        self._means[id(module)] = mean
        for part in module.modules():
            if isinstance(part, FSDPModule) and any(True for _ in part.parameters()):
                part.set_custom_reduce_scatter(mean)
        self.hook_states(module)

    def settle(self, module: torch.nn.Module) -> None:
        from torch.distributed.tensor import DTensor

        added = [name for name, parameter in module.named_parameters() if not isinstance(parameter, DTensor)]
        if added:
            raise ConfigError(
                f"{', '.join(added[:5])} came into {type(module).__name__} after it was sharded. With --strategy fsdp "
                "make all layers in the class or factory that is given as the module."
            )

    def n_passes(self, module: torch.nn.Module) -> int:
        return self._means[id(module)].n_calls

    def verify(self, module: torch.nn.Module) -> None:
        from torch.distributed.tensor import DTensor, Shard

        for name, parameter in module.named_parameters():
            assert isinstance(parameter, DTensor), f"{name} is not sharded"
            assert parameter.placements == (Shard(0),), f"{name} lies as {parameter.placements}"
            assert parameter.device_mesh.size() == self._place.world_size, f"{name} lies on {parameter.device_mesh}"


def blocks_of(module: torch.nn.Module, smallest: int = SMALLEST_BLOCK) -> list[torch.nn.Module]:
    """Parts of a module that are gathered one at a time, inner ones first; all of them are called as modules.

    These are the items of a ModuleList or Sequential, as the layers of a transformer, and large layers that lie in no
    such item. A part that shares a parameter with the rest stays with the rest.
    """
    import torch

    uses = Counter(id(parameter) for part in module.modules() for parameter in part.parameters(recurse=False))

    def stands_alone(part: torch.nn.Module) -> bool:
        own = Counter(id(parameter) for inner in part.modules() for parameter in inner.parameters(recurse=False))
        return all(uses[key] == count for key, count in own.items())

    def found(part: torch.nn.Module) -> Iterator[torch.nn.Module]:
        is_list = isinstance(part, torch.nn.ModuleList | torch.nn.Sequential)
        for child in part.children():
            n_parameters = sum(parameter.numel() for parameter in child.parameters())
            if n_parameters < smallest or isinstance(child, torch.nn.MultiheadAttention):
                continue  # attention reads the weights of its layers without calling them
            is_layer = type(child).forward is not torch.nn.Module.forward and not isinstance(child, torch.nn.Sequential)
            if is_layer and (is_list or not any(True for _ in child.children())):
                if stands_alone(child):
                    yield child
            else:
                yield from found(child)

    return list(dict.fromkeys(found(module)))


def _normalisations(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The layers of batch normalisation that have weights."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return [part for part in module.modules() if isinstance(part, _BatchNorm) and part.affine and part is not module]


def _give_memory_back() -> None:
    """Makes the C library return large tensors to the system when they are freed.

    It keeps them by default once such a size was freed, in pieces that the next tensors do not fit into: measured on
    96 MB of parameters in 24 blocks on two ranks, the peak was that of whole replicas, and 44 % of it with this.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


class _WeighedReduceScatter:
    """FSDP's mean of gradients, in which this rank's count as much as its share of the batch."""

    def __init__(self, weight: BatchWeight) -> None:
        self._weight = weight
        self.n_calls = 0

    def allocate(self, size: Any, *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        import torch

        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self, output_tensor: torch.Tensor, input_tensor: torch.Tensor, group: Any, op: Any, async_op: bool = False
    ) -> Any:
        import torch.distributed as dist

        self.n_calls += 1
        if self._weight.value != 1.0:
            input_tensor.mul_(self._weight.value)
        with together("the mean of gradients"):
            return dist.reduce_scatter_single(output_tensor, input_tensor, op=op, group=group, async_op=async_op)


def _cut_for_rank(module: torch.nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, own in [*module.named_parameters(), *module.named_buffers()]:
        value = state.get(prefix + name)
        if value is not None:
            state[prefix + name] = placed_like(value, own)
