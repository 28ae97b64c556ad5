"""Checkpoints of one framework are told from those of the other, and from files that are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.worker.checkpoints import Checkpoints
from lagom_magic.worker.distribution import keras_checkpoint, make_distribution, torch_states
from lagom_magic.worker.distribution.base import Place
from lagom_magic.worker.distribution.checkpoint_kinds import framework_of


def of_torch(path: str) -> None:
    torch_states.write(path, {"objects": {"epoch": torch.tensor(3)}})


def of_keras(path: str) -> None:
    keras_checkpoint.write(path, {}, {"n_epochs": 3})


def torn(path: str) -> None:
    of_torch(path)
    Path(path).write_bytes(Path(path).read_bytes()[:200])


@pytest.mark.parametrize(
    ("write", "framework"),
    [(of_torch, "torch"), (of_keras, "tensorflow"), (torn, None)],
    ids=["torch", "keras", "torn"],
)
def test_a_checkpoint_tells_its_framework(tmp_path: Path, write: Callable[[str], None], framework: str | None) -> None:
    path = str(tmp_path / "000001")
    write(path)
    assert framework_of(path) == framework


@pytest.mark.parametrize(
    ("write", "framework", "message"),
    [
        (of_torch, "tensorflow", "is of a training with PyTorch, and this is one with Keras on TensorFlow"),
        (of_keras, "torch", "is of a training with Keras on TensorFlow, and this is one with PyTorch"),
    ],
    ids=["torch by keras", "keras by torch"],
)
def test_a_training_refuses_the_checkpoint_of_the_other_framework_with_what_to_do(
    tmp_path: Path, write: Callable[[str], None], framework: str, message: str
) -> None:
    path = str(tmp_path / "000001")
    write(path)
    distribution = make_distribution(Place(0, 1, "127.0.0.1"), {"framework": framework})
    checkpoints = Checkpoints(distribution, str(tmp_path / "new"), path, lambda name: None)
    with pytest.raises(ConfigError, match=f"{message}: .* without --resume"):
        checkpoints.restore({"epoch": 0})


@pytest.mark.parametrize("write", [of_torch, torn], ids=["of another kind", "torn"])
def test_keras_says_that_a_file_is_no_checkpoint(tmp_path: Path, write: Callable[[str], None]) -> None:
    path = tmp_path / "000001"
    write(str(path))
    with pytest.raises(StoreError, match="the checkpoint cannot be read"):
        keras_checkpoint.read(path.read_bytes(), {})
