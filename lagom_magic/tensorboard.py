"""The public `tensorboard` module: where a training function writes its own event files and profiler traces."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

#: Set by the trial process for the length of a trial, and inherited by what it starts.
_TRIAL_DIR_VARIABLE = "LAGOM_TRIAL_DIR"
#: The audit event that lets the trial process know: from now on the folder's event files are sent while they grow.
_LOGDIR_EVENT = "lagom_magic.logdir"


def logdir() -> str:
    """The folder for TensorBoard files: the current trial's own, or ./tensorboard outside a trial.

    What a trial writes there is in the run's `tensorboard/<trial>/`, beside the reported metrics, seconds later.
    """
    trial_dir = os.environ.get(_TRIAL_DIR_VARIABLE)
    if trial_dir is None:
        return os.path.join(os.curdir, "tensorboard")
    folder = os.path.join(trial_dir, "tensorboard")
    os.makedirs(folder, exist_ok=True)
    sys.audit(_LOGDIR_EVENT, folder)
    return folder


def torch_trace_handler() -> Callable[[Any], str]:
    """What `torch.profiler.profile` takes as `on_trace_ready`: puts its trace into `logdir()` for the Profile tab.

    PyTorch's own `tensorboard_trace_handler` writes what that tab does not read. Ours returns the trace's path.
    """
    from lagom_magic.worker.torch_trace import write_trace

    folder = os.path.abspath(logdir())  # the function may go to another working directory
    return lambda profiler: write_trace(profiler, folder)
