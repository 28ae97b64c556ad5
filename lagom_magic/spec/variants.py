"""The variants of an ablation: from a study and the function's switches to a list of what each trial leaves out.

Planned on the driver, where every name is checked; the plan travels with the function, and a trial finds its variant
there by the label in its hyperparameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from lagom_magic.errors import ConfigError
from lagom_magic.events.ablation import AND, BASELINE
from lagom_magic.spec.selection import is_same, is_within, known_name
from lagom_magic.spec.study import (
    AblationStudy,
    Switch,
    features_made_by,
    leaves_out_itself,
    parts_made_by,
)

#: Arguments that get the ablated model, and those that get ablated data.
MODEL_ARGUMENTS = ("model", "module", "model_function")
DATA_ARGUMENTS = ("dataset", "dataset_function", "train_set", "test_set")
#: Arguments that a custom variant cannot have: ours, and those that its model= and dataset= are for.
_FILLED = ("hparams", "reporter", "seed", "trial", "budget", *MODEL_ARGUMENTS, *DATA_ARGUMENTS)
#: In the baseline's document: switch → its value when it is on. Older runs do not say.
ON = "on"
#: More components than this are a mistake rather than a plan.
MAX_COMPONENTS = 10_000


@dataclass(frozen=True, slots=True)
class Variant:
    """What one kind of trial leaves out; the baseline leaves out nothing.

    Attributes:
        label: how tables and journals call it.
        features: columns of the data.
        layers: parts of the model.
        values: argument → value, in place of the baseline's: switches that are off, or a custom variant's arguments.
        model, dataset: a custom variant's own; None = the study's.
        is_custom: made by a person; it has no part in pairs.
    """

    label: str
    features: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)
    model: Callable[..., Any] | None = None
    dataset: Any = None
    is_custom: bool = False

    def and_also(self, other: Variant) -> Variant:
        """Both left out together."""
        return Variant(
            self.label + AND + other.label,
            self.features + other.features,
            self.layers + other.layers,
            self.values | other.values,
        )

    def overlaps(self, other: Variant) -> bool:
        """Whether one leaves out something that the other leaves out too."""
        return any(a == b or is_within(a, b) or is_within(b, a) for a in self.layers for b in other.layers)


@dataclass(frozen=True, slots=True)
class AblationPlan:
    """What workers need to leave things out.

    Attributes:
        variants: label → variant, the baseline first.
        model: the base class or factory; None = the study has none.
        data: argument → its data, as the study or the config gives them; a function makes them on the worker.
        takes: those of MODEL_ARGUMENTS and DATA_ARGUMENTS that the training function takes and the study fills.
        on: switch → its value in the baseline.
    """

    variants: dict[str, Variant]
    model: Callable[..., Any] | None
    data: dict[str, Any]
    takes: tuple[str, ...]
    label_name: str | None = None
    feature_names: tuple[str, ...] | None = None
    on: dict[str, Any] = field(default_factory=dict)

    @property
    def components(self) -> tuple[str, ...]:
        """The labels, without the baseline's."""
        return tuple(label for label in self.variants if label != BASELINE)

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """What makes models and data in trials."""
        made_by = [self.model, *self.data.values()]
        made_by += [made for variant in self.variants.values() for made in (variant.model, variant.dataset)]
        return [function for function in made_by if callable(function)]

    def document(self) -> dict[str, Any]:
        """Label → what is left out, as JSON holds it; objects by their name."""
        return {
            label: {
                "features": list(variant.features),
                "layers": list(variant.layers),
                "values": {name: value if _is_json(value) else repr(value) for name, value in variant.values.items()},
                **{
                    what: getattr(made, "__qualname__", type(made).__qualname__)
                    for what in ("model", "dataset")
                    if (made := getattr(variant, what)) is not None
                },
                **({ON: {name: _told(value) for name, value in self.on.items()}} if label == BASELINE else {}),
            }
            for label, variant in self.variants.items()
        }


def plan_ablation(
    study: AblationStudy,
    given: Mapping[str, Any],
    takes: Iterable[str],
    switches: Mapping[str, Switch],
    order: int,
    label: str,
    baseline: Mapping[str, Any],
    *,
    takes_any: bool = False,
) -> AblationPlan:
    """All that an ablation will leave out.

    Args:
        study: of the config, or an empty one.
        given: the config's model, dataset, train_set and test_set, where they are not None.
        takes: the training function's arguments.
        switches: argument → its switch, of those that are on in the baseline.
        order: 2 = pairs of components too.
        label: the function, for messages.
        baseline: argument → its value in the baseline, where that is known.
        takes_any: the function takes any keyword.

    Raises:
        ConfigError: for a name that is not there, with the nearest, or nothing to leave out.
    """
    planning = _Planning(study, given, tuple(takes), switches, order, label)
    planning.check_custom(baseline, takes_any=takes_any)
    return replace(planning.plan(), on={name: baseline[name] for name in switches})


class _Planning:
    def __init__(
        self,
        study: AblationStudy,
        given: Mapping[str, Any],
        takes: tuple[str, ...],
        switches: Mapping[str, Switch],
        order: int,
        label: str,
    ) -> None:
        self.study, self.takes, self.switches, self.order, self.label = study, takes, switches, order, label
        given_model = given.get("model", given.get("module"))
        if isinstance(given_model, (list, tuple)):  # several models: they reach the function as they are
            given_model = None
        self._refuse_two("model", study.model.factory, given_model)
        self._refuse_two("dataset", study.dataset, given.get("dataset"))
        self.model = given_model if study.model.factory is None else study.model.factory
        #: argument → its data; the study's are the argument `dataset`.
        self.data = {name: given[name] for name in DATA_ARGUMENTS if name in given}
        if study.dataset is not None:
            self.data["dataset"] = study.dataset
        elif not (study.features.is_chosen or self._has_custom("dataset") or "dataset_function" in takes):
            self.data = {}  # nothing happens to them on their way to the function

    def _refuse_two(self, name: str, of_study: Any, given: Any) -> None:
        if of_study is not None and given is not None and of_study is not given:
            raise ConfigError(f"the study has a {name}, and --{name} gives another one. Drop one of them.")

    def plan(self) -> AblationPlan:
        self._check_fillable()
        singles = [*self._of_data(), *self._of_model(), *self._of_switches(), *self._of_people()]
        variants = _by_label(singles)
        if not variants:
            raise ConfigError(
                f"there is nothing to leave out of {self.label}. Mark arguments as switches, augment: Switch() = True, "
                "or give a study: study = AblationStudy(dataset=frame, label_name='y', model=make_model); "
                "study.features.include(); study.model.layers.include('conv1'), with --study study."
            )
        excluded = set(self.study.excluded)
        kept = [variant for label, variant in variants.items() if label not in excluded]
        pairs = {pair.label: pair for pair in self._pairs(kept)} if self.order == 2 else {}
        for name in self.study.excluded:
            known_name("study.exclude", name, [*variants, *pairs])
        everything = {variant.label: variant for variant in kept} | pairs
        variants = {label: variant for label, variant in everything.items() if label not in excluded}
        if not variants:
            raise ConfigError("study.exclude has taken every component away: there is nothing to leave out.")
        if len(variants) > MAX_COMPONENTS:
            raise ConfigError(f"{len(variants):,} components are more than {MAX_COMPONENTS:,}. Exclude some.")
        filled = list(MODEL_ARGUMENTS) if self.model is not None or self._has_custom("model") else []
        filled += [*self.data, *(["dataset_function"] if "dataset" in self.data else [])]
        if self._has_custom("dataset"):
            filled += ["dataset", "dataset_function"]
        return AblationPlan(
            {BASELINE: Variant(BASELINE), **variants},
            self.model,
            self.data,
            tuple(name for name in dict.fromkeys(filled) if name in self.takes),
            self.study.label_name,
            self.study.feature_names,
        )

    def _has_custom(self, what: str) -> bool:
        return any(getattr(variant, what) is not None for variant in self.study.variants)

    def _check_fillable(self) -> None:
        """What is left out must reach the function, or every variant would be a second baseline."""
        layers, features = self.study.model.layers, self.study.features
        if (layers.is_chosen or self._has_custom("model")) and not set(MODEL_ARGUMENTS) & set(self.takes):
            raise ConfigError(
                f"the study leaves out parts of the model, but {self.label} takes no `model`. Add the argument, and "
                "build the model with it: net = model()."
            )
        if (features.is_chosen or self._has_custom("dataset")) and not set(DATA_ARGUMENTS) & set(self.takes):
            raise ConfigError(
                f"the study leaves out features, but {self.label} takes no `dataset`. Add the argument, and use it as "
                "your data."
            )
        filled = {*self.data, *(["dataset_function"] if "dataset" in self.data else [])}
        if features.is_chosen and self.data and not filled & set(self.takes):
            raise ConfigError(
                f"the study leaves features out of {' and '.join(self.data)}, but {self.label} takes "
                f"{' and '.join(name for name in DATA_ARGUMENTS if name in self.takes)} only. Name the argument "
                f"{next(iter(self.data))!r}, or give the data as such: --train-set, --test-set."
            )

    def check_custom(self, baseline: Mapping[str, Any], *, takes_any: bool) -> None:
        """What people's own variants change reaches the function, and is a change.

        Raises:
            ConfigError: when it would be a second baseline.
        """
        for custom in self.study.variants:
            how = f"study.add({custom.name!r})"
            for name, value in custom.hparams.items():
                if name in _FILLED:
                    raise ConfigError(f"{how} names {name!r}, which lagom fills itself. Drop it there.")
                known = [argument for argument in self.takes if argument not in _FILLED]
                if not takes_any and ("hparams" not in self.takes or name not in baseline):
                    known_name(how, name, known)
                if name in baseline and is_same(value, baseline[name]):
                    raise ConfigError(f"{how}: {name}={value!r} is what the baseline has too. Give another value.")
            if custom.dataset is not None and not {"dataset", "dataset_function"} & set(self.takes):
                raise ConfigError(
                    f"{how} has a dataset of its own, but {self.label} takes neither `dataset` nor `dataset_function`. "
                    "Add the argument."
                )
        for what, base, arguments in (
            ("model", self.model, MODEL_ARGUMENTS),
            ("dataset", self.data.get("dataset"), ("dataset", "dataset_function")),
        ):
            has_default = any(name in baseline for name in arguments if name in self.takes)
            if self._has_custom(what) and base is None and not has_default:
                raise ConfigError(
                    f"the study has variants with a {what} of their own, and none for the baseline: "
                    f"AblationStudy({what}=…), or --{what} NAME."
                )

    def _of_data(self) -> list[Variant]:
        features, study = self.study.features, self.study
        if not features.is_chosen:
            return []
        dataset = next((self.data[name] for name in DATA_ARGUMENTS if name in self.data), None)
        known: list[str] | None
        try:
            known = features_made_by(dataset, study.label_name, study.feature_names)
        except ConfigError:
            if features.needs_all or not leaves_out_itself(dataset):
                raise
            known = None  # a generator of the user's own may make data without names
        chosen = features.chosen(known)
        self._check_other_sets(dataset, chosen)
        return [Variant(name, features=(name,)) for name in chosen]

    def _check_other_sets(self, first: Any, chosen: Sequence[str]) -> None:
        """What is left out of one set is there to be left out of the others."""
        for name, data in self.data.items():
            if data is first or leaves_out_itself(data):
                continue
            known = features_made_by(data, self.study.label_name, self.study.feature_names)
            for feature in chosen:
                known_name(f"{name}: a feature of the study", feature, known)

    def _of_model(self) -> list[Variant]:
        layers = self.study.model.layers
        if not layers.is_chosen:
            return []
        known = [part.name for part in parts_made_by(self.model)]
        single = [Variant(name, layers=(name,)) for name in layers.chosen(known)]
        return single + [Variant(label, layers=names) for label, names in layers.chosen_groups(known).items()]

    def _of_switches(self) -> list[Variant]:
        return [Variant(name, values={name: switch.off}) for name, switch in self.switches.items()]

    def _of_people(self) -> list[Variant]:
        return [
            Variant(custom.name, values=custom.hparams, model=custom.model, dataset=custom.dataset, is_custom=True)
            for custom in self.study.variants
        ]

    def _pairs(self, singles: Sequence[Variant]) -> list[Variant]:
        parts = [variant for variant in singles if not variant.is_custom]
        if len(parts) < 2:
            raise ConfigError(
                f"--order 2 leaves out pairs, and there is only {parts[0].label if parts else 'no component'}. Include "
                "more components, or drop --order."
            )
        return [a.and_also(b) for a, b in combinations(parts, 2) if not a.overlaps(b)]


def _told(value: Any) -> Any:
    """A value as JSON holds it, the same in another process: an object without a text of its own by its type."""
    if _is_json(value):
        return value
    if isinstance(value, (list, tuple)):
        return [_told(item) for item in value]
    text = repr(value)
    return getattr(value, "__qualname__", type(value).__qualname__) if " at 0x" in text else text


def _is_json(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))


def _by_label(variants: Iterable[Variant]) -> dict[str, Variant]:
    """Label → variant; what bears the name of something of another kind is called by its kind too."""
    # " + " joins the two of a pair, and nothing else.
    variants = [replace(variant, label=variant.label.replace(AND, AND.strip())) for variant in variants]
    labels = [variant.label for variant in variants]
    found: dict[str, Variant] = {}
    for variant in variants:
        name = variant.label
        if labels.count(name) > 1 or name == BASELINE:
            name = f"{_kind(variant)} {name}"
        if name in found:
            raise ConfigError(f"{variant.label!r} is left out twice. Include it once.")
        found[name] = replace(variant, label=name)
    _check_distinct(found.values())
    return found


def _check_distinct(variants: Iterable[Variant]) -> None:
    seen: dict[tuple[frozenset[str], frozenset[str]], str] = {}
    for variant in variants:
        parts = frozenset(variant.features), frozenset(variant.layers)
        if any(parts) and seen.setdefault(parts, variant.label) != variant.label:
            raise ConfigError(
                f"{seen[parts]!r} and {variant.label!r} leave out the same: it would count twice. Include one of them."
            )


def _kind(variant: Variant) -> str:
    if variant.is_custom:
        return "variant"
    return "feature" if variant.features else "layer" if variant.layers else "switch"
