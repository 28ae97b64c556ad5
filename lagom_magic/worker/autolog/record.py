"""What the libraries of one trial have told: parameters, kept for its end, and metrics, which go out as reports.

Whatever goes wrong in here becomes a warning of the trial, and never its failure.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lagom_magic.events.facts import number_to_json
from lagom_magic.worker.numbers import as_number
from lagom_magic.worker.reporter import Reporter

_MAX_PARAMS = 200
_MAX_CHARACTERS = 500
_MAX_NAME_CHARACTERS = 200
#: Of one report.
_MAX_METRICS = 100


class Record:
    """Of one trial; open while its function is called.

    Args:
        reporter: of the trial.
        reports: whether metrics are reported. A function that takes `reporter` reports by itself.

    Attributes:
        params: what the libraries were told to do, such as {"keras.epochs": 3}; bounded, as JSON holds it.
        warnings: what went wrong, one line a library.
    """

    def __init__(self, reporter: Reporter | None, *, reports: bool) -> None:
        self.params: dict[str, Any] = {}
        self.warnings: list[str] = []
        self._reporter = reporter
        self._reports = reports
        self._is_open = reporter is not None
        self._pid = os.getpid()
        #: Whose calls are open, one within the other; an object's own ones, such as `super().fit`, count once.
        self._open: list[Any] = []
        self._n_params_dropped = 0
        #: {prefix as asked for: what was recorded under it}
        self._recorded: dict[str, list[dict[str, Any]]] = {}
        self._troubled: set[str] = set()
        #: What was recorded → the name of whose it was first.
        self._first: dict[str, str] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process, or by `copy.deepcopy`, records nothing."""
        return Record._closed, ()

    @staticmethod
    def _closed() -> Record:
        return Record(None, reports=False)

    def close(self) -> None:
        """From now on nothing is recorded: callbacks may live longer than the patches."""
        self._is_open = False
        if self._n_params_dropped:
            self.warnings.append(
                f"{self._n_params_dropped:,} parameters after the first {_MAX_PARAMS} were not logged."
            )

    @property
    def is_listening(self) -> bool:
        """Whether the caller is the trial itself: not a process or thread that it has started, nor a later trial."""
        return self._is_open and os.getpid() == self._pid and threading.current_thread() is threading.main_thread()

    @property
    def is_outermost(self) -> bool:
        """Whether no call of scikit-learn is open."""
        return not self._open

    def is_first(self, what: str, whose: str) -> bool:
        """Whether it belongs to the one of this name that had the first such in the trial."""
        return self._first.setdefault(what, whose) == whose

    @contextmanager
    def guard(self, library: str) -> Iterator[None]:
        """Turns an error of ours into one warning a library; pruning and stopping pass through."""
        try:
            yield
        except Exception as error:  # a library of another version may hold any surprise, and the trial is worth more
            if library not in self._troubled:
                self._troubled.add(library)
                text = f"{type(error).__name__}: {error}"[:_MAX_CHARACTERS]
                self.warnings.append(f"auto-logging of {library} went wrong ({text}); --no-autolog switches it off.")

    @contextmanager
    def nested(self, subject: Any) -> Iterator[None]:
        """While it is open, what others do is part of what the subject does, and not logged by itself."""
        if self._open and self._open[-1] is subject:
            yield
            return
        self._open.append(subject)
        try:
            yield
        finally:
            self._open.pop()

    def add_params(self, prefix: str, params: Mapping[str, Any]) -> None:
        """Keeps parameters as `prefix.name`; those of a second, different one of the kind as `prefix 2.name`."""
        if not self.is_listening:
            return
        values = {str(name)[:_MAX_NAME_CHARACTERS]: _shortened(value) for name, value in params.items()}
        earlier = self._recorded.setdefault(prefix, [])
        if values in earlier or not values:
            return
        if len(earlier) < _MAX_PARAMS:
            earlier.append(values)
        name_of_all = prefix if len(earlier) == 1 else f"{prefix} {len(earlier)}"
        for name, value in values.items():
            if len(self.params) < _MAX_PARAMS:
                self.params[f"{name_of_all}.{name}"] = value
            else:
                self._n_params_dropped += 1

    def curve(self) -> Curve:
        """For the reports of one training."""
        return Curve(self)

    def report(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Reports what is a number among `metrics`.

        Args:
            metrics: name → whatever a library calls a value.
            step: None = the next one.

        Raises:
            TrialPruned, TrialStopped: as `reporter.broadcast`.
        """
        if not self._reports or self._reporter is None or not self.is_listening or len(self._open) > 1:
            return
        numbers = {str(name)[:_MAX_NAME_CHARACTERS]: as_number(value) for name, value in metrics.items()}
        found = [(name, number) for name, number in numbers.items() if number is not None]
        if found:
            self._reporter.broadcast_logged(dict(found[:_MAX_METRICS]), step)

    @property
    def last_step(self) -> int | None:
        """The step of the trial's last report."""
        return None if self._reporter is None else self._reporter.last_step


class Curve:
    """Reports of one training in the library's own steps; a second training in a trial counts on from the first."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._offset: int | None = None

    def report(self, metrics: Mapping[str, Any], step: int) -> None:
        """As `Record.report`, at a step of the library's."""
        last = self._record.last_step
        if self._offset is None:
            self._offset = 0 if last is None or step > last else last + 1 - step
        step += self._offset
        self._record.report(metrics, step if last is None else max(step, last))


def _shortened(value: Any) -> Any:
    """As JSON holds it: a plain value as it is, everything else as text."""
    if value is None or isinstance(value, bool):
        return value
    number = as_number(value)
    if number is not None:
        is_whole = hasattr(type(value), "__index__") and abs(number) < 2**53
        return int(number) if is_whole else number_to_json(number)
    text = value if isinstance(value, str) else getattr(value, "__qualname__", None) or repr(value)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 1]}…"
