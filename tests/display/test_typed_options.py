from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from lagom_magic.display.typed_options import FLAGS, NO_FLAG, typed_options, typed_space
from lagom_magic.magics.options import VERBS
from lagom_magic.spec.config import (
    AblationConfig,
    BaseConfig,
    OptimizationConfig,
    TfDistributedConfig,
    TorchDistributedConfig,
)
from lagom_magic.spec.space import Categorical, Float, Int, Searchspace
from lagom_magic.spec.space_json import space_to_json

CONFIGS: list[type[BaseConfig]] = [
    BaseConfig,
    OptimizationConfig,
    AblationConfig,
    TorchDistributedConfig,
    TfDistributedConfig,
]


def typed(config: BaseConfig, kind: str = "hpo") -> dict[str, str]:
    return dict(typed_options({"kind": kind, "config": config.document()}))


def test_every_option_is_called_as_the_magics_call_it() -> None:
    known = {option.dest: option.flag for verb in VERBS.values() if verb.is_cell for option in verb.options}
    # One option of two sets a field, or only takes something away.
    known |= {"autolog": "--autolog", "hparams": "--set"}
    for name in {option.name for config in CONFIGS for option in fields(config)} - NO_FLAG:
        if name not in ("optimization_key", "direction", "es_policy", "hb_interval"):
            assert FLAGS.get(name, f"--{name.replace('_', '-')}") == known[name]


@pytest.mark.parametrize("config", CONFIGS)
def test_defaults_say_nothing(config: type[BaseConfig]) -> None:
    is_search = config is OptimizationConfig
    search = {"--trials": "20", "--sampler": "random", "--pruner": "median"} if is_search else {}
    assert typed(config(), "x") == {"verb": "%%lagom x"} | search


def test_what_was_typed_is_told_in_the_same_words() -> None:
    config = OptimizationConfig(
        num_trials=16,
        optimizer="asha",
        optimization_key="f1",
        direction="min",
        name="digits",
        tags=("pii",),
        description="a line",
        hparams={"epochs": 3, "rate": 0.25},
        seed=7,
        timeout="90m",
        autolog=False,
        isolate=True,
        retries=2,
        es_min=3,
        mlflow="",
    )
    assert typed(config) == {
        "verb": "%%lagom hpo",
        "--minimize": "f1",
        "--set": "epochs=3 rate=0.25",
        "--seed": "7",
        "--timeout": "90m",
        "--retries": "2",
        "--no-autolog": "yes",
        "--mlflow": "$MLFLOW_TRACKING_URI",
        "--trials": "16",
        "--sampler": "random",
        "--pruner": "asha",
        "config es_min": "3",
        "--isolate": "yes",
    }
    assert typed(BaseConfig(seed=None), "run") == {"verb": "%%lagom run", "--no-seed": "yes"}
    assert typed(TorchDistributedConfig(strategy="fsdp", collective_timeout="1m"), "train") == {
        "verb": "%%lagom train",
        "--strategy": "fsdp",
        "--collective-timeout": "1m",
    }


def test_a_space_is_told_as_it_is_written() -> None:
    space = Searchspace(
        lr=Float(1e-4, 0.1, log=True),
        n=Int(1, 9),
        even=Int(2, 8, step=2),
        kind=Categorical(["a", "b"]),
        flat=Float(0, 1),
    )
    assert dict(typed_space({"searchspace": space_to_json(space)})) == {
        "lr": "Float(0.0001, 0.1, log=True)",
        "n": "Int(1, 9)",
        "even": "Int(2, 8, step=2)",
        "kind": 'Categorical(["a", "b"])',
        "flat": "Float(0, 1)",
    }


@pytest.mark.parametrize("value", [None, 3, "x", [], [1], {}, {"x": {}}, {"x": None}, {"x": {"kind": [3]}}, True])
def test_a_document_of_any_form_is_read(value: Any) -> None:
    names = ["optimizer", "hparams", "timeout", "tags", "seed", "optimization_key", "autolog", "mlflow", "num_trials"]
    for config in (value, dict.fromkeys(names, value)):
        document = {"kind": value, "config": config, "searchspace": value, "fixed_hparams": value}
        for name, text in [*typed_options(document), *typed_space(document)]:
            assert isinstance(name, str)
            assert isinstance(text, str)
