"""Samplers and iterable datasets of the user's, as a copied DataLoader draws from them on a rank."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice
from typing import Any

from lagom_magic.worker.distribution.base import Place
from lagom_magic.worker.distribution.torch_random import RandomStreams
from lagom_magic.worker.distribution.torch_shares import share_of


class Common:
    """An iterable of the user's, drawn from with the common stream; attributes are the iterable's.

    Torch's own samplers draw their seed with the first item and then keep a generator of their own, so the streams
    need not change hands for each batch.
    """

    def __init__(self, iterable: Iterable[Any], streams: RandomStreams) -> None:
        vars(self).update(_iterable=iterable, _streams=streams)

    def __getattr__(self, name: str) -> Any:
        if name in ("_iterable", "_streams"):  # not there yet, while a copy is unpickled
            raise AttributeError(name)
        return getattr(self._iterable, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._iterable, name, value)

    def __len__(self) -> int:
        return len(self._iterable)

    def __iter__(self) -> Iterator[Any]:
        ends = object()
        with self._streams.common():
            items = iter(self._iterable)
            item = next(items, ends)
        draws_once = _draws_once(self._iterable)
        while item is not ends:
            yield item
            if draws_once:
                item = next(items, ends)
            else:
                with self._streams.common():
                    item = next(items, ends)


def _draws_once(iterable: Any) -> bool:
    from torch.utils.data import (
        BatchSampler,
        RandomSampler,
        SequentialSampler,
        SubsetRandomSampler,
        WeightedRandomSampler,
    )

    if type(iterable) is BatchSampler:
        return _draws_once(iterable.sampler)
    return type(iterable) in (RandomSampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler)


class RowsOfBlocks(Common):
    """An iterable dataset whose items are the rank's rows of each global batch, with their weight."""

    def __init__(
        self, dataset: Iterable[Any], batch_size: int, drop_last: bool, place: Place, streams: RandomStreams
    ) -> None:
        super().__init__(dataset, streams)
        vars(self).update(_batch_size=batch_size, _drop_last=drop_last, _place=place)

    def __iter__(self) -> Iterator[tuple[float, list[Any]]]:
        own = vars(self)
        batch_size, place = own["_batch_size"], own["_place"]
        rows: Iterator[Any] | None = None
        while True:
            with self._streams.common():
                if rows is None:
                    rows = iter(self._iterable)
                block = list(islice(rows, batch_size))
            if not block or (own["_drop_last"] and len(block) < batch_size):
                return
            share = share_of(len(block), batch_size, place.rank, place.world_size)
            yield share.weight, block[share.start : share.stop]


class RowsOfShare(RowsOfBlocks):
    """An iterable dataset of this rank's rows, of which all ranks have equally many, in its parts of global batches."""

    def __iter__(self) -> Iterator[tuple[float, list[Any]]]:
        own = vars(self)
        batch_size, world_size = own["_batch_size"], own["_place"].world_size
        with self._streams.common():
            rows = iter(self._iterable)
        for step in count():
            n_rows = (step + 1) * batch_size // world_size - step * batch_size // world_size
            block = list(islice(rows, n_rows))
            if (n_rows and not block) or (own["_drop_last"] and len(block) < n_rows):
                return
            if block:
                yield 1.0, block
