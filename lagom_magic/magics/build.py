"""From the values of a parsed line to the config of a run; names are looked up after the cell has run."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lagom_magic.magics.namespace import look_up
from lagom_magic.magics.options import STRATEGY_WORDS, Option, Verb
from lagom_magic.magics.parse import assignments, literal
from lagom_magic.magics.settings import Settings
from lagom_magic.spec import checks
from lagom_magic.spec.config import (
    PRUNERS,
    SAMPLER_ALIASES,
    SAMPLERS,
    AblationConfig,
    BaseConfig,
    OptimizationConfig,
    TfDistributedConfig,
    TorchDistributedConfig,
)
from lagom_magic.spec.framework import framework_of
from lagom_magic.spec.inspection import GIVEN

#: Fields that the config wants as numbers; what is none stays text, and the config says what is wrong with it.
_NUMBERS = (
    "num_trials",
    "workers",
    "gpus_per_worker",
    "seed",
    "retries",
    "max_failures",
    "repeats",
    "order",
    "until_width",
    "log_weights",
)
_WORDS = {"optimizer": (*SAMPLERS, *SAMPLER_ALIASES), "pruner": PRUNERS}
#: What the magic itself uses.
_NOT_FIELDS = ("fn", "out", "detach", "ui", "maximize", "minimize", "set", "no_seed", "no_autolog", "resume")


def build_config(
    verb: Verb,
    values: argparse.Namespace,
    names: Mapping[str, Any],
    settings: Settings,
    train_fn: Callable[..., Any] | None = None,
    inherited: Mapping[str, Any] | None = None,
) -> BaseConfig:
    """The config that a line describes.

    Args:
        verb: of the line.
        values: as parsed.
        names: the notebook's variables.
        settings: of this kernel.
        train_fn: the training function, where its framework matters.
        inherited: options of the run that is gone on with; what the line says wins.

    Raises:
        UsageError: for a name that the notebook does not have.
        ConfigError: for a value that cannot work.
    """
    given = vars(values)
    options = {option.dest: option for option in verb.options}
    fields: dict[str, Any] = {}
    for dest, text in given.items():
        if dest in _NOT_FIELDS:
            continue
        if options[dest].name_of:
            fields[dest] = _named(text, names, options[dest])
        else:
            fields[dest] = literal(text) if dest in _NUMBERS else text
    fields |= _metric(given) | _hparams(given, fields) | ({"autolog": False} if "no_autolog" in given else {})
    if "no_seed" in given:
        fields["seed"] = None
    if "no_seed" not in given and "seed" not in fields and inherited and inherited.get("seed", 0) is None:
        fields["seed"] = None
    fields = {**(inherited or {}), **fields}
    if "workers" not in fields and (workers := settings.get("workers")):
        fields["workers"] = int(workers)
    match verb.name:
        case "hpo":
            return OptimizationConfig(**fields)
        case "ablate":
            return AblationConfig(**fields)
        case "train":
            return _distributed(fields, train_fn)
    return BaseConfig(**fields)


def _distributed(fields: dict[str, Any], train_fn: Callable[..., Any] | None) -> BaseConfig:
    from lagom_magic.cluster.references import preload_modules

    strategy = fields.get("strategy", "auto")
    checks.one_of("strategy", strategy, STRATEGY_WORDS)
    given = {name: fields[name] for name in GIVEN if fields.get(name) is not None}
    label = f"{getattr(train_fn, '__name__', 'the function')}()"
    modules = [] if train_fn is None else preload_modules(train_fn, Path.cwd())
    framework = framework_of(strategy, given, modules, label)
    return TorchDistributedConfig(**fields) if framework == "torch" else TfDistributedConfig(**fields)


def _named(text: str, names: Mapping[str, Any], option: Option) -> Any:
    """The variable; for a sampler or pruner, a built-in word comes first, and the config refuses unknown ones."""
    words = _WORDS.get(option.dest, ())
    if words and (text.lower() in words or text.partition(".")[0] not in names):
        return text
    return look_up(text, names, option.flag, is_data=option.name_of == "data")


def _metric(given: Mapping[str, Any]) -> dict[str, str]:
    for option, direction in (("maximize", "max"), ("minimize", "min")):
        if option in given:
            return {"optimization_key": given[option], "direction": direction}
    return {}


def _hparams(given: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """`--set` beside and before `--hparams`."""
    if "set" not in given:
        return {}
    return {"hparams": checks.hparams("hparams", fields.get("hparams", {})) | assignments(given["set"], "--set")}
