"""The SQLite file that keeps what list and search have read, so that they need not read it again.

A cache: the folders alone are right. Used by `store.index` and `store.search`, one connection a call, so that any
number of kernels may use it at once.
"""

from __future__ import annotations

import json
import math
import sqlite3
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from lagom_magic.events.facts import RunState, number_from_json, number_to_json
from lagom_magic.store.entries import RunEntry, RunSummary
from lagom_magic.store.jsontext import json_line
from lagom_magic.store.query import EXACT_LIMIT, Comparison, Phrase, Query, TrialValues

#: Raised when what an entry is, or how it is stored, changes: another version's file is made anew.
VERSION = 3
#: Seconds to wait for another kernel that writes.
_LOCK_TIMEOUT_S = 2.0

_SCHEMA = (
    """CREATE TABLE runs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, signature BLOB NOT NULL, kind TEXT NOT NULL,
        state TEXT NOT NULL, created_at TEXT NOT NULL, duration_s REAL NOT NULL, n_done INTEGER NOT NULL,
        n_complete INTEGER NOT NULL, metric TEXT, best_id INTEGER, best_val REAL, tags TEXT NOT NULL,
        user TEXT NOT NULL, n_trials INTEGER
    )""",
    "CREATE TABLE trials (run INTEGER PRIMARY KEY, lines TEXT NOT NULL)",
    """CREATE TABLE columns (
        name TEXT NOT NULL, run INTEGER NOT NULL, low REAL, high REAL, has_text INTEGER NOT NULL, numbers BLOB,
        PRIMARY KEY (name, run)
    ) WITHOUT ROWID""",
    "CREATE INDEX columns_of_run ON columns (run)",
    """CREATE TABLE labels (
        field TEXT NOT NULL, value TEXT NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (field, value, run)
    ) WITHOUT ROWID""",
    "CREATE INDEX labels_of_run ON labels (run)",
    "CREATE VIRTUAL TABLE words USING fts5 (text, tokenize = \"ascii tokenchars '_'\")",
)
#: What reading a row raises that is not as we write them.
_FOREIGN = (ValueError, KeyError, TypeError, AttributeError)
_STATES = {state.value: state for state in RunState}
_SUMMARY = (
    "id, path, kind, state, created_at, duration_s, n_done, n_complete, metric, best_id, best_val, tags, n_trials"
)


class Kept(NamedTuple):
    """What is known of a run whose entry is kept."""

    id: int
    signature: bytes


class IndexFile:
    """The entries of one home folder; every method may raise `sqlite3.Error`."""

    def __init__(self, connection: sqlite3.Connection, home: Path) -> None:
        self._connection, self._root = connection, str(home)

    @classmethod
    @contextmanager
    def open(cls, path: Path, home: Path) -> Iterator[IndexFile]:
        """Open the file, or make it.

        Args:
            path: of the file.
            home: the folder whose runs it keeps.

        Raises:
            sqlite3.Error: when it cannot be opened or made, or is no index of this version.
        """
        with closing(sqlite3.connect(path, timeout=_LOCK_TIMEOUT_S, isolation_level=None)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cache_size = -65536")
            index = cls(connection, home)
            index._begin()
            yield index

    def _begin(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version == VERSION:
            return
        with self._writing():
            n_tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version == VERSION:  # another kernel was faster
                return
            if n_tables:
                raise sqlite3.DatabaseError(f"it is of version {version}, and not of {VERSION}")
            for statement in _SCHEMA:
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def kept(self) -> dict[str, Kept]:
        """All runs that are kept, by 'experiment/run id'."""
        rows = self._connection.execute("SELECT path, id, signature FROM runs").fetchall()
        return {path: Kept(run, signature) for path, run, signature in rows}

    def keep(self, entries: Iterable[RunEntry], forgotten: Iterable[str]) -> dict[str, Kept]:
        """Keep entries, in place of those of the same runs.

        Args:
            entries: those with a signature.
            forgotten: 'experiment/run id' of runs that are gone.

        Returns:
            Those that are kept now; one that SQLite cannot hold is left out.
        """
        kept = {}
        with self._writing():
            for path in forgotten:
                self._forget(path)
            for entry in entries:
                path = path_of(entry.summary)
                if not _is_storable(path):
                    continue
                try:
                    kept[path] = Kept(self._add(path, entry, self._forget(path)), entry.signature)
                except (UnicodeEncodeError, OverflowError):
                    self._forget(path)
        return kept

    def _forget(self, path: str) -> int | None:
        """The number that the run had, which it keeps: another kernel may be about to ask for it."""
        found: tuple[int] | None = self._connection.execute("SELECT id FROM runs WHERE path = ?", (path,)).fetchone()
        if found is not None:
            for table, column in (("runs", "id"), ("trials", "run"), ("columns", "run"), ("labels", "run")):
                self._connection.execute(f"DELETE FROM {table} WHERE {column} = ?", found)
            self._connection.execute("DELETE FROM words WHERE rowid = ?", found)
        return None if found is None else found[0]

    def _add(self, path: str, entry: RunEntry, number: int | None) -> int:
        summary = entry.summary
        cursor = self._connection.execute(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                path,
                entry.signature,
                summary.kind,
                summary.state.value,
                summary.created_at.isoformat(),
                summary.duration_s,
                summary.n_done,
                summary.n_complete,
                summary.metric,
                summary.best_id,
                summary.best_val,
                json.dumps(summary.tags) if summary.tags else "",
                entry.user,
                summary.n_trials,
            ),
        )
        run = cursor.lastrowid
        assert run is not None, "an INSERT has a row"
        insert = self._connection.executemany
        self._connection.execute("INSERT INTO trials VALUES (?, ?)", (run, _lines(entry.trials)))
        insert("INSERT INTO columns VALUES (?, ?, ?, ?, ?, ?)", [(one.name, run, *one[1:]) for one in _columns(entry)])
        insert("INSERT OR IGNORE INTO labels VALUES (?, ?, ?)", [(*label, run) for label in labels_of(entry)])
        self._connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (run, entry.text))
        return run

    def summaries(self, runs: Sequence[int]) -> dict[int, RunSummary]:
        """The lines of the list of some runs, by the run's number here."""
        with _as_written():
            return {row[0]: self._summary(row) for row in self._rows(f"SELECT {_SUMMARY} FROM runs", "id", runs)}

    def _rows(self, select: str, column: str, runs: Sequence[int]) -> list[tuple[Any, ...]]:
        """The rows of some runs, whose number is a row's first value."""
        if len(runs) > 500:  # all rows cost less than so many one by one
            wanted = set(runs)
            return [row for row in self._connection.execute(select).fetchall() if row[0] in wanted]
        marks = ",".join("?" * len(runs))
        return self._connection.execute(f"{select} WHERE {column} IN ({marks})", runs).fetchall()

    def _summary(self, row: tuple[Any, ...]) -> RunSummary:
        _, path, kind, state, created_at, duration_s, n_done, n_complete, metric, best_id, best_val, tags, n_trials = (
            row
        )
        experiment, _, run_id = path.partition("/")
        return RunSummary(
            run_id,
            experiment,
            f"{self._root}/{path}",
            kind,
            _STATES[state],
            datetime.fromisoformat(created_at),
            duration_s,
            n_done,
            n_complete,
            metric,
            best_id,
            best_val,
            tuple(json.loads(tags)) if tags else (),
            n_trials,
        )

    def candidates(self, query: Query) -> set[int]:
        """The runs that may match; those that do not are left out as far as that is cheap to tell.

        Exact but for comparisons: one trial must fulfil them together, and of large whole numbers a float is kept.
        """
        found = []
        if query.phrases:
            words = " AND ".join(map(_match, query.phrases))
            found.append(self._runs("SELECT rowid FROM words WHERE words MATCH ?", words))
        for field, value in query.fields:
            found.append(self._runs("SELECT run FROM labels WHERE field = ? AND value = ?", field, value))
        for comparison in query.comparisons:
            condition, bounds = _range(comparison)
            found.append(
                self._runs(f"SELECT run FROM columns WHERE name = ? AND {condition}", comparison.name, *bounds)
            )
        return set.intersection(*found)

    def _runs(self, select: str, *values: str | float) -> set[int]:
        return {run for (run,) in self._connection.execute(select, values).fetchall()}

    def first_fulfilling(self, comparisons: Sequence[Comparison], runs: Collection[int]) -> dict[int, int | None]:
        """Run → which of its trials is the first that fulfils all comparisons, counted from 0; None for none of them.

        Runs of which plain numbers alone do not tell are left out.
        """
        if any(comparison.number is None for comparison in comparisons):
            return {}
        select = "SELECT run, numbers FROM columns WHERE name = ? AND numbers IS NOT NULL"
        columns = [dict(self._connection.execute(select, (one.name,)).fetchall()) for one in comparisons]
        holds = [one.holds for one in comparisons]
        found = {}
        with _as_written():
            for run in runs:
                try:
                    values = zip(*(array("d", column[run]) for column in columns), strict=True)
                except KeyError:
                    continue
                found[run] = next((number for number, row in enumerate(values) if _all_hold(holds, row)), None)
        return found

    def names(self) -> set[str]:
        """Every metric and hyperparameter of a complete trial of a run that is kept."""
        return {name for (name,) in self._connection.execute("SELECT DISTINCT name FROM columns").fetchall()}

    def trials(self, runs: Sequence[int]) -> Iterator[tuple[int, Iterator[TrialValues]]]:
        """The complete trials of some runs, each read when it is asked for, the best first."""
        with _as_written():
            for run, lines in self._rows("SELECT run, lines FROM trials", "run", runs):
                yield run, _trials_on(lines)


@contextmanager
def _as_written() -> Iterator[None]:
    """Turns what rows give rise to that nobody of ours has written into SQLite's error for a damaged file."""
    try:
        yield
    except _FOREIGN as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> sqlite3.DatabaseError:
    return sqlite3.DatabaseError(f"a row is damaged ({type(error).__name__}: {error})")


def path_of(summary: RunSummary) -> str:
    """'experiment/run id', by which a home's runs are kept."""
    return f"{summary.experiment}/{summary.run_id}"


def labels_of(entry: RunEntry) -> Iterator[tuple[str, str]]:
    """(field, value) of everything that a query's fields can ask for."""
    yield "state", entry.summary.state.value.lower()
    yield "kind", entry.summary.kind.lower()
    yield "user", entry.user
    yield "name", entry.summary.experiment
    for model in entry.models:
        yield "model", model
    for tag in entry.summary.tags:
        yield "tag", tag
        yield "tag", tag.partition("=")[0]


def _trials_on(lines: str) -> Iterator[TrialValues]:
    for line in lines.splitlines():
        try:
            trial_id, metrics, hparams = json.loads(line)
            if 'nan"' in line or 'inf"' in line:  # seldom, and turning all numbers takes as long as reading them
                metrics = {name: number_from_json(value) for name, value in metrics.items()}
        except _FOREIGN as error:
            raise _damaged(error) from error
        yield TrialValues(trial_id, metrics, hparams)


def _is_storable(text: str) -> bool:
    """Whether SQLite can hold the text: a folder's name may have bytes that are no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _lines(trials: Iterable[TrialValues]) -> str:
    return "\n".join(
        json_line([trial.id, {name: number_to_json(value) for name, value in trial.metrics.items()}, trial.hparams])
        for trial in trials
    )


class _Column(NamedTuple):
    """What a metric or hyperparameter was in a run's trials.

    Attributes:
        name: of it; a metric and a hyperparameter may share one.
        low: the least number; None without any.
        high: the greatest.
        has_text: whether it has values that are no numbers.
        numbers: one float64 a trial, nan where it has none; None where that would not say all.
    """

    name: str
    low: float | None
    high: float | None
    has_text: bool
    numbers: bytes | None


def _columns(entry: RunEntry) -> Iterator[_Column]:
    values: dict[str, list[tuple[int, Any]]] = {}
    for number, trial in enumerate(entry.trials):
        for name, value in (*trial.metrics.items(), *trial.hparams.items()):
            values.setdefault(name, []).append((number, value))
    for name, found in values.items():
        numbers = [value for _, value in found if isinstance(value, (int, float)) and not isinstance(value, bool)]
        told = [_as_float(value) for value in numbers if not math.isnan(value)]
        has_text = len(numbers) < len(found)
        is_plain = not has_text and len(dict(found)) == len(found) and all(map(_is_exact, numbers))
        packed = _packed(dict(found), len(entry.trials)) if is_plain else None
        yield _Column(name, min(told, default=None), max(told, default=None), has_text, packed)


def _packed(values: Mapping[int, float], n_trials: int) -> bytes:
    return array("d", [values.get(number, math.nan) for number in range(n_trials)]).tobytes()


def _is_exact(value: float) -> bool:
    """Whether a float64 holds it as it is."""
    return abs(value) <= EXACT_LIMIT or type(value) is float


def _all_hold(holds: Sequence[Callable[[float], bool]], row: tuple[float, ...]) -> bool:
    return all(one(value) for one, value in zip(holds, row, strict=True))


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond what a float holds
        return math.inf if value > 0 else -math.inf


def _range(comparison: Comparison) -> tuple[str, tuple[float, ...]]:
    """What a column's range must be if one of its values may be as wanted, and the numbers for that.

    Bounds are inclusive: two whole numbers, one the greater, may be one float.
    """
    if comparison.number is None:
        return "has_text", ()
    number = _as_float(comparison.number)
    match comparison.sign:
        case "=":
            slack = 2e-9 * abs(number) if math.isfinite(number) else 0.0
            return "(has_text OR (low <= ? AND high >= ?))", (number + slack, number - slack)
        case "<" | "<=":
            return "low <= ?", (number,)
        case _:
            return "high >= ?", (number,)


def _match(phrase: Phrase) -> str:
    """As FTS5 understands it; the words are of letters and digits alone, so nothing in them means anything to it."""
    return f'"{" ".join(phrase.words)}"{" *" if phrase.is_begun else ""}'
