"""Several stored runs side by side, as text: what differs first, then what is the same; for `%lagom compare`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from lagom_magic.display import summary
from lagom_magic.display.alignment import aligned
from lagom_magic.display.origin import arguments
from lagom_magic.display.params import repeats_first
from lagom_magic.display.stored import StoredRun
from lagom_magic.display.typed_options import typed_options
from lagom_magic.display.wording import NOTHING, duration, hparam, metric, one_line

#: Lines of the difference between two sources, and packages and logged parameters that are named.
DIFF_LIMIT, PACKAGE_LIMIT, PARAM_LIMIT = 80, 40, 40
#: Lines of two sources that are aligned with each other, which takes their number's third power at worst.
ALIGNED_LIMIT = 2_000
CELL_LIMIT, NAME_LIMIT = 32, 40
#: Characters of a cell that counts trials by their states, of which there are few.
_COUNTS_LIMIT = 160
#: Characters of a value that are looked at, and of what two have in common before they differ, shown again.
_VALUE_LIMIT, _BEFORE = 4_000, 8
#: Lines that are the same, shown around those that differ.
_CONTEXT = 2
#: Options that have a row of their own.
_NOT_SHOWN = frozenset({"verb", "--sampler", "--pruner", "--seed", "--no-seed", "--set"})
_ABSENT = object()


class _Row(NamedTuple):
    """A name and whole values, so that what differs behind the place where it is cut differs."""

    name: str
    values: list[str]
    limit: int = CELL_LIMIT


def render_comparison(runs: Sequence[StoredRun]) -> str:
    """The runs as columns, and below how the sources of the others differ from the first one's.

    Args:
        runs: at least two.
    """
    rows = [row for row in _rows(runs) if any(value != NOTHING for value in row.values)]
    different = [(row.name, _cells(row.values, row.limit)) for row in rows if len(set(row.values)) > 1]
    same = [(row.name, _cells(row.values, row.limit)) for row in rows if len(set(row.values)) == 1]
    head = ("run", [one_line(run.dir.name, CELL_LIMIT) for run in runs])
    parts = ["\n".join(_table([head, *different])) if different else "nothing in the tables differs"]
    if same:
        parts.append("\n".join(["the same in all:", *_table([(name, cells[:1]) for name, cells in same], "  ")]))
    parts += _params(runs)
    parts += _packages(runs)
    parts += [text for other in runs[1:] if (text := _source(runs[0], other))]
    parts += ["\n".join(f"! {run.dir.name}: {line}" for line in run.missing) for run in runs if run.missing]
    return "\n\n".join(parts)


def _rows(runs: Sequence[StoredRun]) -> Iterable[_Row]:
    def row(name: str, cell: Callable[[StoredRun], str], limit: int = CELL_LIMIT) -> _Row:
        return _Row(name, [cell(run) or NOTHING for run in runs], limit)

    yield row("experiment", lambda run: summary.experiment_name(run.view))
    yield row("state", lambda run: run.view.state.value)
    yield row("kind", lambda run: run.view.header.kind if run.view.header else "")
    yield row("took", lambda run: duration(run.view.elapsed_s(run.view.updated_at or 0.0)))
    yield row("trials", lambda run: summary.state_counts(run.view), _COUNTS_LIMIT)
    yield row("seed", _seed)
    yield row("sampler", lambda run: run.view.header.sampler if run.view.header else "")
    yield row("pruner", lambda run: run.view.header.pruner if run.view.header else "")
    yield row("tags", lambda run: " ".join(run.tags))
    yield row("description", lambda run: str(_config(run).get("description") or ""))
    yield row("note", lambda run: run.note)
    yield row("best trial", lambda run: NOTHING if run.view.best is None else summary.trial_label(run.view.best))
    for name in _names(run.view.metric_names for run in runs):
        title = "metric" if name == "metric" else f"metric {one_line(name, NAME_LIMIT)}"
        yield _Row(title, _told([_metric(run, name) for run in runs], metric))
    called_with = [_arguments(run) for run in runs]
    for name in _names(called_with):
        values = [of_run.get(name, _ABSENT) for of_run in called_with]
        yield _Row(one_line(name, NAME_LIMIT), _told(values, partial(hparam, limit=_VALUE_LIMIT)))
    options = [_options(run) for run in runs]
    for name in _names(options):
        yield _Row(one_line(name, NAME_LIMIT), [of_run.get(name) or NOTHING for of_run in options])


def _cells(values: Sequence[str], limit: int = CELL_LIMIT) -> list[str]:
    """Values in the room that there is: of such as differ behind it, from a little before they do."""
    cells = [one_line(value, limit) or NOTHING for value in values]
    if len(set(cells)) < len(set(values)):
        signs = enumerate(zip(*values, strict=False))
        begin = next((at for at, one in signs if len(set(one)) > 1), min(map(len, values))) - _BEFORE
        if begin > 0:
            return [one_line(f"…{value[begin:]}", limit) for value in values]
    return cells


def _names(of_runs: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in of_runs for name in names))


def _config(run: StoredRun) -> dict[str, Any]:
    config = run.document.get("config")
    return config if isinstance(config, dict) else {}


def _seed(run: StoredRun) -> str:
    header = run.view.header
    return NOTHING if header is None or header.seed is None else str(header.seed)


def _told(values: Sequence[Any], short: Callable[[Any], str]) -> list[str]:
    """Values in short; numbers with all digits where they would look the same and are not."""
    shown = [NOTHING if value is _ABSENT else short(value) for value in values]
    exact = [
        text if value is _ABSENT else _all_digits(value) or text for value, text in zip(values, shown, strict=True)
    ]
    return exact if len(set(exact)) > len(set(shown)) else shown


def _all_digits(value: Any) -> str:
    """Of a number, whole ones alike whether they are floats or not; '' of anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e16 else value)


def _metric(run: StoredRun, name: str) -> Any:
    return _ABSENT if run.view.best is None else run.view.best.metrics.get(name, _ABSENT)


def _arguments(run: StoredRun) -> dict[str, Any]:
    """What every trial had, and what was chosen for the best trial, or the only one."""
    return {**arguments(run), **({} if run.main_trial is None else run.main_trial.hparams)}


def _options(run: StoredRun) -> dict[str, str]:
    """What the run was asked for beside defaults, as a person types it."""
    return {name: value for name, value in typed_options(run.document) if name not in _NOT_SHOWN}


def _table(rows: Sequence[tuple[str, list[str]]], indent: str = "") -> list[str]:
    cells = [[name, *values] for name, values in rows]
    return [f"{indent}{line}" for line in aligned(cells, left_aligned=range(len(cells[0])))]


def _params(runs: Sequence[StoredRun]) -> list[str]:
    """What libraries were told otherwise in the runs' best trials, as a table; nothing where nothing differs.

    None is nothing told; and of 'X 2', 'X 3' … what they have as X has it is told by the row of X.
    """
    trials = [run.main_trial for run in runs]
    of_runs = [trial.params if trial is not None else {} for trial in trials]
    cells = {
        name: [NOTHING if params.get(name) is None else hparam(params[name], _VALUE_LIMIT) for params in of_runs]
        for name in _names(of_runs)
        if not all(name not in params or repeats_first(params, name) for params in of_runs)
    }
    return _differing("logged parameters that differ:", cells, PARAM_LIMIT)


def _packages(runs: Sequence[StoredRun]) -> list[str]:
    """The packages whose versions differ, as a table; nothing where none does, or no run knows its own."""
    of_runs = [run.packages for run in runs]
    if not all(of_runs):
        return []
    names = sorted({name for packages in of_runs for name in packages}, key=str.lower)
    cells = {name: [packages.get(name, NOTHING) for packages in of_runs] for name in names}
    return _differing("packages that differ:", cells, PACKAGE_LIMIT)


def _differing(title: str, cells: Mapping[str, list[str]], limit: int) -> list[str]:
    """Name → what each run has of it, as a table of what is not the same in all; nothing where all is."""
    rows = [(one_line(name, NAME_LIMIT), _cells(values)) for name, values in cells.items() if len(set(values)) > 1]
    if not rows:
        return []
    more = [f"  … and {len(rows) - limit} more"] if len(rows) > limit else []
    return ["\n".join([title, *_table(rows[:limit], "  "), *more])]


def _source(first: StoredRun, other: StoredRun) -> str:
    """How the other's source differs; '' when it does not."""
    ours, theirs = first.source.splitlines(), other.source.splitlines()
    head = _n_same(ours, theirs)
    n_left = min(len(ours), len(theirs)) - head
    tail = min(n_left, _n_same(ours[::-1], theirs[::-1]))
    n_ours, n_theirs = len(ours) - head - tail, len(theirs) - head - tail
    if n_ours + n_theirs > ALIGNED_LIMIT:
        names = [one_line(run.dir.name, CELL_LIMIT) for run in (first, other)]
        return (
            f"the sources differ: {n_ours:,} lines of {names[0]}, {n_theirs:,} of {names[1]}; compare the two source.py"
        )
    lines = list(_difference(ours, theirs, head, tail, (first.dir.name, other.dir.name)))
    n_more = len(lines) - DIFF_LIMIT
    shown = [_plain(line) for line in lines[:DIFF_LIMIT]]
    return "\n".join([*shown, *([f"… {n_more:,} more lines differ: compare the two source.py"] if n_more > 0 else [])])


def _n_same(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """How many lines are the same at the beginning of both."""
    pairs = enumerate(zip(ours, theirs, strict=False))
    return next((number for number, (one, two) in pairs if one != two), min(len(ours), len(theirs)))


def _difference(
    ours: Sequence[str], theirs: Sequence[str], head: int, tail: int, names: tuple[str, str]
) -> Iterator[str]:
    """A unified difference, found without looking at all that is the same at the beginning and the end."""
    begin, end = max(0, head - _CONTEXT), max(0, tail - _CONTEXT)
    middles = (ours[begin : len(ours) - end], theirs[begin : len(theirs) - end])
    for line in difflib.unified_diff(*middles, *names, lineterm="", n=_CONTEXT):
        yield re.sub(r"(?<=[-+])\d+", lambda at: str(int(at[0]) + begin), line) if line.startswith("@@ ") else line


def _plain(line: str) -> str:
    """The line with its sign and indentation, and nothing that a terminal would obey."""
    sign, text = line[:1], line[1:].expandtabs()
    return sign + text[: len(text) - len(text.lstrip(" "))][:80] + one_line(text, 200)
