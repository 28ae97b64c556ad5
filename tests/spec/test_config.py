import json
from dataclasses import FrozenInstanceError, fields, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lagom_magic.errors import ConfigError
from lagom_magic.spec.config import (
    AblationConfig,
    BaseConfig,
    OptimizationConfig,
    TfDistributedConfig,
    TorchDistributedConfig,
)
from lagom_magic.spec.space import Float, Searchspace
from lagom_magic.spec.space_json import space_from_json
from lagom_magic.spec.study import AblationStudy


class Network:
    def forward(self) -> None: ...

    def __call__(self) -> None: ...


def complaint(kind: type[BaseConfig] = OptimizationConfig, **values: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        kind(**values)
    return str(caught.value)


def test_a_search_has_the_defaults_of_the_contract() -> None:
    config = OptimizationConfig()
    assert (config.num_trials, config.optimizer, config.searchspace, config.pruner) == (20, "randomsearch", None, None)
    assert (config.optimization_key, config.direction, config.es_policy) == (None, "max", "median")
    assert (config.es_interval, config.es_min, config.isolate) == (1, 10, False)


@pytest.mark.parametrize(
    "kind", [BaseConfig, OptimizationConfig, AblationConfig, TorchDistributedConfig, TfDistributedConfig]
)
def test_every_config_has_the_common_fields(kind: type[BaseConfig]) -> None:
    texts = {"name", "description", "tags", "files", "py_files"}
    sources = {"model", "module", "dataset", "train_set", "test_set", "process_data", "hparams"}
    numbers = {"workers", "gpus_per_worker", "seed", "timeout", "trial_timeout", "retries", "max_failures"}
    assert texts | sources | numbers <= {option.name for option in fields(kind)}


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        BaseConfig().workers = 3  # type: ignore[misc]


def test_replacing_a_value_checks_it_again() -> None:
    with pytest.raises(ConfigError):
        replace(OptimizationConfig(), num_trials=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"num_trials": 0},
            "num_trials (--trials) is 0; allowed: a whole number >= 1. Try num_trials=20 (--trials 20).",
        ),
        (
            {"num_trials": "many"},
            "num_trials (--trials) is 'many'; allowed: a whole number >= 1. Try num_trials=20 (--trials 20).",
        ),
        (
            {"num_trials": True},
            "num_trials (--trials) is True; allowed: a whole number >= 1. Try num_trials=20 (--trials 20).",
        ),
        ({"workers": 0}, "workers (--workers) is 0; allowed: a whole number >= 1. Try workers=2 (--workers 2)."),
        (
            {"gpus_per_worker": 0},
            "gpus_per_worker (--gpus-per-worker) is 0; allowed: a number > 0, whole above 1. "
            "Try gpus_per_worker=1 (--gpus-per-worker 1), or 0.5 for two workers a GPU.",
        ),
        (
            {"gpus_per_worker": 1.5},
            "gpus_per_worker (--gpus-per-worker) is 1.5; allowed: a number > 0, whole above 1. "
            "Try gpus_per_worker=1 (--gpus-per-worker 1), or 0.5 for two workers a GPU.",
        ),
        (
            {"direction": "up"},
            "direction (--maximize/--minimize) is 'up'; allowed: max, min. Use direction='max'.",
        ),
        (
            {"timeout": "soon"},
            "timeout (--timeout) is 'soon'; allowed: a number of seconds > 0, or text such as '90s', '30m' or "
            "'1h30m'. Try timeout='30m' (--timeout 30m).",
        ),
        (
            {"trial_timeout": -5},
            "trial_timeout (--trial-timeout) is -5; allowed: a number of seconds > 0, or text such as '90s', '30m' or "
            "'1h30m'. Try trial_timeout='30m' (--trial-timeout 30m).",
        ),
        ({"retries": -1}, "retries (--retries) is -1; allowed: a whole number >= 0. Try retries=1 (--retries 1)."),
        (
            {"max_failures": -1},
            "max_failures (--max-failures) is -1; allowed: a whole number >= 0. Try max_failures=3 (--max-failures 3).",
        ),
        ({"seed": -1}, "seed (--seed) is -1; allowed: a whole number >= 0. Try seed=7 (--seed 7)."),
        (
            {"name": "../up"},
            "name (--name) is '../up'; allowed: 1 to 64 letters, digits, '_', '-' and '.', not beginning with '-' "
            "or '.'. It names a folder; try 'my_experiment'.",
        ),
        ({"tags": "one"}, "tags (--tag) is 'one'; allowed: a list of texts. Write tags=['one']."),
        (
            {"tags": ["a", " "]},
            "tags (--tag) is ['a', ' ']; allowed: texts of one line that are not empty. Mend or drop ' '.",
        ),
        (
            {"optimizer": "tpee"},
            "optimizer (--sampler) is 'tpee'; allowed: random, grid, tpe, gp, cmaes, qmc, randomsearch, gridsearch, "
            "asha, or an object. Did you mean tpe?",
        ),
        (
            {"optimizer": "Bayes"},
            "optimizer (--sampler) is 'Bayes'; allowed: random, grid, tpe, gp, cmaes, qmc, randomsearch, gridsearch, "
            "asha, or an object. Did you mean tpe?",
        ),
        (
            {"pruner": "successive-halving"},
            "pruner (--pruner) is 'successive-halving'; allowed: median, none, asha, hyperband, or an object. "
            "Did you mean asha?",
        ),
        (
            {"pruner": "mediann"},
            "pruner (--pruner) is 'mediann'; allowed: median, none, asha, hyperband, or an object. "
            "Did you mean median?",
        ),
        (
            {"optimizer": Network},
            f"optimizer (--sampler) is {Network!r}; allowed: random, grid, tpe, gp, cmaes, qmc, randomsearch, "
            "gridsearch, asha, or an object. Make the object: write Name().",
        ),
        (
            {"optimizer": "asha", "pruner": "median"},
            "optimizer (--sampler) 'asha' is random search with the pruner asha, but pruner (--pruner) is 'median'. "
            "Use optimizer='random' with that pruner, or drop the pruner.",
        ),
        (
            {"searchspace": 3},
            "searchspace (--space) is 3; allowed: a Searchspace or a dict of domains. "
            "Write Searchspace(lr=Float(1e-4, 1e-1)).",
        ),
        ({"es_min": -1}, "es_min is -1; allowed: a whole number >= 1. Try es_min=10."),
        ({"isolate": "yes"}, "isolate (--isolate) is 'yes'; allowed: True or False. Use isolate=True (--isolate)."),
        (
            {"process_data": 3},
            "process_data (--process-data) is 3; allowed: a function. Pass the function itself.",
        ),
        (
            {"model": Network, "module": Network},
            "model (--model) and module (--module) are two names of one thing: give one of them.",
        ),
        ({"hparams": 3}, "hparams (--hparams) is 3; allowed: a dict, a Trial or a Run. Write hparams={'lr': 0.1}."),
        (
            {"hparams": {"a b": 1}},
            "hparams (--hparams) is 'a b'; allowed: names of arguments. Write hparams={'lr': 0.1}.",
        ),
        (
            {"hparams": {"lr": float("nan")}},
            "hparams (--hparams) is {'lr': nan}; allowed: what JSON holds: None, True, numbers, texts, lists and "
            "dicts of them. Pass objects with --model or --dataset.",
        ),
    ],
)
def test_a_value_that_cannot_work_is_named_with_what_is_allowed_and_the_fix(
    values: dict[str, Any], message: str
) -> None:
    assert complaint(**values) == message


def test_an_unknown_keyword_is_named_with_the_nearest() -> None:
    message = complaint(num_trails=3)
    assert message.startswith("OptimizationConfig has no 'num_trails'; known: name, description")
    assert message.endswith("Did you mean num_trials?")


def test_values_are_named_not_counted() -> None:
    with pytest.raises(ConfigError, match="name every value"):
        OptimizationConfig(20)  # type: ignore[call-arg]


def test_a_built_model_is_refused_and_its_class_or_factory_taken() -> None:
    assert complaint(model=Network()) == (
        "model (--model) is an instance of Network; allowed: a class, a factory, or a list of them, so that every "
        "trial builds its own. Pass Network itself, or a function: model=lambda: Network(...)."
    )
    for model in (Network, lambda: [Network()], partial(Network), [Network, Network]):
        assert BaseConfig(model=model).model is model


def test_files_must_exist_and_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert BaseConfig(files=["a.csv"]).files == (str(tmp_path / "a.csv"),)
    assert complaint(py_files=["b.py"]) == (
        "py_files (--py-files) is 'b.py'; allowed: paths of files and folders that exist. "
        f"There is no such file or folder below {tmp_path}; mend the path."
    )


def test_times_are_seconds_once_made() -> None:
    config = BaseConfig(timeout="1h30m", trial_timeout=5)
    assert (config.timeout, config.timeout_s, config.trial_timeout_s) == (5400.0, 5400.0, 5.0)
    assert BaseConfig().timeout_s is None


def test_maggys_names_mean_ours() -> None:
    assert OptimizationConfig(optimizer="RandomSearch").sampler_choice == "random"
    assert OptimizationConfig(optimizer="gridsearch").sampler_choice == "grid"
    asha = OptimizationConfig(optimizer="asha")
    assert (asha.sampler_choice, asha.pruner_choice) == ("random", "asha")
    assert OptimizationConfig(es_policy="none").pruner_choice == "none"
    assert OptimizationConfig(optimization_key="Metric").metric is None


def test_a_sampler_or_pruner_may_be_an_object() -> None:
    sampler, pruner = object(), object()
    config = OptimizationConfig(optimizer=sampler, pruner=pruner)
    assert config.sampler_choice is sampler
    assert config.pruner_choice is pruner


def test_a_dict_of_domains_is_a_search_space() -> None:
    config = OptimizationConfig(searchspace={"lr": Float(0, 1), "n": ("INTEGER", [1, 3])})
    assert isinstance(config.searchspace, Searchspace)
    assert list(config.searchspace) == ["lr", "n"]


def test_hparams_come_from_a_dict_a_trial_or_a_runs_best_trial() -> None:
    trial = SimpleNamespace(hparams={"lr": np.float64(0.5), "layers": (1, 2)})
    assert BaseConfig(hparams=trial).hparams == {"lr": 0.5, "layers": [1, 2]}
    assert BaseConfig(hparams=SimpleNamespace(best=trial)).hparams == {"lr": 0.5, "layers": [1, 2]}
    assert complaint(hparams=SimpleNamespace(id="20261122-093000-k3f7", best=None)) == (
        "hparams (--hparams) is '20261122-093000-k3f7'; allowed: a run with a best trial (this one has none). "
        "Choose a trial of it: run.trials[0]."
    )


def test_the_document_of_a_config_is_json() -> None:
    config = OptimizationConfig(searchspace={"lr": Float(0, 1)}, model=Network, dataset=object(), tags=["a"])
    document = json.loads(json.dumps(config.document()))
    assert space_from_json(document["searchspace"]) == config.searchspace
    assert (document["model"], document["dataset"], document["tags"]) == ("Network", "object", ["a"])


def test_the_document_of_a_config_has_no_credentials_of_urls() -> None:
    config = BaseConfig(
        dataset="s3://KEY:s3cret@bucket/data.parquet?sig=s3cret",
        train_set=["simplecache::http://me:s3cret@host/a", {"url": "https://host/b#s3cret"}],
        test_set="/data/what?.csv",
        mlflow="http://me:s3cret@host:5000",
    )
    document = config.document()
    assert "s3cret" not in json.dumps(document)
    assert document["dataset"] == "s3://***@bucket/data.parquet?***"
    assert document["train_set"] == ["simplecache::http://***@host/a", {"url": "https://host/b#***"}]
    assert (document["test_set"], document["mlflow"]) == ("/data/what?.csv", "http://***@host:5000")


def test_hyperparameters_are_in_the_document_as_they_are() -> None:
    assert BaseConfig(hparams={"base": "https://host/x?y"}).document()["hparams"] == {"base": "https://host/x?y"}


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (
            AblationConfig,
            {"ablation_study": 3},
            "ablation_study (--study) is 3; allowed: an AblationStudy. Write ablation_study=AblationStudy(...).",
        ),
        (
            AblationConfig,
            {"repeats": 0},
            "repeats (--repeats) is 0; allowed: a whole number >= 1. Try repeats=5 (--repeats 5).",
        ),
        (
            TorchDistributedConfig,
            {"strategy": "dpp"},
            "strategy (--strategy) is 'dpp'; allowed: auto, ddp, fsdp, tp. Did you mean ddp?",
        ),
        (
            TorchDistributedConfig,
            {"zero_lvl": 4},
            "zero_lvl is 4; allowed: 0 or 3 (= fsdp). Use zero_lvl=3 to shard.",
        ),
        (
            TorchDistributedConfig,
            {"zero_lvl": 2},
            "zero_lvl is 2; allowed: 0 or 3 (= fsdp). Use strategy='fsdp' (= zero_lvl=3), which shards gradients and "
            "optimizer states too.",
        ),
        (
            TorchDistributedConfig,
            {"mixed_precision": "int8"},
            "mixed_precision (--mixed-precision) is 'int8'; allowed: bf16, fp16. "
            "Use mixed_precision='bf16' (--mixed-precision bf16).",
        ),
        (
            TorchDistributedConfig,
            {"collective_timeout": "soon"},
            "collective_timeout (--collective-timeout) is 'soon'; allowed: a number of seconds > 0, or text such "
            "as '90s', '30m' or '1h30m'. Try collective_timeout='30m' (--collective-timeout 30m).",
        ),
        (
            TfDistributedConfig,
            {"strategy": "mirored"},
            "strategy (--strategy) is 'mirored'; allowed: auto, mirrored. Did you mean mirrored?",
        ),
    ],
)
def test_the_other_configs_check_themselves(kind: type[BaseConfig], values: dict[str, Any], message: str) -> None:
    assert complaint(kind, **values) == message


def test_a_study_takes_a_models_class() -> None:
    assert AblationStudy(model=Network, label_name="y").label_name == "y"
    with pytest.raises(ConfigError, match="is an instance of Network"):
        AblationStudy(model=Network())
