"""Cuts each global batch into one part a rank.

A rank reads what a single process would read, in the same order, and takes its rows of each batch: so every rank has
the same number of steps, whatever the input is (arrays, `tf.data`, `PyDataset`, generators), and all parts together
are the batches of one process. Reading is repeated on each rank, computing is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lagom_magic.errors import ConfigError

#: The key that tells a cut batch from one of the user's.
_CUT = "lagom_magic.cut_batch"
#: What a dataset of one rank's own rows has: (rank, world size). All ranks' have the same number of rows.
_SHARE = "_lagom_share"


@dataclass(frozen=True, slots=True)
class Part:
    """One rank's rows of a global batch.

    Attributes:
        data: the rows, in the structure of the batch.
        n_rows: how many of them count, as a float tensor: 0 where another rank counts the same rows.
        n_global: rows of the global batch, as a float tensor; 0 where the ranks' rows differ by themselves.
    """

    data: Any
    n_rows: Any
    n_global: Any


class Cutter:
    """Knows which rows are this rank's."""

    def __init__(self, rank: int, world_size: int) -> None:
        self._rank = rank
        self._world_size = world_size

    def cut_dataset(self, dataset: Any) -> Any:
        """A dataset of batches → the same with this rank's part of each, to be read by `part_of`."""
        if is_share(dataset):
            return self._cut_share(dataset)

        def cut(*elements: Any) -> dict[str, Any]:
            part = self.cut(_batch(elements))
            return {_CUT: (part.data, part.n_rows, part.n_global)}

        return dataset.map(cut)

    def _cut_share(self, dataset: Any) -> Any:
        """A batch of this rank's own rows → one part for each of as many steps as there are ranks.

        So a step of all ranks together has the rows that the user has batched, and all ranks, whose shares are equal,
        take the same steps.
        """
        import tensorflow as tf

        def cut(*elements: Any) -> Any:
            batch = _batch(elements)
            n = _n_rows(batch)

            def step(index: Any) -> dict[str, Any]:
                start, stop = n * index // self._world_size, n * (index + 1) // self._world_size
                rows = tree.map_structure(lambda leaf: _rows(leaf, start, stop), batch)
                return {_CUT: (rows, tf.cast(stop - start, tf.float32), tf.zeros(()))}

            return tf.data.Dataset.range(self._world_size, output_type=tf.int32).map(step)

        from keras import tree

        return dataset.flat_map(cut).filter(lambda element: element[_CUT][1] > 0)

    def part_of(self, batch: Any) -> Part:
        """The part in an element of `cut_dataset`, or that of a batch which did not come through it."""
        if isinstance(batch, dict) and _CUT in batch:
            return Part(*batch[_CUT])
        return self.cut(batch)

    def cut(self, batch: Any) -> Part:
        """This rank's rows of a global batch: n·rank/world ≤ row < n·(rank+1)/world.

        A batch of fewer rows than ranks goes to all ranks, and counts on the first.
        """
        import tensorflow as tf
        from keras import tree

        n = _n_rows(batch)
        is_too_small = n < self._world_size
        start = tf.where(is_too_small, 0, n * self._rank // self._world_size)
        stop = tf.where(is_too_small, n, n * (self._rank + 1) // self._world_size)
        counted = tf.where(is_too_small, n if self._rank == 0 else 0, stop - start)
        data = tree.map_structure(lambda leaf: _rows(leaf, start, stop), batch)
        return Part(data, tf.cast(counted, tf.float32), tf.cast(n, tf.float32))


def is_share(dataset: Any) -> bool:
    """Whether a dataset has one rank's rows only: it is, or was made from, one that says so."""
    return hasattr(dataset, _SHARE) or any(is_share(source) for source in dataset._inputs())


def check_batches(dataset: Any) -> None:
    """Looks whether rows of Parquet files come in batches.

    Raises:
        ConfigError: they come one by one, which Keras would take for a batch of something else.
    """
    import tensorflow as tf
    from keras import tree

    label = _label_of_rows(dataset)
    leaves = tree.flatten(dataset.element_spec)
    if label and any(isinstance(leaf, tf.TensorSpec) and leaf.shape.rank == 0 for leaf in leaves):
        raise ConfigError(
            f"Keras takes batches of (inputs, targets), and here come single rows of {label}. Make batches of them: "
            'data.map(lambda row: (row["x"], row["y"])).batch(64), with your columns.'
        )


def _label_of_rows(dataset: Any) -> str:
    """What messages call the Parquet files that a dataset is made from; "" when it is not."""
    own = getattr(dataset, "_lagom_rows", "")
    return own or next(filter(None, map(_label_of_rows, dataset._inputs())), "")


def _batch(elements: tuple[Any, ...]) -> Any:
    """What a dataset hands to functions as several arguments, or as one."""
    return elements if len(elements) > 1 else elements[0]


def _n_rows(batch: Any) -> Any:
    """Rows of a batch: the first dimension of what has one."""
    import tensorflow as tf
    from keras import tree

    for leaf in tree.flatten(batch):
        if _has_rows(leaf):
            return leaf.nrows(tf.int32) if isinstance(leaf, tf.RaggedTensor) else tf.cast(tf.shape(leaf)[0], tf.int32)
    raise ValueError(f"A batch needs rows to be shared by ranks, and this has none: {batch!r}")


def _has_rows(leaf: Any) -> bool:
    import tensorflow as tf

    if leaf is None or isinstance(leaf, tf.experimental.Optional):
        return False
    return getattr(leaf, "shape", None) is not None and leaf.shape != ()


def _rows(leaf: Any, start: Any, stop: Any) -> Any:
    import tensorflow as tf

    if not _has_rows(leaf):
        return leaf
    if isinstance(leaf, tf.SparseTensor):
        shape = leaf.dense_shape
        begin = tf.concat([[tf.cast(start, tf.int64)], tf.zeros_like(shape[1:])], 0)
        size = tf.concat([[tf.cast(stop - start, tf.int64)], shape[1:]], 0)
        return tf.sparse.slice(leaf, begin, size)
    return leaf[start:stop]
