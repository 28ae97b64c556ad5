"""`model.export` in a training on two workers: one version, with whole weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small_training import config

from lagom_magic import Run, model

Launch = Callable[..., Run]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def export(module, train_set, trial=None):
    net = module()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, y = train_set.tensors
    loss = ((net(x) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    given = model.export(net, "net", metrics={"loss": loss.item()})
    if trial.rank == 0:
        torch.save(1, "own.pt")
    model.export("own.pt", "own")  # which the other rank has not written
    return {"has_path": float(given["path"] is not None)}


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_the_first_ranks_model_is_one_version_with_whole_weights(run_here: Launch, strategy: str) -> None:
    run = run_here(export, config(strategy=strategy))
    assert run.state == "COMPLETE", run.error
    assert [model.get_model(name)["version"] for name in ("net", "own")] == [1, 1]
    weights = model.load("net")
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == {
        "layers.0.weight": (8, 4),
        "layers.0.bias": (8,),
        "layers.2.weight": (1, 8),
        "layers.2.bias": (1,),
    }
    assert {type(weight) for weight in weights.values()} == {torch.Tensor}
    given = model.get_model("net")
    assert (given["run"]["id"], given["trial_id"], given["state"]) == (run.id, 0, "COMPLETE")
