"""`--log-weights`: histograms of weights and gradients in an event file of the trial's TensorBoard folder.

Needs tensorboard where the trial runs, and no TensorFlow: records are written without its file system.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from lagom_magic.tensorboard import logdir
from lagom_magic.worker.autolog.record import Record

_N_BUCKETS = 30
#: Of a larger tensor, evenly spaced elements are counted.
MAX_ELEMENTS = 1_000_000


class Histograms:
    """Writes those of one trial; the file is made with the first one.

    Args:
        record: of the trial; where errors go.
        every_n_steps: of an optimizer, >= 1.
    """

    def __init__(self, record: Record, every_n_steps: int) -> None:
        self.record = record
        self._every_n_steps = every_n_steps
        self._file: Any = None
        self._writer: Any = None

    def is_due(self, step: int, last_step: int | None = None) -> bool:
        """Whether to write after this step, counted from 1; `last_step`: that of the last question, if not before."""
        before = step - 1 if last_step is None else last_step
        return self.record.is_listening and step // self._every_n_steps > before // self._every_n_steps

    def write(self, arrays: Mapping[str, Any], step: int) -> None:
        """Adds one histogram an array.

        Args:
            arrays: tag → NumPy array, such as {"weights/dense/kernel": …}.
            step: of the optimizer.
        """
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, histo=_histogram(array)) for tag, array in arrays.items() if array.size]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def _write(self, event: Any) -> None:
        if self._writer is None:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.summary.writer.record_writer import RecordWriter

            name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.weights"
            self._file = open(os.path.join(logdir(), name), "ab")  # noqa: SIM115 - `close` closes it
            self._writer = RecordWriter(self._file)
            self._writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        self._writer.write(event.SerializeToString())
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _histogram(array: Any) -> Any:
    """Of the finite elements."""
    import numpy as np
    from tensorboard.compat.proto.summary_pb2 import HistogramProto

    flat = np.asarray(array, np.float64).reshape(-1)
    flat = flat[:: -(-flat.size // MAX_ELEMENTS)]
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        return HistogramProto(bucket_limit=[0.0], bucket=[0.0])
    counts, edges = np.histogram(flat, bins=_N_BUCKETS)
    return HistogramProto(
        min=flat.min(),
        max=flat.max(),
        num=flat.size,
        sum=flat.sum(),
        sum_squares=np.square(flat).sum(),
        bucket_limit=edges.tolist(),
        bucket=[0.0, *counts.tolist()],
    )
