"""What a run was asked to do, in the words in which a person types it; read from run.json by reports and comparisons.

The options are those of `%%lagom` (`magics/options.py`, which the display may not import). Defaults are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any

from lagom_magic.display.wording import hparam
from lagom_magic.spec.config import (
    SAMPLER_ALIASES,
    AblationConfig,
    OptimizationConfig,
    TfDistributedConfig,
    TorchDistributedConfig,
)

#: Field of a config → its option, where that is no `--field`.
FLAGS = {
    "num_trials": "--trials",
    "searchspace": "--space",
    "optimizer": "--sampler",
    "tags": "--tag",
    "ablation_study": "--study",
    "hparams": "--set",
}
#: Fields that no option sets; they keep their names.
NO_FLAG = frozenset({"es_interval", "es_min", "ablator", "backend", "zero_lvl"})
#: What is told elsewhere, in other words, or says nothing of what was done.
_NOT_SHOWN = frozenset(
    {
        "name",
        "description",
        "tags",
        "optimization_key",
        "direction",
        "pruner",
        "es_policy",
        "searchspace",
        "hb_interval",
    }
)
_UNITS = (("h", 3600), ("m", 60))
_SECONDS = frozenset({"timeout", "trial_timeout", "collective_timeout"})
_DEFAULTS = {
    option.name: option.default
    for config in (AblationConfig, TorchDistributedConfig, TfDistributedConfig, OptimizationConfig)
    for option in fields(config)
    if option.default is not MISSING
} | {"collective_timeout": 600.0}
#: Said even where they are as they would be anyway.
_ALWAYS = frozenset({"num_trials", "optimizer"})


def typed_options(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(option, value) of a run, its verb first.

    Args:
        document: content of run.json, which anybody may have written.
    """
    config = document.get("config")
    config = dict(config) if isinstance(config, dict) else {}
    if document.get("fixed_hparams"):
        config["hparams"] = document["fixed_hparams"]
    kind = document.get("kind")
    return [*([("verb", f"%%lagom {kind}")] if isinstance(kind, str) else []), *_options(config)]


def typed_space(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(hyperparameter, where it was searched): ('lr', 'Float(0.0001, 0.1, log=True)')."""
    space = document.get("searchspace")
    space = space if isinstance(space, dict) else {}
    return [(name, _domain(entry)) for name, entry in space.items() if isinstance(entry, dict)]


def _options(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    metric, direction = config.get("optimization_key"), config.get("direction")
    if metric not in (None, "Metric"):
        yield "--minimize" if direction == "min" else "--maximize", _text(metric)
    elif direction == "min":
        yield "config direction", "min"
    for name, value in config.items():
        if name == "optimizer":
            yield FLAGS[name], SAMPLER_ALIASES.get(value, value) if isinstance(value, str) else _text(value)
            yield "--pruner", _text(_pruner(config))
        elif name not in _NOT_SHOWN and value not in (None, [], {}) and (name in _ALWAYS or not _is_usual(name, value)):
            yield _flag(name, value), _value(name, value)
        elif name == "seed" and value is None:
            yield "--no-seed", "yes"


def _is_usual(name: str, value: Any) -> bool:
    usual = _DEFAULTS.get(name)
    return value == usual and isinstance(value, bool) == isinstance(usual, bool)


def _pruner(config: Mapping[str, Any]) -> Any:
    if config.get("pruner") is not None:
        return config["pruner"]
    return "asha" if config["optimizer"] == "asha" else config.get("es_policy")


def _flag(name: str, value: Any) -> str:
    if name in NO_FLAG:
        return f"config {name}"
    if name == "autolog" and value is False:
        return "--no-autolog"
    return FLAGS.get(name, f"--{name.replace('_', '-')}")


def _value(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value or name == "autolog" else "no"
    if name in _SECONDS and isinstance(value, (int, float)):
        return _seconds(value)
    if name == "mlflow" and value == "":
        return "$MLFLOW_TRACKING_URI"
    if name == "hparams" and isinstance(value, dict):
        return " ".join(f"{key}={hparam(item, 80)}" for key, item in value.items())
    return ", ".join(map(_text, value)) if isinstance(value, list) else _text(value)


def _seconds(value: float) -> str:
    """'90m', '3659s': exactly, in the largest unit that leaves no rest."""
    unit, n = next(((unit, n) for unit, n in _UNITS if value and value % n == 0), ("s", 1))
    return f"{value / n:.15g}{unit}"


def _domain(entry: Mapping[str, Any]) -> str:
    if "choices" in entry:
        inside = [_text(entry["choices"])]
    else:
        inside = [_text(entry.get(end)) for end in ("low", "high")]
    steps = (None, 1) if entry.get("kind") == "Int" else (None,)
    inside += ["log=True"] if entry.get("log") else []
    inside += [f"step={_text(entry['step'])}"] if entry.get("step") not in steps else []
    inside += [f"when={_text(entry['when'])}"] if entry.get("when") else []
    return f"{_text(entry.get('kind'))}({', '.join(inside)})"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
