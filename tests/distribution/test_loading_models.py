"""`Run.load_model`: a state dict finds the module that it was taken from, and is refused by any other in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lagom_magic.errors import ConfigError
from lagom_magic.trained import load_model


class Net(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(width, width) for _ in range(5)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.save(Net(3).state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


@pytest.mark.parametrize("model", [lambda: Net(3), Net(3)], ids=["factory", "module"])
def test_a_factory_or_a_module_takes_the_weights(path: Path, model: Any) -> None:
    loaded = load_model(path, model)
    assert type(loaded) is Net
    assert all((value == torch.load(path)[name]).all() for name, value in loaded.state_dict().items())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: Net(4), r"not those of this Net\. Give .* these too: model=lambda: Net\(width=64\)"),
        (nn.Linear(2, 2), "not those of this Linear"),
        (
            Net,
            r"Net is called without arguments, .* missing a required argument: 'width'\. .*model=lambda: Net\(…\)",
        ),
        (3, "takes a class, a factory or a torch module, not 3"),
        (dict, "this one made {}"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(path: Path, model: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_model(path, model)
    assert len(str(caught.value).splitlines()) <= 7
