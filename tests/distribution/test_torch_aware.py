"""Functions that distribute by themselves run as they would under torchrun, and nothing of ours is in their way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from tests.distribution.torch_functions import Mlp, rows, weights
from tests.support.ranks import run_ranks

PLAIN_ITER = DataLoader.__iter__

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]


def by_hand(module: Any) -> Any:
    torch.manual_seed(0)
    dist.init_process_group("gloo")
    model = DistributedDataParallel(module())
    data = rows(48)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    for inputs, targets in DataLoader(data, batch_size=8, sampler=DistributedSampler(data, shuffle=False)):
        nn.functional.mse_loss(model(inputs), targets).backward()
        optimiser.step()
        optimiser.zero_grad()
    return seen(model.module, dist.get_rank(), dist.get_world_size())


def with_accelerate(module: Any) -> Any:
    from accelerate import Accelerator

    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    model = module()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    model, optimiser, loader = accelerator.prepare(model, optimiser, DataLoader(rows(48), batch_size=8))
    for inputs, targets in loader:
        accelerator.backward(nn.functional.mse_loss(model(inputs), targets))
        optimiser.step()
        optimiser.zero_grad()
    return seen(accelerator.unwrap_model(model), accelerator.process_index, accelerator.num_processes)


def with_lightning(module: Any) -> Any:
    import lightning as L

    class Lit(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = module()

        def training_step(self, batch: Any) -> torch.Tensor:
            return nn.functional.mse_loss(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.05)

    torch.manual_seed(0)
    lit = Lit()
    trainer = L.Trainer(
        accelerator="cpu",
        devices=int(os.environ["LOCAL_WORLD_SIZE"]),
        strategy="ddp",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(lit, DataLoader(rows(48), batch_size=8, shuffle=False))
    return seen(lit.net, trainer.global_rank, trainer.world_size)


class ForTrainer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Mlp()

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs = self.net(inputs)
        return {"loss": nn.functional.mse_loss(outputs, labels), "outputs": outputs}


def with_trainer(module: Any, folder: str) -> Any:
    from transformers import Trainer, TrainingArguments

    torch.manual_seed(0)
    model = ForTrainer()
    settings = TrainingArguments(
        folder, num_train_epochs=1, per_device_train_batch_size=8, use_cpu=True, report_to=[], save_strategy="no"
    )
    data = [{"inputs": inputs, "labels": targets} for inputs, targets in rows(48)]
    Trainer(model=model, args=settings, train_dataset=data).train()
    return seen(model.net, settings.process_index, settings.world_size)


def seen(model: nn.Module, rank: int, world_size: int) -> dict[str, Any]:
    return {
        "place": (rank, world_size),
        "weights": weights(model),
        "type": type(model).__name__,
        "is_patched": DataLoader.__iter__ is not PLAIN_ITER,
    }


@pytest.mark.parametrize("train_fn", [by_hand, with_accelerate, with_lightning, with_trainer])
def test_a_function_that_distributes_by_itself_is_left_alone(train_fn: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    results = run_ranks(
        train_fn,
        {"module": Mlp},
        world_size=2,
        settings={"framework": "torch", "collective_timeout_s": 60},
        arguments={"folder": str(tmp_path / "trainer")} if train_fn is with_trainer else {},
        folder=folder,
    )
    torch.manual_seed(0)
    begin = weights(ForTrainer().net if train_fn is with_trainer else Mlp())
    assert [result["place"] for result in results] == [(0, 2), (1, 2)]
    assert not any(result["is_patched"] for result in results)
    assert {result["type"] for result in results} == {"Mlp"}
    for name, value in results[0]["weights"].items():
        assert (results[1]["weights"][name] == value).all()
        assert not np.allclose(value, begin[name])
    assert not folder.exists()
