"""Traces of real profilers: they arrive in the run's folder, and the Profile tab of its TensorBoard shows them."""

from __future__ import annotations

import gzip
import json
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from logged_runs import Track, track

from lagom_magic import Run
from lagom_magic.display.board import Board, open_board, stop_board

__all__ = ["track"]

WAIT_S = 60.0


def profile_torch():
    import torch

    from lagom_magic import tensorboard

    torch.set_num_threads(1)
    model = torch.nn.Linear(8, 2)
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], on_trace_ready=tensorboard.torch_trace_handler()
    ) as profiler:
        for _ in range(2):
            model(torch.ones(4, 8)).sum().backward()
            profiler.step()


def profile_tensorflow():
    import tensorflow as tf

    from lagom_magic import tensorboard

    tf.profiler.experimental.start(tensorboard.logdir())
    tf.linalg.matmul(tf.ones((4, 8)), tf.ones((8, 2)))
    tf.profiler.experimental.stop()


def profile_keras():
    import keras
    import numpy as np

    from lagom_magic import tensorboard

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    callback = keras.callbacks.TensorBoard(tensorboard.logdir(), profile_batch=2)
    model.fit(np.ones((8, 3)), np.ones(8), batch_size=2, verbose=0, callbacks=[callback])


@contextmanager
def board_of(run: Run) -> Iterator[Board]:
    try:
        yield open_board(run.dir)
    finally:
        stop_board(run.dir)


def ask(board: Board, route: str, **query: str) -> Any:
    """What the Profile tab asks its plugin."""
    address = f"{board.url}data/plugin/profile/{route}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(address, timeout=WAIT_S) as reply:
        data = reply.read()
        return json.loads(gzip.decompress(data) if reply.headers["Content-Encoding"] == "gzip" else data)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train_fn", "folder", "operation"),
    [
        (profile_torch, "0000", "aten::addmm"),
        (profile_tensorflow, "0000", "MatMul"),
        (profile_keras, "0000/train", "matmul"),
    ],
    ids=["torch", "tensorflow", "keras"],
)
def test_the_board_of_a_run_shows_a_trials_trace(
    track: Track, train_fn: Callable[[], None], folder: str, operation: str
) -> None:
    run = track(train_fn).run
    (trial,) = run.trials
    assert (trial.state, trial.error, trial.warnings) == ("COMPLETE", None, ())
    (path,) = (run.dir / "tensorboard").glob(f"{folder}/plugins/profile/*/*.xplane.pb")
    session, host = path.parent.name, path.name.removesuffix(".xplane.pb")
    with board_of(run) as board:
        place = {"run": f"{folder}/{session}"}
        assert ask(board, "runs") == [place["run"]]
        assert "trace_viewer@" in ask(board, "run_tools", **place)
        assert ask(board, "hosts", **place, tag="trace_viewer@") == [{"hostname": host}]
        trace = ask(board, "data", **place, tag="trace_viewer@", host=host)
    events = [event for event in trace["traceEvents"] if event.get("ph") == "X"]
    assert operation.lower() in " ".join(event["name"] for event in events).lower()
