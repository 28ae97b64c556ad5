"""Tensor parallelism: layers that the module's own `parallelize_plan` names are cut over the ranks (`tp`).

All ranks see all rows; each computes its part of the named layers. The plan is an attribute of the class or of what
the factory makes: {name of a submodule: a style of torch.distributed.tensor.parallel}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lagom_magic.errors import ConfigError
from lagom_magic.worker.distribution.torch_collectives import broadcast_all
from lagom_magic.worker.distribution.torch_precision import in_mixed_precision
from lagom_magic.worker.distribution.torch_sharding import InParts

if TYPE_CHECKING:
    import torch


class TensorParallel(InParts):
    """Each rank holds its part of the layers in the plan, and all of the others."""

    shards_data = False

    def adopt(self, module: torch.nn.Module) -> None:
        from torch.distributed.tensor.parallel import parallelize_module

        plan = getattr(module, "parallelize_plan", None)
        if not plan:
            raise ConfigError(
                f"--strategy tp needs to know how {type(module).__name__} is cut: give it an attribute "
                "`parallelize_plan`, such as {'up': ColwiseParallel(), 'down': RowwiseParallel()}, with styles of "
                "torch.distributed.tensor.parallel. --strategy fsdp cuts any module."
            )
        broadcast_all([*module.parameters(), *module.buffers()])
        parallelize_module(module, self.mesh(), dict(plan))
        self.hook_states(module)
        if self._mixed_precision:
            in_mixed_precision(module, self._mixed_precision)

    def settle(self, module: torch.nn.Module) -> None:
        """Layers that were added are those of all ranks, and see the same rows."""

    def verify(self, module: torch.nn.Module) -> None:
        from torch.distributed.tensor import DTensor

        assert any(isinstance(parameter, DTensor) for parameter in module.parameters()), "no layer is cut"
