"""Finds stored runs by words, comparisons and fields; used by `%lagom search`.

The index narrows the runs down; what it says nothing of (live runs, or all where there is none) is looked through here,
by the same rules.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from lagom_magic.store.entries import RunEntry, RunSummary
from lagom_magic.store.index_file import labels_of
from lagom_magic.store.query import Query, TrialValues, parse_query
from lagom_magic.store.snapshot import Snapshot, with_snapshot

#: How many names are said to be near another.
_NEAR_LIMIT = 3


@dataclass(frozen=True, slots=True)
class Found:
    """A run that was searched for.

    Attributes:
        summary: its line in the list.
        trial: the best of its complete trials that fulfil the query's comparisons; None without comparisons.
    """

    summary: RunSummary
    trial: TrialValues | None


@dataclass(frozen=True, slots=True)
class Findings:
    """What a search found.

    Attributes:
        query: what was searched for.
        found: the newest first.
        n_more: how many older ones there are.
        unreadable: 'experiment/run id' → why it was not looked into.
        known: where nothing was found, all metrics and hyperparameters of complete trials, sorted; else [].
        unknown: where nothing was found, names of comparisons that are none of them → those near.
    """

    query: Query
    found: list[Found]
    n_more: int
    unreadable: dict[str, str]
    known: list[str] = field(default_factory=list)
    unknown: dict[str, list[str]] = field(default_factory=dict)


def search(home: Path, text: str, limit: int | None = None, now_s: float | None = None) -> Findings:
    """The stored runs that a query describes.

    Args:
        home: the folder of all experiments.
        text: the query; its language is in docs/finding-runs.md.
        limit: at most so many, the newest.
        now_s: seconds since the epoch; None = by the clock.

    Raises:
        ConfigError: when the query cannot be read.
    """
    query = parse_query(text)
    return with_snapshot(home, lambda snapshot: _search(snapshot, query, limit), now_s=now_s)


def matches(query: Query, entry: RunEntry) -> bool:
    """Whether a run is what the query describes, but for its comparisons."""
    labels = set(labels_of(entry))
    return all(phrase.is_in(entry.text) for phrase in query.phrases) and all(field in labels for field in query.fields)


def _search(snapshot: Snapshot, query: Query, limit: int | None) -> Findings:
    trials, places = _in_index(snapshot, query)
    trials |= _in_entries(snapshot, query)
    paths = [path for path in snapshot.paths if path in trials or path in places]
    shown = paths[:limit]
    trials |= _trials_at(snapshot, {path: places[path] for path in shown if path in places})
    summaries = snapshot.summaries(shown)
    found = [Found(summary, trials[f"{summary.experiment}/{summary.run_id}"]) for summary in summaries]
    known = [] if paths or not query.comparisons else sorted(_known_names(snapshot))
    unknown = {one.name: _near(one.name, known) for one in query.comparisons if known and one.name not in known}
    return Findings(query, found, len(paths) - len(shown), snapshot.unreadable, known, unknown)


def _known_names(snapshot: Snapshot) -> set[str]:
    """Every metric and hyperparameter of a complete trial."""
    names = set() if snapshot.index is None else snapshot.index.names()
    return names.union(*((*one.metrics, *one.hparams) for entry in snapshot.read.values() for one in entry.trials))


def _near(name: str, known: Sequence[str]) -> list[str]:
    """The names that a person may have meant: first those of which it is a part."""
    holding = [one for one in known if name.casefold() in one.casefold()]
    return list(dict.fromkeys([*holding, *difflib.get_close_matches(name, known, n=_NEAR_LIMIT)]))[:_NEAR_LIMIT]


def _in_index(snapshot: Snapshot, query: Query) -> tuple[dict[str, TrialValues | None], dict[str, int]]:
    """The kept runs that match, each with its trial, or with the place of that among its complete ones."""
    if snapshot.index is None:
        return {}, {}
    candidates = snapshot.index.candidates(query)
    paths = {kept.id: path for path, kept in snapshot.kept.items() if kept.id in candidates}
    if not query.comparisons:
        return dict.fromkeys(paths.values()), {}
    told = snapshot.index.first_fulfilling(query.comparisons, paths)
    others = [run for run in paths if run not in told]
    trials = {paths[run]: _first(query, lines) for run, lines in snapshot.index.trials(others)} if others else {}
    return (
        {path: trial for path, trial in trials.items() if trial is not None},
        {paths[run]: place for run, place in told.items() if place is not None},
    )


def _trials_at(snapshot: Snapshot, places: Mapping[str, int]) -> dict[str, TrialValues | None]:
    """The trials at some runs' places."""
    if snapshot.index is None or not places:
        return {}
    paths = {snapshot.kept[path].id: path for path in places}
    return {
        paths[run]: next(islice(trials, places[paths[run]], None)) for run, trials in snapshot.index.trials(list(paths))
    }


def _in_entries(snapshot: Snapshot, query: Query) -> dict[str, TrialValues | None]:
    """The others that match, each with its trial."""
    entries = {path: entry for path, entry in snapshot.read.items() if matches(query, entry)}
    if not query.comparisons:
        return dict.fromkeys(entries)
    trials = {path: _first(query, entry.trials) for path, entry in entries.items()}
    return {path: trial for path, trial in trials.items() if trial is not None}


def _first(query: Query, trials: Iterable[TrialValues]) -> TrialValues | None:
    """The best of the trials that fulfil the comparisons."""
    return next((trial for trial in trials if query.is_fulfilled_by(trial)), None)
