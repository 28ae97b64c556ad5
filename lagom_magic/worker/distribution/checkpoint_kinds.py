"""Which framework a checkpoint is of, so that one of the other framework's is refused in words."""

from __future__ import annotations

import zipfile

from lagom_magic.errors import ConfigError

#: A name in the file of each framework: what `torch.save` calls its pickle, and `keras_checkpoint` its contents.
_MARKS = {"torch": "data.pkl", "tensorflow": "contents.json.npy"}
_NAMES = {"torch": "PyTorch", "tensorflow": "Keras on TensorFlow"}


def framework_of(path: str) -> str | None:
    """The framework that wrote a checkpoint; None for a file that neither has written whole."""
    try:
        with zipfile.ZipFile(path) as file:
            names = {name.rpartition("/")[2] for name in file.namelist()}
    except (OSError, zipfile.BadZipFile):
        return None
    return next((framework for framework, mark in _MARKS.items() if mark in names), None)


def check_framework(path: str, framework: str) -> None:
    """Looks whether a training can go on from a checkpoint.

    Args:
        path: of the checkpoint.
        framework: of the training.

    Raises:
        ConfigError: the checkpoint is of the other framework.
    """
    written_by = framework_of(path)
    if written_by not in (None, framework):
        raise ConfigError(
            f"The checkpoint to go on from is of a training with {_NAMES[written_by]}, and this is one with "
            f"{_NAMES[framework]}: they cannot read each other's. Resume it with the function that wrote it, or begin "
            "anew without --resume."
        )
