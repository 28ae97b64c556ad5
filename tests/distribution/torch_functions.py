"""Training functions of plain, single-process PyTorch, which ranks and a plain call run alike."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    Sampler,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
    random_split,
)

torch.set_num_threads(1)

N_ROWS = 50
BATCH = 16  # of 50 rows: a tail of 2, and no multiple of 3


def rows(n_rows: int = N_ROWS, n_inputs: int = 6, seed: int = 7) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n_rows, n_inputs, generator=generator)
    weights = torch.randn(n_inputs, 1, generator=generator)
    return TensorDataset(inputs, inputs @ weights + 0.1 * torch.randn(n_rows, 1, generator=generator))


class Images(Dataset[tuple[torch.Tensor, int]]):
    """Rows that a worker process can read."""

    def __len__(self) -> int:
        return N_ROWS

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(index)), index % 3


class Stream(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Rows in an order of the global generators; two workers share them out as torch's documentation says."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        info = get_worker_info()
        data = rows()
        order = torch.randperm(len(data)).tolist() if info is None else range(info.id, len(data), info.num_workers)
        for index in order:
            if info is None:
                np.random.random()
                random.random()
            yield data[index]


class HalvesFirst(Sampler[int]):
    """A sampler that draws with each item."""

    def __iter__(self) -> Iterator[int]:
        left = list(range(N_ROWS))
        while left:
            yield left.pop(int(np.random.randint(len(left))))

    def __len__(self) -> int:
        return N_ROWS


class Mlp(nn.Module):
    """Has what oblivious code does with a model: another method, a frozen part, one that nothing uses."""

    loss = nn.MSELoss()

    def __init__(self, n_inputs: int = 6, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_inputs, width), nn.Tanh())
        self.head = nn.Linear(width, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(inputs))

    def error(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self.loss(self.head(self.body(inputs)), targets)


class WithUnused(Mlp):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(3, 3)


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layers(inputs)


KINDS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(6, 1),
    "mlp": Mlp,
    "unused": WithUnused,
    "conv": Convolutions,
    "norm": Normalised,
    "discriminator": lambda: Mlp(2, 8),
    "generator": lambda: nn.Linear(3, 2),
}


def build(kind: str) -> nn.Module:
    return KINDS[kind]()


Build = Callable[[str], nn.Module]


def weights(module: nn.Module) -> dict[str, Any]:
    return {name: value.detach().clone().numpy() for name, value in module.state_dict().items()}


def fit(
    model: nn.Module, loader: Any, optimiser: Any = None, *, n_epochs: int = 3, every: int = 1, loss: Any = None
) -> dict[str, Any]:
    """The loop of most functions: an epoch of steps, gradients of `every` batches to a step."""
    optimiser = optimiser or torch.optim.SGD(model.parameters(), lr=0.05)
    loss = loss or nn.MSELoss()
    losses = []
    for _ in range(n_epochs):
        for index, (inputs, targets) in enumerate(loader):
            value = loss(model(inputs), targets) / every
            value.backward()
            losses.append(value.item())
            if (index + 1) % every == 0 or index + 1 == len(loader):
                optimiser.step()
                optimiser.zero_grad()
    return {"weights": weights(model), "losses": losses}


def linear_sgd(module: Build) -> Any:
    return fit(module("linear"), DataLoader(rows(), batch_size=BATCH))


def shuffled_adam(module: Build) -> Any:
    model = module("mlp")
    loader = DataLoader(rows(), batch_size=BATCH, shuffle=True)
    return fit(model, loader, torch.optim.Adam(model.parameters(), lr=0.01))


def momentum(module: Build) -> Any:
    model = module("mlp")
    loader = DataLoader(rows(), batch_size=8, shuffle=True, drop_last=True)
    return fit(model, loader, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01))


def convolutions(module: Build) -> Any:
    model = module("conv")
    return fit(model, DataLoader(Images(), batch_size=BATCH, shuffle=True), loss=nn.CrossEntropyLoss(), n_epochs=2)


def accumulation(module: Build) -> Any:
    return fit(module("mlp"), DataLoader(rows(), batch_size=8, shuffle=True), every=3)


def iterable(module: Build) -> Any:
    return fit(module("mlp"), _Steps(DataLoader(Stream(), batch_size=BATCH)))


def generator_of_user(module: Build) -> Any:
    loader = DataLoader(rows(), batch_size=BATCH, shuffle=True, generator=torch.Generator().manual_seed(5))
    return fit(module("mlp"), loader)


def samplers(module: Build) -> Any:
    model = module("mlp")
    weighted = WeightedRandomSampler([1.0 + index for index in range(N_ROWS)], N_ROWS)
    for loader in (
        DataLoader(rows(), batch_size=BATCH, sampler=HalvesFirst()),
        DataLoader(rows(), batch_sampler=BatchSampler(weighted, BATCH, drop_last=False)),
        DataLoader(rows(), batch_sampler=[[1, 2, 3], [4], [5, 6, 7, 8, 9]]),
    ):
        result = fit(model, loader)
    return result


def ready_batches(module: Build) -> Any:
    inputs, targets = rows().tensors
    batches = list(zip(inputs.split(BATCH), targets.split(BATCH), strict=True))
    return fit(module("mlp"), DataLoader(batches, batch_size=None, shuffle=True))


def evaluations(module: Build) -> Any:
    model = module("mlp")
    train, valid = random_split(rows(), [40, 10])
    metrics = []
    for _ in range(2):
        result = fit(model, DataLoader(train, batch_size=8, shuffle=True), n_epochs=1)
        model.eval()
        loader = DataLoader(valid, batch_size=4, shuffle=True)
        metrics += [sum(abs(model(inputs) - targets).sum().item() for inputs, targets in loader)]
        model.train()
        with torch.no_grad():
            metrics += [sum(abs(model(inputs) - targets).sum().item() for inputs, targets in loader)]
        train, valid = random_split(rows(), [40, 10])
    return {**result, "metrics": metrics}


def two_losses(module: Build) -> Any:
    """Two forwards, then two backwards: what DistributedDataParallel leaves apart."""
    model = module("mlp")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    for inputs, targets in DataLoader(rows(), batch_size=BATCH):
        first, second = model(inputs), model(2 * inputs)
        nn.functional.mse_loss(first, targets).backward()
        nn.functional.l1_loss(second, targets).backward()
        optimiser.step()
        optimiser.zero_grad()
    return {"weights": weights(model)}


def adversaries(module: Build) -> Any:
    discriminator, generator = module("discriminator"), module("generator")
    of_d = torch.optim.Adam(discriminator.parameters(), lr=0.01)
    of_g = torch.optim.Adam(generator.parameters(), lr=0.01)
    loss = nn.BCEWithLogitsLoss()
    data = TensorDataset(torch.randn(N_ROWS, 2), torch.randn(N_ROWS, 3))
    for real, noise in DataLoader(data, batch_size=BATCH, shuffle=True):
        fake = generator(noise)
        of_d.zero_grad()
        (loss(discriminator(real), torch.ones(len(real), 1))).backward()
        (loss(discriminator(fake.detach()), torch.zeros(len(real), 1))).backward()
        of_d.step()
        of_g.zero_grad()
        loss(discriminator(fake), torch.ones(len(real), 1)).backward()
        of_g.step()
    return {"weights": weights(discriminator) | {f"g.{k}": v for k, v in weights(generator).items()}}


def unused_part(module: Build) -> Any:
    """Adam with weight decay would move what has a gradient of zero in place of none."""
    model = module("unused")
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.5)
    return fit(model, DataLoader(rows(), batch_size=BATCH), optimiser)


def loads_weights(module: Build) -> Any:
    model = module("mlp")
    state = {name: torch.full_like(value, 0.1) for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    return fit(model, DataLoader(rows(), batch_size=BATCH))


EVERYWHERE = [
    linear_sgd,
    shuffled_adam,
    momentum,
    convolutions,
    accumulation,
    iterable,
    generator_of_user,
    samplers,
    ready_batches,
    evaluations,
    two_losses,
    adversaries,
    unused_part,
    loads_weights,
]


def other_method(module: Build) -> Any:
    model = module("mlp")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    for inputs, targets in DataLoader(rows(), batch_size=BATCH, shuffle=True):
        model.error(inputs, targets).backward()
        optimiser.step()
        optimiser.zero_grad()
    return {"weights": weights(model)}


def fine_tuning(module: Build) -> Any:
    """A new head, a frozen body that is trained from the second epoch on, and another type of numbers."""
    model = module("mlp").double()
    model.head = nn.Linear(8, 1).double()
    model.body.requires_grad_(False)
    data = TensorDataset(*(tensor.double() for tensor in rows().tensors))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    fit(model, DataLoader(data, batch_size=BATCH, shuffle=True), optimiser, n_epochs=1)
    model.body.requires_grad_(True)
    return fit(model, DataLoader(data, batch_size=BATCH, shuffle=True), optimiser, n_epochs=1)


def best_copy(module: Build) -> Any:
    """Keeps a copy of the model as it was, which must not follow."""
    model = module("mlp")
    loader = DataLoader(rows(), batch_size=BATCH)
    fit(model, loader, n_epochs=1)
    best = copy.deepcopy(model)
    fit(model, loader, n_epochs=1)
    return {"weights": weights(best), "type": type(best) is Mlp and type(model) is Mlp}


def workers(module: Build) -> Any:
    model = module("mlp")
    settings: dict[str, Any] = {"batch_size": BATCH, "num_workers": 2, "multiprocessing_context": "fork"}
    fit(model, DataLoader(rows(), shuffle=True, persistent_workers=True, **settings))
    return fit(model, _Steps(DataLoader(Stream(), **settings)), n_epochs=1)


REPLICATED_ONLY = [other_method, fine_tuning, best_copy, workers]


class _Steps:
    """A loader without a length, with one."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Any]:
        return iter(self._loader)

    def __len__(self) -> int:
        return 10**9


def all_of(module: Build, cases: list[Callable[[Build], Any]]) -> dict[str, Any]:
    """Many functions one after the other, each from the same seed."""
    results = {}
    for case in cases:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        results[case.__name__] = case(module)
    return results
