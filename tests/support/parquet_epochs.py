"""Reads Parquet data through loaders of PyTorch and TensorFlow in a process of its own, where both leave traces."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context, set_start_method
from multiprocessing.connection import Connection
from typing import Any

from lagom_magic.worker.distribution.parquet import ParquetData


def elsewhere(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a module returns in a fresh process."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, arguments), name=function.__name__)
    process.start()
    theirs.close()
    try:
        assert ours.poll(100), f"{function.__name__} did not answer"
        return ours.recv()
    finally:
        ours.close()
        process.join(10)
        process.kill()
        process.join()


def _answer(end: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    set_start_method("fork", force=True)  # as in a trial process; a spawned one would spawn
    end.send(function(*arguments))
    end.close()


def epochs_of_loader(data: ParquetData, *, persistent_workers: bool) -> list[list[int]]:
    """Two epochs of rank 1 of 2, read by two workers of a DataLoader."""
    from torch.utils.data import DataLoader

    loader = DataLoader(data.as_torch(1, 2), batch_size=16, num_workers=2, persistent_workers=persistent_workers)
    return [[int(row) for batch in loader for row in batch["id"]] for _ in range(2)]


def both_ways_of_loader(data: ParquetData) -> list[list[list[int]]]:
    return [epochs_of_loader(data, persistent_workers=persistent) for persistent in (False, True)]


def of_tensorflow(data: ParquetData, ragged: ParquetData) -> dict[str, Any]:
    """What rank 1 of 2 gets of some data; what is said of data whose lists have different lengths."""
    dataset, again = (data.for_rank("tensorflow", 1, 2, 5) for _ in range(2))
    whole = data.for_test().for_rank("tensorflow", 1, 2, 5)
    return {
        "share": dataset._lagom_share,
        "n_rows": int(dataset.cardinality()),
        "shapes": {name: spec.shape.as_list() for name, spec in dataset.element_spec.items()},
        "epochs": [[int(row) for batch in dataset.batch(8) for row in batch["id"]] for _ in range(2)],
        "again": [int(row["id"]) for row in again],
        "whole": [int(row["id"]) for row in whole],
        "whole_has_share": hasattr(whole, "_lagom_share"),
        "error_of_ragged": _error_of(ragged),
    }


def _error_of(data: ParquetData) -> str:
    try:
        list(data.as_tensorflow())
    except Exception as error:  # TensorFlow's, whose text has ours
        return str(error)
    return ""
