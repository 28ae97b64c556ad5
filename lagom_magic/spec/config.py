"""The configs: what an experiment is to do, made by users or by the magics, complete and checked once made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from lagom_magic.errors import ConfigError, nearest
from lagom_magic.spec import checks
from lagom_magic.spec.secret_urls import without_secrets
from lagom_magic.spec.space import Searchspace
from lagom_magic.spec.space_json import space_to_json
from lagom_magic.spec.study import AblationStudy

#: Built-in samplers and pruners, in the order in which messages list them.
SAMPLERS = ("random", "grid", "tpe", "gp", "cmaes", "qmc")
PRUNERS = ("median", "none", "asha", "hyperband")
#: Maggy's names; its "asha" was an optimizer, which is random search under the ASHA pruner.
SAMPLER_ALIASES = {"randomsearch": "random", "gridsearch": "grid", "asha": "random"}
#: Options that may name places; nobody reads them back from a document.
_MAY_BE_URLS = ("model", "module", "dataset", "train_set", "test_set", "process_data", "mlflow")


@dataclass(frozen=True, kw_only=True)
class BaseConfig:
    """One tracked call of the training function, and what every other config has too.

    Attributes:
        name: groups runs; a folder's name. None = the training function's name.
        tags: for finding the run again.
        model, module: a class, a factory, or a list of them; fills the argument of either name.
        dataset, train_set, test_set: fill the arguments of these names, as they are; in a training on several workers
            a Spark DataFrame or the path of Parquet files becomes a dataset of each worker's rows.
        process_data: a function that is called once, in the notebook, with train_path and test_path (= train_set and
            test_set) or with dataset; the training function gets what it returns in their place.
        hparams: values that fix arguments: a dict, a Trial, or a Run (its best trial); a dict once made.
        optimization_key: the metric that counts; None or "Metric" = the only number returned.
        direction: "max" or "min".
        workers: how many at most; None = every slot of the session.
        gpus_per_worker: 0.5 packs two workers on a GPU; None = what Spark gives.
        seed: >= 0; None = nothing is seeded.
        timeout, trial_timeout: seconds or text like "30m"; seconds once made. None = no limit.
        retries: how often a failed trial runs again.
        max_failures: the run ends when more trials failed; None = when all did.
        files, py_files: paths that go to every worker; absolute once made.
        autolog: what Keras, Lightning, scikit-learn … train inside the function is logged.
        log_weights: histograms of weights and gradients every so many steps; None = none.
        mlflow: the tracking server that gets a copy of the run; "" = $MLFLOW_TRACKING_URI says which. None = no copy.

    Raises:
        ConfigError: for a value that cannot work, with the values allowed; for an unknown keyword, the nearest.
    """

    name: str | None = None
    description: str = ""
    tags: tuple[str, ...] | list[str] = ()
    model: Any = None
    module: Any = None
    dataset: Any = None
    train_set: Any = None
    test_set: Any = None
    process_data: Any = None
    hparams: Any = field(default_factory=dict)
    optimization_key: str | None = None
    direction: str = "max"
    workers: int | None = None
    gpus_per_worker: float | None = None
    seed: int | None = 0
    timeout: float | str | None = None
    trial_timeout: float | str | None = None
    retries: int = 0
    max_failures: int | None = None
    files: tuple[str, ...] | list[str] = ()
    py_files: tuple[str, ...] | list[str] = ()
    autolog: bool = True
    log_weights: int | None = None
    mlflow: str | None = field(default=None, repr=False)  # it may hold a password

    def __new__(cls, *args: Any, **values: Any) -> Self:
        if args:
            raise ConfigError(f"{cls.__name__}({args[0]!r}, …): name every value, such as {cls.__name__}(workers=2).")
        known = [option.name for option in fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(f"{cls.__name__} has no {name!r}; known: {', '.join(known)}.{nearest(name, known)}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        self._check_texts()
        self._check_numbers()
        self._check_sources()

    def _check_texts(self) -> None:
        if self.name is not None:
            checks.folder_name("name", self.name)
        if not isinstance(self.description, str):
            raise checks.wrong("description", self.description, "a text", "Write description='…'.")
        self._set("tags", checks.tags("tags", self.tags))
        if self.optimization_key is not None:
            checks.metric_name("optimization_key", self.optimization_key)
        if isinstance(self.direction, str):
            self._set("direction", self.direction.lower())
        checks.one_of("direction", self.direction, ("max", "min"))

    def _check_numbers(self) -> None:
        checks.whole_number("retries", self.retries, low=0, example=1)
        checks.flag("autolog", self.autolog)
        for name, low, example in (("workers", 1, 2), ("seed", 0, 7), ("max_failures", 0, 3), ("log_weights", 1, 100)):
            if getattr(self, name) is not None:
                checks.whole_number(name, getattr(self, name), low, example)
        if self.gpus_per_worker is not None:
            checks.gpu_share("gpus_per_worker", self.gpus_per_worker)
        for name in ("timeout", "trial_timeout"):
            if getattr(self, name) is not None:
                self._set(name, checks.seconds(name, getattr(self, name)))

    def _check_sources(self) -> None:
        if self.model is not None and self.module is not None:
            raise ConfigError("model (--model) and module (--module) are two names of one thing: give one of them.")
        for name in ("model", "module"):
            if getattr(self, name) is not None:
                checks.model_source(name, getattr(self, name))
        if self.process_data is not None and not callable(self.process_data):
            raise checks.wrong("process_data", self.process_data, "a function", "Pass the function itself.")
        self._set("hparams", checks.hparams("hparams", {} if self.hparams is None else self.hparams))
        for name in ("files", "py_files"):
            self._set(name, checks.paths(name, getattr(self, name)))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def metric(self) -> str | None:
        """The metric that counts; None = the only number returned."""
        return None if self.optimization_key == "Metric" else self.optimization_key

    @property
    def timeout_s(self) -> float | None:
        """`timeout` in seconds."""
        return checks.seconds("timeout", self.timeout) if self.timeout is not None else None

    @property
    def trial_timeout_s(self) -> float | None:
        """`trial_timeout` in seconds."""
        return checks.seconds("trial_timeout", self.trial_timeout) if self.trial_timeout is not None else None

    def document(self) -> dict[str, Any]:
        """The config as JSON holds it; objects by their name, URLs without their credentials."""
        values = {option.name: _as_text(getattr(self, option.name)) for option in fields(self)}
        return values | {name: _shown(values[name]) for name in _MAY_BE_URLS}


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig(BaseConfig):
    """A search for the best hyperparameters.

    Attributes:
        num_trials: how many trials at most; a grid may have fewer.
        optimizer: the sampler: a built-in's name, or an object.
        searchspace: a Searchspace or a dict of domains; None = as the function's annotations say.
        pruner: a built-in's name or an object; None = as `es_policy` says.
        es_policy: Maggy's name of the pruner, "median" or "none".
        es_interval: steps between two decisions of the pruner, >= 1.
        es_min: trials that must be finished before the first decision.
        isolate: each trial in a process of its own.
        hb_interval: accepted for Maggy's sake and unused: workers push.
    """

    num_trials: int = 20
    optimizer: Any = "randomsearch"
    searchspace: Any = None
    pruner: Any = None
    es_policy: Any = "median"
    es_interval: int = 1
    es_min: int = 10
    isolate: bool = False
    hb_interval: float = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.whole_number("num_trials", self.num_trials, low=1, example=20)
        checks.whole_number("es_interval", self.es_interval, low=1, example=1)
        checks.whole_number("es_min", self.es_min, low=1, example=10)
        checks.flag("isolate", self.isolate)
        self._check_search("optimizer", (*SAMPLERS, *SAMPLER_ALIASES))
        self._check_search("es_policy", PRUNERS)
        if self.pruner is not None:
            self._check_search("pruner", PRUNERS)
        if self.optimizer == "asha" and self.pruner not in (None, "asha"):
            raise ConfigError(
                f"optimizer (--sampler) 'asha' is random search with the pruner asha, but pruner (--pruner) is "
                f"{self.pruner!r}. Use optimizer='random' with that pruner, or drop the pruner."
            )
        if self.searchspace is not None:
            self._set("searchspace", _searchspace(self.searchspace))

    def _check_search(self, name: str, built_in: tuple[str, ...]) -> None:
        choice = getattr(self, name)
        allowed = f"{', '.join(built_in)}, or an object"
        if choice is None or isinstance(choice, type):
            raise checks.wrong(name, choice, allowed, "Make the object: write Name().")
        if not isinstance(choice, str):
            return
        self._set(name, choice.lower())
        if choice.lower() not in built_in:
            hint = checks.meant(choice, built_in).strip()
            raise checks.wrong(name, choice, allowed, hint or f"Use {checks.assigned(name, built_in[0])}.")

    @property
    def sampler_choice(self) -> Any:
        """The sampler: one of SAMPLERS, or the object given."""
        return (
            SAMPLER_ALIASES.get(self.optimizer, self.optimizer) if isinstance(self.optimizer, str) else self.optimizer
        )

    @property
    def pruner_choice(self) -> Any:
        """The pruner: one of PRUNERS, or the object given."""
        if self.pruner is not None:
            return self.pruner
        return "asha" if self.optimizer == "asha" else self.es_policy


@dataclass(frozen=True, kw_only=True)
class AblationConfig(BaseConfig):
    """A study of what each part of a training contributes: one component is left out at a time.

    Attributes:
        ablation_study: which features and which parts of the model; None = the function's switches only.
        ablator: "loco", leave one component out.
        repeats: how often each variant runs, each time with another seed, the same for all variants, >= 1.
        order: 2 = pairs of components are left out too.
        until_width: repeats go on where the 95 % confidence interval of the difference to the baseline, of the metric
            that counts, is wider than this, > 0; None = `repeats` are all.
        num_trials: how many trials at most; None = as many as `repeats` need, and four times that with `until_width`.
    """

    ablation_study: AblationStudy | None = None
    ablator: str = "loco"
    repeats: int = 1
    order: int = 1
    until_width: float | None = None
    num_trials: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ablation_study is not None and not isinstance(self.ablation_study, AblationStudy):
            raise checks.wrong(
                "ablation_study", self.ablation_study, "an AblationStudy", "Write ablation_study=AblationStudy(...)."
            )
        checks.one_of("ablator", self.ablator, ("loco",))
        checks.whole_number("repeats", self.repeats, low=1, example=5)
        if self.order not in (1, 2) or isinstance(self.order, bool):
            raise checks.wrong("order", self.order, "1, or 2 for pairs", "Use order=2 (--order 2).")
        if self.num_trials is not None:
            checks.whole_number("num_trials", self.num_trials, low=1, example=50)
        if self.until_width is not None:
            self._check_width(self.until_width)
        if self.seed is None:
            raise ConfigError(
                "an ablation compares variants under the same seeds, so it cannot be unseeded: drop seed=None "
                "(--no-seed)."
            )

    def _check_width(self, width: object) -> None:
        is_number = isinstance(width, (int, float)) and not isinstance(width, bool)
        if not is_number or not math.isfinite(width) or width <= 0:  # type: ignore[arg-type, operator]
            fix = f"Try {checks.assigned('until_width', 0.005)}."
            raise checks.wrong("until_width", width, "a width of an interval, > 0", fix)
        if self.repeats < 3:
            raise ConfigError(
                f"until_width (--until-width) needs intervals to begin with: repeats (--repeats) is {self.repeats}; "
                "allowed: 3 or more. Use repeats=5 (--repeats 5)."
            )


@dataclass(frozen=True, kw_only=True)
class DistributedConfig(BaseConfig):
    """One model trained by all workers together; made as one of the two below.

    Attributes:
        strategy: how; "auto" chooses.
        mixed_precision: "bf16" or "fp16"; True = "bf16"; False = float32 throughout.
        average_metrics: what is reported and returned is the mean over ranks; else rank 0's.
        collective_timeout: how long a rank may wait for the others in one step before the training has failed.
    """

    framework: ClassVar[str] = ""
    strategies: ClassVar[tuple[str, ...]] = ()

    strategy: str = "auto"
    mixed_precision: bool | str = False
    average_metrics: bool = False
    collective_timeout: float | str = "10m"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("strategy", self.strategy, self.strategies)
        if self.mixed_precision is True:
            self._set("mixed_precision", "bf16")
        if self.mixed_precision is not False:
            checks.one_of("mixed_precision", self.mixed_precision, ("bf16", "fp16"))
        checks.flag("average_metrics", self.average_metrics)
        self._set("collective_timeout", checks.seconds("collective_timeout", self.collective_timeout))

    def distribution(self) -> dict[str, Any]:
        """What the workers' side needs, as JSON holds it; see `worker/distribution/`."""
        return {
            "framework": self.framework,
            "strategy": self.strategy,
            "mixed_precision": self.mixed_precision or None,
            "collective_timeout_s": self.collective_timeout,
        }


@dataclass(frozen=True, kw_only=True)
class TorchDistributedConfig(DistributedConfig):
    """One PyTorch model trained by all workers.

    Attributes:
        strategy: "ddp" keeps a whole copy on each rank, "fsdp" a share; "tp" cuts layers as the module's
            `parallelize_plan` says, and all ranks see all rows; "auto" = "ddp".
        backend: "gloo" (CPU), "nccl" (GPU); None or "torch" = as there are GPUs.
        zero_lvl: DeepSpeed's name; 3 = "fsdp".
    """

    framework: ClassVar[str] = "torch"
    strategies: ClassVar[tuple[str, ...]] = ("auto", "ddp", "fsdp", "tp")

    backend: str | None = None
    zero_lvl: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backend is not None:
            checks.one_of("backend", self.backend, ("torch", "gloo", "nccl"))
        if self.zero_lvl in (1, 2):
            fix = "Use strategy='fsdp' (= zero_lvl=3), which shards gradients and optimizer states too."
            raise checks.wrong("zero_lvl", self.zero_lvl, "0 or 3 (= fsdp)", fix)
        if self.zero_lvl not in (0, 3):
            raise checks.wrong("zero_lvl", self.zero_lvl, "0 or 3 (= fsdp)", "Use zero_lvl=3 to shard.")
        if self.zero_lvl == 3:
            if self.strategy == "ddp":
                raise checks.wrong("zero_lvl", 3, "0 with strategy='ddp'", "Drop one of them.")
            self._set("strategy", "fsdp")

    def distribution(self) -> dict[str, Any]:
        return super().distribution() | {"backend": None if self.backend == "torch" else self.backend}


@dataclass(frozen=True, kw_only=True)
class TfDistributedConfig(DistributedConfig):
    """One Keras model trained by all workers.

    Attributes:
        strategy: "mirrored" keeps a whole copy on each rank; "auto" = "mirrored".
    """

    framework: ClassVar[str] = "tensorflow"
    strategies: ClassVar[tuple[str, ...]] = ("auto", "mirrored")


def _searchspace(value: object) -> Searchspace:
    if isinstance(value, Searchspace):
        return value
    if isinstance(value, Mapping):
        return Searchspace(**value)
    raise checks.wrong(
        "searchspace", value, "a Searchspace or a dict of domains", "Write Searchspace(lr=Float(1e-4, 1e-1))."
    )


def _as_text(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Searchspace):
        return space_to_json(value)
    if isinstance(value, (list, tuple)):
        return [_as_text(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _as_text(item) for key, item in value.items()}
    return getattr(value, "__qualname__", type(value).__qualname__)


def _shown(value: Any) -> Any:
    """What `_as_text` gives, without the credentials of URLs in it."""
    match value:
        case str():
            return without_secrets(value)
        case list():
            return [_shown(item) for item in value]
        case dict():
            return {without_secrets(name): _shown(item) for name, item in value.items()}
        case _:
            return value
