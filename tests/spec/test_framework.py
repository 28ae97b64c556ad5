"""Which framework `%%lagom train` takes a function to be of."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from lagom_magic.errors import ConfigError
from lagom_magic.spec.framework import check_installed, check_models, framework_of


class Of:
    """Makes classes that look as if they were a framework's."""

    def __init__(self, module: str) -> None:
        self.made = type("Net", (type("Base", (), {"__module__": module}),), {"__module__": "__main__"})


@pytest.mark.parametrize(
    ("strategy", "given", "modules", "framework"),
    [
        ("ddp", {}, [], "torch"),
        ("fsdp", {}, ["keras"], "torch"),
        ("tp", {}, [], "torch"),
        ("mirrored", {}, ["torch"], "tensorflow"),
        ("auto", {"module": Of("torch.nn.modules.module").made}, ["keras"], "torch"),
        ("auto", {"model": [Of("keras.src.models.model").made]}, ["torch"], "tensorflow"),
        ("auto", {"train_set": Of("torch.utils.data.dataset").made()}, [], "torch"),
        ("auto", {"module": dict}, ["numpy", "torch.nn.functional"], "torch"),
        ("auto", {}, ["keras.layers"], "tensorflow"),
        ("auto", {}, ["lightning.pytorch"], "torch"),
    ],
)
def test_strategy_then_objects_then_the_functions_code_decide(
    strategy: str, given: dict[str, Any], modules: list[str], framework: str
) -> None:
    assert framework_of(strategy, given, modules, "train()") == framework


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        (["torch", "tensorflow"], "train() uses both PyTorch and TensorFlow"),
        (["numpy"], "train() shows neither PyTorch nor TensorFlow"),
    ],
)
def test_what_does_not_decide_is_an_error_that_names_the_options(modules: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        framework_of("auto", {}, modules, "train()")
    assert str(raised.value).startswith(words)
    assert "--strategy ddp" in str(raised.value)
    assert "--strategy mirrored" in str(raised.value)


@pytest.mark.parametrize(
    ("framework", "given", "message"),
    [
        (
            "tensorflow",
            {"module": Of("torch.nn.modules.module").made},
            "module (--module) is Net, of PyTorch, but --strategy mirrored (TfDistributedConfig) is for "
            "TensorFlow. Use --strategy ddp or fsdp (TorchDistributedConfig).",
        ),
        (
            "torch",
            {"model": Of("keras.src.models.model").made()},
            "model (--model) is Net, of TensorFlow, but --strategy ddp or fsdp (TorchDistributedConfig) is for "
            "PyTorch. Use --strategy mirrored (TfDistributedConfig).",
        ),
    ],
)
def test_a_model_of_the_other_framework_is_refused(framework: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_models(framework, given)
    assert str(raised.value) == message


def test_a_model_of_both_frameworks_or_of_none_is_left_to_the_strategy() -> None:
    both = type("Net", (Of("torch.nn").made, Of("keras.src.models.model").made), {})
    for framework in ("torch", "tensorflow"):
        check_models(framework, {"model": both, "module": lambda: 3, "train_set": Of("torch.utils.data").made()})


def test_a_framework_that_is_not_installed_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    check_installed("torch")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ConfigError, match=r"TensorFlow is not installed here: %pip install 'lagom-magic\[tensorfl"):
        check_installed("tensorflow")
