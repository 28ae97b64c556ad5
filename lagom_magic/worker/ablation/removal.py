"""Makes, of a model that was just built, the one without some of its parts; run by the trial process."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from lagom_magic.spec.parts import Library, library_of, parts_of
from lagom_magic.spec.random_state import untouched_random_state
from lagom_magic.spec.selection import is_within, known_name
from lagom_magic.worker.ablation.changes import Changes
from lagom_magic.worker.ablation.keras_removal import without_layers
from lagom_magic.worker.ablation.sklearn_removal import without_steps
from lagom_magic.worker.ablation.torch_removal import without_modules

_REMOVERS: dict[Library, Callable[[Any, list[str], Changes], Any]] = {
    "keras": without_layers,
    "torch": without_modules,
    "sklearn": without_steps,
}


def without(model: Any, names: Sequence[str]) -> tuple[Any, list[str]]:
    """The model without the named parts, and what was done, in words.

    The random generators continue as if nothing had been done.

    Args:
        model: freshly built; it is used up. Weights that still fit are kept, pretrained ones with them.
        names: as `spec.parts.parts_of` tells them. A part within another one of these goes with it.

    Returns:
        The model, perhaps the same object, and a list that may grow when the model first runs: where only then a
        part's output has a shape.

    Raises:
        ConfigError: for a name that the model lacks, or what is no model.
        NotRemovableError: for a part that the model cannot do without; raised, for some, when the model first runs.
    """
    library = library_of(model)
    known = [part.name for part in parts_of(model)]
    wanted = [known_name("the parts to leave out", name, known) for name in dict.fromkeys(names)]
    outermost = [name for name in wanted if not any(is_within(name, other) for other in wanted)]
    changes = Changes()
    if not outermost:
        return model, changes
    with untouched_random_state():
        return _REMOVERS[library](model, outermost, changes), changes


def n_parameters(model: Any) -> int | None:
    """Weights of the model, those that are not trained among them; None where they cannot be told (yet).

    Keras: as `count_params()`. PyTorch: elements of `parameters()`. scikit-learn: coefficients and intercepts of a
    fitted linear model or perceptron, the last step of a pipeline; None for all others.
    """
    library = library_of(model)
    if library == "keras":
        return int(model.count_params()) if model.built else None
    if library == "torch":
        is_known = not any(hasattr(parameter, "materialize") for parameter in model.parameters())
        return sum(parameter.numel() for parameter in model.parameters()) if is_known else None
    return _n_coefficients(model)


def _n_coefficients(estimator: Any) -> int | None:
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(steps := getattr(estimator, "steps", None), list):
        return _n_coefficients(steps[-1][1]) if steps else None
    if hasattr(estimator, "coefs_"):
        arrays = [*estimator.coefs_, *estimator.intercepts_]
    elif hasattr(estimator, "coef_"):
        arrays = [estimator.coef_, *([estimator.intercept_] if hasattr(estimator, "intercept_") else [])]
    else:
        return None
    return sum(math.prod(getattr(array, "shape", ())) for array in arrays)
