"""`--log-weights`: histograms of weights and gradients, every so many steps, in the trial's TensorBoard folder."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from logged_runs import Logged, Track
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def histograms_of(logged: Logged) -> dict[str, list[tuple[int, float]]]:
    """Tag → (step, how many elements) of each histogram."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for path in Path(logged.run.dir, "tensorboard").rglob("*.weights"):
        events = EventAccumulator(str(path), size_guidance={"tensors": 0, "histograms": 0})
        events.Reload()
        for tag in events.Tags()["histograms"]:
            found[tag] += [(event.step, event.histogram_value.num) for event in events.Histograms(tag)]
    return dict(found)


def train_torch():
    import sys

    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    optimizer = torch.optim.Adam(model.parameters())
    x = torch.ones(4, 3)
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
    return {"loss": loss.item(), "hooks": len(sys.modules["torch.optim.optimizer"]._global_optimizer_post_hooks)}


def test_those_of_torch(track: Track) -> None:
    logged = track(train_torch, log_weights=2, optimization_key="loss")
    steps = [2, 4]
    shapes = {"0.weight": 6, "0.bias": 2, "1.weight": 2, "1.bias": 1}
    assert histograms_of(logged) == {
        f"{kind}/{name}": [(step, size) for step in steps]
        for kind in ("weights", "gradients")
        for name, size in shapes.items()
    }
    assert logged.trial.warnings == ()
    without = track(train_torch, optimization_key="loss")
    assert histograms_of(without) == {}
    assert (logged.trial.metrics["hooks"], without.trial.metrics["hooks"]) == (1, 0)
    assert logged.trial.metric == without.trial.metric


def train_keras():
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="first"), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.arange(24.0).reshape(8, 3) / 24
    for _ in range(2):
        history = model.fit(x, x.sum(axis=1), batch_size=2, epochs=1, shuffle=False, verbose=0)
    return {"loss": history.history["loss"][-1]}


def test_those_of_keras(track: Track) -> None:
    logged = track(train_keras, log_weights=3, autolog=False, optimization_key="loss")
    found = histograms_of(logged)
    kernels = {tag: steps for tag, steps in found.items() if tag.endswith("first/kernel")}
    assert len(kernels) == 2
    assert {tag.partition("/")[0] for tag in kernels} == {"weights", "gradients"}
    assert all(steps == [(3, 6), (6, 6)] for steps in kernels.values())
    assert len(found) == 8
    assert (logged.trial.warnings, logged.reports) == ((), [])
    assert logged.trial.metric == track(train_keras, optimization_key="loss").trial.metric
