"""Rows of Parquet files as PyTorch and TensorFlow take them; made by `ParquetData`."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from lagom_magic.errors import ConfigError
from lagom_magic.worker.distribution.parquet_reading import require_pyarrow

if TYPE_CHECKING:
    from lagom_magic.worker.distribution.parquet import ParquetData


def torch_rows(data: ParquetData, rank: int, world_size: int) -> Any:
    """A `torch.utils.data.IterableDataset` of a rank's rows; also what a pickled one becomes."""
    return _torch_class()(data, rank, world_size)


@cache
def _torch_class() -> Any:
    import torch
    from torch.utils.data import IterableDataset, get_worker_info

    class ParquetRows(IterableDataset):  # type: ignore[misc, type-arg, unused-ignore]
        """The rows of one rank, in another order each time: drawn from torch's generator, as by its own samplers.

        Its length is the number of rows that all ranks read together.
        """

        def __init__(self, data: ParquetData, rank: int, world_size: int) -> None:
            self._data = data
            self._rank, self._world_size = rank, world_size
            self._rows = data.rows_of(rank, world_size)
            require_pyarrow(data.label)
            #: How often a worker process of a DataLoader has begun: it lives for many epochs with one seed.
            self._n_passes = 0
            if world_size > 1:
                self.lagom_share = (rank, world_size)

        def __reduce__(self) -> Any:
            return torch_rows, (self._data, self._rank, self._world_size)

        def lagom_whole(self) -> Any:
            """The same for all ranks' rows, to be evaluated on."""
            return torch_rows(self._data, 0, 1)

        def __len__(self) -> int:
            return self._data.n_rows // self._world_size * self._world_size

        def __iter__(self) -> Iterator[dict[str, Any]]:
            worker = get_worker_info()
            if worker is None:
                seed = [int(torch.empty((), dtype=torch.int64).random_().item())]
                first, last = self._rows
            else:
                seed = [worker.seed - worker.id, worker.id, self._n_passes]
                first, last = _part(*self._rows, worker.id, worker.num_workers)
                self._n_passes += 1
            # The seed is drawn now, not with the first row.
            return self._read(first, last, None if self._data.is_test else seed)

        def _read(self, first: int, last: int, seed: list[int] | None) -> Iterator[dict[str, Any]]:
            for block in self._data.blocks(first, last, seed):
                tensors = {name: _tensors(rows) for name, rows in block.items()}
                for values in zip(*tensors.values(), strict=True):
                    yield dict(zip(tensors, values, strict=True))

    return ParquetRows


def _part(start: int, stop: int, index: int, n_parts: int) -> tuple[int, int]:
    """The `index`-th of `n_parts` parts of some rows."""
    return tuple(start + (stop - start) * i // n_parts for i in (index, index + 1))  # type: ignore[return-value]


def _tensors(rows: Any) -> Any:
    """Rows as something to iterate: tensors, or texts as they are."""
    import numpy as np
    import torch

    if rows.dtype != object:
        return torch.from_numpy(rows)
    return [torch.from_numpy(row) if isinstance(row, np.ndarray) else row for row in rows]


def tensorflow_rows(data: ParquetData, rank: int, world_size: int, seed: int | None) -> Any:
    """A `tf.data.Dataset` of a rank's rows, in another order each time."""
    import tensorflow as tf

    first, last = data.rows_of(rank, world_size)
    seeds = [secrets.randbits(63) if seed is None else seed, rank]
    passes = itertools.count()

    def blocks() -> Iterator[dict[str, Any]]:
        order = None if data.is_test else [*seeds, next(passes)]
        for block in data.blocks(first, last, order):
            for name, rows in block.items():
                _check_even(data.label, name, rows, signature[name])
            yield block

    signature = {name: _spec(rows) for name, rows in data.first_block().items()}
    rows = tf.data.Dataset.from_generator(blocks, output_signature=signature).unbatch()
    rows = rows.apply(tf.data.experimental.assert_cardinality(last - first))
    rows._lagom_rows = f"{data.label} with the columns {', '.join(signature)}"
    if world_size > 1:
        rows._lagom_share = (rank, world_size)
    return rows


def _spec(rows: Any) -> Any:
    import tensorflow as tf

    kind = tf.string if rows.dtype == object else tf.as_dtype(rows.dtype)
    return tf.TensorSpec((None, *rows.shape[1:]), kind)


def _check_even(label: str, name: str, rows: Any, spec: Any) -> None:
    if rows.shape[1:] != tuple(spec.shape[1:]):
        raise ConfigError(
            f"{label}: column {name!r} has lists of different lengths, which TensorFlow cannot batch. "
            "Make them equally long, as with zeros at the end."
        )
