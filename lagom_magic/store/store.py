"""A run's folder as the driver writes it: the journal at once, everything else on the store's own thread.

All methods are for the driver's thread and cheap. A disk that fails never ends the run: it is told of once.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import (
    CHECKPOINTS,
    Fact,
    FileStored,
    Noticed,
    RankReady,
    RunEnded,
    TrialStarted,
    WorkerLost,
)
from lagom_magic.store.background import Background, Chore, Close, Output
from lagom_magic.store.call import StoredCall, read_document, write_call
from lagom_magic.store.exports import Export, Exports, Registrar
from lagom_magic.store.files import FileReceiver
from lagom_magic.store.journal import JournalReader, JournalWriter
from lagom_magic.store.layout import RunLayout, create_run_dir, write_unless_kept
from lagom_magic.store.provenance import rewrite_run_json, write_provenance, write_run_json, write_source
from lagom_magic.store.requests import RequestPipe
from lagom_magic.store.unwritten import PastFacts

logger = logging.getLogger("lagom_magic.store")

#: Seconds for the last files when a run is closed.
_CLOSE_TIMEOUT_S = 60.0
#: Seconds for provenance.json then; beyond, it may come later.
_PROVENANCE_TIMEOUT_S = 10.0


class RunStore:
    """Keeps one run."""

    @classmethod
    def create(
        cls,
        home: Path,
        experiment: str,
        document: Mapping[str, Any],
        source: str,
        on_error: Callable[[str], None],
        call: StoredCall | None = None,
    ) -> RunStore:
        """Make the folder of a new run.

        run.json makes it one and comes last: whoever is killed before that leaves no run that cannot be resumed.

        Args:
            home: the folder of all experiments.
            experiment: its name, see `check_experiment_name`.
            document: content of run.json; `searchspace` in the form of `spec.space_json`.
            source: content of source.py.
            on_error: called from any thread with one line when files cannot be written, once for each kind of
                trouble.
            call: what it calls, where that can be kept.

        Raises:
            ConfigError: for an impossible name.
            StoreError: when the folder cannot be made.
        """
        now = datetime.now().astimezone()
        layout = create_run_dir(home, experiment, now)
        with ExitStack() as undo:
            try:
                write_source(layout, source)
                store = cls(layout, document.get("searchspace") or {}, on_error)
                undo.callback(store._close, Close(None))
                if call is not None:
                    store.keep_call(call)
                write_run_json(layout, experiment, document, now)
            except OSError as error:
                raise StoreError(f"Cannot begin the run folder {layout.root}: {error}.") from error
            undo.pop_all()
        return store

    @classmethod
    def resume(
        cls,
        run_dir: Path,
        changed: Mapping[str, Any],
        source: str | None,
        n_facts: int,
        on_error: Callable[[str], None],
    ) -> RunStore:
        """Go on with a run that has ended, or whose driver died. What it has stays.

        Args:
            run_dir: its folder.
            changed: keys of run.json that are other now, such as the config.
            source: of the function as it is now, kept beside the older ones where it differs; None = it is the newest.
            n_facts: how many its journal had when it was read.
            on_error: as in `create`.

        Raises:
            StoreError: when it is alive, has gone on since it was read, or its folder cannot be written.
        """
        layout = RunLayout(run_dir)
        document = read_document(layout)
        try:
            store = cls(layout, document.get("searchspace") or {}, on_error, n_facts)
        except StoreError:
            raise
        except OSError as error:
            raise _cannot_go_on(layout, error) from error
        with ExitStack() as undo:
            undo.callback(store._close, Close(None))
            try:
                if source is not None:
                    write_unless_kept(layout.source, source)
                rewrite_run_json(layout, document, changed)
                layout.result.unlink(missing_ok=True)
            except OSError as error:
                raise _cannot_go_on(layout, error) from error
            undo.pop_all()
        return store

    def __init__(
        self,
        layout: RunLayout,
        searchspace: dict[str, Any],
        on_error: Callable[[str], None],
        n_facts: int = 0,
    ) -> None:
        self.layout = layout
        self.run_id = layout.root.name
        self._tell = _OnceEach(on_error)
        with ExitStack() as undo:
            self._journal = JournalWriter(layout.journal, lambda text: self._tell("disk", text))
            undo.callback(self._journal.close)
            lines = JournalReader(layout.root).read_new()  # nobody else can write it now
            if len(lines) != n_facts:
                raise StoreError(f"run {self.run_id} went on elsewhere meanwhile. Try again.")
            #: What the journal of a run that is resumed has already.
            self.past = tuple(line.fact for line in lines)
            self._background = Background(layout, searchspace, self._tell, PastFacts.of(lines))
            undo.callback(self._background.join, _CLOSE_TIMEOUT_S)
            undo.callback(self._background.put, Close(None))
            self._files = FileReceiver(layout)
            #: Where other processes ask for something; None where the file system has no named pipes.
            self.requests = self._open_requests()
            if self.requests is not None:
                undo.callback(self.requests.close)
            self._facts: list[tuple[Fact, float]] = []
            self._exports = Exports()
            self._registrar = Registrar(layout)
            for fact in self.past:
                self._register(self._exports.add(fact, is_past=True))
            self._provenance: threading.Thread | None = None
            self._is_closed = False
            undo.pop_all()

    def _open_requests(self) -> RequestPipe | None:
        try:
            return RequestPipe(self.layout.requests)
        except OSError as error:
            self._tell("requests", f"no other process can stop or steer this run, for it has no pipe: {error}")
            return None

    def keep_provenance(self, notebook_dir: Path, gather: Callable[[], Mapping[str, Any]]) -> None:
        """Write provenance.json, on a thread of its own, for git and Spark may take long; see `write_provenance`."""
        self._provenance = threading.Thread(
            target=self._write_provenance, args=(notebook_dir, gather), name="lagom-provenance", daemon=True
        )
        self._provenance.start()

    def _write_provenance(self, notebook_dir: Path, gather: Callable[[], Mapping[str, Any]]) -> None:
        try:
            write_provenance(self.layout, notebook_dir, gather)
        except Exception as error:  # the thread's outer edge: the run itself goes on
            logger.debug("provenance.json is not written", exc_info=True)
            if not self._is_closed:
                self._tell("provenance", f"provenance.json is not written: {type(error).__name__}: {error}")

    @property
    def on_uncongested(self) -> Callable[[], None]:
        """Called from the store's thread when `is_congested` has become False again."""
        return self._background.on_uncongested

    @on_uncongested.setter
    def on_uncongested(self, call: Callable[[], None]) -> None:
        self._background.on_uncongested = call

    @property
    def on_written(self) -> Callable[[], None]:
        """Called from the store's thread when console lines or files were written."""
        return self._background.on_written

    @on_written.setter
    def on_written(self, call: Callable[[], None]) -> None:
        self._background.on_written = call

    def keep_call(self, call: StoredCall) -> None:
        """Keep what the run calls, so that it can be resumed and repeated without its notebook."""
        try:
            if not write_call(self.layout, call):
                self._tell(
                    "call",
                    f"the function carries {len(call.payload) / 1e6:,.0f} MB, which the run's folder does not keep: to "
                    f"resume it, run the function's cell with --resume {self.run_id}.",
                )
        except OSError as error:
            self._tell("disk", f"the function is not kept, so only its cell can resume the run: {error}")

    def record(self, fact: Fact, time: float) -> None:
        """Append a fact to the journal; readers see it after `flush`.

        Args:
            fact: what happened.
            time: seconds since the epoch.
        """
        if isinstance(fact, RunEnded) and (text := self._exports.missing()):
            self._append(Noticed(text), time)
        self._append(fact, time)
        self._register(self._exports.add(fact))
        if isinstance(fact, (TrialStarted, RankReady)):
            self._files.start(fact.worker_id, fact.trial_id, fact.attempt)
        elif isinstance(fact, WorkerLost):
            self._files.abandon(fact.worker_id)

    def _register(self, exports: list[Export]) -> None:
        for export in exports:
            make = partial(self._registrar.register, export)
            self._background.put(Chore(f"{export.fact.name} is not in the model registry", make))

    def _append(self, fact: Fact, time: float) -> None:
        self._journal.append(fact, time)
        self._facts.append((fact, time))

    def flush(self) -> None:
        """Make what was recorded visible."""
        if self._facts:
            self._journal.flush()
            self._background.put(self._facts)
            self._facts = []

    def write_output(
        self,
        worker_id: int,
        trial_id: int | None,
        attempt: int,
        data: bytes,
        is_shown: bool = True,
        rank: int | None = None,
    ) -> None:
        """Append what a worker printed to its output.log and, if it is shown, to the console.

        Raises:
            ValueError: when `trial_id` is not None or a whole number >= 0, or `attempt` not a whole number >= 1.
        """
        is_trial = trial_id is None or (type(trial_id) is int and trial_id >= 0)
        if not is_trial or type(attempt) is not int or attempt < 1:
            raise ValueError(f"output names trial {trial_id!r}, attempt {attempt!r}")
        self.flush()  # the order in which it happened
        self._background.put(Output(worker_id, trial_id, attempt, data, is_shown, rank))

    def adopt_checkpoint(self, path: Path) -> FileStored:
        """Copy what another run's training kept into this run, as the first checkpoint of its trial.

        Raises:
            StoreError: when it cannot be copied.
        """
        target = self.layout.trial_dir(0, 1) / CHECKPOINTS / "000000"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            with open(target, "rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return FileStored(0, 1, f"{CHECKPOINTS}{target.name}", target.stat().st_size, sha256)
        except OSError as error:
            raise StoreError(f"The checkpoint {path} cannot be copied into this run: {error}.") from error

    def read_piece(self, file: FileStored, offset: int, n_bytes: int) -> bytes:
        """A part of a stored file; b"" at its end.

        Raises:
            OSError: as the file system reports it.
        """
        with open(self.layout.trial_dir(file.trial_id, file.attempt) / file.path, "rb") as opened:
            opened.seek(offset)
            return opened.read(n_bytes)

    @property
    def is_congested(self) -> bool:
        """Whether output comes faster than the disk takes it: read no worker until `on_uncongested`."""
        return self._background.is_congested

    def write_chunk(self, worker_id: int, header: Mapping[str, Any], data: bytes) -> FileStored | None:
        """Write a chunk of a file; the fact when the file is whole. Costs about 2 ms a MiB.

        Raises:
            StoreError: once a file, for a bad path, offset, size or hash, for an attempt that was not started on
                this worker, or when the disk refuses it.
        """
        return self._files.receive(worker_id, header, data)

    def close(self, result: Mapping[str, Any] | None = None) -> None:
        """Write everything, result.json last, and end the thread. May be called again.

        Args:
            result: keys to stand in result.json beside, and over, what the facts say.
        """
        self._close(Close(dict(result or {})))

    def _close(self, work: Close) -> None:
        if self._is_closed:
            return
        if self._provenance is not None:
            self._provenance.join(_PROVENANCE_TIMEOUT_S)
        self._is_closed = True
        if self.requests is not None:
            self.requests.close()
        self.flush()
        self._files.close()
        self._background.put(work)
        if not self._background.join(_CLOSE_TIMEOUT_S):
            self._tell("disk", f"the last files of {self.layout.root} were not written within {_CLOSE_TIMEOUT_S:.0f} s")
        self._journal.close()


def _cannot_go_on(layout: RunLayout, error: OSError) -> StoreError:
    return StoreError(f"Cannot go on in the run folder {layout.root}: {error}.")


class _OnceEach:
    """Passes on the first error of each kind; the others go to the log only."""

    def __init__(self, on_error: Callable[[str], None]) -> None:
        self._on_error = on_error
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, kind: str, text: str) -> None:
        with self._lock:
            is_first = kind not in self._told
            self._told.add(kind)
        logger.log(logging.WARNING if is_first else logging.DEBUG, "%s", text)
        if is_first:
            self._on_error(text)
