"""What data are made of: rows of batches that come ready from a dataset, and datasets made from others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any

from lagom_magic.errors import ConfigError

#: A longer list is rows, not parts.
_MOST_PARTS = 16


def n_rows_of(batch: Any) -> int:
    """Rows of a batch: the first dimension that all of its tensors and arrays share.

    Raises:
        ConfigError: there is none.
    """
    sizes = {int(leaf.shape[0]) if leaf.ndim else 0 for leaf in _arrays(batch)}
    if len(sizes) == 1 and 0 not in sizes:
        return sizes.pop()
    raise ConfigError(
        f"DataLoader(batch_size=None) handed over a {type(batch).__name__} that %%lagom train cannot cut for the "
        f"ranks: its tensors have first dimensions {sorted(sizes) or 'of none'}, and one is needed. "
        "Let the DataLoader make the batches (batch_size=…), or give all tensors of a batch the same number of rows."
    )


def cut(batch: Any, n_rows: int, rows: slice) -> Any:
    """The batch with these rows only; a list without tensors is cut too when it has `n_rows` items."""
    if _is_array(batch):
        return batch[rows]
    if isinstance(batch, Mapping):
        kept = {key: cut(value, n_rows, rows) for key, value in batch.items()}
        return kept if type(batch) is dict else type(batch)(kept)  # type: ignore[call-arg]
    if isinstance(batch, tuple | list):
        if len(batch) == n_rows and next(_arrays(batch), None) is None:
            return batch[rows]
        items = [cut(item, n_rows, rows) for item in batch]
        return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)
    return batch


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "ndim") and hasattr(leaf, "__getitem__")


def _arrays(batch: Any) -> Iterator[Any]:
    if _is_array(batch):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from _arrays(value)
    elif isinstance(batch, tuple | list):
        for item in batch:
            yield from _arrays(item)


def is_share(dataset: Any) -> bool:
    """Whether a dataset is a rank's own rows, as Parquet files are read, or one of the user's that wraps them."""
    return getattr(dataset, "lagom_share", None) is not None or any(is_share(part) for part in _wrapped(dataset))


def whole_of(dataset: Any) -> Any:
    """A dataset like this one, with all ranks' rows where it has a rank's own; itself where it has none of these."""
    if not is_share(dataset):
        return dataset
    if hasattr(dataset, "lagom_whole"):
        return dataset.lagom_whole()
    whole = copy(dataset)
    for name, value in vars(dataset).items():
        if isinstance(value, list | tuple):
            vars(whole)[name] = type(value)(whole_of(item) for item in value)
        else:
            vars(whole)[name] = whole_of(value)
    return whole


def _wrapped(dataset: Any) -> Iterator[Any]:
    """Datasets of torch's that are attributes of another, by themselves or in lists."""
    from torch.utils.data import Dataset

    if isinstance(dataset, Dataset):
        for value in vars(dataset).values():
            parts = value[:_MOST_PARTS] if isinstance(value, list | tuple) else [value]
            yield from (part for part in parts if isinstance(part, Dataset))


def is_made_of(dataset: Any, source: Any) -> bool:
    """Whether a dataset is `source`, a part of it, or made of its arrays."""
    if source is None:
        return False
    origins = {key for origin in _origins(source) for key in _keys(origin)}
    return any(key in origins for part in _origins(dataset) for key in _keys(part))


def _origins(dataset: Any) -> Iterator[Any]:
    """A dataset and those that it wraps (Subset, ConcatDataset, TensorDataset, tuples of arrays)."""
    yield dataset
    if isinstance(dataset, tuple | list):
        if len(dataset) <= _MOST_PARTS:
            for item in dataset:
                yield from _origins(item)
        return
    own = getattr(dataset, "__dict__", {})
    for name in ("dataset", "datasets", "tensors"):
        if name in own:
            yield from _origins(own[name])


def _keys(part: Any) -> Iterator[Any]:
    """What makes two of them the same: the object, or the memory of its numbers."""
    if isinstance(part, int | float | str | bytes | bool | None):
        return
    yield id(part)
    if hasattr(part, "data_ptr") and part.numel():
        yield ("memory", part.data_ptr(), tuple(part.shape))
    elif hasattr(part, "__array_interface__") and part.size:
        yield ("memory", part.__array_interface__["data"][0], tuple(part.shape))
