"""The public `tensorboard` module: where a training function writes its own event files."""

from __future__ import annotations

import os

#: Set by the trial process for the length of a trial, and inherited by what it starts.
_TRIAL_DIR_VARIABLE = "LAGOM_TRIAL_DIR"


def logdir() -> str:
    """The folder for TensorBoard files: the current trial's own, or ./tensorboard outside a trial."""
    trial_dir = os.environ.get(_TRIAL_DIR_VARIABLE)
    if trial_dir is None:
        return os.path.join(os.curdir, "tensorboard")
    folder = os.path.join(trial_dir, "tensorboard")
    os.makedirs(folder, exist_ok=True)
    return folder
