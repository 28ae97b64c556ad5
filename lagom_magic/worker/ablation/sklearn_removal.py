"""Leaves steps out of scikit-learn pipelines, column transformers and other compositions; called by `removal`."""

from __future__ import annotations

from typing import Any

from lagom_magic.spec.parts import COMPOSITIONS, sklearn_members, sklearn_wrapped
from lagom_magic.worker.ablation.changes import Changes, not_removable

#: Parameters of a search → what it varies of the estimator within.
_GRIDS = ("param_grid", "param_distributions")


def without_steps(model: Any, names: list[str], changes: Changes) -> Any:
    """The same estimator: "passthrough" in place of a pipeline's steps, "drop" in place of other members.

    Raises:
        NotRemovableError: for a pipeline's predictor, the last member of a composition, or a step that a search varies.
    """
    for name in names:
        _leave_out(model, name, name, changes)
    return model


def _leave_out(model: Any, path: str, name: str, changes: Changes) -> None:
    """Args: `path` is the step's name within `model`, `name` within the whole."""
    for member, inner in sklearn_members(model):
        if path == member:
            _replace(model, member, inner, name, changes)
            return
        if path.startswith(f"{member}__"):
            _leave_out(inner, path.removeprefix(f"{member}__"), name, changes)
            return
    for parameter, inner in sklearn_wrapped(model):
        if path.startswith(f"{parameter}__"):
            _check_not_varied(model, path.removeprefix(f"{parameter}__"), name)
            _leave_out(inner, path.removeprefix(f"{parameter}__"), name, changes)
            return
    raise AssertionError(name)  # `removal` has checked that it is there


def _replace(model: Any, member: str, step: Any, name: str, changes: Changes) -> None:
    attribute = next(attribute for attribute in COMPOSITIONS if hasattr(model, attribute))
    place = COMPOSITIONS[attribute]
    if attribute == "steps":
        if model.steps[-1][0] == member and (hasattr(step, "predict") or not hasattr(step, "transform")):
            raise not_removable([name], f"{type(step).__name__} is what predicts, and without it nothing is learned.")
    elif len(sklearn_members(model)) == 1 and getattr(model, "remainder", "drop") == "drop":
        raise not_removable([name], f"it is all that is left of its {type(model).__name__}, which would give nothing.")
    columns = [entry[2] for entry in getattr(model, "transformers", ()) if entry[0] == member]
    model.set_params(**{member: place})
    if not columns:
        changes.say(f"{name}: {'its input passes through' if place == 'passthrough' else 'dropped'}")
    else:
        changes.say(f"{name}: dropped with its columns{_listed(columns[0])}")


def _listed(columns: Any) -> str:
    if isinstance(columns, (list, tuple)) and all(isinstance(column, (str, int)) for column in columns):
        shown = ", ".join(map(str, columns[:10]))
        return f" {shown}{', …' if len(columns) > 10 else ''}"
    return f" {columns}" if isinstance(columns, (str, int)) else ""


def _check_not_varied(search: Any, path: str, name: str) -> None:
    for parameter in _GRIDS:
        grids = getattr(search, parameter, ())
        for grid in [grids] if isinstance(grids, dict) else grids:
            for key in grid:
                if key == path or key.startswith(f"{path}__"):
                    raise not_removable([name], f"{type(search).__name__} varies {key} ({parameter}).")
