"""Checks of one configuration value each, called by the configs when they are made.

All complain in one form: the value seen, the values allowed, and how to mend it, for those who wrote Python as
well as for those who wrote an option.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lagom_magic.errors import ConfigError, nearest
from lagom_magic.spec import duration

_OPTIONS = {
    "num_trials": "--trials",
    "optimizer": "--sampler",
    "searchspace": "--space",
    "optimization_key": "--maximize/--minimize",
    "direction": "--maximize/--minimize",
    "ablation_study": "--study",
    "tags": "--tag",
    "autolog": "--no-autolog",
}
#: Fields that only Python can give.
_WITHOUT_OPTION = frozenset(
    {"es_policy", "es_interval", "es_min", "hb_interval", "backend", "zero_lvl", "ablator", "average_metrics"}
)
#: What others call what a sampler or pruner of ours does.
_KNOWN_ELSEWHERE = {
    "bayes": "tpe",
    "bayesian": "tpe",
    "bayesopt": "tpe",
    "hyperopt": "tpe",
    "parzen": "tpe",
    "gaussian": "gp",
    "gaussian_process": "gp",
    "evolution": "cmaes",
    "evolutionary": "cmaes",
    "genetic": "cmaes",
    "cma_es": "cmaes",
    "halton": "qmc",
    "quasirandom": "qmc",
    "sobol": "qmc",
    "bohb": "hyperband",
    "halving": "asha",
    "successive_halving": "asha",
    "nop": "none",
    "off": "none",
}
#: What a built model, as opposed to its class, can do.
_MODEL_METHODS = ("forward", "state_dict", "fit", "predict", "get_params", "get_weights")


def spelled(name: str) -> str:
    """The field with its option: `num_trials (--trials)`."""
    return name if name in _WITHOUT_OPTION else f"{name} ({_OPTIONS.get(name, '--' + name.replace('_', '-'))})"


def assigned(name: str, value: object) -> str:
    """How a person gives the value, in Python and on the line: `num_trials=20 (--trials 20)`."""
    option = _OPTIONS.get(name, "--" + name.replace("_", "-"))
    if name in _WITHOUT_OPTION or "/" in option:
        return f"{name}={value!r}"
    return f"{name}={value!r} ({option if value is True else f'{option} {value}'})"


def meant(word: str, known: Iterable[str]) -> str:
    """' Did you mean tpe?' for a misspelt sampler or pruner, or what it is called elsewhere; '' without an idea."""
    words = list(known)
    ours = _KNOWN_ELSEWHERE.get(re.sub(r"[\s-]+", "_", word.strip().lower()), "")
    return f" Did you mean {ours}?" if ours in words else nearest(word, words)


def wrong(name: str, value: object, allowed: str, fix: str) -> ConfigError:
    """The error for a value that cannot work."""
    return ConfigError(f"{spelled(name)} is {value!r}; allowed: {allowed}. {fix}")


def whole_number(name: str, value: object, low: int, example: int) -> None:
    """Checks that `value` is a whole number >= `low`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise wrong(name, value, f"a whole number >= {low}", f"Try {assigned(name, example)}.")


def gpu_share(name: str, value: object) -> None:
    """Checks GPUs a worker: a part of one, or whole ones, as Spark can give them."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value <= 0 or (value > 1 and value != int(value)):  # type: ignore[arg-type, operator, call-overload]
        fix = f"Try {assigned(name, 1)}, or 0.5 for two workers a GPU."
        raise wrong(name, value, "a number > 0, whole above 1", fix)


def one_of(name: str, value: object, allowed: Iterable[str]) -> None:
    """Checks that `value` is one of some words."""
    words = list(allowed)
    if value not in words:
        hint = nearest(str(value), words).strip() or f"Use {assigned(name, words[0])}."
        raise wrong(name, value, ", ".join(words), hint)


def flag(name: str, value: object) -> None:
    """Checks that `value` is True or False."""
    if not isinstance(value, bool):
        raise wrong(name, value, "True or False", f"Use {assigned(name, True)}.")


def seconds(name: str, value: object) -> float:
    """The duration in seconds."""
    result = duration.seconds(value)
    if result is None:
        raise wrong(name, value, duration.ALLOWED, f"Try {assigned(name, '30m')}.")
    return result


def folder_name(name: str, value: object) -> None:
    """Checks a name that becomes a folder."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", value):
        allowed = "1 to 64 letters, digits, '_', '-' and '.', not beginning with '-' or '.'"
        raise wrong(name, value, allowed, "It names a folder; try 'my_experiment'.")


def metric_name(name: str, value: object) -> None:
    """Checks the name of a metric."""
    if not isinstance(value, str) or not value.strip():
        raise wrong(
            name, value, "the name of a metric, or None for the only number", f"Try {assigned(name, 'accuracy')}."
        )


def not_taken(call: str, value: object, allowed: str, example: str) -> ConfigError:
    """The error for what a method cannot take: `features.include(3): 3 is not allowed; …`."""
    return ConfigError(f"{call}: got {value!r}; allowed: {allowed}. Write {example}.")


def texts(name: str, value: object) -> tuple[str, ...]:
    """The words as a tuple; each is one line and not empty."""
    if isinstance(value, str) or not isinstance(value, (list, tuple, set, frozenset)):
        raise wrong(name, value, "a list of texts", f"Write {name}=[{value!r}].")
    for text in value:
        if not isinstance(text, str) or not text.strip() or not text.isprintable():
            raise wrong(name, value, "texts of one line that are not empty", f"Mend or drop {text!r}.")
    return tuple(value)


def tags(name: str, value: object) -> tuple[str, ...]:
    """The tags as a tuple."""
    return tuple(check_tag(tag) for tag in texts(name, value))


def check_tag(tag: str) -> str:
    """The tag: `pii`, or `retention=90d`.

    Raises:
        ConfigError: when it is not 1 to 64 letters, digits, dots, dashes, underscores and '='.
    """
    if not re.fullmatch(r"[A-Za-z0-9._=-]{1,64}", tag) or not set(tag) - {".", "="}:
        raise wrong(
            "tags", tag, "1 to 64 letters, digits, '.', '_', '-' and '='", "Write --tag pii or --tag retention=90d."
        )
    return tag


def paths(name: str, value: object) -> tuple[str, ...]:
    """The paths as a tuple of absolute texts; each exists."""
    if isinstance(value, (str, Path)) or not isinstance(value, (list, tuple)):
        raise wrong(name, value, "a list of paths", f"Write {name}=[{str(value)!r}].")
    for path in value:
        if not isinstance(path, (str, Path)) or not Path(path).expanduser().exists():
            here = f"There is no such file or folder below {Path.cwd()}; mend the path."
            raise wrong(name, str(path), "paths of files and folders that exist", here)
    return tuple(str(Path(path).expanduser().absolute()) for path in value)


def model_source(name: str, value: object) -> None:
    """Checks that a model comes as a class, a factory, or a list of them; a built one cannot be trained twice."""
    for item in value if isinstance(value, (list, tuple)) and value else [value]:
        if isinstance(item, type) or inspect.isroutine(item) or isinstance(item, partial):
            continue
        kind = type(item).__name__
        if not callable(item) or any(hasattr(item, method) for method in _MODEL_METHODS):
            raise ConfigError(
                f"{spelled(name)} is an instance of {kind}; allowed: a class, a factory, or a list of them, so that "
                f"every trial builds its own. Pass {kind} itself, or a function: {name}=lambda: {kind}(...)."
            )


def hparams(name: str, value: object) -> dict[str, Any]:
    """The hyperparameters of a dict, a Trial, or a Run's best trial, as JSON will carry them (a tuple is a list)."""
    values = _hparams_of(name, value)
    for key, item in values.items():
        if not isinstance(key, str) or not key.isidentifier():
            raise wrong(name, key, "names of arguments", f"Write {name}={{'lr': 0.1}}.")
        values[key] = _as_json(name, key, item)
    return values


def _hparams_of(name: str, value: Any) -> dict[Any, Any]:
    if isinstance(value, dict):
        return dict(value)
    if hasattr(value, "best"):
        if value.best is None:
            fix = "Choose a trial of it: run.trials[0]."
            raise wrong(name, getattr(value, "id", value), "a run with a best trial (this one has none)", fix)
        value = value.best
    if isinstance(getattr(value, "hparams", value), Mapping):
        return dict(getattr(value, "hparams", value))
    raise wrong(name, value, "a dict, a Trial or a Run", f"Write {name}={{'lr': 0.1}}.")


def _as_json(name: str, key: str, item: Any) -> Any:
    if hasattr(item, "item") and not getattr(item, "shape", ()):  # a NumPy scalar
        item = item.item()
    try:
        return json.loads(json.dumps(item, allow_nan=False))
    except (TypeError, ValueError):
        raise wrong(
            f"{name}[{key!r}]" if name != "hparams" else name,
            {key: item},
            "what JSON holds: None, True, numbers, texts, lists and dicts of them",
            "Pass objects with --model or --dataset.",
        ) from None
