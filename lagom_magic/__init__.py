"""lagom_magic: experiments from a notebook cell on a Spark cluster.

`%load_ext lagom_magic` brings `%%lagom hpo`; the same without a notebook is `experiment.lagom(train_fn, config)`.
Names load when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__version__ = "0.1.0"

#: public name → the module that defines it; a module of ours stands for itself
_HOME = {
    "experiment": "experiment",
    "tensorboard": "tensorboard",
    "model": "model",
    "Metric": "model",
    "Float": "spec.space",
    "Int": "spec.space",
    "Categorical": "spec.space",
    "Ordinal": "spec.space",
    "Searchspace": "spec.space",
    "Switch": "spec.study",
    "AblationStudy": "spec.study",
    "OptimizationConfig": "spec.config",
    "AblationConfig": "spec.config",
    "TorchDistributedConfig": "spec.config",
    "TfDistributedConfig": "spec.config",
    "BaseConfig": "spec.config",
    "Run": "run",
    "Trial": "run",
}

__all__ = [*_HOME, "__version__"]  # noqa: PLE0604 - the names of a literal dict


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOME[name]}")
    value = module if name == _HOME[name] else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Called by `%load_ext lagom_magic`."""
    from lagom_magic.magics import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Called by `%unload_ext lagom_magic`."""
    from lagom_magic.magics import unload

    unload(shell)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Called by a Jupyter server that has the extension enabled."""
    return [{"module": "lagom_magic.server"}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Called by JupyterLab's tools to find the built front end."""
    return [{"src": "labextension", "dest": "lagom-magic"}]
