"""Data that were given, as Maggy's `TfDistributedConfig` promises them to the training function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: argument → the setting that holds its rows per worker, when the user's hparams name one.
_BATCH_SIZES = {"train_set": "train_batch_size", "dataset": "train_batch_size", "test_set": "test_batch_size"}


def batched(given: Mapping[str, Any], settings: Mapping[str, Any], world_size: int) -> dict[str, Any]:
    """`given`, where tuples of arrays whose batch size is set are batched `tf.data` of that many rows per worker.

    A batch holds the rows of all workers: `fit` and `evaluate` cut it.
    """
    own = dict(given)
    for argument, setting in _BATCH_SIZES.items():
        data, batch_size = given.get(argument), settings.get(setting)
        if batch_size and isinstance(data, (tuple, list)):
            import tensorflow as tf

            own[argument] = tf.data.Dataset.from_tensor_slices(tuple(data)).batch(int(batch_size) * world_size)
    return own
