"""Functions that distribute by themselves are told from those that do not, by their code."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from lagom_magic.worker.distribution.torch_awareness import distributes_by_itself


def starts_a_group(module: Any) -> None:
    dist.init_process_group("gloo")


def wraps(module: Any) -> Any:
    return DistributedDataParallel(module())


def imports_distributed(module: Any) -> None:
    import torch.distributed as of_torch

    of_torch.all_reduce(torch.zeros(1))


def imports_from_torch(module: Any) -> None:
    from torch import distributed

    distributed.all_reduce(torch.zeros(1))


def says_it_in_full(module: Any) -> None:
    torch.distributed.init_process_group("gloo")


def uses_accelerate(module: Any) -> None:
    from accelerate import Accelerator

    Accelerator()


def uses_lightning(module: Any) -> None:
    import lightning as L

    L.Trainer()


def uses_a_trainer(module: Any) -> None:
    from transformers import Trainer

    Trainer()


def calls_another(module: Any) -> None:
    starts_a_group(module)


class Loop:
    def fit(self) -> Any:
        return wraps(None)


def calls_a_method(module: Any) -> Any:
    return Loop().fit()


def has_an_inner_one(module: Any) -> None:
    def inner() -> None:
        dist.init_process_group("gloo")

    inner()


def plain(module: Any) -> None:
    model = module().to("cuda" if torch.cuda.is_available() else "cpu")
    optimiser = torch.optim.SGD(model.parameters())
    for inputs in DataLoader([1.0]):
        nn.functional.mse_loss(model(inputs), inputs).backward()
        optimiser.step()


def asks_only(module: Any) -> None:
    from transformers import AutoModel, set_seed

    set_seed(1)
    AutoModel.from_config(None)
    if dist.is_initialized() and dist.get_rank() == 0:
        print("first")


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (starts_a_group, "init_process_group"),
        (wraps, "DistributedDataParallel"),
        (imports_distributed, "all_reduce"),
        (imports_from_torch, "all_reduce"),
        (says_it_in_full, "init_process_group"),
        (uses_accelerate, "accelerate.Accelerator"),
        (uses_lightning, "lightning.Trainer"),
        (uses_a_trainer, "transformers.Trainer"),
        (calls_another, "init_process_group"),
        (calls_a_method, "DistributedDataParallel"),
        (has_an_inner_one, "init_process_group"),
        (functools.partial(wraps, None), "DistributedDataParallel"),
        (Loop().fit, "DistributedDataParallel"),
    ],
)
def test_a_function_that_distributes_is_seen_by_what_it_refers_to(function: Callable[..., Any], what: str) -> None:
    assert what in str(distributes_by_itself(function))


def gets_a_namesake(module: Any, starts_a_group: Any, wraps: Any) -> Any:
    def inner() -> Any:
        return wraps(module)

    return starts_a_group(inner())


@pytest.mark.parametrize("function", [plain, asks_only, gets_a_namesake, lambda module: module()])
def test_plain_functions_and_those_that_only_ask_do_not_distribute(function: Callable[..., Any]) -> None:
    assert distributes_by_itself(function) is None
