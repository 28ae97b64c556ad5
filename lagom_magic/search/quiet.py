"""Keeps Optuna's experimental warnings and log lines out of the user's notebook while we set it up."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Within it Optuna neither warns nor logs below errors; not for use in two threads at once."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", category=FutureWarning, module="optuna|lagom_magic")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
