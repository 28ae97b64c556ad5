"""Which tracking server a run is mirrored into: found and checked before the run starts."""

from __future__ import annotations

import importlib.util
import os

from lagom_magic.errors import ConfigError
from lagom_magic.spec.secret_urls import SecretUrl


def tracking_address(given: str) -> SecretUrl:
    """The tracking server.

    Args:
        given: its URI; "" = MLFLOW_TRACKING_URI says it.

    Raises:
        ConfigError: when nobody says it, or MLflow is not installed.
    """
    uri = given.strip() or os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not uri:
        raise ConfigError(
            "--mlflow (mlflow) has no URI, and MLFLOW_TRACKING_URI is not set: name the tracking server, such as "
            "--mlflow http://127.0.0.1:5000 (mlflow='http://127.0.0.1:5000')."
        )
    if "***" in uri:
        raise ConfigError(
            f"the password of the tracking server {uri} is stored nowhere: give the whole URI again (--mlflow URI)."
        )
    if importlib.util.find_spec("mlflow") is None:
        raise ConfigError("--mlflow (mlflow) needs MLflow, which is not installed: pip install 'lagom-magic[mlflow]'.")
    return SecretUrl(uri)
