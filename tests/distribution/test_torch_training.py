"""What two ranks share, and what each has of its own; how they notice that they do not train together any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.distribution.torch_functions import Mlp, Normalised, fit, rows, weights
from tests.support.ranks import RankError, run_ranks

DDP = {"framework": "torch", "strategy": "ddp", "collective_timeout_s": 60}
FSDP = {**DDP, "strategy": "fsdp"}

pytestmark = pytest.mark.timeout(180)


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 64)
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Linear(64, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.mask = self.dropout(torch.ones(len(inputs), 64))
        return self.out(self.layer(inputs) * self.mask)


def streams(module: Any) -> dict[str, Any]:
    """Unseeded, as functions are that do not care."""
    torch.seed()
    noisy, normalised = module()
    before = weights(noisy)
    seen, masks, noises = [], [], []
    loader = DataLoader(rows(), batch_size=10, shuffle=True)
    optimiser = torch.optim.SGD(noisy.parameters(), lr=0.01)
    for _ in range(2):
        for inputs, targets in loader:
            seen.append(inputs.numpy())
            nn.functional.mse_loss(noisy(inputs), targets).backward()
            masks.append(noisy.mask.numpy())
            noises.append(torch.rand(1).item() + np.random.random())
            optimiser.step()
            optimiser.zero_grad()
    after = {"common": torch.rand(4).tolist(), "split": np.random.permutation(9).tolist()}
    means = []
    optimiser = torch.optim.SGD(normalised.parameters(), lr=0.01)
    for inputs, targets in DataLoader(rows(), batch_size=10):
        means.append(normalised.layers[0](inputs).mean(0).detach().numpy())
        nn.functional.mse_loss(normalised(inputs), targets).backward()
        optimiser.step()
        optimiser.zero_grad()
    return {
        "before": before,
        "weights": weights(noisy),
        "seen": seen,
        "masks": np.concatenate(masks),
        "noises": noises,
        "after": after,
        "statistics": weights(normalised)["layers.1.running_mean"],
        "means": means,
    }


def both_of(module: Any) -> Any:
    return [make() for make in module]


def streams_of_a_list(module: Any) -> dict[str, Any]:
    return streams(lambda: both_of(module))


@pytest.fixture(scope="module")
def of_streams() -> list[dict[str, Any]]:
    return run_ranks(streams_of_a_list, {"module": [Noisy, Normalised]}, world_size=2, settings=DDP)


def test_ranks_begin_with_the_same_weights_though_nothing_was_seeded(of_streams: list[dict[str, Any]]) -> None:
    first, second = of_streams
    assert all((first["before"][name] == value).all() for name, value in second["before"].items())
    assert all((first["weights"][name] == value).all() for name, value in second["weights"].items())


def test_ranks_see_different_halves_of_the_same_batches_in_a_new_order_each_epoch(
    of_streams: list[dict[str, Any]],
) -> None:
    data = rows().tensors[0].numpy()
    first, second = (result["seen"] for result in of_streams)
    assert [len(batch) for batch in first] == [5] * 10
    epochs = [np.concatenate([*first[at : at + 5], *second[at : at + 5]]) for at in (0, 5)]
    for epoch in epochs:
        assert sorted(map(tuple, epoch.tolist())) == sorted(map(tuple, data.tolist()))
    assert (epochs[0] != epochs[1]).any()


def test_dropout_and_noise_differ_between_ranks_and_everything_after_the_loop_is_common(
    of_streams: list[dict[str, Any]],
) -> None:
    first, second = of_streams
    agreement = ((first["masks"] > 0) == (second["masks"] > 0)).mean()
    assert 0.45 < agreement < 0.55  # 3,200 coins: half of them agree, give or take 0.9 %
    assert 0.45 < (first["masks"] > 0).mean() < 0.55
    assert not set(first["noises"]) & set(second["noises"])
    assert first["after"] == second["after"]


def test_batch_normalisation_uses_the_ranks_own_rows_and_keeps_the_statistics_of_rank_0(
    of_streams: list[dict[str, Any]],
) -> None:
    first, second = of_streams
    expected = np.zeros(8)
    for mean in first["means"]:
        expected = 0.9 * expected + 0.1 * mean
    np.testing.assert_allclose(first["statistics"], expected, atol=1e-6)
    assert (first["statistics"] == second["statistics"]).all()
    assert (first["means"][0] != second["means"][0]).any()


def with_checkpoint(module: Any, distribution: Any, path: str) -> Any:
    """Five epochs, a checkpoint after the third; with Adam, dropout, shuffling and a generator of the user's."""
    torch.manual_seed(4)
    model = module()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 2, 0.5)
    data = DataLoader(rows(), batch_size=16, shuffle=True)
    own = DataLoader(rows(), batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(9))
    state = {"model": model, "optimiser": optimiser, "schedule": schedule}
    begin = 0
    if Path(path).exists():
        begin = distribution.load_checkpoint(path, state)["epoch"]
    for epoch in range(begin, 5):
        fit(model, data, optimiser, n_epochs=1)
        fit(model, own, optimiser, n_epochs=1)
        schedule.step()
        if epoch == 2 and begin == 0:
            distribution.save_checkpoint(path, {**state, "epoch": epoch + 1})
    return weights(model)


@pytest.mark.parametrize("settings", [DDP, FSDP], ids=["ddp", "fsdp"])
def test_a_training_broken_at_60_percent_ends_as_an_unbroken_one(tmp_path: Path, settings: dict[str, Any]) -> None:
    def result(path: Path) -> list[Any]:
        return run_ranks(
            with_checkpoint,
            {"module": Noisy},
            world_size=2,
            settings=settings,
            arguments={"path": str(path)},
            gives_distribution=True,
        )

    unbroken = result(tmp_path / "checkpoint.pt")
    resumed = result(tmp_path / "checkpoint.pt")
    for name, value in unbroken[0].items():
        for weights_of_rank in (unbroken[1], *resumed):
            assert (weights_of_rank[name] == value).all()


def follows_its_own_loss(module: Any) -> None:
    torch.manual_seed(0)
    model = module()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for inputs, targets in DataLoader(rows(), batch_size=16):
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimiser.param_groups[0]["lr"] = 0.1 * float(loss.detach())
        optimiser.step()
        optimiser.zero_grad()


def stops_by_its_own_loss(module: Any) -> None:
    """One rank has less loss than the other, and stops when the mean of both is reached."""
    model = module()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    data = torch.utils.data.TensorDataset(torch.ones(8, 6), torch.tensor([9.0] * 4 + [0.0] * 4)[:, None])
    for _ in range(20):
        for inputs, targets in DataLoader(data, batch_size=8):
            loss = nn.functional.mse_loss(model(inputs), targets)
            if loss.item() < 9:
                return
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()


@pytest.mark.parametrize(
    ("train_fn", "message"),
    [
        (follows_its_own_loss, "weights of rank 1 differ from those of rank 0"),
        (stops_by_its_own_loss, "(?s)could not finish the mean of gradients.*has returned on rank 1 already"),
    ],
    ids=["drift", "early end"],
)
def test_ranks_that_do_not_train_together_any_more_say_so(train_fn: Any, message: str) -> None:
    with pytest.raises(RankError, match=message):
        run_ranks(train_fn, {"module": Mlp}, world_size=2, settings={**DDP, "collective_timeout_s": 3})


def use_memory(module: Any) -> dict[str, float]:
    """MB of this rank: at the peak of two Adam steps, and the size of what it holds of the parameters."""
    torch.optim.Adam([torch.zeros(1)])  # imports what does not count
    before = peak_mb()
    model = module()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.001, foreach=False)
    data = torch.utils.data.TensorDataset(torch.ones(4, WIDTH))
    for _ in range(2):
        for (inputs,) in DataLoader(data, batch_size=4):
            model(inputs).mean().backward()
            optimiser.step()
            optimiser.zero_grad()
    held = sum(getattr(parameter, "_local_tensor", parameter).numel() for parameter in model.parameters())
    return {"peak": peak_mb() - before, "held": held * 4 / 2**20}


def peak_mb() -> float:
    """Of this process since its program began; getrusage's begins with what the parent had when it forked."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


WIDTH = 1024


class Deep(nn.Module):
    """96 MB of parameters in 24 equal blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(24)])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            inputs = torch.relu(block(inputs))
        return inputs


def test_shards_take_half_of_the_memory_on_two_ranks() -> None:
    memory = {
        settings["strategy"]: run_ranks(use_memory, {"module": Deep}, world_size=2, settings=settings)
        for settings in (DDP, FSDP)
    }
    for whole, part in zip(memory["ddp"], memory["fsdp"], strict=True):
        assert part["held"] == pytest.approx(whole["held"] / 2, rel=0.01)
        assert part["peak"] < 0.6 * whole["peak"], memory


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(6, 32)
        self.down = nn.Linear(32, 1)

    @property
    def parallelize_plan(self) -> dict[str, Any]:
        from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel

        return {"up": ColwiseParallel(), "down": RowwiseParallel()}

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.down(torch.relu(self.up(inputs)))


def train_block(module: Any) -> Any:
    torch.manual_seed(6)
    model = module()
    n_held = sum(getattr(parameter, "_local_tensor", parameter).numel() for parameter in model.up.parameters())
    result = fit(model, DataLoader(rows(), batch_size=16, shuffle=True))
    return {**result, "held": n_held}


def test_tensor_parallel_layers_lie_in_parts_and_learn_what_one_process_learns(tmp_path: Path) -> None:
    expected = train_block(Block)
    of_ranks = run_ranks(
        train_block, {"module": Block}, world_size=2, settings={**DDP, "strategy": "tp"}, folder=tmp_path
    )
    saved = torch.load(tmp_path / "model.pt", weights_only=True)
    for result in of_ranks:
        assert result["held"] == expected["held"] / 2
        np.testing.assert_allclose(result["losses"], expected["losses"], atol=1e-6)
        for name, value in expected["weights"].items():
            np.testing.assert_allclose(result["weights"][name], value, atol=1e-6)
            assert (saved[name].numpy() == result["weights"][name]).all()
