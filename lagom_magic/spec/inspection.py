"""How a training function will be called: run on the driver before Spark starts, to refuse what cannot work."""

from __future__ import annotations

import inspect
import json
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lagom_magic.errors import ConfigError, nearest
from lagom_magic.events.ablation import COMPONENT, REPEAT
from lagom_magic.spec import checks
from lagom_magic.spec.annotations import declared_domains, declared_switches, plain_function, strip_annotations
from lagom_magic.spec.config import AblationConfig, BaseConfig, OptimizationConfig
from lagom_magic.spec.processing import Processing, plan_processing
from lagom_magic.spec.selection import is_same
from lagom_magic.spec.space import Domain, Searchspace
from lagom_magic.spec.study import AblationStudy, Switch
from lagom_magic.spec.variants import AblationPlan, plan_ablation

#: Arguments that a run fills by itself.
OURS = ("hparams", "reporter", "seed", "trial", "budget")
#: Arguments that the config fills.
GIVEN = ("model", "module", "dataset", "train_set", "test_set")

_P = inspect.Parameter


@dataclass(frozen=True)
class FunctionPlan:
    """How each trial calls the training function.

    Attributes:
        train_fn: as the user wrote it.
        space: what is searched; without the hyperparameters that are fixed.
        fixed: argument → object, the same for every trial.
        fixed_hparams: hyperparameter → value, the same for every trial; JSON-able.
        wants: those of OURS that the function takes.
        hparam_names: hyperparameters, searched or fixed, that are passed by their own name.
        processing: makes further arguments of `fixed`, once, on the driver; None = there is no process_data.
        ablation: what each trial leaves out; None = this is no ablation.
        defaults: argument → the default of its own that each trial has there; in words where JSON does not hold it.
    """

    train_fn: Callable[..., Any]
    space: Searchspace
    fixed: dict[str, Any]
    fixed_hparams: dict[str, Any]
    wants: tuple[str, ...]
    hparam_names: tuple[str, ...]
    processing: Processing | None = None
    ablation: AblationPlan | None = None
    defaults: dict[str, Any] = field(default_factory=dict)

    def payload(self) -> dict[str, Any]:
        """What a trial process needs to call the function."""
        return {
            "train_fn": strip_annotations(self.train_fn),
            "fixed": self.fixed,
            "wants": list(self.wants),
            "hparam_names": list(self.hparam_names),
            "ablation": self.ablation,
        }


def plan_function(train_fn: Callable[..., Any], config: BaseConfig) -> FunctionPlan:
    """How to call the function under this config.

    Raises:
        ConfigError: for a function that cannot be called so, naming the argument, what could fill it and the fix.
    """
    return _Inspection(train_fn, config).plan()


class _Inspection:
    """One function beside one config."""

    def __init__(self, train_fn: Callable[..., Any], config: BaseConfig) -> None:
        self.train_fn, self.config = train_fn, config
        self.label = _checked_label(train_fn)
        signature = _signature(train_fn, self.label)
        self.takes_any = any(p.kind is _P.VAR_KEYWORD for p in signature.values())
        self.parameters = {name: p for name, p in signature.items() if p.kind is not _P.VAR_KEYWORD}
        self.is_search = isinstance(config, OptimizationConfig)
        self.domains = self._all_domains()
        self.fixed_hparams: dict[str, Any] = dict(config.hparams)

    def plan(self) -> FunctionPlan:
        self._check_hparam_names()
        self._check_switches()
        space = self._space()
        if not self.is_search:
            self._record_defaults()
        processing = self._processing()
        ablation = self._ablation()
        fixed, wants = self._given(processing, ablation), self._wants()
        made = () if processing is None else processing.gives
        left_out = () if ablation is None else ablation.takes
        hparams = [*space, *(name for name in self.fixed_hparams if name not in space)]
        if ablation is not None:
            values = (name for variant in ablation.variants.values() for name in variant.values)
            hparams = list(dict.fromkeys([*hparams, *values]))
        if self._samples_freely():
            hparams += [name for name in self.parameters if name not in {*hparams, *fixed, *OURS, *GIVEN}]
        by_name = tuple(name for name in hparams if name in self.parameters or self.takes_any)
        self._check_conditional(space)
        filled = {*fixed, *made, *wants, *by_name, *left_out}
        self._check_filled(filled)
        defaults = {
            name: _told(p.default)
            for name, p in self.parameters.items()
            if p.default is not _P.empty and name not in (*filled, *OURS, *GIVEN)
        }
        return FunctionPlan(
            self.train_fn, space, fixed, self.fixed_hparams, wants, by_name, processing, ablation, defaults
        )

    def _all_domains(self) -> Searchspace:
        declared = declared_domains(self.train_fn, self.parameters)
        space: Mapping[str, Domain] = getattr(self.config, "searchspace", None) or {}
        for name in space:
            if name in declared:
                raise ConfigError(
                    f"{name!r} is declared twice: {declared[name].describe()} in the annotation of {self.label} and "
                    f"{space[name].describe()} in the search space (--space). Remove one of them."
                )
        for name in (*declared, *space):
            if name in OURS:
                raise ConfigError(f"{name!r} is filled by lagom and cannot be a hyperparameter. Rename it.")
        return Searchspace(**declared, **space)

    def _check_hparam_names(self) -> None:
        for name in self.fixed_hparams:
            if name in OURS or (name in GIVEN and name not in self.domains):
                how = "by lagom" if name in OURS and name != "seed" else f"by --{name.replace('_', '-')}"
                raise ConfigError(f"hparams (--hparams/--set) names {name!r}, which is filled {how}. Drop it there.")
        if self.takes_any or "hparams" in self.parameters:
            return
        known = [name for name in self.parameters if name not in (*OURS, *GIVEN)]
        for source, names in (
            ("search space (--space)", self.domains),
            ("hparams (--hparams/--set)", self.fixed_hparams),
        ):
            for name in names:
                if name not in self.parameters:
                    raise ConfigError(
                        f"{source} names {name!r}, but {self.label} has no such argument; it has: "
                        f"{', '.join(known) or 'none'}. Add the argument {name!r}, or take all in `hparams`."
                        f"{nearest(name, known)}"
                    )

    def _check_switches(self) -> None:
        """A search would pass over an ablation's marks, which is hardly what was meant."""
        if not self.is_search:
            return
        for name in declared_switches(self.train_fn, self.parameters):
            if name not in self.domains and name not in self.fixed_hparams:
                raise ConfigError(
                    f"Argument {name!r} of {self.label} is a Switch, which %%lagom ablate turns off. "
                    f"To search it write {name}: Categorical([True, False]); to fix it, --set {name}=True."
                )

    def _space(self) -> Searchspace:
        if not self.is_search:
            return Searchspace()
        space = without_fixed(self.domains, self.fixed_hparams)
        if not space and not self._samples_freely():
            fixed = f" ({', '.join(self.fixed_hparams)} fixed)" if self.fixed_hparams else ""
            raise ConfigError(
                f"{self.label} has nothing to search{fixed}. Declare a hyperparameter, such as "
                "lr: Float(1e-4, 1e-1), or give --space; for one tracked call use %%lagom run."
            )
        return space

    def _samples_freely(self) -> bool:
        """Whether a sampler of the user's own decides what hyperparameters there are."""
        config = self.config
        return isinstance(config, OptimizationConfig) and not self.domains and not isinstance(config.optimizer, str)

    def _record_defaults(self) -> None:
        """In a single run, a hyperparameter keeps its default, and the run says so."""
        for name in self.domains:
            parameter = self.parameters.get(name)
            if parameter is not None and parameter.default is not _P.empty and name not in self.fixed_hparams:
                self.fixed_hparams.update(checks.hparams(f"the default of {name}", {name: parameter.default}))

    def _processing(self) -> Processing | None:
        config = self.config
        if config.process_data is None:
            return None
        given = {name: getattr(config, name) for name in GIVEN[2:] if getattr(config, name) is not None}
        wanted = {
            name: self.parameters[name].default is _P.empty
            for name in GIVEN[2:]
            if name in self.parameters and name not in self.domains
        }
        return plan_processing(config.process_data, given, wanted, self.label)

    def _ablation(self) -> AblationPlan | None:
        config = self.config
        if not isinstance(config, AblationConfig):
            return None
        study = config.ablation_study or AblationStudy()
        for name in (COMPONENT, REPEAT):
            if name in self.fixed_hparams:
                raise ConfigError(
                    f"{name!r} is what an ablation calls a trial's {name}, so no hyperparameter can have that name. "
                    "Rename the argument."
                )
        if config.process_data is not None and study.features.is_chosen:
            raise ConfigError(
                "process_data (--process-data) makes the data, so their features are not known before. Leave features "
                "out in a generator: study.set_dataset_generator(make_data)."
            )
        given = {name: getattr(config, name) for name in GIVEN if getattr(config, name) is not None}
        if config.process_data is not None:
            given = {name: value for name, value in given.items() if name in ("model", "module")}
        switches = self._switches()
        defaults = {name: p.default for name, p in self.parameters.items() if p.default is not _P.empty}
        return plan_ablation(
            study,
            given,
            self.parameters,
            switches,
            config.order,
            self.label,
            defaults | self.fixed_hparams,
            takes_any=self.takes_any,
        )

    def _switches(self) -> dict[str, Switch]:
        """Those that are on in the baseline; one without a default is True there."""
        found = {}
        for name, switch in declared_switches(self.train_fn, self.parameters).items():
            if name in OURS or name in GIVEN:
                raise ConfigError(f"{name!r} is filled by lagom and cannot be a switch. Rename it.")
            default = self.parameters[name].default
            if name not in self.fixed_hparams and default is _P.empty:
                self.fixed_hparams[name] = True
            on = self.fixed_hparams.get(name, default)
            if not is_same(on, switch.off):
                found[name] = switch
            elif name not in self.fixed_hparams:
                raise ConfigError(
                    f"the switch {name!r} of {self.label} is off by default ({default!r}): there is nothing to leave "
                    "out. Let the default be the value that it has when it is on, or say what off is: Switch(off=…)."
                )
        return found

    def _given(self, processing: Processing | None, ablation: AblationPlan | None) -> dict[str, Any]:
        config = self.config
        processed = () if processing is None else processing.takes.values()
        model = config.model if config.model is not None else config.module
        values = {"model": model, "module": model} | {name: getattr(config, name) for name in GIVEN[2:]}
        if ablation is not None:
            if ablation.model is not None:
                del values["model"], values["module"]
            values = {name: value for name, value in values.items() if name not in ablation.data}
        fixed = {}
        for name, value in values.items():
            if value is None or name in processed:
                continue
            if name in self.domains:
                raise ConfigError(f"{checks.spelled(name)} is given, but {name!r} is searched too. Drop one of them.")
            if name in self.parameters:
                fixed[name] = value
            elif not (name in ("model", "module") and {"model", "module"} & self.parameters.keys()):
                raise ConfigError(
                    f"{checks.spelled(name)} is given, but {self.label} has no argument {name!r}. "
                    "Add the argument, or drop the option."
                )
        return fixed

    def _wants(self) -> tuple[str, ...]:
        return tuple(name for name in OURS if name in self.parameters and self._has_value(name))

    def _has_value(self, name: str) -> bool:
        """False where the argument's own default is all there is."""
        if self.parameters[name].default is _P.empty:
            return name != "budget" or self._gives_budgets()
        return not (name == "seed" and self.config.seed is None) and (name != "budget" or self._gives_budgets())

    def _gives_budgets(self) -> bool:
        config = self.config
        if not isinstance(config, OptimizationConfig):
            return False
        return config.pruner_choice not in ("median", "none") or not isinstance(config.sampler_choice, str)

    def _check_conditional(self, space: Searchspace) -> None:
        for name, domain in space.items():
            if domain.when and name in self.parameters and self.parameters[name].default is _P.empty:
                raise ConfigError(
                    f"{name!r} exists only when {dict(domain.when)!r}, so {self.label} needs a default for the other "
                    f"trials: write {name}=None."
                )

    def _check_filled(self, filled: set[str]) -> None:
        missing = [name for name, p in self.parameters.items() if p.default is _P.empty and name not in filled]
        if not missing:
            return
        name = missing[0]
        able = [*OURS, *GIVEN, *self.domains]
        hint = "" if name in able else nearest(name, able)
        if name in ("model_function", "dataset_function"):
            kind = name.removesuffix("_function")
            raise ConfigError(
                f"Nothing fills argument {name!r} of {self.label}: %%lagom ablate does, with the study's {kind}: "
                f"AblationStudy({kind}=make_{kind})."
            )
        raise ConfigError(
            f"Nothing fills argument {name!r} of {self.label}. Arguments are filled by name: "
            f"{', '.join(OURS)}; {', '.join(GIVEN)} from the options of these names; hyperparameters "
            f"({', '.join(self.domains) or 'none declared'}). {self._how_to_fill(name)}{hint}"
        )

    def _how_to_fill(self, name: str) -> str:
        if name == "budget":
            return "A budget comes with --pruner asha or hyperband; or give it a default."
        if name in GIVEN:
            return f"Give --{name.replace('_', '-')} NAME, or a default."
        if name in self.domains or not self.is_search:
            return f"Give it a default, or a value: --set {name}=…"
        return f"Give it a default, a domain ({name}: Float(0, 1)), or a value: --set {name}=…"


def _told(value: Any) -> Any:
    """A default for the record."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return reprlib.repr(value)


def doubts_of_defaults(plan: FunctionPlan) -> tuple[str, ...]:
    """What to tell a person whose function has defaults that its search never tries; a plain call uses them."""
    parameters = inspect.signature(plan.train_fn).parameters
    defaults = {name: parameters[name].default for name in plan.space if name in parameters}
    return tuple(
        f"the default {name}={value!r} is not in {plan.space[name].describe()}: a plain call uses it, the search never "
        "tries it."
        for name, value in defaults.items()
        if value is not _P.empty and value is not None and not plan.space[name].contains(value)
    )


def without_fixed(space: Searchspace, fixed: Mapping[str, Any]) -> Searchspace:
    """The space that remains when some hyperparameters have one value: their conditions are settled now."""
    kept: dict[str, Domain] = {}
    for name, domain in space.items():
        when = dict(domain.when or {})
        settled = {parent: when.pop(parent) for parent in list(when) if parent in fixed}
        is_possible = Domain(when=settled).is_active(fixed) and all(parent in kept for parent in when)
        if name not in fixed and is_possible:
            kept[name] = replace(domain, when=when or None)
    return Searchspace(**kept)


def _checked_label(train_fn: object) -> str:
    """The function's name for messages, `train()`, once it is known to be a function that can be called."""
    if not callable(train_fn) or isinstance(train_fn, type):
        kind = "a class" if isinstance(train_fn, type) else f"of type {type(train_fn).__name__}"
        raise ConfigError(
            f"The training function is {train_fn!r}, {kind}; allowed: a function, a functools.partial or an object "
            "with __call__. Pass the function itself, without calling it."
        )
    fn = plain_function(train_fn)
    label = f"{getattr(fn, '__name__', type(train_fn).__name__)}()"
    for is_kind, kind, fix in (
        (inspect.iscoroutinefunction, "async", "Write `def` and run your loop in it with asyncio.run()"),
        (inspect.isasyncgenfunction, "an async generator", "Write `def` and return the result"),
        (
            inspect.isgeneratorfunction,
            "a generator",
            "Report with reporter.broadcast() in place of `yield`, and return",
        ),
        (inspect.isbuiltin, "built in", "Wrap it in a function of yours"),
    ):
        if is_kind(fn):
            raise ConfigError(f"{label} is {kind}; allowed: a plain function that returns its result. {fix}.")
    return label


def _signature(train_fn: Callable[..., Any], label: str) -> dict[str, inspect.Parameter]:
    try:
        parameters = dict(inspect.signature(train_fn).parameters)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"The arguments of {label} cannot be seen: {error}. Wrap it in a function of yours."
        ) from error
    for name, parameter in parameters.items():
        if parameter.kind is _P.VAR_POSITIONAL:
            raise ConfigError(
                f"{label} takes *{name}, which nothing can fill: arguments are filled by name. Name them; "
                "if a decorator hides them, let it use functools.wraps."
            )
        if parameter.kind is _P.POSITIONAL_ONLY:
            raise ConfigError(f"{label}: {name!r} is positional-only, but arguments are filled by name. Drop the '/'.")
    return parameters
