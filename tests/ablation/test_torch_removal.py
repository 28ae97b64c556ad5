"""PyTorch models without some of their modules: the model that is trained is looked at."""

from __future__ import annotations

import copy
import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lagom_magic.errors import ConfigError, NotRemovableError
from lagom_magic.spec.parts import parts_of
from lagom_magic.worker.ablation.removal import n_parameters, without

X = torch.linspace(-1, 1, 32).reshape(4, 8)
TOKENS = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [5, 4, 3, 2, 1]])
UNCHECKED = "whether the output kept its shape could not be checked"


def train(model: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    """One step; what the model gave before it."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    output: torch.Tensor = model(*inputs)
    output.square().mean().backward()
    optimizer.step()
    return output.detach()


def refusal(model: nn.Module, names: list[str], *inputs: torch.Tensor) -> str:
    ablated, _ = without(model, names)
    with pytest.raises(NotRemovableError) as caught:
        train(ablated, *inputs)
    return str(caught.value)


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Dropout(0.1), nn.Linear(16, 1))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
        self.norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        attended, _ = self.attention(x, x, x)
        return self.norm(x + attended + self.mlp(x))


class Net(nn.Module):
    """Nested modules of many kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.small = nn.Linear(8, 4)
        self.head = nn.Linear(4, 1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        x, (hidden, _) = self.lstm(x)
        return self.head(self.small(x[:, -1] + hidden[0]))


def never_run(name: str) -> str:
    return f"{name}: never run, so leaving it out changes nothing but its parameters"


def test_an_identity_takes_an_entry_of_a_sequential_and_the_others_keep_their_names_and_weights() -> None:
    whole = mlp()
    first = whole[0].weight.detach().clone()
    model, changes = without(whole, ["2"])
    assert list(model.state_dict()) == ["0.weight", "0.bias", "4.weight", "4.bias"]
    assert [type(entry) for entry in model] == [nn.Linear, nn.ReLU, nn.Identity, nn.Dropout, nn.Linear]
    assert torch.equal(model[0].weight, first)
    assert train(model, X).shape == (4, 1)
    assert changes == ["2: identity in its place"]
    assert not model[2]._forward_pre_hooks, "what looks whether it ran is gone after it"
    assert n_parameters(model) == 8 * 16 + 16 + 16 + 1


def test_slices_and_indexes_of_a_sequential_mean_what_they_meant() -> None:
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh())
            self.head = nn.Linear(8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            skip = self.f[:2](x)
            return self.head(skip + self.f[2:](skip))

    whole = Skipping()
    second, head = copy.deepcopy(whole.f[2]), copy.deepcopy(whole.head)
    model, changes = without(whole, ["f.0"])
    skip = X.relu()
    expected = head(skip + second(skip).tanh())
    torch.testing.assert_close(train(model, X), expected.detach())
    assert changes == ["f.0: identity in its place"]


def test_a_module_that_the_model_never_calls_is_said_to_have_changed_nothing() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 1)
            self.c = nn.Sequential(nn.Linear(8, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(x)

    model, changes = without(Idle(), ["a", "c.0"])
    train(model, X)
    assert changes == [never_run("a"), never_run("c.0")]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_scripted_model_is_refused_in_words_and_so_is_one_within_a_model() -> None:
    for scripted in (torch.jit.script(mlp()), torch.jit.trace(mlp().eval(), X)):
        with pytest.raises(ConfigError, match=r"the model is a ScriptModule.*Give the model before scripting"):
            without(scripted, ["2"])
    model = nn.Sequential(nn.Linear(8, 8), torch.jit.script(nn.Sequential(nn.Linear(8, 8))), nn.Linear(8, 1))
    assert [part.name for part in parts_of(model)] == ["0", "1", "2"]
    with pytest.raises(NotRemovableError, match="1 cannot be left out: it is, or has, a ScriptModule"):
        without(model, ["1"])
    with pytest.raises(ConfigError, match=r"1\.0"):
        without(model, ["1.0"])
    _, changes = without(model, ["0"])
    train(model, X)
    assert "0: identity in its place" in changes


def test_several_modules_are_left_out_together_and_a_part_within_another_one_goes_with_it() -> None:
    model, changes = without(mlp(), ["2", "3"])
    train(model, X)
    assert changes == ["2: identity in its place", "3: identity in its place"]
    model, changes = without(Net(), ["blocks.0.mlp.0", "blocks.0"])
    train(model, TOKENS)
    assert changes == ["blocks.0: identity in its place"]


def test_a_module_is_an_identity_where_its_output_has_the_shape_of_its_input() -> None:
    model, changes = without(Net(), ["blocks.0.norm"])
    assert changes == [never_run("blocks.0.norm")]
    assert not [name for name, _ in model.named_parameters() if name.startswith("blocks.0.norm")]
    train(model, TOKENS)
    assert changes == ["blocks.0.norm: identity in its place"]
    assert not model._forward_pre_hooks, "what checks the first run is gone after it"
    x = torch.rand(2, 5, 8)
    assert model.blocks[0].norm(x) is x


def test_elsewhere_zeros_of_its_outputs_shape_take_its_place() -> None:
    model, changes = without(Net(), ["small"])
    train(model, TOKENS)
    assert changes == ["small: zeros in its place"]
    assert torch.equal(model.small(torch.rand(7, 8)), torch.zeros(7, 4))
    assert torch.equal(model(TOKENS), model.head.bias.expand(3, 1))


def test_parameters_are_gone_before_an_optimizer_can_see_them() -> None:
    whole = n_parameters(Net())
    for name, module in Net().named_modules():
        if name:
            model, _ = without(Net(), [name])
            assert n_parameters(model) == whole - sum(p.numel() for p in module.parameters()), name
            assert not [key for key in model.state_dict() if key.startswith(f"{name}.")], name


def test_of_several_outputs_the_first_passes_and_the_others_are_zeros() -> None:
    model, changes = without(Net(), ["lstm"])
    train(model, TOKENS)
    x = torch.rand(2, 5, 8)
    output, (hidden, cell) = model.lstm(x)
    assert output is x
    assert torch.equal(hidden, torch.zeros(1, 2, 8))
    assert torch.equal(cell, torch.zeros(1, 2, 8))
    assert changes == ["lstm: identity in its place"]


def test_attention_is_left_out_with_its_weights() -> None:
    model, changes = without(Net(), ["blocks.1.attention"])
    train(model, TOKENS)
    assert changes == ["blocks.1.attention: identity in its place"]
    x = torch.rand(2, 5, 8)
    output, weights = model.blocks[1].attention(x, x, x)
    assert output is x
    assert torch.equal(weights, torch.zeros(2, 5, 5))
    assert model.blocks[1].attention(x, x, x, need_weights=False)[1] is None


def test_an_embedding_gives_zeros() -> None:
    model, changes = without(Net(), ["embedding"])
    train(model, TOKENS)
    assert changes == ["embedding: zeros in its place"]
    assert model.embedding(TOKENS).dtype == torch.float32


def test_leaving_out_a_module_list_leaves_out_its_entries() -> None:
    model, changes = without(Net(), ["blocks"])
    train(model, TOKENS)
    assert changes == ["blocks.0: identity in its place", "blocks.1: identity in its place"]


def test_what_has_no_shape_in_common_with_the_next_module_is_refused_in_words() -> None:
    words = refusal(mlp(), ["0"], X)
    assert words.startswith("0 cannot be left out: the rest of the model does not run without it: ")
    assert "include_groups" in words
    assert "study.add" in words


def test_an_output_of_another_shape_is_refused_where_a_loss_would_broadcast_it() -> None:
    assert "the model's output would be of shape (4, 16), not (4, 1)" in refusal(mlp(), ["4"], X)


def test_an_output_that_nothing_reaches_is_refused() -> None:
    assert "head cannot be left out: nothing of what is left reaches the output" in refusal(Net(), ["head"], TOKENS)


def test_a_module_whose_weights_are_used_without_calling_it_is_refused() -> None:
    words = refusal(Net(), ["blocks.0.attention.out_proj"], TOKENS)
    assert "'weight' of blocks.0.attention.out_proj is used without" in words


def test_a_module_that_is_called_by_way_of_a_plain_list_is_refused() -> None:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 1)
            self.order = [self.first, self.second]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.order:
                x = layer(x)
            return x

    assert "first cannot be left out: the model calls it" in refusal(Listed(), ["first"], X)


def test_a_shared_module_is_left_out_wherever_it_is() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.same = nn.Linear(8, 8)
            self.all = nn.Sequential(self.same, nn.ReLU(), self.same, nn.Linear(8, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.all(self.same(x))

    model, changes = without(Tied(), ["same"])
    assert n_parameters(model) == 9
    train(model, X)
    assert changes == ["same: identity in its place"]


@pytest.mark.parametrize("name", ["layers.0", "layers.0.self_attn", "layers.0.linear1", "layers.1.norm2", "layers"])
def test_torchs_own_encoder_runs_without_its_parts_in_evaluation_too(name: str) -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), 2)
    model, _ = without(nn.Sequential(encoder, nn.Linear(8, 1)), [f"0.{name}"])
    x, padding = torch.rand(2, 5, 8), torch.tensor([[False] * 3 + [True] * 2, [False] * 5])
    trained = model(x).detach(), model[0](x, src_key_padding_mask=padding).detach()
    with torch.no_grad():
        model.eval()
        torch.testing.assert_close(model(x), trained[0])
        torch.testing.assert_close(model[0](x, src_key_padding_mask=padding)[:, :3], trained[1][:, :3])


def test_a_lazy_module_is_counted_once_it_has_seen_data() -> None:
    model = nn.Sequential(nn.LazyLinear(4), nn.LazyLinear(4), nn.Linear(4, 1))
    ablated, changes = without(model, ["1"])
    assert n_parameters(ablated) is None
    ablated(X)
    assert n_parameters(ablated) == 8 * 4 + 4 + 4 + 1
    assert changes == ["1: identity in its place"]


def test_a_forward_that_depends_on_values_runs_and_says_that_it_was_not_checked() -> None:
    class Choosing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x) if x.sum().item() < 1e9 else x)

    model, changes = without(Choosing(), ["a"])
    train(model, X)
    assert changes == ["a: identity in its place", UNCHECKED]


def test_random_states_are_untouched_by_the_removal_and_by_the_first_run() -> None:
    def draws(*names: str) -> list[Any]:
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)
        model, _ = without(Net(), names)
        model(TOKENS)
        return [torch.rand(3).tolist(), random.random(), np.random.rand()]

    assert draws("blocks.0", "small") == draws()


def test_copies_and_pickles_of_the_model_run() -> None:
    model, changes = without(Net(), ["blocks.0", "small"])
    early = copy.deepcopy(model)
    expected = train(model, TOKENS)
    assert torch.equal(early(TOKENS), expected)
    assert changes == ["blocks.0: identity in its place", "small: zeros in its place"]
    late, loaded = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    assert torch.equal(late(TOKENS), model(TOKENS))
    assert torch.equal(loaded(TOKENS), model(TOKENS))


def test_pretrained_weights_stay() -> None:
    whole = Net()
    weights = {name: value.clone() for name, value in whole.state_dict().items()}
    model, _ = without(whole, ["blocks.0"])
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_a_misspelt_module_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean blocks\.0\.norm"):
        without(Net(), ["blocks.0.nrom"])


def test_zeros_that_cut_the_input_off_are_said_to() -> None:
    class Narrow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(8, 16)
            self.side = nn.Linear(16, 4)
            self.head = nn.Linear(16, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.stem(x)
            return self.head(h) + self.side(h).mean()

    model, changes = without(Narrow(), ["stem"])
    train(model, X)
    assert changes == [
        "stem: zeros in its place",
        "nothing of the input reaches the output, so what is left can only guess",
    ]
    model, changes = without(Narrow(), ["side"])
    train(model, X)
    assert changes == ["side: zeros in its place"]
