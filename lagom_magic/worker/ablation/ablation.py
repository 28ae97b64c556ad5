"""One trial of an ablation: what the training function gets in place of model and data; used by the trial process."""

from __future__ import annotations

import functools
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lagom_magic.errors import ConfigError, NotRemovableError
from lagom_magic.events.ablation import COMPONENT, REPEAT
from lagom_magic.spec.datasets import features_of, shape_of_features
from lagom_magic.spec.parts import built
from lagom_magic.spec.random_state import untouched_random_state
from lagom_magic.spec.study import leaves_out_itself, made_dataset
from lagom_magic.spec.variants import AblationPlan, Variant
from lagom_magic.worker.ablation.features import without_features
from lagom_magic.worker.ablation.removal import n_parameters, without


class Ablation:
    """Leaves out what one trial is to do without.

    Args:
        plan: of the run.
        hparams: of the trial; they name its variant.
        folder: where copies of data files may be made; removed by `close`.
    """

    def __init__(self, plan: AblationPlan, hparams: Mapping[str, Any], folder: Path) -> None:
        self._plan = plan
        self._variant: Variant = plan.variants[hparams[COMPONENT]]
        self._folder = folder
        self._model: Any = None
        self._is_model_made = self._are_data_made = False
        #: How parts of the model were left out; a part may be decided on when the model first runs.
        self._changes: list[str] = []

    def hparams(self, hparams: Mapping[str, Any]) -> dict[str, Any]:
        """What the function sees of the trial's hyperparameters."""
        own = {name: value for name, value in hparams.items() if name not in (COMPONENT, REPEAT)}
        return own | self._variant.values

    def arguments(self) -> dict[str, Any]:
        """Argument → what the function gets for it.

        Raises:
            ConfigError, NotRemovableError: the data do not have what is to be left out of them.
        """
        plan, variant = self._plan, self._variant
        values: dict[str, Any] = {}
        factory = plan.model if variant.model is None else variant.model
        data = dict(plan.data)
        if variant.dataset is not None:
            data["dataset"] = variant.dataset
        for name in plan.takes:
            if name == "dataset_function":
                values[name] = functools.partial(self._made_data, data["dataset"])
            elif name in data:
                values[name] = self._made_data(data[name])
            elif factory is not None:
                values[name] = _Factory(factory, self._made_model)
        return values

    def check_used(self) -> None:
        """After the call: what was to be left out was there to be left out.

        Raises:
            NotRemovableError: the function never made the model, or the data, so it was a second baseline.
        """
        variant = self._variant
        if (variant.layers or variant.model is not None) and not self._is_model_made:
            raise NotRemovableError(
                "the function returned without calling `model()`, so nothing was left out of its model. Build the "
                "model with the argument: net = model()."
            )
        if (variant.features or variant.dataset is not None) and not self._are_data_made:
            raise NotRemovableError(
                "the function returned without calling `dataset_function()`, so nothing was left out of its data."
            )

    def explain(self, error: BaseException) -> str:
        """What to add to an error's message; ''."""
        names = self._variant.features
        if isinstance(error, KeyError) and error.args and error.args[0] in names:
            return (
                f" (this trial leaves out {error.args[0]!r}; if it is the label, say so: "
                f"AblationStudy(label_name={error.args[0]!r}))"
            )
        return ""

    def close(self) -> None:
        """Forgets the model and removes copies of data."""
        self._model = None
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def n_parameters(self) -> int | None:
        """Of the model that was made first; None without one."""
        return None if self._model is None else n_parameters(self._model)

    @property
    def changes(self) -> tuple[str, ...]:
        """How parts were left out, in words."""
        return tuple(self._changes)

    def _made_model(self, factory: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        model = built(factory, *args, **kwargs)
        if self._variant.layers and self._variant.model is None:
            model, changes = without(model, self._variant.layers)
            if not self._is_model_made:
                self._changes = changes
        if not self._is_model_made:
            self._model, self._is_model_made = model, True
        return model

    def _made_data(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        plan, names = self._plan, self._variant.features
        self._are_data_made = True
        made = made_dataset(data, names, *args, **kwargs)
        if not names:
            return made
        if leaves_out_itself(data):
            self._check_left_out(made, lambda: made_dataset(data, (), *args, **kwargs))
            return made
        self._folder.mkdir(parents=True, exist_ok=True)
        return without_features(
            made, names, label_name=plan.label_name, feature_names=plan.feature_names, folder=self._folder
        )

    def _check_left_out(self, made: Any, make_whole: Callable[[], Any]) -> None:
        """A generator of the user's own may have kept what it was told to leave out."""
        names = self._variant.features
        with untouched_random_state():
            try:
                kept = set(features_of(made, self._plan.label_name, None)) & set(names)
            except ConfigError:  # its data have no names, but may be seen to be the same as ever
                kept = set(names) if _are_same(made, make_whole()) else set()
        if kept:
            raise NotRemovableError(
                f"the dataset generator was told to leave out {', '.join(sorted(kept))}, and has it still. It gets the "
                "names as its first argument: return the data without them."
            )


def _are_same(made: Any, whole: Any) -> bool:
    """Whether data with and without something are as wide, and equal; False where that cannot be told."""
    width = shape_of_features(made)
    if width is None or width != shape_of_features(whole):
        return False
    try:
        return pickle.dumps(made) == pickle.dumps(whole)
    except Exception:  # data of the user's own that cannot be pickled may raise anything; then nothing can be told
        return False


class _Factory:
    """Stands for the user's class or factory: called, it makes the model without the parts; all else is theirs."""

    def __init__(self, factory: Callable[..., Any], make: Callable[..., Any]) -> None:
        functools.update_wrapper(self, factory, updated=())
        self._factory = factory
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._make(self._factory, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)
