"""Gives each rank its part of every global batch, by a patch of `torch.utils.data.DataLoader` while a function runs.

A loader that trains is sharded: each rank draws the same global batches, in the order in which one process would, and
takes its rows of each. A loader that evaluates is not: each rank sees all of it, and metrics are those of one process.
Nothing of the user's loader changes; what is iterated is a copy of it.

* Map-style datasets: a rank reads its rows only. Samplers, batch samplers and generators of the user's are used as
  they are.
* Iterable datasets: each rank iterates all rows, and keeps its rows of each block of `batch_size`.
* Iterable datasets of the rank's own rows (`lagom_share`, as Parquet files are read; also within one of the user's):
  all ranks take equally many rows for each global batch. To be evaluated on they are read whole.
* `batch_size=None`: the dataset hands over batches that are ready; each tensor in them is cut along its first
  dimension.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from lagom_magic.errors import ConfigError
from lagom_magic.worker.distribution.base import Place
from lagom_magic.worker.distribution.torch_batches import cut, is_share, n_rows_of, whole_of
from lagom_magic.worker.distribution.torch_random import RandomStreams
from lagom_magic.worker.distribution.torch_rows import Common, RowsOfBlocks, RowsOfShare
from lagom_magic.worker.distribution.torch_shares import BatchWeight, share_of

#: Keeps the workers of one rank apart from those of the next: a large odd number.
_SEEDS_APART = 0x9E3779B97F4A7C15


class ShardedLoaders:
    """The patch, and what it has seen."""

    def __init__(
        self,
        place: Place,
        streams: RandomStreams,
        weight: BatchWeight,
        *,
        evaluates: Callable[[Any], bool],
        before_use: Callable[[], None],
        before_step: Callable[[], None],
        after_epoch: Callable[[], None],
        on_stop: Callable[[], None],
    ) -> None:
        """Patch nothing yet.

        Args:
            place: of this rank.
            streams: of random numbers.
            weight: set for each batch.
            evaluates: whether a loader that is about to be iterated is one for evaluation.
            before_use: called on all ranks before any loader is iterated.
            before_step: called on all ranks before each batch of a sharded loader is drawn.
            after_epoch: called on all ranks when a sharded loader has come to its end.
            on_stop: called when the iteration of a sharded loader stops, by its end or before.
        """
        self._place = place
        self._streams = streams
        self._weight = weight
        self._evaluates = evaluates
        self._before_use = before_use
        self._before_step = before_step
        self._after_epoch = after_epoch
        self._on_stop = on_stop
        #: Copies whose worker processes live on between epochs.
        self._copies: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._copies_of_all_rows: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._generators = _Generators()
        #: Batches of sharded loaders so far.
        self.n_steps = 0

    @contextmanager
    def patched(self) -> Iterator[None]:
        """All loaders, whenever and wherever their class was imported, until the end of the block."""
        from torch.utils.data import DataLoader

        plain, plain_init = DataLoader.__iter__, DataLoader.__init__

        def iterated(loader: Any) -> Any:
            return self._iterated(loader, plain)

        @wraps(plain_init)
        def made(
            loader: Any, dataset: Any, batch_size: Any = 1, shuffle: Any = None, *args: Any, **options: Any
        ) -> None:
            if getattr(dataset, "lagom_share", None) is not None:
                shuffle = None  # it is shuffled already, and torch refuses it for what is iterated
            plain_init(loader, dataset, batch_size, shuffle, *args, **options)

        DataLoader.__iter__, DataLoader.__init__ = iterated, made
        try:
            yield
        finally:
            DataLoader.__iter__, DataLoader.__init__ = plain, plain_init
            self._copies.clear()
            self._copies_of_all_rows.clear()

    def generator_states(self) -> list[Any]:
        """States of the generators that users gave to loaders, in the order of their first use."""
        return self._generators.states()

    def restore_generators(self, states: list[Any]) -> None:
        self._generators.restore(states)

    def _iterated(self, loader: Any, plain: Callable[[Any], Any]) -> Any:
        self._generators.meet(loader)
        self._before_use()
        with self._streams.common():
            if self._evaluates(loader):
                is_whole = not is_share(loader.dataset)
                return plain(loader if is_whole else _kept(self._copies_of_all_rows, loader, _with_all_rows))
            shadow = _kept(self._copies, loader, self._copy_of)
            return self._steps(shadow.lagom_part, plain(shadow))

    def _steps(self, part: _Part, batches: Iterator[Any]) -> Iterator[Any]:
        try:
            while True:
                self._before_step()
                self._streams.go_own()
                try:
                    batch = next(batches)
                except StopIteration:
                    break
                batch, self._weight.value = part.taken(batch)
                self.n_steps += 1
                yield batch
        finally:
            self._weight.value = 1.0
            self._streams.go_common()
            self._on_stop()
        self._after_epoch()

    def _copy_of(self, loader: Any) -> Any:
        """A loader like this one that reads the rank's part; attributes are set as its `__init__` would set them."""
        from torch.utils.data import IterableDataset, IterDataPipe, MapDataPipe

        if isinstance(loader.dataset, IterDataPipe | MapDataPipe):
            raise ConfigError(
                "%%lagom train cannot share out a DataPipe, which shares itself out. "
                "Give the DataLoader a Dataset or an IterableDataset."
            )
        shadow = copy(loader)
        own = vars(shadow)
        own["in_order"] = True  # else ranks would not work on the same global batch
        own["_iterator"] = None
        if isinstance(loader.dataset, IterableDataset):
            has_own_rows = is_share(loader.dataset)
            if loader.batch_sampler is None:
                own["dataset"] = Common(loader.dataset, self._streams)
                own["lagom_part"] = _Part() if has_own_rows else _CutBatches(self._place)
            else:
                kind = RowsOfShare if has_own_rows else RowsOfBlocks
                own["dataset"] = kind(loader.dataset, loader.batch_size, loader.drop_last, self._place, self._streams)
                own["batch_sampler"] = own["batch_size"] = None
                own["drop_last"] = False
                own["collate_fn"] = _BesideWeight(loader.collate_fn)
                own["lagom_part"] = _WeighedBatches()
            return shadow
        own["generator"] = self._own_generator(loader.generator)
        if loader.batch_sampler is None:
            own["sampler"] = Common(loader.sampler, self._streams)
            own["lagom_part"] = _CutBatches(self._place)
        else:
            batches = _PartsOfBatches(loader, self._place, self._streams)
            own["batch_sampler"] = own["lagom_part"] = batches
        return shadow

    def _own_generator(self, common: Any) -> Any:
        """What seeds the loader's workers on this rank; takes from the common stream what a plain loader would."""
        import torch

        seed = int(torch.empty((), dtype=torch.int64).random_(generator=common).item())
        generator = torch.Generator()
        generator.manual_seed((seed + self._place.rank * _SEEDS_APART) % 2**63)
        return generator


def _kept(copies: WeakKeyDictionary[Any, Any], loader: Any, make: Callable[[Any], Any]) -> Any:
    """The copy of a loader; the same each time where its worker processes live on between epochs."""
    found = copies.get(loader)
    if found is None:
        found = make(loader)
        if loader.persistent_workers:
            copies[loader] = found
    return found


def _with_all_rows(loader: Any) -> Any:
    """A loader like this one, which reads what all ranks have in place of this rank's own rows."""
    whole = copy(loader)
    vars(whole).update(dataset=whole_of(loader.dataset), _iterator=None)
    return whole


class _Part:
    """Turns what a copied loader yields into the rank's batch and its weight; this one takes it as it is."""

    def taken(self, batch: Any) -> tuple[Any, float]:
        return batch, 1.0


class _PartsOfBatches(_Part):
    """A batch sampler that yields the rank's part of each batch of the user's; batches come back in this order."""

    def __init__(self, loader: Any, place: Place, streams: RandomStreams) -> None:
        self._batches = loader.batch_sampler
        self._place = place
        self._streams = streams
        self._usual = loader.batch_size or getattr(loader.batch_sampler, "batch_size", 0)
        self._weights: deque[float] = deque()

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[Any]]:
        self._weights.clear()
        usual = self._usual
        for batch in Common(self._batches, self._streams):
            rows = list(batch)
            usual = max(usual, len(rows))
            share = share_of(len(rows), usual, self._place.rank, self._place.world_size)
            self._weights.append(share.weight)
            yield rows[share.start : share.stop]

    def taken(self, batch: Any) -> tuple[Any, float]:
        return batch, self._weights.popleft()


class _WeighedBatches(_Part):
    def taken(self, batch: Any) -> tuple[Any, float]:
        weight, rows = batch
        return rows, weight


class _CutBatches(_Part):
    """Cuts batches that came ready from the dataset."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._usual = 0

    def taken(self, batch: Any) -> tuple[Any, float]:
        n_rows = n_rows_of(batch)
        self._usual = max(self._usual, n_rows)
        share = share_of(n_rows, self._usual, self._place.rank, self._place.world_size)
        return cut(batch, n_rows, slice(share.start, share.stop)), share.weight


class _BesideWeight:
    """Collates rows that come with a weight, and passes the weight on; travels to worker processes."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self._collate = collate

    def __call__(self, weighed: tuple[float, list[Any]]) -> tuple[float, Any]:
        weight, rows = weighed
        return weight, self._collate(rows)


class _Generators:
    """Generators that users gave to loaders, numbered by first use, so that a checkpoint can keep how far they are."""

    def __init__(self) -> None:
        self._known: list[Any] = []
        self._pending: list[Any] = []

    def meet(self, loader: Any) -> None:
        sampler = getattr(loader, "sampler", None)
        for generator in (loader.generator, getattr(sampler, "generator", None)):
            if generator is None or any(generator is known for known in self._known):
                continue
            if len(self._known) < len(self._pending):
                generator.set_state(self._pending[len(self._known)])
            self._known.append(generator)

    def states(self) -> list[Any]:
        return [generator.get_state() for generator in self._known]

    def restore(self, states: list[Any]) -> None:
        self._pending = states
        for generator, state in zip(self._known, states, strict=False):
            generator.set_state(state)
