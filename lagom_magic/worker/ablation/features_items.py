"""Datasets of PyTorch and TensorFlow that give each item without some of its features."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from typing import Any

from lagom_magic.spec.dataset_files import shown
from lagom_magic.spec.dataset_kinds import is_pair
from lagom_magic.worker.ablation.features_values import dict_without, sliced


def tensorflow_without(data: Any, names: Collection[str], kept: list[int]) -> Any:
    """A `tf.data.Dataset` whose elements lack some features.

    Args:
        data: the whole.
        names: the features to leave out, of elements that are dicts.
        kept: the places that stay, of elements that are not.
    """
    import tensorflow as tf

    def values_without(values: Any) -> Any:
        if isinstance(values, Mapping):
            return {name: value for name, value in values.items() if str(name) not in names}
        return tf.gather(values, kept, axis=-1)

    def without(values: Any, *labels: Any) -> Any:
        return (values_without(values), *labels) if is_of_pairs else values_without(values)

    is_of_pairs = isinstance(data.element_spec, tuple)
    return data.map(tf.autograph.experimental.do_not_convert(without))


def torch_without(data: Any, names: Collection[str], kept: list[int], check: Callable[[Any], None]) -> Any:
    """A torch dataset whose items lack some features: a TensorDataset is made anew, others are looked at item by item.

    No item is read before the training reads it: an item may draw random numbers, or be there only once.

    Args:
        data: the whole.
        names: as in `tensorflow_without`.
        kept: as there.
        check: gets the first item, and raises if nothing can be left out of it.
    """
    from torch.utils.data import IterableDataset, TensorDataset

    if type(data) is TensorDataset:
        if len(data):
            check(data[0])
        values, *labels = data.tensors
        return TensorDataset(sliced(values, kept), *labels)
    wrapper = _rows_class() if isinstance(data, IterableDataset) else _items_class()
    return wrapper(data, frozenset(names), kept, check)


class _Without:
    """What both wrappers do. Other attributes of the dataset are refused, since they may hold all of its features."""

    def __init__(self, data: Any, names: frozenset[str], kept: list[int], check: Callable[[Any], None]) -> None:
        self._whole = data
        self._names = names
        self._kept = kept
        self._check = check
        self._is_checked = False

    def __len__(self) -> int:
        return len(self._whole)

    def __getattr__(self, name: str) -> Any:
        whole = vars(self).get("_whole")
        kind = type(whole).__name__
        if whole is None or name.startswith("_") or not hasattr(whole, name):
            raise AttributeError(f"{kind!r} object has no attribute {name!r}")
        left_out = ", ".join(map(shown, sorted(self._names)))
        raise AttributeError(
            f"{kind}.{name} may hold the features that this trial leaves out ({left_out}), and "
            "cannot be used while the items lack them. Read the dataset by its items, or give a function that takes "
            "the features to leave out: study.set_dataset_generator(fn)."
        )

    def _item_without(self, item: Any) -> Any:
        if not self._is_checked:
            self._check(item)
            self._is_checked = True
        if not is_pair(item):
            return self._values_without(item)
        parts = (self._values_without(item[0]), *item[1:])
        return type(item)(*parts) if hasattr(item, "_fields") else type(item)(parts)

    def _values_without(self, values: Any) -> Any:
        return dict_without(values, self._names) if isinstance(values, Mapping) else sliced(values, self._kept)


def _items(*arguments: Any) -> Any:
    """What a pickled map-style wrapper becomes."""
    return _items_class()(*arguments)


def _rows(*arguments: Any) -> Any:
    """What a pickled iterable wrapper becomes."""
    return _rows_class()(*arguments)


@cache
def _items_class() -> Any:
    from torch.utils.data import Dataset

    class ItemsWithout(_Without, Dataset):  # type: ignore[misc, type-arg, unused-ignore]
        """A map-style dataset."""

        def __reduce__(self) -> Any:
            return _items, (self._whole, self._names, self._kept, self._check)

        def __getitem__(self, index: Any) -> Any:
            return self._item_without(self._whole[index])

    return ItemsWithout


@cache
def _rows_class() -> Any:
    from torch.utils.data import IterableDataset

    class RowsWithout(_Without, IterableDataset):  # type: ignore[misc, type-arg, unused-ignore]
        """An iterable dataset."""

        def __reduce__(self) -> Any:
            return _rows, (self._whole, self._names, self._kept, self._check)

        def __iter__(self) -> Iterator[Any]:
            return map(self._item_without, self._whole)

    return RowsWithout
