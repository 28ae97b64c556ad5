"""The process that calls the training function, exec'd by the supervisor or forked from the template.

Nothing of ours runs beside the user's code here: no thread, no event loop. Between trials it waits for the next
command; during one it looks for commands at each broadcast.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import socket
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any

from lagom_magic.errors import TrialPruned, TrialStopped
from lagom_magic.events.facts import FilesUsed, TrialEnded, TrialError, TrialState, to_record
from lagom_magic.worker import audit_hook, failure
from lagom_magic.worker.autolog import autolog
from lagom_magic.worker.autolog.record import Record
from lagom_magic.worker.checkpoints import Checkpoints
from lagom_magic.worker.control import Control
from lagom_magic.worker.distribution.base import Distribution
from lagom_magic.worker.exports import EXPORTS_EVENT, TrialExports
from lagom_magic.worker.forks import forks_end_here
from lagom_magic.worker.import_hooks import AfterImport
from lagom_magic.worker.leftovers import leftovers
from lagom_magic.worker.native_readers import NativeReaders
from lagom_magic.worker.opened_files import OpenedFiles
from lagom_magic.worker.payload import Payload
from lagom_magic.worker.processes import die_with_parent
from lagom_magic.worker.reporter import Reporter
from lagom_magic.worker.result import normalise
from lagom_magic.worker.seeds import Seeds
from lagom_magic.worker.spawn import CONTROL_FD
from lagom_magic.worker.streams import Streams
from lagom_magic.worker.trial_folder import TrialFolder
from lagom_magic.worker.trial_info import TrialInfo
from lagom_magic.worker.workdir import Workdir
from lagom_magic.worker.write_guard import WriteGuard

if TYPE_CHECKING:
    from lagom_magic.worker.ablation.ablation import Ablation

#: Names the current trial's folder for `lagom_magic.tensorboard`, also in subprocesses.
TRIAL_DIR_VARIABLE = "LAGOM_TRIAL_DIR"
#: The audit event that `lagom_magic.tensorboard` raises when it makes a trial's logdir.
LOGDIR_EVENT = "lagom_magic.logdir"


class TrialProcess:
    """Runs trials one after the other until it is told not to."""

    def __init__(self, control: Control, begin: dict[str, Any], *, is_fork: bool) -> None:
        self._control = control
        self._is_fork = is_fork
        self._worker_id: int = begin["worker_id"]
        self._host: str = begin["host"]
        self._notebook_dir: str = begin["notebook_dir"]
        self._notebook_python: str = begin["notebook_python"]
        self._scratch: str = begin["scratch"]
        self._workdir = Workdir(begin["workdir"], self._notebook_dir, begin["user_code"])
        self._opened = OpenedFiles(self._workdir, begin["user_code"], self._scratch)
        self._streams = Streams()
        self._seeds = Seeds()
        self._pid = os.getpid()
        self._reporter: Reporter | None = None
        self._exports: TrialExports | None = None
        self._is_in_call = False
        self._is_terminated = False
        if not is_fork:
            sys.path[:0] = search_path(begin)
        self._prepare()
        self._payload_path: str = begin["payload"]
        #: How trials train with other workers; None = alone.
        self._distribution_settings: dict[str, Any] | None = begin.get("distribution")
        self._distribution: Distribution | None = None
        self._ablation: Ablation | None = None
        self._record: Record | None = None
        self._has_saved_model = False
        # A framework may have to be set up before anything of the user's is imported.
        self._payload = self._load() if self._distribution_settings is None else None

    def _prepare(self) -> None:
        faulthandler.enable()
        signal.signal(signal.SIGTERM, self._on_sigterm)
        _forbid_core_dumps()
        self._enter_workdir()
        guard = WriteGuard(self._workdir)
        audit_hook.install(guard, self._opened)
        listening = {"lagom_magic.tensorboard": self._listen, "lagom_magic.model": self._lend_exports}
        AfterImport({**self._seeds.actions(), **listening}).install()
        AfterImport(guard.actions()).install()
        AfterImport(NativeReaders(self._opened.note_read, self._opened.note_write).actions()).install()

    def _enter_workdir(self) -> None:
        """Goes to the working directory, wherever it was left, and whatever a trial has made of it."""
        if not self._workdir.is_current:
            self._workdir.restore()
            os.chdir(self._workdir.path)

    def _load(self) -> Payload | TrialError:
        try:
            with forks_end_here(self._streams.flush):
                return Payload.load(self._payload_path)
        except BaseException as error:  # the user's modules are imported here: whatever it is, each trial fails of it
            return self._explain(error)

    def serve(self) -> None:
        """Runs trials until the supervisor closes the socket or says that one is the last."""
        while (message := self._control.receive()) is not None:
            if message["type"] == "start_trial":
                ended = self._run(message)
                reason = self._tidy_up()
                self._control.send({**to_record(ended), "unfit": reason})
                self._control.flush()
                if message["is_last"]:
                    return

    def _run(self, start: dict[str, Any]) -> TrialEnded:
        """One attempt, from its start to everything that is known at its end."""
        folder = TrialFolder.of(self._scratch, start["trial_id"], start["attempt"])
        os.environ[TRIAL_DIR_VARIABLE] = folder.path
        self._is_terminated = False
        self._seeds.plant(start["seed"], is_fork=self._is_fork)
        self._enter_workdir()  # while this process waited, another one's trial may have cost it its folder
        self._opened.begin()
        begun = time.perf_counter()
        outcome = self._outcome(start, folder)
        duration_s = time.perf_counter() - begun
        self._reporter = self._exports = None
        outcome |= self._ablated(outcome.get("warnings", ()))
        outcome |= self._logged(outcome.get("warnings", ()))
        if self._distribution is not None:
            outcome["warnings"] = (*self._distribution.warnings, *outcome.get("warnings", ()))
        if not self._workdir.is_current:
            self._opened.leave_folder()  # which may be one of those that are gathered
        try:
            is_kept = self._distribution is not None and self._distribution.is_left_alone
            files, warning = folder.gather(self._workdir, start["rank"], keeps_all=is_kept)
        except OSError as error:  # a full disk must not cost the numbers
            files, warning = [], f"files of this trial were lost on host {self._host}: {error}"
        if warning:
            outcome["warnings"] = (*outcome.get("warnings", ()), warning)
        self._tell_files_used(start)
        return TrialEnded(
            start["trial_id"],
            start["attempt"],
            self._worker_id,
            duration_s=duration_s,
            files=tuple(files),
            **outcome,
        )

    def _outcome(self, start: dict[str, Any], folder: TrialFolder) -> dict[str, Any]:
        """What the function did, as fields of `TrialEnded`."""
        if self._distribution_settings is not None:
            try:
                self._distribution = self._meet_others(start, self._distribution_settings)
            except (TrialPruned, TrialStopped) as given_up:
                return {"state": _STATE_OF[type(given_up)]}
            except BaseException as why:  # of the framework, or of modules of the user's that bear a library's name
                return {"state": TrialState.FAILED, "error": self._explain(why)}
        if self._payload is None:
            self._payload = self._load()
        if isinstance(self._payload, TrialError):
            return {"state": TrialState.FAILED, "error": self._payload}
        assert self._payload is not None
        metric_name = start["metric"] or "metric"
        reporter = self._reporter = Reporter(
            self._control, start["trial_id"], start["attempt"], self._worker_id, metric_name, self._streams.flush
        )
        self._exports = TrialExports(
            self._control, folder, start["trial_id"], start["attempt"], self._worker_id, start["rank"]
        )
        try:
            with self._logging(self._payload, start, reporter):
                returned = self._call(self._payload, start, reporter, folder)
            result = normalise(
                returned,
                metric_name,
                folder.artifacts,
                workdir=self._workdir.path if self._workdir.is_in_place else "",
                keeps_files=start["rank"] == 0,
                keeps_models=not self._has_saved_model,
            )
            if self._distribution is not None:
                self._distribution.leave()
        except (TrialPruned, TrialStopped) as given_up:
            # Where it was helps the supervisor to explain a timeout.
            error = self._explain(given_up) if self._is_terminated else None
            return {"state": _STATE_OF[type(given_up)], "error": error}
        except BaseException as error:  # the user's code: KeyboardInterrupt and SystemExit are its failures too
            return {"state": TrialState.FAILED, "error": self._explain(error)}
        # A function may swallow the signal with a bare except and return all the same.
        state = TrialState.COMPLETE if reporter.raised is None else _STATE_OF[reporter.raised]
        return {
            "state": state,
            "metrics": result.metrics,
            "values": result.values,
            "warnings": tuple(result.warnings),
        }

    def _ablated(self, warnings: tuple[str, ...]) -> dict[str, Any]:
        """What the trial did without, as fields of `TrialEnded`; forgets it."""
        ablation, self._ablation = self._ablation, None
        if ablation is None:
            return {}
        try:
            return {"n_parameters": ablation.n_parameters, "changes": ablation.changes}
        except Exception as error:  # a model of the user's may raise anything when its weights are counted
            text = f"the model's parameters could not be counted: {type(error).__name__}: {error}"
            return {"changes": ablation.changes, "warnings": (*warnings, text)}
        finally:
            ablation.close()

    def _logging(self, payload: Payload, start: dict[str, Any], reporter: Reporter) -> AbstractContextManager[None]:
        if not start["autolog"] and start["log_weights"] is None:
            return nullcontext()
        self._record = Record(reporter, reports="reporter" not in payload.wants)
        return autolog.applied(
            self._record,
            payload.train_fn,
            logs_libraries=start["autolog"],
            log_weights=start["log_weights"] if start["rank"] == 0 else None,
        )

    def _logged(self, warnings: tuple[str, ...]) -> dict[str, Any]:
        """What libraries have told of themselves, as fields of `TrialEnded`; forgets it."""
        record, self._record = self._record, None
        return {} if record is None else {"params": record.params, "warnings": (*warnings, *record.warnings)}

    def _meet_others(self, start: dict[str, Any], settings: dict[str, Any]) -> Distribution:
        """Becomes one rank of a training, when all others are ready too.

        Raises:
            TrialStopped: the driver has given up on it.
        """
        from lagom_magic.worker.distribution import BATCH_SIZES, make_distribution
        from lagom_magic.worker.distribution.base import Place

        place = Place(start["rank"], start["world_size"], start["address"])
        sizes = {name: start["hparams"][name] for name in BATCH_SIZES if name in start["hparams"]}
        distribution = make_distribution(place, settings | sizes)
        address = distribution.prepare()
        about = {name: start[name] for name in ("trial_id", "attempt", "worker_id")}
        self._control.send({"type": "rank_ready", **about, "address": address})
        message = self._control.receive()
        if message is not None and message["type"] == "prune_trial":
            raise TrialPruned("pruned before all ranks were ready")
        if message is None or message["type"] != "meet":
            raise TrialStopped("stopped before all ranks were ready")
        distribution.join(message["addresses"])
        return distribution

    def _explain(self, error: BaseException) -> TrialError:
        explained = failure.from_exception(error, self._notebook_dir, self._host, self._notebook_python)
        if self._ablation is not None:
            return replace(explained, message=explained.message + self._ablation.explain(error))
        if self._distribution is None:
            return explained
        return replace(
            explained,
            message=explained.message + self._distribution.hint(error),
            is_consequence=self._distribution.is_consequence(error),
        )

    def _call_function(self, payload: Payload, *arguments: Any) -> Any:
        with forks_end_here(self._streams.flush):
            return payload.call(*arguments)

    def _call(self, payload: Payload, start: dict[str, Any], reporter: Reporter, folder: TrialFolder) -> Any:
        hparams: dict[str, Any] = start["hparams"]
        if payload.ablation is not None:
            from lagom_magic.worker.ablation.ablation import Ablation

            self._ablation = Ablation(payload.ablation, hparams, Path(folder.path, "data"))
            hparams = self._ablation.hparams(hparams)
        offered = {
            "hparams": lambda: dict(hparams),
            "reporter": lambda: reporter,
            "seed": lambda: start["seed"],
            "budget": lambda: start["budget"],
            "trial": lambda: TrialInfo(
                start["trial_id"],
                start["attempt"],
                self._worker_id,
                start["rank"],
                start["world_size"],
                self._notebook_dir,
                folder.files_of(start["rank"]),
            ),
        }
        self._is_in_call = True
        try:
            if self._ablation is not None:
                returned = self._call_function(payload, hparams, offered, payload.fixed | self._ablation.arguments())
                self._ablation.check_used()
                return returned
            if self._distribution is None:
                return self._call_function(payload, hparams, offered)
            checkpoints = Checkpoints(
                self._distribution, folder.checkpoint, start["checkpoint_path"], partial(self._tell_checkpoint, start)
            )
            reporter.checkpoints = checkpoints
            self._distribution.seed = start["seed"]
            with self._distribution.applied(payload.train_fn, payload.fixed) as fixed:
                returned = self._call_function(payload, hparams, offered, fixed)
                self._has_saved_model = self._distribution.save_model(folder.artifacts)
                return returned
        finally:
            self._is_in_call = False

    def _tell_checkpoint(self, start: dict[str, Any], name: str) -> None:
        about = {"trial_id": start["trial_id"], "attempt": start["attempt"]}
        self._control.send({"type": "checkpoint_saved", **about, "path": f"checkpoint/{name}"})

    def _tell_files_used(self, start: dict[str, Any]) -> None:
        used = self._opened.end()
        if used is not None and start["rank"] == 0 and os.getpid() == self._pid:
            self._control.send(to_record(FilesUsed(start["trial_id"], start["attempt"], self._worker_id, **used)))

    def _tidy_up(self) -> str:
        """Makes ready for the next trial; why this process cannot take it, or ''."""
        try:
            os.environ.pop(TRIAL_DIR_VARIABLE, None)
            self._streams.flush()
            self._enter_workdir()
            if not self._streams.restore():
                return "closed or redirected standard output"
            return self._workdir.leftover or leftovers()
        except Exception as error:  # whatever the trial broke here, its result is sent all the same
            self._streams.restore()
            return f"{type(error).__name__}: {error}"

    def _listen(self, _: ModuleType) -> None:
        """From now on tells the supervisor when a trial asks for its logdir; Python cannot take such a hook away."""
        sys.addaudithook(self._on_audit)

    def _on_audit(self, event: str, _: tuple[Any, ...]) -> None:
        if event == LOGDIR_EVENT and self._reporter is not None and os.getpid() == self._pid:
            self._control.send({"type": "logdir_used"})

    def _lend_exports(self, _: ModuleType) -> None:
        """From now on `model.export` finds what keeps a trial's models; only one process in many has a use for it."""
        sys.addaudithook(self._on_export)

    def _on_export(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == EXPORTS_EVENT and self._exports is not None:
            arguments[0].append(self._exports)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a child of the user's that inherited this handler
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._is_terminated = True
        if self._reporter is not None:
            self._reporter.stop()
        if self._is_in_call and not self._control.is_sending:
            raise TrialStopped("stopped while it ran")


_STATE_OF: dict[type[BaseException], TrialState] = {
    TrialPruned: TrialState.PRUNED,
    TrialStopped: TrialState.STOPPED,
}


def search_path(begin: dict[str, Any]) -> list[str]:
    """Where the user's own modules are found: those that were shipped, then those beside the notebook."""
    return [begin["user_code"], begin["workdir"]]


def _forbid_core_dumps() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def main() -> None:
    """What the supervisor execs."""
    control = Control(socket.socket(fileno=CONTROL_FD))
    begin = control.receive()
    if begin is None:
        return
    die_with_parent(begin["supervisor_pid"])
    TrialProcess(control, begin, is_fork=False).serve()
    sys.stdout.flush()
    os._exit(0)  # what atexit handlers and threads of the trials would do now was not asked for


if __name__ == "__main__":
    main()
