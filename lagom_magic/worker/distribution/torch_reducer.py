"""Averages gradients over the ranks while a backward pass runs, by hooks on the parameters alone.

DistributedDataParallel prepares its reducer in the wrapper's `forward` and, measured with torch 2.13, silently leaves
gradients local when a module is used in another way: two forwards before two backwards, or a method beside `forward`.
Its callers know that; an oblivious function does not. Here a pass begins with the first parameter that gets a gradient,
so whatever the function computes with the module is reduced, the module itself is not touched (its type, its
`state_dict`, copies and pickles of it stay plain), and a parameter that no rank used keeps `grad = None`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from lagom_magic.errors import ConfigError
from lagom_magic.worker.distribution.torch_collectives import together
from lagom_magic.worker.distribution.torch_shares import BatchWeight

if TYPE_CHECKING:
    import torch

#: A first bucket that is small starts early; the sizes are DistributedDataParallel's.
FIRST_BUCKET_BYTES = 2**20
BUCKET_BYTES = 25 * 2**20


def check_torch() -> None:
    """Looks for what is used of torch beyond its documentation.

    Raises:
        ConfigError: this torch does not have it.
    """
    import torch

    engine = torch.autograd.Variable._execution_engine
    missing = [
        name
        for name, owner in (
            ("_current_graph_task_id", torch._C),
            ("_foreach_copy_", torch),
            ("queue_callback", engine),
            ("register_post_accumulate_grad_hook", torch.Tensor),
        )
        if not hasattr(owner, name)
    ]
    if missing:
        raise ConfigError(
            f"%%lagom train does not know torch {torch.__version__}: it has no {', '.join(missing)}. "
            "Versions 2.4 to 2.13 have them."
        )


class _Bucket:
    """Parameters whose gradients travel in one message; behind them one flag each: used by some rank or not."""

    def __init__(self, parameters: list[torch.Tensor]) -> None:
        import torch

        first = parameters[0]
        sizes = [parameter.numel() for parameter in parameters]
        self.parameters = parameters
        self.flat = torch.zeros(sum(sizes) + len(sizes), dtype=first.dtype, device=first.device)
        parts = self.flat.split([*sizes, len(sizes)])
        self.views = [part.view(parameter.shape) for part, parameter in zip(parts, parameters, strict=False)]
        self.flags = parts[-1]
        self.work: Any = None
        self.is_used = [False] * len(parameters)
        self.n_unused = len(parameters)

    def begin(self) -> None:
        self.work = None
        self.is_used = [False] * len(self.parameters)
        self.n_unused = len(self.parameters)

    def use(self, index: int) -> None:
        if not self.is_used[index]:
            self.is_used[index] = True
            self.n_unused -= 1

    def send(self, group: Any, world_size: int) -> None:
        import torch
        import torch.distributed as dist

        with torch.no_grad():
            for view, parameter in zip(self.views, self.parameters, strict=True):
                if parameter.grad is None:
                    view.zero_()
                else:
                    torch.mul(parameter.grad, 1 / world_size, out=view)
            self.flags.fill_(1) if self.n_unused == 0 else self.flags.copy_(torch.tensor(self.is_used))
            self.work = dist.all_reduce(self.flat, group=group, async_op=True)

    def receive(self) -> None:
        import torch

        self.work.wait()
        with torch.no_grad():
            if self.n_unused == 0:
                torch._foreach_copy_([parameter.grad for parameter in self.parameters], self.views)
                return
            for parameter, view, flag in zip(self.parameters, self.views, self.flags.tolist(), strict=True):
                if flag > 0 and parameter.grad is None:
                    parameter.grad = view.clone()
                elif flag > 0:
                    parameter.grad.copy_(view)


@contextmanager
def _hookable(parameter: torch.Tensor) -> Iterator[None]:
    """Lets hooks be put on a frozen parameter, too; they stay on it."""
    was_trained = parameter.requires_grad
    parameter.requires_grad_(True)
    try:
        yield
    finally:
        parameter.requires_grad_(was_trained)


class GradientReducer:
    """After each backward pass that reaches one of its parameters, their gradients are the mean over all ranks.

    All ranks must run the same passes in the same order; which parameters a pass reaches may differ.
    """

    def __init__(self, world_size: int, weight: BatchWeight, group: Any = None) -> None:
        """Watch nothing yet.

        Args:
            world_size: ranks in `group`.
            weight: of the batch on this rank; multiplies each gradient before it is added to `grad`.
            group: the process group, of this reducer alone: passes of two reducers may interleave differently.
        """
        check_torch()
        import torch

        self._torch = torch
        self._world_size = world_size
        self._weight = weight
        self._group = group
        self._parameters: list[torch.Tensor] = []
        self._handles: list[Any] = []
        self._weights: list[Any] = []
        weight.follow(self._weigh)
        self._trained: list[bool] = []
        self._buckets: list[_Bucket] = []
        self._place: dict[int, tuple[_Bucket, int]] = {}
        self._pass = -1
        self._n_sent = 0
        #: How many passes were reduced.
        self.n_passes = 0

    @property
    def n_watched(self) -> int:
        return len(self._parameters)

    def watch(self, parameters: Iterable[torch.Tensor]) -> bool:
        """Reduces the gradients of these too, frozen ones once they are trained; whether any was new."""
        known = {id(parameter) for parameter in self._parameters}
        new = [parameter for parameter in parameters if id(parameter) not in known]
        for parameter in new:
            ready = partial(self._ready, len(self._parameters))
            self._parameters.append(parameter)
            with _hookable(parameter):
                self._handles.append(parameter.register_post_accumulate_grad_hook(ready))
        if new:
            self._trained = []
            self._weigh(self._weight.value != 1.0)
        return bool(new)

    def close(self) -> None:
        self._weigh(False)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._parameters.clear()
        self._buckets.clear()
        self._place.clear()

    def _weigh(self, weighs: bool) -> None:
        """Puts hooks before the accumulation of gradients, for batches that need them: they cost a copy of each."""
        for handle in self._weights:
            handle.remove()
        self._weights.clear()
        if weighs:
            for parameter in self._parameters:
                with _hookable(parameter):
                    self._weights.append(parameter.register_hook(self._weighted))

    def _weighted(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * self._weight.value

    def _ready(self, index: int, _: torch.Tensor) -> None:
        a_pass = self._torch._C._current_graph_task_id()
        if a_pass != self._pass:
            self._begin(a_pass)
        bucket, place = self._place[index]
        bucket.use(place)
        if bucket.n_unused == 0:
            self._send_complete()

    def _begin(self, a_pass: int) -> None:
        trained = [parameter.requires_grad for parameter in self._parameters]
        if trained != self._trained:
            self._trained = trained
            self._fill_buckets()
        for bucket in self._buckets:
            bucket.begin()
        self._pass = a_pass
        self._n_sent = 0
        self._torch.autograd.Variable._execution_engine.queue_callback(self._end)

    def _send_complete(self) -> None:
        """Sends in the order of the buckets, which is the same on all ranks, whatever their passes reach first."""
        while self._n_sent < len(self._buckets) and self._buckets[self._n_sent].n_unused == 0:
            with together("the mean of gradients"):
                self._buckets[self._n_sent].send(self._group, self._world_size)
            self._n_sent += 1

    def _end(self) -> None:
        with together("the mean of gradients"):
            for bucket in self._buckets[self._n_sent :]:
                bucket.send(self._group, self._world_size)
            for bucket in self._buckets:
                bucket.receive()
        self._pass = -1
        self.n_passes += 1

    def _fill_buckets(self) -> None:
        """Puts trained parameters into buckets, last first, as a backward pass reaches them."""
        self._buckets.clear()
        self._place.clear()
        open_buckets: dict[Any, list[int]] = {}
        n_bytes: dict[Any, int] = {}
        limit = FIRST_BUCKET_BYTES
        for index in reversed(range(len(self._parameters))):
            if not self._trained[index]:
                continue
            parameter = self._parameters[index]
            kind = (parameter.device, parameter.dtype)
            open_buckets.setdefault(kind, []).append(index)
            n_bytes[kind] = n_bytes.get(kind, 0) + parameter.numel() * parameter.element_size()
            if n_bytes[kind] >= limit:
                self._add_bucket(open_buckets.pop(kind))
                n_bytes[kind] = 0
                limit = BUCKET_BYTES
        for indices in open_buckets.values():
            self._add_bucket(indices)

    def _add_bucket(self, indices: list[int]) -> None:
        bucket = _Bucket([self._parameters[index] for index in indices])
        self._buckets.append(bucket)
        self._place.update({index: (bucket, place) for place, index in enumerate(indices)})
