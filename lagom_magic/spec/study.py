"""What an ablation leaves out: `Switch` marks an argument, `AblationStudy` names parts of model and data.

Made in the notebook; nothing is built or read before a run, or before `print_all` asks for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import Any

from lagom_magic.errors import ConfigError
from lagom_magic.events.ablation import BASELINE
from lagom_magic.spec import checks
from lagom_magic.spec.datasets import features_of
from lagom_magic.spec.parts import Part, built, parts_of
from lagom_magic.spec.selection import Features, Layers, flat


@dataclass(frozen=True)
class Switch:
    """Marks an argument that an ablation turns off: `def train(augment: Switch() = True, decay: Switch(0.0) = 1e-4)`.

    Attributes:
        off: the argument's value while it is left out.
    """

    off: Any = False


class StudyModel:
    """The model of a study: its factory, which parts of it are left out, and what to train in its place."""

    def __init__(self, study: AblationStudy) -> None:
        self._study = study
        #: A class or a factory; None = the run's `--model`.
        self.factory: Callable[..., Any] | None = None
        self.layers = Layers(self._parts)

    @property
    def steps(self) -> Layers:
        """`layers`, as scikit-learn calls them."""
        return self.layers

    def set_base_model_generator(self, factory: Callable[..., Any]) -> None:
        """Take this class or factory for the baseline."""
        _check_factory("set_base_model_generator", factory)
        self.factory = factory

    def add_custom_model_generator(self, factory: Callable[..., Any], name: str) -> None:
        """Train this model as a variant of its own; `study.add(name, model=factory)`."""
        self._study.add(name, model=factory)

    def _parts(self) -> list[Part]:
        return parts_made_by(self.factory)


@dataclass(frozen=True)
class CustomVariant:
    """A variant that a person has made.

    Attributes:
        model, dataset: take the place of the study's; None = as in the baseline.
        hparams: arguments that differ from the baseline's.
    """

    name: str
    model: Callable[..., Any] | None
    dataset: Any
    hparams: dict[str, Any]


class AblationStudy:
    """What an ablation leaves out, one component at a time.

    Args:
        dataset: whose features can be left out: a DataFrame, a dict of arrays, (X, y) with `feature_names`, the path
            of a Parquet or CSV file, a torch Dataset, or a function that makes any of these. A function with an
            argument gets the names to leave out, and leaves them out itself.
        label_name: the column that is predicted, never left out.
        model: a class or factory whose layers, modules or steps can be left out.
        feature_names: names of the columns of X, where data have none.

    Raises:
        ConfigError: for a value that cannot work.
    """

    def __init__(
        self,
        *names: object,
        dataset: Any = None,
        label_name: str | None = None,
        model: Callable[..., Any] | None = None,
        feature_names: Iterable[str] | None = None,
    ) -> None:
        if names:
            raise ConfigError(
                f"AblationStudy({names[0]!r}, …): the name of a feature store's dataset is not understood. Read the "
                "data and hand them over: AblationStudy(dataset=frame, label_name='y', model=make_model)."
            )
        if label_name is not None and not isinstance(label_name, str):
            raise checks.not_taken("label_name", label_name, "a column's name", "label_name='y'")
        self.dataset = dataset
        self.label_name = label_name
        self.feature_names = None if feature_names is None else tuple(flat("feature_names", feature_names))
        self.model = StudyModel(self)
        self.features = Features(self._features)
        self.variants: list[CustomVariant] = []
        self.excluded: list[str] = []
        if model is not None:
            _check_factory("model", model)
            self.model.factory = model

    def __repr__(self) -> str:
        factory = self.model.factory
        parts = {
            "dataset": None if self.dataset is None else getattr(self.dataset, "__name__", type(self.dataset).__name__),
            "label_name": self.label_name,
            "model": None if factory is None else getattr(factory, "__name__", type(factory).__name__),
            "features": self.features.described(),
            "layers": self.model.layers.described(),
            "variants": ", ".join(variant.name for variant in self.variants),
            "excluded": ", ".join(self.excluded),
        }
        return f"AblationStudy({'; '.join(f'{name}: {value}' for name, value in parts.items() if value)})"

    def set_dataset_generator(self, generator: Callable[..., Any]) -> None:
        """Take a function that makes the dataset and leaves features out itself.

        Args:
            generator: gets the list of names to leave out as its first argument.

        Raises:
            ConfigError: when it takes none: every variant would train on the same data.
        """
        _check_generator(generator)
        self.dataset = generator

    def add(self, name: str, *, model: Callable[..., Any] | None = None, dataset: Any = None, **hparams: Any) -> None:
        """Add a variant of your own, compared with the baseline as all others are.

        Args:
            name: what tables call it.
            model: trained in place of the study's.
            dataset: in place of the study's; a function is called.
            **hparams: arguments of the training function that differ.

        Raises:
            ConfigError: for a name that is taken, or when nothing differs.
        """
        _check_line(name)
        if name == BASELINE or any(variant.name == name for variant in self.variants):
            raise ConfigError(f"study.add({name!r}): that name is taken. Choose another.")
        if model is None and dataset is None and not hparams:
            raise ConfigError(
                f"study.add({name!r}) differs in nothing. Say in what: model=…, dataset=…, or the function's arguments."
            )
        if model is not None:
            _check_factory("model", model)
        self.variants.append(CustomVariant(name, model, dataset, checks.hparams("add", hparams)))

    def exclude(self, *names: str | Iterable[str]) -> None:
        """Do not run these components of any kind, nor pairs with them; or single pairs, such as "age + fare"."""
        self.excluded += flat("exclude", names)

    def _features(self) -> list[str]:
        return features_made_by(self.dataset, self.label_name, self.feature_names)


def parts_made_by(factory: Callable[..., Any] | None) -> list[Part]:
    """The parts of the model that a class or factory makes; builds one.

    Raises:
        ConfigError: when there is none, or it cannot be built without arguments.
    """
    if factory is None:
        raise ConfigError(
            "the study has no model whose parts could be left out: AblationStudy(model=make_model), or "
            "--model make_model."
        )
    needed = _needed_arguments(factory)
    if needed:
        name = getattr(factory, "__name__", repr(factory))
        raise ConfigError(
            f"the model {name} needs {', '.join(needed)}, so its parts cannot be listed before the run. Give "
            f"defaults, or wrap it: functools.partial({name}, {needed[0]}=…)."
        )
    return parts_of(built(factory))


def features_made_by(dataset: Any, label_name: str | None, feature_names: Sequence[str] | None) -> list[str]:
    """The names that a dataset has, without the label; reads it, or calls its function.

    Raises:
        ConfigError: when they cannot be told.
    """
    if dataset is None:
        raise ConfigError(
            "the study has no dataset whose features could be left out: AblationStudy(dataset=frame, "
            "label_name='y'), or --dataset frame."
        )
    return features_of(made_dataset(dataset, ()), label_name, feature_names)


def made_dataset(dataset: Any, leave_out: Sequence[str], *args: Any, **kwargs: Any) -> Any:
    """The dataset, or what its function makes; one with an argument gets the names to leave out."""
    if not _makes_data(dataset):
        return dataset
    if takes_names(dataset):
        return dataset(list(leave_out), *args, **kwargs)
    return dataset(*args, **kwargs)


def leaves_out_itself(dataset: Any) -> bool:
    """Whether the dataset is a function that is told which features to leave out."""
    return _makes_data(dataset) and takes_names(dataset)


def _makes_data(dataset: Any) -> bool:
    """A function or a class; a dataset object may be callable without being either."""
    return inspect.isroutine(dataset) or isinstance(dataset, type) or type(dataset).__name__ == "partial"


def takes_names(generator: Callable[..., Any]) -> bool:
    """Whether its first argument is for the names: given by position, and without a default, or with an empty one."""
    try:
        parameters = list(inspect.signature(generator).parameters.values())
    except (TypeError, ValueError):
        return False
    kinds = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    if not parameters or parameters[0].kind not in kinds:
        return False
    default = parameters[0].default
    return default is inspect.Parameter.empty or default is None or (isinstance(default, Sized) and not len(default))


def _needed_arguments(factory: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return []
    return [
        parameter.name
        for parameter in parameters
        if parameter.default is inspect.Parameter.empty
        and parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]


def _check_line(name: Any) -> None:
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise checks.not_taken("study.add", name, "a name of one line", "study.add('no attention', model=make_small)")


def _check_generator(generator: Any) -> None:
    if not callable(generator) or not takes_names(generator):
        name = getattr(generator, "__name__", repr(generator))
        raise ConfigError(
            f"set_dataset_generator: {name} takes no argument; it must take the features to leave out, such as "
            f"def {name if name.isidentifier() else 'make_data'}(leave_out): … return frame.drop(columns=leave_out)"
        )


def _check_factory(name: str, factory: Any) -> None:
    if isinstance(factory, (list, tuple)):
        raise checks.not_taken(name, factory, "one class or factory, since an ablation takes one model", "model=Net")
    checks.model_source("model", factory)
    if not callable(factory):
        raise checks.not_taken(name, factory, "a class or a factory", "model=Net")
