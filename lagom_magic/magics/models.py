"""`%lagom models`: what lies in the model registry, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from lagom_magic.display.alignment import aligned
from lagom_magic.display.wording import NOTHING, one_line
from lagom_magic.display.wording import metric as metric_text
from lagom_magic.errors import ConfigError, nearest

if TYPE_CHECKING:
    from lagom_magic.store.model_version import ModelVersion
    from lagom_magic.store.registry import Listing

#: Rows without `--all`, columns of metrics, and what the cells hold.
MODELS_LIMIT = 20
_MAX_METRICS = 4
_MAX_NAME, _MAX_DESCRIPTION = 24, 40


def say_models(
    listing: Listing,
    *,
    sort: str = "",
    ascending: bool = False,
    user: str = "",
    version: str = "",
    is_all: bool = False,
) -> str:
    """The table of the versions, newest first within a model.

    Args:
        listing: of all models, or of the one that was named.
        sort: a metric; the largest first, and versions without it last.
        ascending: the smallest first.
        user: only what this person exported.
        version: only versions of this number.
        is_all: every one of them.

    Raises:
        UsageError: for a version that is no number, or `ascending` without a metric.
        ConfigError: when no version has the metric, or nobody of that name exported one.
    """
    if version and not (version.isdecimal() and int(version) > 0):
        raise UsageError(f"%lagom models: --version {version!r} is no version; allowed: 1, 2, … Try --version 1.")
    if ascending and not sort:
        raise UsageError("%lagom models: --ascending is for --sort. Try %lagom models --sort loss --ascending.")
    found = sorted(listing.versions, key=lambda one: (one.name, -one.version))
    if user:
        found = _of_user(found, user)
    if version:
        found = [one for one in found if one.version == int(version)]
    if sort:
        found = _sorted(found, sort, ascending=ascending)
    notes = [f"not readable: {one_line(note, 300)}" for note in listing.notes]
    if not found:
        which = " like that" if listing.versions else ""
        return "\n".join([f"no model{which} is in the registry; model.export(…) adds one", *notes])
    shown = found if is_all else found[:MODELS_LIMIT]
    n_more = len(found) - len(shown)
    more = [f"… and {n_more:,} more: %lagom models --all"] if n_more else []
    return "\n".join([*_table(shown, sort), *more, *notes])


def _of_user(found: Sequence[ModelVersion], user: str) -> list[ModelVersion]:
    own = [one for one in found if one.user == user]
    if found and not own:
        known = sorted({one.user for one in found if one.user})
        raise ConfigError(
            f"No model is of user {user!r}.{nearest(user, known)} There are: {', '.join(known) or 'none'}."
        )
    return own


def _sorted(found: Sequence[ModelVersion], metric: str, *, ascending: bool) -> list[ModelVersion]:
    known = sorted({name for one in found for name in one.metrics})
    if found and metric not in known:
        listed = ", ".join(known) or "none"
        raise ConfigError(f"No version has the metric {metric!r}.{nearest(metric, known)} There are: {listed}.")
    sign = 1 if ascending else -1

    def key(one: ModelVersion) -> tuple[bool, float]:
        value = one.metrics.get(metric, math.nan)
        return math.isnan(value), 0.0 if math.isnan(value) else sign * value

    return sorted(found, key=key)


def _table(shown: Sequence[ModelVersion], sort: str) -> list[str]:
    names = dict.fromkeys([*([sort] if sort else []), *(name for one in shown for name in one.metrics)])
    metrics = list(names)[:_MAX_METRICS]
    head = ["model", "version", *(one_line(name, _MAX_NAME) for name in metrics), "run", "trial", "exported", "by", ""]
    rows = [
        [
            one.name,
            str(one.version),
            *(metric_text(one.metrics[name]) if name in one.metrics else NOTHING for name in metrics),
            NOTHING if one.run is None else one_line(one.run["id"], _MAX_NAME),
            _trial(one),
            f"{datetime.fromisoformat(one.created_at):%Y-%m-%d %H:%M}",
            one_line(one.user, _MAX_NAME) or NOTHING,
            one_line(one.description, _MAX_DESCRIPTION),
        ]
        for one in shown
    ]
    n_left = len(names) - len(metrics)
    hidden = [f"{n_left} more metrics; model.get_model(NAME, VERSION) has them all"] if n_left else []
    left_aligned = [0, len(head) - 5, len(head) - 2, len(head) - 1]
    return [*aligned([head, *rows], left_aligned), *hidden]


def _trial(one: ModelVersion) -> str:
    """'7', '7.2' for its second attempt, with the state when it did not end well."""
    if one.trial_id is None:
        return NOTHING
    attempt = f".{one.attempt}" if one.attempt and one.attempt > 1 else ""
    state = "" if one.state in (None, "COMPLETE") else f" {one_line(str(one.state), _MAX_NAME)}"
    return f"{one.trial_id}{attempt}{state}"
