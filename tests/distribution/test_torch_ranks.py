"""What an oblivious function meets on a rank, in a world of one: nothing that it could notice, and clear errors."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.worker.distribution.base import Place
from lagom_magic.worker.distribution.torch_collectives import CollectiveError, RanksApartError
from lagom_magic.worker.distribution.torch_ranks import TorchRanks
from tests.distribution.torch_functions import Mlp, Normalised, build, fit, rows, weights


def train(module: Any) -> Any:
    return fit(module(), DataLoader(rows(), batch_size=16))


@contextmanager
def rank(train_fn: Any, given: dict[str, Any], **settings: Any) -> Iterator[tuple[TorchRanks, Any]]:
    ranks = TorchRanks(Place(0, 1, "127.0.0.1"), {"framework": "torch", "collective_timeout_s": 20, **settings})
    ranks.join([ranks.prepare()])
    try:
        with ranks.applied(train_fn, given) as own:
            yield ranks, own
    finally:
        ranks.leave()


@pytest.fixture(scope="module", autouse=True)
def _first_group() -> None:
    """Torch keeps the first process group and its sockets: in default arguments of what is imported meanwhile, say."""
    with rank(train, {"module": Mlp}, strategy="fsdp") as (_, own):
        train(**own)["weights"].clear()


def test_the_loader_and_the_environment_are_as_before_when_the_function_is_done() -> None:
    before = DataLoader.__iter__
    with rank(train, {"module": Mlp}) as (_, own):
        assert DataLoader.__iter__ is not before
        assert os.environ["WORLD_SIZE"] == "1"
        train(**own)
    with pytest.raises(ValueError, match="of the user"), rank(train, {"module": Mlp}):
        raise ValueError("of the user")
    assert DataLoader.__iter__ is before
    assert not {"WORLD_SIZE", "MASTER_PORT", "TORCHELASTIC_RUN_ID"} & os.environ.keys()
    assert not dist.is_initialized()


def test_the_given_class_stays_a_class_and_what_it_makes_stays_what_it_is() -> None:
    def plain(module: Any) -> None:
        """Is only looked at."""

    with rank(plain, {"module": Mlp}) as (_, own):
        module = own["module"]

        class Deeper(module):
            def forward(self, inputs: torch.Tensor) -> torch.Tensor:
                return 2 * super().forward(inputs)

        made = module(6, width=4)
        assert type(made) is Mlp
        assert isinstance(made, module)
        assert issubclass(module, nn.Module)
        assert module.loss is Mlp.loss
        assert module.__name__ == "Mlp"
        assert isinstance(Deeper(), module)
        assert not isinstance(made, Deeper)
        assert list(made.state_dict()) == list(Mlp().state_dict())
        assert type(pickle.loads(pickle.dumps(made))) is Mlp
        twin = copy.deepcopy(made)
        twin(torch.ones(1, 6)).sum().backward()
        assert made.head.weight.grad is None


def test_a_list_of_factories_arrives_as_a_list(tmp_path: Path) -> None:
    def both(model: Any) -> None:
        for make in model:
            make()

    with rank(both, {"model": [Mlp, lambda: nn.Linear(2, 1)]}) as (ranks, own):
        both(**own)
        ranks.save_model(str(tmp_path / "new"))
    first, second = (torch.load(tmp_path / "new" / f"model_{i}.pt", weights_only=True) for i in range(2))
    assert first.keys() == Mlp().state_dict().keys()
    assert second["weight"].shape == (1, 2)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_the_saved_model_is_a_plain_state_dict(tmp_path: Path, strategy: str) -> None:
    with rank(train, {"module": Mlp}, strategy=strategy) as (ranks, own):
        result = train(**own)
        ranks.save_model(str(tmp_path))
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert {name: value.tolist() for name, value in state.items()} == {
        name: value.tolist() for name, value in result["weights"].items()
    }
    assert all(type(value) is torch.Tensor for value in state.values())
    Mlp().load_state_dict(state)


class OfKeras:
    """Is of that package by its name."""

    __module__ = "keras.src.models.sequential"


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(4, 2, sparse=True)


class Frozen(nn.Linear):
    def __init__(self) -> None:
        super().__init__(2, 1)
        self.requires_grad_(False)


@pytest.mark.parametrize(
    ("given", "settings", "message"),
    [
        ({"module": Mlp()}, {}, "a Mlp instance, and a class or a factory is needed"),
        ({"module": nn.ReLU}, {}, "ReLU has no parameters to train"),
        ({"module": Frozen}, {}, "Frozen has no parameters to train"),
        ({"module": lambda: 3}, {}, "returned a int, not a torch.nn.Module"),
        ({"module": OfKeras}, {}, "returned a OfKeras, .* use --strategy mirrored"),
        ({"module": lambda: nn.LazyLinear(2)}, {}, "lazy parameters"),
        ({"module": Sparse}, {}, "sparse=True"),
        ({"module": lambda: nn.ModuleList([nn.Linear(2, 2)])}, {"strategy": "fsdp"}, "cannot be sharded"),
        ({"module": Mlp}, {"strategy": "tp"}, "parallelize_plan"),
        ({"module": Mlp}, {"mixed_precision": "int4"}, "known: bf16, fp16"),
        ({"train_set": rows()}, {}, "takes no `module`"),
        ({"module": Mlp}, {"strategy": "dpp"}, "Did you mean ddp"),
    ],
)
def test_what_cannot_work_is_one_clear_error(given: dict[str, Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message), rank(train, given, **settings) as (_, own):
        own["module"]()


@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 is refused where there is no GPU")
def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(ConfigError, match="needs a GPU"), rank(train, {"module": Mlp}, mixed_precision="fp16"):
        pass


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_bf16_computes_in_bf16_and_keeps_everything_else_in_float32(strategy: str) -> None:
    kinds: list[torch.dtype] = []

    def look(module: Any) -> Any:
        model = module()
        with model.body.register_forward_hook(lambda *call: kinds.append(call[2].dtype)):
            outputs = model(torch.ones(2, 6))
        outputs.sum().backward()
        return model, outputs

    with rank(look, {"module": Mlp}, strategy=strategy, mixed_precision="bf16") as (_, own):
        model, outputs = look(**own)
        assert kinds == [torch.bfloat16]
        assert outputs.dtype == torch.float32
        assert {p.dtype for p in model.parameters()} == {p.grad.dtype for p in model.parameters()} == {torch.float32}
        if strategy == "ddp":
            twin = copy.deepcopy(model)
            assert type(twin) is type(pickle.loads(pickle.dumps(model))) is Mlp
            assert twin(torch.ones(2, 6)).dtype == torch.float32


def test_batch_normalisation_is_sharded_in_bf16_too() -> None:
    with rank(train, {"module": Normalised}, strategy="fsdp", mixed_precision="bf16") as (_, own):
        model = own["module"]()
        result = fit(model, DataLoader(rows(), batch_size=16))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(np.isfinite(value).all() for value in result["weights"].values())


class Numbers(IterableDataset[float]):
    lagom_share = (0, 1)

    def __iter__(self) -> Iterator[float]:
        yield from (float(number) for number in range(10))


def test_loaders_yield_what_they_yield_alone() -> None:
    def look(module: Any) -> Any:
        module()
        return [
            [batch.tolist() if isinstance(batch, torch.Tensor) else batch for batch in loader]
            for loader in (
                DataLoader(list(range(10)), batch_size=4, shuffle=True),
                DataLoader(Numbers(), batch_size=4, drop_last=True),
                DataLoader(Numbers(), batch_size=None),
            )
        ]

    torch.manual_seed(3)
    expected = look(Mlp)
    torch.manual_seed(3)
    with rank(look, {"module": Mlp}) as (_, own):
        result = look(**own)
    assert result == [*expected[:2], [float(number) for number in range(10)]]


def test_a_function_that_trains_without_a_loader_is_told() -> None:
    def by_hand(module: Any) -> None:
        model = module()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        model(torch.ones(2, 6)).sum().backward()
        optimiser.step()

    with pytest.warns(UserWarning, match="no DataLoader"), rank(by_hand, {"module": Mlp}) as (_, own):
        by_hand(**own)


def distributing(module: Any) -> None:
    """Is only looked at."""
    dist.init_process_group("gloo")


def test_settings_that_a_function_overrules_by_distributing_itself_are_named() -> None:
    given = {"module": Mlp}
    warning = r"--strategy and --mixed-precision had no effect: .* \(torch.distributed.init_process_group\)"
    with (
        pytest.warns(UserWarning, match=warning) as caught,
        rank(distributing, given, strategy="fsdp", mixed_precision="bf16") as (ranks, own),
    ):
        assert own == given
    assert [record.filename for record in caught] == ["%%lagom train"]
    assert ranks.warnings == [str(record.message) for record in caught]
    with rank(distributing, given, strategy="auto", mixed_precision=None) as (ranks, _):
        assert ranks.is_left_alone


def test_torch_compile_takes_the_model() -> None:
    def compiled(module: Any) -> Any:
        torch.manual_seed(0)
        model = module()
        step = torch.compile(model, backend="eager")
        result = fit(step, DataLoader(rows(), batch_size=16))
        return [value.tolist() for value in result["weights"].values()]

    expected = compiled(Mlp)
    with rank(compiled, {"module": Mlp}) as (_, own):
        assert compiled(**own) == expected


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_checkpoint_brings_back_all_that_it_was_given(tmp_path: Path, strategy: str) -> None:
    path = str(tmp_path / "checkpoint.pt")

    def keep(module: Any) -> None:
        """Is only looked at."""

    with rank(keep, {"module": Normalised}, strategy=strategy) as (ranks, own):
        model = own["module"]()
        optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.StepLR(optimiser, 1)
        fit(model, DataLoader(rows(), batch_size=16, shuffle=True), optimiser, n_epochs=1)
        schedule.step()
        kept = weights(model)
        ranks.save_checkpoint(
            path, {"model": model, "optimiser": optimiser, "schedule": schedule, "epoch": 3, "best": [0.5, None]}
        )
        drawn = torch.rand(3).tolist()
        fit(model, DataLoader(rows(), batch_size=16, shuffle=True), optimiser, n_epochs=1)

        fresh = own["module"]()
        optimiser = torch.optim.Adam(fresh.parameters(), lr=0.3)
        schedule = torch.optim.lr_scheduler.StepLR(optimiser, 1)
        values = ranks.load_checkpoint(path, {"model": fresh, "optimiser": optimiser, "schedule": schedule})
        assert values == {"epoch": 3, "best": [0.5, None]}
        assert all((value == kept[name]).all() for name, value in weights(fresh).items())
        assert optimiser.param_groups[0]["lr"] == pytest.approx(0.01)
        assert torch.rand(3).tolist() == drawn
        with pytest.raises(ConfigError, match="hold odd: object"):
            ranks.save_checkpoint(path, {"odd": object()})
        with pytest.raises(StoreError, match="cannot be read"):
            ranks.load_checkpoint(str(tmp_path / "none.pt"), {})
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_an_error_that_tells_of_another_rank_is_a_consequence() -> None:
    ranks = TorchRanks(Place(0, 2, "127.0.0.1"), {"framework": "torch"})
    chained = ValueError("later")
    chained.__cause__ = CollectiveError("gone")
    for error in (
        CollectiveError("gone"),
        chained,
        dist.DistNetworkError("reset"),
        RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1234"),
        RuntimeError("NCCL communicator was aborted on rank 0."),
    ):
        assert ranks.is_consequence(error)
    for error in (ValueError("bad batch"), RuntimeError("shape '[2]' is invalid"), RanksApartError("drifted")):
        assert not ranks.is_consequence(error)


def test_build_is_a_factory_too() -> None:
    def one(module: Any) -> Any:
        return module("linear")

    with rank(one, {"module": build}) as (_, own):
        assert type(one(**own)) is nn.Linear
