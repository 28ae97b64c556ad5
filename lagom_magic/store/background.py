"""The thread "lagom-store": does the slow half of keeping a run, in the order in which the driver handed it over.

It gathers what comes within 50 ms, so that a driver at full speed wakes it 20 times a second and not a thousand.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lagom_magic.events.facts import (
    CHECKPOINTS,
    Fact,
    FileStored,
    RunEnded,
    RunStarted,
    TrialEnded,
    TrialStarted,
    WorkerLost,
)
from lagom_magic.events.fold import fold
from lagom_magic.store.console import LineLimiter, WorkerConsole
from lagom_magic.store.console_file import ConsoleWriter
from lagom_magic.store.jsontext import json_text
from lagom_magic.store.layout import RunLayout, write_whole
from lagom_magic.store.provenance import write_environment
from lagom_magic.store.summary import result_document
from lagom_magic.store.tensorboard import TensorBoardWriter
from lagom_magic.store.trials import OutputLogs, remove_older, write_trial_json
from lagom_magic.store.unwritten import PastFacts, ends_without_file, unfinished_sessions

logger = logging.getLogger("lagom_magic.store")

#: Seconds that work is gathered before it is done.
_GATHER_S = 0.05
#: Running trials appear in TensorBoard, and skipped lines are told of, after at most this many seconds.
_FLUSH_S = 1.0
#: Bytes of output under way above which workers should not be read, and below which they may be again.
_HIGH_WATER_BYTES, _LOW_WATER_BYTES = 8 << 20, 1 << 20

_NO_TENSORBOARD = "TensorBoard's files are incomplete"
_NO_CONSOLE = "the console is incomplete"
_NO_OUTPUT = "output is lost"


@dataclass(frozen=True, slots=True)
class Output:
    """What a worker printed; `is_shown` = it also goes to the console; `rank` of a trial that it does not run alone."""

    worker_id: int
    trial_id: int | None
    attempt: int
    data: bytes
    is_shown: bool
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """Nothing comes after; `result` stands in result.json beside what the facts say. None = that is not written."""

    result: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Chore:
    """Something slow that `do` does; a failure is told of with its `consequence`."""

    consequence: str
    do: Callable[[], None]


Work = list[tuple[Fact, float]] | Output | Chore | Close


class Background:
    """Owns the thread and everything that only it touches. The other methods are the driver thread's."""

    def __init__(
        self,
        layout: RunLayout,
        searchspace: dict[str, Any],
        on_error: Callable[[str, str], None],
        past: PastFacts,
    ) -> None:
        """Start the thread.

        Args:
            layout: of the run.
            searchspace: as in run.json.
            on_error: called from the thread with (what kind of error, text for a person).
            past: of a run that is resumed; the thread's from now on.
        """
        self._layout = layout
        self._searchspace = searchspace
        self._on_error = on_error
        #: Called from the thread when workers may be read again, and when files have changed.
        self.on_uncongested: Callable[[], None] = _nothing
        self.on_written: Callable[[], None] = _nothing
        self._work: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._is_waited_for = False
        self._n_bytes_in = 0  # written by the driver's thread only
        self._n_bytes_done = 0  # written by ours only
        self._view = past.view
        self._past: PastFacts | None = past
        self._logs = OutputLogs(layout)
        self._console = ConsoleWriter(layout)
        self._consoles: dict[int, WorkerConsole] = {}
        #: Imported with the first trial: half a second that the start of the workers needs.
        self._tensorboard: TensorBoardWriter | None = None
        self._begin: tuple[RunStarted, float] | None = None
        self._thread = threading.Thread(target=self._run, name="lagom-store", daemon=True)
        self._thread.start()

    def put(self, work: Work) -> None:
        """Hand work over."""
        if isinstance(work, Output):
            self._n_bytes_in += len(work.data)
        self._work.put(work)
        if isinstance(work, Close) or self._n_bytes_in - self._n_bytes_done > _LOW_WATER_BYTES:
            self._hurry.set()

    @property
    def is_congested(self) -> bool:
        """Whether so much output is under way that workers should not be read until `on_uncongested`."""
        if self._n_bytes_in - self._n_bytes_done > _HIGH_WATER_BYTES:
            self._is_waited_for = True
        # Looked at again: the thread may have caught up before it could see that it is waited for.
        return self._is_waited_for and self._n_bytes_in - self._n_bytes_done > _LOW_WATER_BYTES

    def join(self, timeout_s: float) -> bool:
        """Whether the thread ended in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        self._try("environment.txt is not written", write_environment, self._layout)
        self._try("what the run's last driver left unwritten is not made up", self._make_up)
        is_open, flush_at = True, None
        while is_open:
            is_open = self._do(self._next_work(flush_at))
            now = time.monotonic()
            if flush_at is not None and now >= flush_at:
                self._try(_NO_CONSOLE, self._flush)
                flush_at = None
            elif flush_at is None and self._has_unflushed:
                flush_at = now + _FLUSH_S
            self._try("the display is not told of new files", self.on_written)

    def _make_up(self) -> None:
        """Write what the driver before this one was killed before it could."""
        assert self._past is not None
        past, self._past = self._past, None
        for trial, ended in ends_without_file(self._layout, past):
            self._try("a trial.json is not written", write_trial_json, self._layout, trial, ended)
        if unfinished := unfinished_sessions(self._layout, past):
            self._tensorboard = self._new_tensorboard()
            self._try(_NO_TENSORBOARD, self._tensorboard.make_up, past.facts, unfinished)

    def _next_work(self, flush_at: float | None) -> list[Work]:
        """All work at hand; waits for the first of it, at most until `flush_at`."""
        try:
            timeout_s = None if flush_at is None else max(0.0, flush_at - time.monotonic())
            gathered = [self._work.get(timeout=timeout_s)]
        except queue.Empty:
            return []
        self._hurry.wait(_GATHER_S)
        self._hurry.clear()
        while True:
            try:
                gathered.append(self._work.get_nowait())
            except queue.Empty:
                return gathered

    def _do(self, gathered: list[Work]) -> bool:
        """Do the work; False when it was the last."""
        for work in gathered:
            if isinstance(work, list):
                for fact, fact_time in work:
                    self._try("the run's files are incomplete", self._do_fact, fact, fact_time)
            elif isinstance(work, Output):
                self._try(
                    _NO_OUTPUT, self._logs.write, work.worker_id, work.trial_id, work.attempt, work.data, work.rank
                )
                if work.is_shown:
                    self._try(_NO_CONSOLE, self._show, work)
                self._count_done(len(work.data))
            elif isinstance(work, Chore):
                self._try(work.consequence, work.do)
            else:
                self._do_close(work)
                return False
        return True

    def _do_fact(self, fact: Fact, fact_time: float) -> None:
        n_late = self._view.n_late
        fold(self._view, fact, fact_time)
        if self._view.n_late > n_late:
            return
        if isinstance(fact, RunStarted):
            self._begin = (fact, fact_time)
        elif isinstance(fact, TrialStarted) and self._begin is not None:
            self._try("TensorBoard's files are not written", self._open_tensorboard, *self._begin)
            self._begin = None
        if self._tensorboard is not None:
            self._try(_NO_TENSORBOARD, self._tensorboard.add, fact, fact_time)
        if isinstance(fact, TrialEnded):
            trial = self._view.trials[fact.trial_id]
            for worker_id in [fact.worker_id] if trial.world_size == 1 else list(self._consoles):
                self._try(_NO_OUTPUT, self._end_output, worker_id)
            self._try("a trial.json is not written", write_trial_json, self._layout, trial, fact)
        elif isinstance(fact, FileStored) and self._is_newest_attempts(fact) and fact.path.startswith(CHECKPOINTS):
            self._try("an old checkpoint is not removed", remove_older, self._layout, fact)
        elif isinstance(fact, WorkerLost):
            self._end_output(fact.worker_id)
        elif isinstance(fact, RunEnded):
            self._flush()

    def _is_newest_attempts(self, fact: FileStored) -> bool:
        """Whether no later attempt may be going on from what is there."""
        trial = self._view.trials.get(fact.trial_id)
        return trial is not None and trial.attempt == fact.attempt

    def _show(self, work: Output) -> None:
        console = self._consoles.get(work.worker_id)
        if console is None:
            console = self._consoles[work.worker_id] = WorkerConsole(work.worker_id, LineLimiter())
        self._write_lines(console.feed(work.trial_id, work.attempt, work.data, time.monotonic(), work.rank))

    def _count_done(self, n_bytes: int) -> None:
        self._n_bytes_done += n_bytes
        if self._is_waited_for and self._n_bytes_in - self._n_bytes_done <= _LOW_WATER_BYTES:
            self._is_waited_for = False
            self._try("workers are not read again", self.on_uncongested)

    def _end_output(self, worker_id: int) -> None:
        """The worker's trial is over: close its log and show what was held back."""
        self._logs.close_of(worker_id)
        if worker_id in self._consoles:
            self._write_lines(self._consoles[worker_id].flush())

    def _write_lines(self, lines: list[str]) -> None:
        if lines:
            self._try(_NO_CONSOLE, self._console.write, lines)

    @property
    def _has_unflushed(self) -> bool:
        return (self._tensorboard is not None and self._tensorboard.is_dirty) or any(
            console.n_untold for console in self._consoles.values()
        )

    def _flush(self) -> None:
        if self._tensorboard is not None:
            self._try(_NO_TENSORBOARD, self._tensorboard.flush)
        for console in self._consoles.values():
            self._write_lines(console.tell_skipped())

    def _do_close(self, work: Close) -> None:
        for worker_id in self._consoles:
            self._try(_NO_OUTPUT, self._end_output, worker_id)
        self._try(_NO_OUTPUT, self._logs.close)
        self._try(_NO_CONSOLE, self._console.close)
        if self._tensorboard is not None:
            self._try(_NO_TENSORBOARD, self._tensorboard.close)
        if work.result is not None:
            self._try("result.json is not written", self._write_result, work.result)

    def _open_tensorboard(self, begin: RunStarted, begin_time: float) -> None:
        if self._tensorboard is None:
            self._tensorboard = self._new_tensorboard()
        self._tensorboard.add(begin, begin_time)

    def _new_tensorboard(self) -> TensorBoardWriter:
        writer = TensorBoardWriter(self._layout, self._searchspace)
        for trial in self._view.trials.values():
            writer.recall(trial.hparams, trial.metrics)
        return writer

    def _write_result(self, result: dict[str, Any]) -> None:
        write_whole(self._layout.result, json_text(result_document(self._view) | result).encode())

    def _try(self, consequence: str, call: Callable[..., None], *args: Any) -> None:
        """The thread's outer edge, drawn around each piece of work: one that fails is told of, the others go on."""
        try:
            call(*args)
        except OSError as error:
            self._tell("disk", f"{consequence}: {error}")
        except Exception as error:
            logger.exception("%s", consequence)
            self._tell(consequence, f"{consequence}: {type(error).__name__}: {error}")

    def _tell(self, kind: str, text: str) -> None:
        try:
            self._on_error(kind, text)
        except Exception:
            logger.exception("nobody could be told: %s", text)


def _nothing() -> None:
    """The hook of a driver that does not want to be told."""
