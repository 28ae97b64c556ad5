import argparse
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.error import UsageError

from lagom_magic.errors import ConfigError
from lagom_magic.magics.build import build_config
from lagom_magic.magics.options import VERBS
from lagom_magic.magics.parse import parse, split
from lagom_magic.magics.settings import Settings
from lagom_magic.spec.config import (
    AblationConfig,
    BaseConfig,
    OptimizationConfig,
    TfDistributedConfig,
    TorchDistributedConfig,
)
from lagom_magic.spec.study import AblationStudy


def values_of(line: str, verb: str = "hpo") -> argparse.Namespace:
    return parse(VERBS[verb], split(line), "%%lagom")


def config_of(line: str, names: dict[str, Any] | None = None) -> Any:
    return build_config(VERBS["hpo"], values_of(line), names or {}, Settings({}))


def complaint(line: str, names: dict[str, Any] | None = None) -> str:
    with pytest.raises((UsageError, ConfigError)) as caught:
        config_of(line, names)
    return f"{type(caught.value).__name__}: {caught.value}"


def test_a_line_without_options_is_the_default_config() -> None:
    assert config_of("") == OptimizationConfig()
    assert build_config(VERBS["run"], values_of("", "run"), {}, Settings({})) == BaseConfig()


def test_every_plain_option_sets_its_field() -> None:
    config = config_of(
        "--trials 7 --workers 2 --gpus-per-worker 0.5 --name mine --description 'a b' --tag x --tag y --isolate "
        "--seed 3 --timeout 1h30m --trial-timeout 90 --retries 1 --max-failures 4 --sampler gridsearch --pruner none"
    )
    assert (config.num_trials, config.workers, config.gpus_per_worker) == (7, 2, 0.5)
    assert (config.name, config.description, config.tags, config.isolate) == ("mine", "a b", ("x", "y"), True)
    assert (config.seed, config.timeout_s, config.trial_timeout_s) == (3, 5400.0, 90.0)
    assert (config.retries, config.max_failures) == (1, 4)
    assert (config.sampler_choice, config.pruner_choice) == ("grid", "none")


def test_the_metric_and_its_direction_come_together() -> None:
    assert (config_of("--minimize loss").metric, config_of("--minimize loss").direction) == ("loss", "min")
    assert (config_of("--maximize acc").metric, config_of("--maximize acc").direction) == ("acc", "max")


def test_no_seed_seeds_nothing() -> None:
    assert config_of("--no-seed").seed is None


def test_sampler_asha_is_random_search_under_asha() -> None:
    config = config_of("--sampler asha")
    assert (config.sampler_choice, config.pruner_choice) == ("random", "asha")


def test_a_sampler_may_be_a_variable_but_a_built_in_word_comes_first() -> None:
    mine = object()
    names = {"mine": mine, "tpe": object(), "box": SimpleNamespace(pruner=mine)}
    assert config_of("--sampler mine", names).sampler_choice is mine
    assert config_of("--sampler tpe", names).sampler_choice == "tpe"
    assert config_of("--pruner box.pruner", names).pruner_choice is mine


def test_set_wins_over_hparams() -> None:
    names = {"best": SimpleNamespace(hparams={"lr": 0.1, "width": 8})}
    assert config_of("--hparams best --set lr=0.5", names).hparams == {"lr": 0.5, "width": 8}


def test_workers_of_the_kernel_hold_unless_the_line_says_otherwise() -> None:
    settings = Settings({"LAGOM_WORKERS": "3"})
    assert build_config(VERBS["hpo"], values_of(""), {}, settings).workers == 3
    assert build_config(VERBS["hpo"], values_of("--workers 1"), {}, settings).workers == 1


def test_an_ablation_takes_its_study_and_how_often_each_variant_runs() -> None:
    study = AblationStudy()
    line = "--study studies.first --repeats 3 --order 2 --until-width 0.01 --trials 50 --minimize loss"
    names = {"studies": SimpleNamespace(first=study)}
    config = build_config(VERBS["ablate"], values_of(line, "ablate"), names, Settings({}))
    assert isinstance(config, AblationConfig)
    assert config.ablation_study is study
    assert (config.repeats, config.order, config.until_width, config.num_trials) == (3, 2, 0.01, 50)
    assert (config.metric, config.direction) == ("loss", "min")


def train_with_torch(module: Any) -> None:
    import torch

    torch.manual_seed(module)


def training_of(line: str) -> BaseConfig:
    return build_config(VERBS["train"], values_of(line, "train"), {}, Settings({}), train_with_torch)


def test_a_training_is_of_the_framework_that_its_function_uses_or_its_strategy_names() -> None:
    assert training_of("") == TorchDistributedConfig()
    assert training_of("--strategy fsdp --mixed-precision bf16 --average-metrics --collective-timeout 30s") == (
        TorchDistributedConfig(strategy="fsdp", mixed_precision="bf16", average_metrics=True, collective_timeout=30.0)
    )
    assert training_of("--strategy mirrored") == TfDistributedConfig(strategy="mirrored")


def test_an_unknown_strategy_is_one_message_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        training_of("--strategy fdsp")
    assert str(caught.value) == (
        "strategy (--strategy) is 'fdsp'; allowed: auto, ddp, fsdp, tp, mirrored. Did you mean fsdp?"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "--trials 0",
            "ConfigError: num_trials (--trials) is 0; allowed: a whole number >= 1. Try num_trials=20 (--trials 20).",
        ),
        (
            "--trials many",
            "ConfigError: num_trials (--trials) is 'many'; allowed: a whole number >= 1. "
            "Try num_trials=20 (--trials 20).",
        ),
        (
            "--workers 1.5",
            "ConfigError: workers (--workers) is 1.5; allowed: a whole number >= 1. Try workers=2 (--workers 2).",
        ),
        ("--seed x", "ConfigError: seed (--seed) is 'x'; allowed: a whole number >= 0. Try seed=7 (--seed 7)."),
        (
            "--timeout soon",
            "ConfigError: timeout (--timeout) is 'soon'; allowed: a number of seconds > 0, or text such as '90s', "
            "'30m' or '1h30m'. Try timeout='30m' (--timeout 30m).",
        ),
        (
            "--sampler tpee",
            "ConfigError: optimizer (--sampler) is 'tpee'; allowed: random, grid, tpe, gp, cmaes, qmc, randomsearch, "
            "gridsearch, asha, or an object. Did you mean tpe?",
        ),
        (
            "--sampler asha --pruner median",
            "ConfigError: optimizer (--sampler) 'asha' is random search with the pruner asha, but pruner (--pruner) "
            "is 'median'. Use optimizer='random' with that pruner, or drop the pruner.",
        ),
        (
            "--space my_spac",
            "UsageError: lagom: --space my_spac: the notebook has no variable 'my_spac'. Define it first. "
            "Did you mean my_space?",
        ),
        (
            "--hparams my_space.bst",
            "UsageError: lagom: --hparams my_space.bst: my_space has no attribute 'bst'. Did you mean best?",
        ),
        (
            "--space number",
            "ConfigError: searchspace (--space) is 3; allowed: a Searchspace or a dict of domains. "
            "Write Searchspace(lr=Float(1e-4, 1e-1)).",
        ),
        (
            "--hparams number",
            "ConfigError: hparams (--hparams) is 3; allowed: a dict, a Trial or a Run. Write hparams={'lr': 0.1}.",
        ),
        (
            "--dataset data/my-rows.csv",
            "UsageError: lagom: --dataset data/my-rows.csv: this takes the name of a variable. Put the path into one, "
            'my_rows = "data/my-rows.csv", and name that: --dataset my_rows.',
        ),
        (
            "--dataset number.parquet",
            "UsageError: lagom: --dataset number.parquet: this takes the name of a variable. Put the path into one, "
            'path = "number.parquet", and name that: --dataset path.',
        ),
        (
            "--dataset s3a://rows/2026/",
            "UsageError: lagom: --dataset s3a://rows/2026/: this takes the name of a variable. Put the path into one, "
            'path = "s3a://rows/2026/", and name that: --dataset path.',
        ),
        (
            "--dataset numbr",
            "UsageError: lagom: --dataset numbr: the notebook has no variable 'numbr'. Define it first. "
            "Did you mean number?",
        ),
        ("--set lr", "UsageError: lagom: --set 'lr' must be K=V, such as --set lr=0.1."),
    ],
)
def test_a_value_that_cannot_work_is_one_message(line: str, message: str) -> None:
    assert complaint(line, {"my_space": SimpleNamespace(best=1), "number": 3}) == message
