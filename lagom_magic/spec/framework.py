"""Which framework a training function uses; asked where a person did not say it (`%%lagom train`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lagom_magic.errors import ConfigError
from lagom_magic.spec.checks import spelled

#: {framework: the packages that speak for it}
_PACKAGES = {
    "torch": frozenset({"torch", "torchvision", "torchaudio", "accelerate", "lightning", "pytorch_lightning"}),
    "tensorflow": frozenset({"tensorflow", "keras", "tf_keras"}),
}
_NAMES = {"torch": "PyTorch", "tensorflow": "TensorFlow"}
#: {framework: how a person chooses it}
_CHOICES = {
    "torch": "--strategy ddp or fsdp (TorchDistributedConfig)",
    "tensorflow": "--strategy mirrored (TfDistributedConfig)",
}
#: {strategy of `--strategy`: the framework that has it}
STRATEGIES = {"ddp": "torch", "fsdp": "torch", "tp": "torch", "mirrored": "tensorflow"}


def framework_of(strategy: str, given: Mapping[str, Any], modules: Iterable[str], label: str) -> str:
    """The framework, "torch" or "tensorflow".

    Args:
        strategy: as typed; one of STRATEGIES decides.
        given: {argument: object} of models and data; their classes decide next.
        modules: dotted names of what the function's code uses.
        label: of the function, such as `train()`.

    Raises:
        ConfigError: when nothing speaks for either, or something for both.
    """
    if strategy in STRATEGIES:
        return STRATEGIES[strategy]
    of_objects = {name for value in given.values() for name in _packages_of(value)}
    for names in (of_objects, {name.partition(".")[0] for name in modules}):
        found = [framework for framework, packages in _PACKAGES.items() if packages & names]
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(
                f"{label} uses both PyTorch and TensorFlow, and a training on several workers is of one. "
                "Say which: --strategy ddp (or fsdp) for PyTorch, --strategy mirrored for TensorFlow."
            )
    raise ConfigError(
        f"{label} shows neither PyTorch nor TensorFlow: neither its code nor what it is given names them. "
        "Say which it is: --strategy ddp (or fsdp) for PyTorch, --strategy mirrored for TensorFlow. "
        "For one call of any function use %%lagom run."
    )


def check_models(framework: str, given: Mapping[str, Any]) -> None:
    """Looks whether models are of the framework that trains them, as far as their classes tell.

    Args:
        framework: "torch" or "tensorflow".
        given: {argument: object}.

    Raises:
        ConfigError: one is of another framework.
    """
    for argument in ("model", "module"):
        names = _packages_of(given.get(argument))
        found = [other for other, packages in _PACKAGES.items() if packages & names]
        if found and framework not in found:
            value = given[argument]
            shown = getattr(value, "__name__", type(value).__name__)
            raise ConfigError(
                f"{spelled(argument)} is {shown}, of {_NAMES[found[0]]}, but {_CHOICES[framework]} is for "
                f"{_NAMES[framework]}. Use {_CHOICES[found[0]]}."
            )


def check_installed(framework: str) -> None:
    """Looks whether workers on this machine can import the framework; imports nothing.

    Raises:
        ConfigError: it is not installed here.
    """
    if importlib.util.find_spec(framework) is None:
        raise ConfigError(
            f"{_NAMES[framework]} is not installed here: %pip install 'lagom-magic[{framework}]', then try again."
        )


def _packages_of(value: object) -> set[str]:
    """The top-level packages of an object's class and its bases; of a class, its own."""
    if isinstance(value, (list, tuple)):
        return {name for item in value for name in _packages_of(item)}
    cls: Callable[..., Any] = value if isinstance(value, type) else type(value)
    return {str(base.__module__).partition(".")[0] for base in getattr(cls, "__mro__", ())}
