"""The supervisor's event loop: carries out the driver's commands on one trial process, and tells what happens.

Started by `supervisor.py`, which has spawned the first trial process already.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import signal
import socket
import sys
from collections.abc import Mapping

from lagom_magic.events.facts import Noticed, TrialEnded, TrialError, TrialState, to_record
from lagom_magic.rpc.client import Channel, dial
from lagom_magic.worker import failure
from lagom_magic.worker.capture import OutputPump
from lagom_magic.worker.child import Child, Message
from lagom_magic.worker.fetching import Fetch
from lagom_magic.worker.nursery import Nursery
from lagom_magic.worker.processes import Orphans
from lagom_magic.worker.running import RunningTrial
from lagom_magic.worker.supervisor import Launch
from lagom_magic.worker.trial_folder import TrialFolder
from lagom_magic.worker.upload import Uploader

PROTOCOL = 1
_DIAL_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 10.0


def supervise(
    launch: Launch, environment: Mapping[str, str], pipe: tuple[int, int], first: tuple[int, socket.socket]
) -> str:
    """Serves the driver until the end.

    Args:
        launch: from the bootstrap.
        environment: of trial processes.
        pipe: (read, write) end of their output.
        first: pid and control socket of the one that was spawned already.

    Returns:
        '' after a clean end, else what went wrong.
    """
    return asyncio.run(_serve(launch, environment, pipe, first))


async def _serve(
    launch: Launch, environment: Mapping[str, str], pipe: tuple[int, int], first: tuple[int, socket.socket]
) -> str:
    supervisor = Supervisor(launch, environment, pipe, first)
    try:
        return await supervisor.run()
    finally:
        await supervisor.close()


class Supervisor:
    """At most one trial runs here at a time. All methods are called in its event loop."""

    def __init__(
        self, launch: Launch, environment: Mapping[str, str], pipe: tuple[int, int], first: tuple[int, socket.socket]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._launch = launch
        self._worker_id: int = launch.ticket["worker_id"]
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._channel: Channel | None = None
        self._pump: OutputPump | None = None
        self._uploader: Uploader | None = None
        self._pipe_fd = pipe[0]
        self._settings: Message = {}
        self._orphans = Orphans()
        self._workdir = launch.workdir
        self._leaving: asyncio.Task[None] | None = None
        self._heartbeat: asyncio.TimerHandle | None = None
        #: The process for the next trial, if the last one left it fit.
        self._child: Child | None = None
        self._running: RunningTrial | None = None
        self._fetch: Fetch | None = None
        self._nursery = Nursery(
            self._loop, environment, pipe[1], launch.begin(), self._on_child_message, self._on_child_exit, self._notice
        )
        self._nursery.adopt(*first)

    async def run(self) -> str:
        """Dials the driver and serves it; '' after a clean end, else what went wrong."""
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)
        self._loop.add_signal_handler(signal.SIGTERM, self._end, "it was told to end by SIGTERM")
        self._loop.add_reader(sys.stdin.fileno(), self._on_stdin)
        dialling = self._loop.create_task(self._dial(), name="lagom-dial")
        dialling.add_done_callback(self._on_dialled)
        try:
            return await self._ended
        finally:
            dialling.cancel()
            await asyncio.gather(dialling, return_exceptions=True)

    async def _dial(self) -> None:
        ticket = self._launch.ticket
        self._channel = channel = await dial(
            ticket["host"],
            ticket["port"],
            ticket["certificate"],
            bytes.fromhex(ticket["token_hex"]),
            self,
            _DIAL_TIMEOUT_S,
        )
        channel.send(
            {
                "type": "hello",
                "protocol": PROTOCOL,
                "worker_id": self._worker_id,
                "incarnation": ticket["incarnation"],
                "spark_attempt": self._launch.spark_attempt,
                "host": os.uname().nodename,
                "pid": os.getpid(),
                "gpus": self._launch.gpus or [],
                "python": platform.python_version(),
            }
        )

    def _on_dialled(self, dialling: asyncio.Task[None]) -> None:
        if dialling.cancelled() or (error := dialling.exception()) is None:
            return
        ticket = self._launch.ticket
        self._end(
            f"the driver at {ticket['host']}:{ticket['port']} cannot be reached from {os.uname().nodename}: "
            f"{type(error).__name__}: {error}"
        )

    async def close(self) -> None:
        """Lets go of everything but the processes, which `supervisor.main` kills."""
        if self._pump is not None:
            self._pump.close()
        if self._uploader is not None:
            self._uploader.close()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        if self._leaving is not None:
            self._leaving.cancel()
        if self._running is not None:
            self._running.end()
        if self._fetch is not None:
            self._fetch.close()
        self._loop.remove_reader(sys.stdin.fileno())
        self._nursery.close()
        self._orphans.close()
        if self._channel is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                    await self._channel.close()

    def _end(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)

    def _on_stdin(self) -> None:
        if not os.read(sys.stdin.fileno(), 1 << 10):
            self._end("the Spark task is gone")

    # from the driver

    def on_closed(self, reason: str) -> None:
        self._end(f"lost the driver: {reason}")

    def on_message(self, message: Message) -> None:
        match message["type"]:
            case "start_trial":
                self._start(message)
            case "meet" | "prune_trial":
                if (running := self._running_trial(message)) is not None:
                    running.child.send(message)
            case "stop_trial":
                if (running := self._running_trial(message)) is not None:
                    running.stop(message)
            case "chunk_stored":
                if self._uploader is not None:
                    self._uploader.send_next()
            case "welcome":
                self._begin(message["settings"])
            case "park":
                self._nursery.close()  # a copy of a live worker holds no memory for its trials
            case "refused":
                self._end(f"the driver refused this worker: {message['reason']}")
            case "shut_down":
                self._leaving = self._loop.create_task(self._leave(), name="lagom-leave")

    def on_blob(self, header: Message, data: bytes) -> None:
        if header["type"] == "piece" and self._fetch is not None:
            self._fetch.take(header, data)

    def _begin(self, settings: Message) -> None:
        assert self._channel is not None
        self._settings = settings
        self._pump = OutputPump(self._loop, self._pipe_fd, self._channel)
        self._pump.start()
        self._uploader = Uploader(self._loop, self._channel.send_blob, self._notice)
        if settings["isolate"]:
            self._nursery.isolate(settings["preload_modules"])
        self._beat()

    def _beat(self) -> None:
        self._send({"type": "heartbeat"})
        self._heartbeat = self._loop.call_later(self._settings["heartbeat_interval_s"], self._beat)

    async def _leave(self) -> None:
        if self._running is not None:  # the driver has given it up
            running, self._running = self._running, None
            running.end()
            self._nursery.retire(running.child)
        if self._uploader is not None:
            self._uploader.close()
            await self._uploader.finished()
        if self._pump is not None:
            self._pump.drain()
        self._send({"type": "goodbye"})
        self._end("")

    # trials

    def _running_trial(self, message: Message) -> RunningTrial | None:
        """The running trial, if it is the one that a command means."""
        running = self._running
        if running is None or (running.trial_id, running.attempt) != (message["trial_id"], message["attempt"]):
            return None
        return running

    def _start(self, message: Message) -> None:
        assert self._running is None, "the driver started a trial on a busy worker"
        assert self._pump is not None, "the driver started a trial before its welcome"
        self._orphans.kill(self._nursery.pids)
        child, self._child = self._child or self._nursery.take(), None
        self._pump.drain()
        self._pump.trial = (message["trial_id"], message["attempt"])
        self._running = RunningTrial(
            message["trial_id"],
            message["attempt"],
            child,
            self._loop,
            tuple(self._settings["stop_grace_s"]),
            self._loop.time(),
            self._settings["trial_timeout_s"],
            message["rank"],
        )
        self._running.watch()
        own = {"metric": self._settings["metric"], "is_last": self._is_for_one_trial, "address": self._own_address()}
        own |= {"autolog": self._settings["autolog"], "log_weights": self._settings["log_weights"]}
        if message["checkpoint"] is None:
            child.send({**message, **own, "checkpoint_path": None})
        else:
            self._fetch_checkpoint(self._running, {**message, **own})
        if self._nursery.can_fork:
            self._nursery.prepare()

    def _fetch_checkpoint(self, running: RunningTrial, message: Message) -> None:
        """Starts the trial when the checkpoint that it goes on from is here."""
        path = f"{self._launch.scratch}/restored/{message['checkpoint']['sha256']}"

        def on_end(trouble: str) -> None:
            self._fetch = None
            if running is not self._running:
                return
            if trouble:
                self._nursery.retire(running.child)
                error = TrialError("CHECKPOINT", f"The checkpoint to go on from did not come: {trouble}.")
                self._finish(running, to_record(running.dead(self._worker_id, error, [])))
            else:
                running.child.send({**message, "checkpoint_path": path})

        self._fetch = Fetch(message["checkpoint"], path, self._send, on_end)
        self._fetch.start()

    @property
    def _is_for_one_trial(self) -> bool:
        """Whether a process that has run a trial must not run another."""
        return self._nursery.is_isolating or self._launch.distribution is not None

    def _own_address(self) -> str:
        """This machine's, as the driver is reached from it: the other workers can reach it there."""
        assert self._channel is not None
        return self._channel.own_address

    def _on_child_message(self, child: Child, message: Message, is_followed: bool) -> None:
        running = self._running
        if running is None or running.child is not child or self._pump is None:
            return
        match message["type"]:
            case "metric_reported":
                self._send(message, at_once=self._settings["reports_at_once"] and not is_followed)
            case "rank_ready" | "model_exported" | "files_used":
                self._send(message)
            case "checkpoint_saved":
                if self._uploader is not None:
                    folder = self._folder_of(running)
                    self._uploader.add_early(running.trial_id, running.attempt, folder, message["path"])
            case "logdir_used":
                if self._uploader is not None and not self._uploader.is_following and running.rank == 0:
                    self._uploader.follow(running.trial_id, running.attempt, self._folder_of(running))
            case "log":
                self._pump.drain()
                self._pump.send(message["text"].encode("utf-8", "backslashreplace"), console=False)
            case "trial_ended":
                unfit = message.pop("unfit")
                self._finish(running, running.judged(message))
                if unfit or self._is_for_one_trial:
                    self._nursery.retire(child)
                    if self._launch.distribution is None:
                        self._nursery.prepare()
                else:
                    self._child = child

    def _on_child_exit(self, child: Child, status: int) -> None:
        if child is self._child:
            self._child = None
        running = self._running
        if running is None or running.child is not child:
            return
        try:
            files, warning = self._folder_of(running).gather(self._workdir, running.rank)
        except OSError as error:
            files, warning = [], f"its files were lost: {error}"
        if warning:
            self._notice(f"Trial {running.trial_id}: {warning}")
        ended = running.dead(self._worker_id, failure.from_exit(status), files)
        self._finish(running, running.judged(to_record(ended)))
        if ended.state is not TrialState.STOPPED and self._launch.distribution is None:
            self._nursery.prepare()

    def _finish(self, running: RunningTrial, record: Message) -> None:
        """The end of a trial, whichever way: its last output, the fact, then its files."""
        assert self._pump is not None
        assert self._uploader is not None
        self._running = None
        running.end()
        self._pump.drain()
        if record["error"] and record["error"]["traceback"]:
            self._pump.send(record["error"]["traceback"].encode("utf-8", "backslashreplace"), console=False)
        self._pump.trial = None
        try:
            self._send(record)
        except ValueError as error:  # nobody may wait for an end that cannot be told
            record = self._untold(running, record["duration_s"], error)
            self._send(record)
        if record["files"] or self._uploader.is_following:
            self._uploader.add(running.trial_id, running.attempt, self._folder_of(running), list(record["files"]))
        self._orphans.kill(self._nursery.pids)

    def _folder_of(self, running: RunningTrial) -> TrialFolder:
        return TrialFolder.of(self._launch.scratch, running.trial_id, running.attempt)

    def _untold(self, running: RunningTrial, duration_s: float, why: ValueError) -> Message:
        """The end of a trial whose own record does not fit into a message."""
        return to_record(
            TrialEnded(
                running.trial_id,
                running.attempt,
                self._worker_id,
                TrialState.FAILED,
                duration_s=duration_s,
                error=TrialError(
                    "RESULT",
                    f"The result could not be sent to the driver: {why}. Return less: shorter names, fewer values; "
                    "write what is large to a file and return its path.",
                ),
            )
        )

    # processes

    def _reap(self) -> None:
        """Children have ended: trial processes, the template, or orphans of trials."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            self._nursery.reaped(pid, status)
        if self._running is None:  # an orphan's own children are ours now; a running trial may need its own
            self._orphans.kill(self._nursery.pids)

    def _notice(self, text: str) -> None:
        self._send(to_record(Noticed(text=f"Worker {self._worker_id}: {text}")))

    def _send(self, message: Message, *, at_once: bool = True) -> None:
        if self._channel is not None:
            self._channel.send(message, at_once=at_once)
