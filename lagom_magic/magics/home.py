"""The home folder as the verbs that list runs use it: of a URL, brought up to date first."""

from __future__ import annotations

import warnings
from pathlib import Path

from lagom_magic.store.layout import default_home
from lagom_magic.store.mirror import refresh_home


def refreshed_home() -> Path:
    """The home folder; of one that LAGOM_HOME names by a URL, with what other machines made, or a warning.

    Raises:
        ConfigError: when the URL cannot work.
    """
    problem = refresh_home()
    if problem:
        warnings.warn(problem, stacklevel=2)
    return default_home()
