"""The network and loop of `bench_train.py`; under torchrun, the same with DDP written by hand."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

BATCH_SIZE = 128
N_STEPS = 300
WARM_UP_STEPS = 30
N_LAYERS = 24


class Net(nn.Module):
    """1.1 million weights: 4.5 MB to reduce a step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(64, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU())
        self.head = nn.Linear(1024, 10)

    def forward(self, x):
        """10 scores a row."""
        return self.head(self.layers(x))


class Tower(nn.Sequential):
    """25 million weights: 100 MB, and under Adam four times as much with gradients and two moments."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(64, 1024), *(nn.Linear(1024, 1024) for _ in range(N_LAYERS)), nn.Linear(1024, 10))


def remember(module, train_set):
    """Some steps with Adam; how far this rank's memory grew above what it had before the model, at its peak."""
    before = peak_mb()
    model = module()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    loss_fn = nn.CrossEntropyLoss()
    for step, (x, y) in enumerate(DataLoader(train_set, batch_size=16)):
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == 4:
            break
    return {"grown_mb": peak_mb() - before}


def peak_mb():
    """Of this process since its program began; getrusage's begins with what the parent had when it forked."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


def train_set() -> TensorDataset:
    """As many rows as the steps need."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH_SIZE * N_STEPS, 64, generator=generator)
    return TensorDataset(x, x[:, :10].argmax(dim=1))


def learn(module, train_set, batch_size=BATCH_SIZE, sampler=None):
    """One epoch; steps a second after the warm-up, and when the first step was done."""
    model = module()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss_fn = nn.CrossEntropyLoss()
    first_step_at = begun = 0.0
    for step, (x, y) in enumerate(DataLoader(train_set, batch_size=batch_size, sampler=sampler)):
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == 0:
            first_step_at = time.time()
        if step == WARM_UP_STEPS:
            begun = time.perf_counter()
    steps_per_s = (N_STEPS - WARM_UP_STEPS - 1) / (time.perf_counter() - begun)
    return {"steps_per_s": steps_per_s, "first_step_at": first_step_at}


def main() -> None:
    """What a person writes for torchrun."""
    torch.distributed.init_process_group("gloo")
    data = train_set()
    world_size = torch.distributed.get_world_size()
    sampler = DistributedSampler(data, shuffle=False)

    def wrapped() -> nn.Module:
        return nn.parallel.DistributedDataParallel(Net())

    result = learn(wrapped, data, BATCH_SIZE // world_size, sampler)
    os.write(1, f"{json.dumps(result)}\n".encode())  # in one piece, for the other rank writes there too
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
