"""Ranks of one training as processes of this machine, without driver or Spark: for tests of the frameworks' parts."""

from __future__ import annotations

import multiprocessing
import pickle
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lagom_magic.worker.distribution import make_distribution
from lagom_magic.worker.distribution.base import Place

TIMEOUT_S = 120.0


class RankError(AssertionError):
    """A rank raised; holds its traceback."""


def run_ranks(
    train_fn: Callable[..., Any],
    given: Mapping[str, Any],
    *,
    world_size: int,
    settings: Mapping[str, Any],
    arguments: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    gives_distribution: bool = False,
) -> list[Any]:
    """Trains with `world_size` processes; what the function returned on each rank, by rank.

    Args:
        train_fn: a function of a module, so that it can be imported in the ranks.
        given: of `Distribution.applied`.
        settings: with `framework`; the rest as the distribution's module says.
        arguments: further arguments of the function.
        folder: where rank 0's model is written; None = nowhere.
        gives_distribution: whether the function takes the argument `distribution`, for its checkpoints.

    Raises:
        RankError: a rank has raised.
    """
    context = multiprocessing.get_context("spawn")
    order = (train_fn, dict(given), dict(arguments or {}), dict(settings), folder and str(folder), gives_distribution)
    ends: list[Connection] = []
    processes = []
    try:
        for rank in range(world_size):
            ours, theirs = context.Pipe()
            place = Place(rank, world_size, "127.0.0.1")
            process = context.Process(target=_be_rank, args=(theirs, place, order), name=f"rank-{rank}")
            process.start()
            theirs.close()
            ends.append(ours)
            processes.append(process)
        addresses = [_received(end) for end in ends]
        for end in ends:
            end.send(addresses)
        return [_received(end) for end in ends]
    finally:
        for end in ends:
            end.close()
        for process in processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()


def _received(end: Connection) -> Any:
    if not end.poll(TIMEOUT_S):
        raise RankError(f"a rank said nothing for {TIMEOUT_S:g} s")
    kind, value = end.recv()
    if kind == "error":
        raise RankError(value)
    return pickle.loads(value)


def _be_rank(end: Connection, place: Place, order: tuple[Any, ...]) -> None:
    train_fn, given, arguments, settings, folder, gives_distribution = order
    try:
        distribution = make_distribution(place, settings)
        end.send(("ok", pickle.dumps(distribution.prepare())))
        distribution.join(end.recv())
        if gives_distribution:
            arguments = {**arguments, "distribution": distribution}
        with distribution.applied(train_fn, given) as own:
            result = train_fn(**own, **arguments)
            if folder is not None:
                distribution.save_model(folder)
        end.send(("ok", pickle.dumps(result)))
        distribution.leave()
    except BaseException:
        end.send(("error", f"rank {place.rank}: {traceback.format_exc()}"))
