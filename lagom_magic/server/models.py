"""The models in the registries below a folder, as a page lists them; called on the extension's threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import number_to_json
from lagom_magic.server.listing import folders_below
from lagom_magic.server.places import NotAPlaceError, Places
from lagom_magic.spec.names import is_plain_name
from lagom_magic.store.layout import is_run_id
from lagom_magic.store.model_version import ModelVersion
from lagom_magic.store.registry import FOLDER, versions

#: Versions that are listed, and what is named of one.
MODELS_LIMIT = 500
_METRICS_LIMIT = 20
_INPUTS_LIMIT = 20
_TEXT_LIMIT = 1000


def list_models(places: Places, under: Path) -> list[dict[str, Any]]:
    """One row a version, by model and the newest first; what cannot be read is left out.

    Args:
        places: what the page may see.
        under: where to look; a real folder below the root.
    """
    rows: list[dict[str, Any]] = []
    for home in _homes(under):
        try:
            found = versions(home).versions
        except StoreError:  # another user's
            continue
        ordered = sorted(found, key=lambda one: (one.name, -one.version))
        rows += [_row(places, home, one) for one in ordered[: MODELS_LIMIT - len(rows)]]
    return rows


def _homes(under: Path) -> Iterator[Path]:
    """Folders with a registry at or below a folder; a link in its place is not followed."""
    for folder, is_run in folders_below(under):
        if not is_run and _is_own_folder(folder / FOLDER):
            yield folder


def _is_own_folder(folder: Path) -> bool:
    try:
        return folder.is_dir() and not folder.is_symlink()
    except OSError:  # another user's
        return False


def _row(places: Places, home: Path, one: ModelVersion) -> dict[str, Any]:
    metrics = list(one.metrics.items())[:_METRICS_LIMIT]
    return {
        "name": one.name,
        "version": one.version,
        "dir": places.shown(home) + f"/{FOLDER}/{one.name}/{one.version}",
        "created_at": one.created_at,
        "user": one.user[:_TEXT_LIMIT],
        "description": one.description[:_TEXT_LIMIT],
        "framework": one.framework[:_TEXT_LIMIT],
        "metrics": {name[:_TEXT_LIMIT]: number_to_json(value) for name, value in metrics},
        "run_id": None if one.run is None else one.run["id"][:_TEXT_LIMIT],
        "run_dir": _run_dir(places, home, one),
        "trial_id": one.trial_id,
        "attempt": one.attempt,
        "inputs": [_input(places, str(item.get("path"))) for item in one.inputs[:_INPUTS_LIMIT]],
        "n_inputs": len(one.inputs),
    }


def _run_dir(places: Places, home: Path, one: ModelVersion) -> str | None:
    """The run beside the registry that the model came from, as pages name it; None when it is not there."""
    if one.run is None or not is_run_id(one.run["id"]) or not is_plain_name(one.run["experiment"]):
        return None
    try:
        return places.shown(places.run_folder(str(home / one.run["experiment"] / one.run["id"])))
    except NotAPlaceError:
        return None


def _input(places: Places, path: str) -> dict[str, str | None]:
    """A file that was read, and how pages name it; None when it does not lie below the root."""
    shown = None
    try:
        real = Path(os.path.realpath(path))
        if real.is_file() and real.is_relative_to(places.root):
            shown = places.shown(real)
    except (ValueError, OSError):  # a NUL in it, too long a name, another user's folder
        shown = None
    return {"path": path[:_TEXT_LIMIT], "shown": shown}
