"""Many trainings in one kernel, by `make soak`: each begins, ends, and leaves no process and no held port."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import psutil
import pytest
from kernels import Kernel, open_kernel
from masters import still_there, worker_processes

pytestmark = [pytest.mark.soak, pytest.mark.spark, pytest.mark.lab, pytest.mark.timeout(3600)]

N_RUNS = 20

LOAD = """\
import torch
from torch.utils.data import DataLoader, TensorDataset

x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
train_set = TensorDataset(x, x.sum(1, keepdim=True))

class Net(torch.nn.Linear):
    def __init__(self):
        super().__init__(4, 1)

def train(module, train_set, trial, fails=False):
    model = module()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in DataLoader(train_set, batch_size=16):
        loss = ((model(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if fails and trial.rank == 1:
            raise ValueError("a bad batch")
    return {"loss": loss.item()}
"""
RUN = "%lagom train --fn train --module Net --train-set train_set --workers 2"


def listening(kernel: Kernel) -> set[int]:
    """Ports that the kernel and its children listen on."""
    process = psutil.Process(int(kernel.value("__import__('os').getpid()")))
    return {
        connection.laddr.port
        for one in [process, *process.children(recursive=True)]
        for connection in one.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }


def thread_names(kernel: Kernel) -> Counter[str]:
    """How many threads of each name the kernel has, numbers in names left out."""
    listed = kernel.value("__import__('json').dumps([t.name for t in __import__('threading').enumerate()])")
    names = json.loads(listed.strip("'"))
    return Counter(re.sub(r"\d+", "", name) for name in names)


def test_twenty_trainings_in_one_kernel_leave_nothing(tmp_path: Path, jupyter_loop: None) -> None:
    with open_kernel(tmp_path) as kernel:
        assert not kernel.run(LOAD).error
        warm = kernel.run(RUN)
        assert not warm.error, str(warm)
        ports = listening(kernel)
        threads = thread_names(kernel)
        for number in range(N_RUNS):
            fails = number % 4 == 3
            cell = kernel.run(RUN + (" --set fails=True" if fails else ""))
            assert cell.error == ("RunFailed" if fails else ""), str(cell)
            assert still_there(worker_processes()) == [], f"left after run {number}"
            assert listening(kernel) <= ports
            assert thread_names(kernel) - threads == Counter(), f"left after run {number}"
