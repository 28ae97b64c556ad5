"""A small regression in plain PyTorch, and what it must come to however many workers train it."""

from __future__ import annotations

import time
from typing import Any

import torch
from calling_home import call_home
from torch.utils.data import DataLoader, TensorDataset

from lagom_magic import TorchDistributedConfig
from lagom_magic.run import Run


class Net(torch.nn.Module):
    """Begins with the same weights each time."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))

    def forward(self, x):
        return self.layers(x)


def data(n_rows: int = 40) -> TensorDataset:
    """Four numbers and their sum."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n_rows, 4, generator=generator)
    return TensorDataset(x, x.sum(1, keepdim=True))


def train(module, train_set, hparams, reporter=None, trial=None, port=0, trouble=""):
    """Learns; in epoch 2 of a first attempt it tells the test that it is there, or makes trouble."""
    model = module()
    optimizer = torch.optim.SGD(model.parameters(), lr=hparams.get("lr", 0.1))
    state = reporter.restore(model=model, optimizer=optimizer) if reporter else {}
    loader = DataLoader(train_set, batch_size=8)
    for epoch in range(state.get("epoch", -1) + 1, 5):
        print(f"epoch {epoch}")
        for x, y in loader:
            loss = ((model(x) - y) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if reporter:
            reporter.broadcast(loss.item(), step=epoch)
            reporter.checkpoint(model=model, optimizer=optimizer, epoch=epoch)
        if epoch == 2 and trial is not None and trial.attempt == 1:
            if trial.rank == 1 and trouble == "raises":
                raise ValueError("a bad batch")
            if port:
                call_home(port, rank=trial.rank, attempt=trial.attempt)
            if trial.rank == 1 and trouble == "hangs":
                time.sleep(1000)
    return {"loss": loss.item()}


def config(**options: Any) -> TorchDistributedConfig:
    """Two workers, unless the test says otherwise."""
    return TorchDistributedConfig(
        **{"workers": 2, "module": Net, "train_set": data(), "collective_timeout": 30, **options}
    )


def weights_alone() -> dict[str, torch.Tensor]:
    """What the same function learns in a plain call."""
    built = []

    def build():
        built.append(Net())
        return built[0]

    train(build, data(), {})
    return built[0].state_dict()


def assert_learned_the_same(run: Run) -> None:
    """The run's model has the weights of a plain call."""
    assert run.state == "COMPLETE", run.error
    learned = run.load_model()
    for name, expected in weights_alone().items():
        torch.testing.assert_close(learned[name], expected, rtol=0, atol=1e-6)


def wait_for_checkpoint(run: Run, name: str) -> None:
    """Until it has arrived from the worker; by steps, for a folder tells nobody of a file in it."""
    begun = time.monotonic()
    while not (run.trials[0].dir / "checkpoint" / name).exists():
        assert time.monotonic() - begun < 20
        time.sleep(0.05)
