"""What the ranks of a torch training say to each other outside of gradients, and what it means when that fails."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lagom_magic.errors import LagomError

if TYPE_CHECKING:
    import torch

#: Tensors are sent together, up to this many bytes.
CHUNK_BYTES = 25 * 2**20

_OF_ANOTHER = re.compile(
    r"connection (closed|reset|refused)|broken pipe|timed out|timeout|socket|gloo|nccl|store|remote process exited",
    re.IGNORECASE,
)


class CollectiveError(LagomError, RuntimeError):
    """The ranks could not finish something that all must do together: one of them is gone, late or elsewhere."""


class RanksApartError(LagomError, RuntimeError):
    """The ranks trained, and do not hold the same model any more."""


@contextmanager
def together(what: str) -> Iterator[None]:
    """Names what the ranks were doing together when one of them went missing.

    Raises:
        CollectiveError: in place of the backend's RuntimeError.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, CollectiveError):
            raise
        raise CollectiveError(
            f"This rank could not finish {what}, which all ranks do together: {_first_line(error)}\n"
            "Another rank has failed, is stuck, or left its training loop earlier than this one. Steps must be the "
            "same on all ranks: a loop may not end by a number that differs between them, such as the loss of the "
            "rank's own share of a batch."
        ) from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def is_of_another_rank(error: BaseException) -> bool:
    """Whether an error, or what it was raised from, looks as if another rank had gone."""
    import torch.distributed as dist

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, CollectiveError | dist.DistError):
            return True
        if isinstance(seen, RuntimeError | ConnectionError) and type(seen).__module__ in ("builtins", "torch"):
            text = str(seen)
            if _OF_ANOTHER.search(text) and ("gloo" in text.lower() or "nccl" in text.lower() or "onnection" in text):
                return True
        seen = seen.__cause__
    return False


def broadcast_all(tensors: Iterable[torch.Tensor]) -> None:
    """Gives all ranks the values of rank 0, in place, in few messages."""
    import torch
    import torch.distributed as dist

    with torch.no_grad():
        for chunk in _chunks([tensor.detach() for tensor in tensors]):
            flat = torch.cat([tensor.reshape(-1) for tensor in chunk])
            with together("the broadcast of weights"):
                dist.broadcast(flat, src=0)
            parts = flat.split([tensor.numel() for tensor in chunk])
            for tensor, part in zip(chunk, parts, strict=True):
                tensor.copy_(part.view(tensor.shape))


def _chunks(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    kinds: dict[Any, list[torch.Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.device, tensor.dtype), []).append(tensor)
    for kind in kinds.values():
        chunk: list[torch.Tensor] = []
        n_bytes = 0
        for tensor in kind:
            chunk.append(tensor)
            n_bytes += tensor.numel() * tensor.element_size()
            if n_bytes >= CHUNK_BYTES:
                yield chunk
                chunk, n_bytes = [], 0
        if chunk:
            yield chunk


def gathered(value: Any, world_size: int) -> list[Any]:
    """A small value of each rank, by rank, on all ranks; plain values and tensors, as checkpoints keep them."""
    import torch
    import torch.distributed as dist

    own = _as_bytes(value)
    lengths = [length for (length,) in gathered_numbers([len(own)], world_size)]
    padded = torch.zeros(max(lengths), dtype=torch.uint8)
    padded[: len(own)] = own
    of_ranks = [torch.empty_like(padded) for _ in range(world_size)]
    with together("the exchange of states"):
        dist.all_gather(of_ranks, padded)
    return [_from_bytes(of_rank[:length]) for of_rank, length in zip(of_ranks, lengths, strict=True)]


def gathered_numbers(numbers: Sequence[int], world_size: int) -> list[list[int]]:
    """Equally many whole numbers of each rank, by rank, on all ranks; quicker than `gathered`."""
    import torch
    import torch.distributed as dist

    of_ranks = [torch.zeros(len(numbers), dtype=torch.int64) for _ in range(world_size)]
    with together("the comparison of weights"):
        dist.all_gather(of_ranks, torch.tensor(numbers, dtype=torch.int64))
    return [of_rank.tolist() for of_rank in of_ranks]


def from_rank_0(value: Any) -> Any:
    """Rank 0's value, on all ranks; plain values and tensors, as checkpoints keep them."""
    import torch
    import torch.distributed as dist

    data = _as_bytes(value)
    length = torch.tensor([len(data)])
    with together("the exchange of states"):
        dist.broadcast(length, src=0)
        if dist.get_rank() != 0:
            data = torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(data, src=0)
    return _from_bytes(data)


def _as_bytes(value: Any) -> torch.Tensor:
    import torch

    from lagom_magic.worker.distribution.torch_states import as_saved

    buffer = io.BytesIO()
    torch.save(as_saved(value), buffer)
    return torch.frombuffer(bytearray(buffer.getbuffer()), dtype=torch.uint8)


def _from_bytes(data: torch.Tensor) -> Any:
    """Runs no code of what came: other ranks' bytes are of the network."""
    import torch

    return torch.load(io.BytesIO(bytes(data.numpy())), weights_only=True)
