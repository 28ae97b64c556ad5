"""The shell around the machine: one asyncio loop in one named thread, run inside the notebook's kernel.

It owns every socket, timer and thread of a run, turns what happens into inputs of `DriverState`, and carries
out the commands that come back. All decisions are the machine's.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from lagom_magic.driver import inputs
from lagom_magic.driver.latch import Latch
from lagom_magic.driver.launcher import Launcher, Secret, Ticket
from lagom_magic.driver.past import Past, value_told
from lagom_magic.driver.plan import RunPlan
from lagom_magic.driver.roster import Member, Roster, read_hello
from lagom_magic.driver.state import DriverState
from lagom_magic.errors import StoreError
from lagom_magic.events import commands, facts
from lagom_magic.rpc.codec import MAX_CHUNK_BYTES, encode_messages
from lagom_magic.rpc.server import Connection, Server
from lagom_magic.rpc.tls import make_certificate
from lagom_magic.search.base import Answer, Pruner, Sampler, Suggestion
from lagom_magic.store.requests import BY_USER, Request, RequestPipe
from lagom_magic.store.store import RunStore

logger = logging.getLogger("lagom_magic.driver")

#: A worker that says nothing for so long is lost; its heartbeat is a fraction of it.
SILENCE_S = 30.0
HEARTBEAT_S = 5.0
#: How long the first worker may take to register.
START_TIMEOUT_S = 120.0
#: How long after the first the others may take before the shortage is noticed.
SHORTAGE_NOTICE_S = 10.0
#: Stop ladder (1 s) plus goodbye; the cell must be back within 2 s.
STOP_PATIENCE_S = 1.3
#: How long a worker that was told to leave may send nothing, files included.
DRAIN_PATIENCE_S = 20.0
_CLOSE_TIMEOUT_S = 0.6
_LAUNCHER_TIMEOUT_S = 5.0

#: What a training waits after, see `DriverState.n_gang_waits`.
_BEGIN_TO_WAIT = (facts.RunStarted, facts.TrialStarted, facts.TrialRequeued)
_WORKER_FACTS = (
    facts.MetricReported,
    facts.TrialEnded,
    facts.RankReady,
    facts.ModelExported,
    facts.FilesUsed,
    facts.Noticed,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, for whoever waited for it; `crash` is a bug of ours."""

    state: facts.RunState
    reason: str
    crash: BaseException | None = None


def _nothing() -> None:
    """The hook of nobody."""


class Driver:
    """Runs one run, once. Methods may be called from any thread."""

    def __init__(
        self,
        plan: RunPlan,
        settings: dict[str, Any],
        sampler: Sampler,
        pruner: Pruner,
        launcher: Launcher,
        store: RunStore,
        *,
        timeout_s: float | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
        past: Past | None = None,
    ) -> None:
        self._plan = plan
        self._settings = {**settings, "heartbeat_interval_s": HEARTBEAT_S}
        self._sampler = sampler
        self._launcher = launcher
        self._store = store
        self._timeout_s = timeout_s
        self._start_timeout_s = start_timeout_s
        #: Called on the driver's thread: when the journal has grown, and once when all is written.
        self.on_progress: Callable[[], None] = _nothing
        self.on_end: Callable[[], None] = _nothing
        self._state = DriverState(plan, pruner, past)
        self._roster = Roster()
        self._token = Secret(secrets.token_bytes(32))
        self._certificate, self._private_key = make_certificate()
        self._inbox: deque[facts.Fact | inputs.Input] = deque()
        #: Held until the first commands are carried out, so that no input overtakes them.
        self._is_handling = True
        self._patience: asyncio.TimerHandle | None = None
        self._asking = None if sampler.is_cheap else ThreadPoolExecutor(1, "lagom-sampler")
        self._port = 0
        self._paused: set[Connection] = set()
        self._finished = Latch()
        self.outcome: Outcome | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="lagom-driver", daemon=True)

    # any thread

    def start(self) -> None:
        """Begins the run and returns at once."""
        self._thread.start()

    def discard(self) -> None:
        """Gives back what a run takes that is not begun after all; does nothing for one that is."""
        if self._thread.ident is None:
            self._loop.close()

    @property
    def is_alive(self) -> bool:
        return not self._finished.wait(0)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits for the end of the run, interruptibly; False when `timeout_s` passed first."""
        return self._finished.wait(timeout_s)

    def stop(self, reason: str) -> None:
        """Asks the run to end: finished trials are kept, running ones become STOPPED."""
        self._from_thread(inputs.StopRequested(reason))

    def prune(self, trial_id: int) -> None:
        """Asks a running trial to end at its next broadcast."""
        self._from_thread(inputs.PruneRequested(trial_id))

    def retry(self, trial_id: int) -> None:
        """Asks for another attempt of a failed trial."""
        self._from_thread(inputs.RetryRequested(trial_id))

    def abandon(self) -> None:
        """Ends the run without waiting for its workers."""
        self._from_thread(inputs.StopRequested("abandoned"))
        self._from_thread(inputs.PatienceEnded())

    def notice(self, text: str) -> None:
        """Puts a line above the table."""
        self._from_thread(facts.Noticed(text))

    def _from_thread(self, event: facts.Fact | inputs.Input) -> None:
        try:
            self._loop.call_soon_threadsafe(self._post, event)
        except RuntimeError:  # the loop is closed: the run has ended already
            logger.debug("%r came after the end", event)

    # the driver's thread

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._new_loop) as runner:
                runner.run(self._main())
        except Exception as error:  # the thread's outer edge: shown to whoever waits
            logger.exception("the driver crashed")
            self.outcome = Outcome(facts.RunState.FAILED, f"{type(error).__name__}: {error}", error)
        finally:
            try:
                self.on_end()
            finally:
                self._finished.open()

    def _new_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    async def _main(self) -> None:
        loop = self._loop
        self._ended: asyncio.Future[Outcome] = loop.create_future()
        loop.set_exception_handler(self._on_callback_error)
        self._store.on_uncongested = self._on_uncongested
        server = Server(self, self._token, self._certificate, self._private_key)
        self._port = server.listen(self._launcher.address[0])
        timers = [loop.call_later(self._start_timeout_s, self._on_start_timeout)]
        if self._timeout_s is not None:
            timers.append(loop.call_later(self._timeout_s, self._post, inputs.TimeIsUp(self._timeout_s)))
        silence = loop.create_task(self._watch_silence(), name="lagom-silence")
        requests = self._store.requests
        if requests is not None:
            loop.add_reader(requests, self._on_requests, requests)
        try:
            self._execute(self._state.start())
            self._is_handling = False
            self._work_off()
            outcome = await self._ended
        finally:
            if requests is not None:
                loop.remove_reader(requests)
                requests.close()
            silence.cancel()
            for timer in timers:
                timer.cancel()
            if self._patience is not None:
                self._patience.cancel()
            for member in self._roster.parked():
                member.connection.send({"type": "shut_down"})
            await server.close()
            await asyncio.to_thread(self._close)
        self.outcome = outcome

    def _close(self) -> None:
        # On a thread of its own: a call to a JVM that is stuck never returns, and must not keep the run from its end.
        closing = threading.Thread(
            target=self._launcher.close, args=(_CLOSE_TIMEOUT_S,), name="lagom-close", daemon=True
        )
        closing.start()
        closing.join(_LAUNCHER_TIMEOUT_S)
        if closing.is_alive():
            logger.warning(
                "the cluster did not answer within %g s; its workers have been told to end", _LAUNCHER_TIMEOUT_S
            )
        if self._asking is not None:
            self._asking.shutdown(wait=False, cancel_futures=True)
        self._store.close()

    def _on_callback_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        is_connections = "transport" in context or "protocol" in context
        if isinstance(error, OSError) and is_connections:  # told by connection_lost
            logger.info("%s: %s", context.get("message"), error)
        elif not self._ended.done():
            self._ended.set_exception(error or RuntimeError(context.get("message", "unknown")))

    # inputs

    def _post(self, event: facts.Fact | inputs.Input) -> None:
        self._inbox.append(event)
        self._work_off()

    def _work_off(self) -> None:
        if self._is_handling:  # called from within a command: the loop below goes on
            return
        self._is_handling = True
        try:
            while self._inbox:
                self._execute(self._state.handle(self._inbox.popleft()))
        finally:
            self._is_handling = False
        self._store.flush()
        self.on_progress()

    def _on_requests(self, requests: RequestPipe) -> None:
        """What other processes of the user ask for."""
        for request in requests.read():
            match request:
                case Request("prune", int(trial_id)):
                    self._inbox.append(inputs.PruneRequested(trial_id))
                case Request("retry", int(trial_id)):
                    self._inbox.append(inputs.RetryRequested(trial_id))
                case _:
                    self._inbox.append(inputs.StopRequested(BY_USER))
        self._work_off()

    # rpc.ServerHandler

    def on_messages(self, connection: Connection, messages: list[dict[str, Any]]) -> None:
        """What a worker says."""
        try:
            for message in messages:
                self._on_message(connection, message)
        except ValueError as error:
            connection.abort(f"malformed message: {error}")
        self._work_off()

    def _on_message(self, connection: Connection, message: dict[str, Any]) -> None:
        kind = message.get("type")
        member: Member | None = connection.worker
        if kind == "hello":
            self._on_hello(connection, message)
        elif member is None:
            raise ValueError(f"{kind!r} before hello")
        elif kind == "goodbye":
            member.has_left = True
        elif kind == "fetch":
            self._send_piece(member, message)
        else:
            member.last_seen_s = self._loop.time()
            if kind != "heartbeat" and self._roster.is_live(member):
                fact = facts.from_record({**message, "worker_id": member.registered.worker_id})
                if not isinstance(fact, _WORKER_FACTS):
                    raise ValueError(f"a worker cannot state {kind!r}")
                self._inbox.append(fact)

    def _on_hello(self, connection: Connection, message: dict[str, Any]) -> None:
        registered = read_hello(message)
        slot = self._state.slots.get(registered.worker_id)
        if slot is None or connection.worker is not None or registered.incarnation < slot.incarnation:
            connection.abort("not a worker that was started")
            return
        if registered.python.split(".")[:2] != [str(part) for part in sys.version_info[:2]]:
            reason = (
                f"worker {registered.worker_id} on {registered.host} runs Python {registered.python}, this notebook "
                f"{sys.version.split()[0]}; both need the same minor version. Point PYSPARK_PYTHON (or "
                "spark.pyspark.python) at a matching Python."
            )
            connection.send({"type": "refused", "reason": reason})
            self._inbox.append(inputs.ClusterUnfit(reason))
            return
        member = Member(connection, registered, self._loop.time())
        connection.worker = member
        if self._roster.add(member):
            self._welcome(member)
        else:
            connection.send({"type": "park"})

    def _welcome(self, member: Member) -> None:
        member.connection.send({"type": "welcome", "settings": self._settings})
        if self._state.state is facts.RunState.STARTING:
            self._loop.call_later(SHORTAGE_NOTICE_S, self._on_shortage)
        self._inbox.append(member.registered)

    def _send_piece(self, member: Member, message: dict[str, Any]) -> None:
        """Answers a worker that fetches the checkpoint of the trial that it runs."""
        trial = self._state.trials.get(message["trial_id"]) if isinstance(message.get("trial_id"), int) else None
        checkpoint = None if trial is None else trial.checkpoint
        offset = message.get("offset")
        wanted = tuple(message.get(name) for name in ("trial_id", "attempt", "path"))
        if checkpoint is None or wanted != (checkpoint.trial_id, checkpoint.attempt, checkpoint.path):
            raise ValueError(f"it fetches {wanted!r}, which is no checkpoint of its trial")
        if type(offset) is not int or offset < 0:
            raise ValueError(f"it fetches from byte {offset!r}")
        header: dict[str, Any] = {"type": "piece", "offset": offset}
        try:
            data = self._store.read_piece(checkpoint, offset, MAX_CHUNK_BYTES)
        except OSError as error:
            header["error"], data = str(error.strerror or error), b""
        member.connection.send_blob(header, data)

    def on_blob(self, connection: Connection, header: dict[str, Any], data: bytes) -> None:
        """Captured output, or a piece of a file."""
        member: Member | None = connection.worker
        if member is None or not self._roster.is_live(member):
            return
        member.last_seen_s = self._loop.time()
        worker_id = member.registered.worker_id
        try:
            if header.get("type") == "output":
                self._store.write_output(
                    worker_id,
                    header.get("trial_id"),
                    header.get("attempt", 1),
                    data,
                    header.get("console", True),
                    self._state.slots[worker_id].rank,
                )
            elif header.get("type") == "file":
                self._on_chunk(member, header, data)
            else:
                raise ValueError(f"unknown blob {header.get('type')!r}")
        except (ValueError, TypeError) as error:
            connection.abort(f"malformed blob: {error}")
            return
        if self._store.is_congested:
            connection.pause_reading()
            self._paused.add(connection)
        self._renew_patience()
        self._work_off()

    def _on_chunk(self, member: Member, header: dict[str, Any], data: bytes) -> None:
        try:
            stored = self._store.write_chunk(member.registered.worker_id, header, data)
            if stored is not None:
                self._inbox.append(stored)
        except StoreError as error:
            text = f"a file of trial {header.get('trial_id')} could not be kept: {error}"
            self._inbox.append(facts.Noticed(text))
        member.connection.send({"type": "chunk_stored"})

    def on_closed(self, connection: Connection, reason: str) -> None:
        """A worker's connection is gone."""
        self._paused.discard(connection)
        member: Member | None = connection.worker
        if member is None:
            return
        was_live = self._roster.is_live(member)
        successor = self._roster.remove(member)
        if was_live:
            who = member.registered
            self._inbox.append(
                inputs.WorkerLeft(who.worker_id)
                if member.has_left
                else facts.WorkerLost(who.worker_id, who.incarnation, reason)
            )
        if successor is not None:
            self._welcome(successor)
        self._work_off()

    def _on_uncongested(self) -> None:
        """Called on the store's thread."""
        try:
            self._loop.call_soon_threadsafe(self._resume)
        except RuntimeError:  # the loop is closed: nobody reads any more
            logger.debug("the store caught up after the end")

    def _resume(self) -> None:
        for connection in self._paused:
            connection.resume_reading()
        self._paused.clear()

    # timers

    def _on_start_timeout(self) -> None:
        if self._state.state is facts.RunState.STARTING and not self._plan.has_gangs:
            what = f"no worker came within {self._start_timeout_s:g} s."
            self._with_shortage(lambda shortage: inputs.ClusterUnfit(f"{what} {shortage}".strip()))

    def _await_gang(self) -> None:
        """Starts the clock of a training that cannot go on before its workers are there, or its ranks ready."""
        self._loop.call_later(self._start_timeout_s, self._on_gang_timeout, self._state.n_gang_waits)

    def _on_gang_timeout(self, n_waits: int) -> None:
        if not self._ended.done() and self._state.is_gang_incomplete(n_waits):
            self._with_shortage(lambda shortage: inputs.GangIncomplete(self._start_timeout_s, shortage, n_waits))

    def _on_shortage(self) -> None:
        n_here = sum(1 for _ in self._roster)
        if 0 < n_here < self._plan.n_workers and not self._ended.done():
            so_far = "waiting with" if self._plan.has_gangs else "running on"
            what = f"{so_far} {n_here} of {self._plan.n_workers} workers."
            self._with_shortage(lambda shortage: inputs.SlotsShort(f"{what} {shortage}".strip()))

    def _with_shortage(self, tell: Callable[[str], inputs.Input]) -> None:
        """Posts what `tell` makes of the cluster's numbers; they are asked for in a thread, for they may not come."""

        def ask() -> None:
            try:
                shortage = self._launcher.describe_shortage()
            except Exception:  # the thread's outer edge: the message goes without its numbers
                logger.exception("the cluster does not say what it has")
                shortage = ""
            self._from_thread(tell(shortage))

        threading.Thread(target=ask, name="lagom-shortage", daemon=True).start()

    async def _watch_silence(self) -> None:
        while True:
            await asyncio.sleep(SILENCE_S / 3)
            now = self._loop.time()
            for member in self._roster:
                if now - member.last_seen_s > SILENCE_S and member.connection not in self._paused:
                    member.connection.abort(f"silent for {now - member.last_seen_s:.0f} s")

    def _renew_patience(self, *, begin: bool = False) -> None:
        """(Re)starts the clock of workers that were told to stop or leave."""
        if self._state.ending_state is None:  # one rank was stopped for another's sake, and the run goes on
            return
        is_stop = self._state.ending_state is facts.RunState.STOPPED
        if self._patience is not None:
            if is_stop or begin:  # a stop's time is not extended
                return
            self._patience.cancel()
        elif not begin:
            return
        delay_s = STOP_PATIENCE_S if is_stop else DRAIN_PATIENCE_S
        self._patience = self._loop.call_later(delay_s, self._post, inputs.PatienceEnded())

    # commands

    def _execute(self, orders: list[commands.Command]) -> None:
        for order in orders:
            match order:
                case commands.Record(fact=fact):
                    self._store.record(fact, time.time())
                    if isinstance(fact, _BEGIN_TO_WAIT) and self._plan.has_gangs:
                        self._await_gang()
                case commands.StartTrial() | commands.Meet() | commands.PruneTrial():
                    self._send(order)
                case commands.StopTrial() | commands.ShutDownWorker():
                    self._send(order)
                    self._renew_patience(begin=True)
                case commands.Ask(trial_id=trial_id):
                    self._ask(trial_id)
                case commands.Tell():
                    self._tell(order)
                case commands.StartWorker():
                    self._start_worker(order)
                case commands.EndRun(state=state, reason=reason):
                    if not self._ended.done():
                        self._ended.set_result(Outcome(state, reason))

    def _send(self, order: commands.WorkerCommand) -> None:
        member = self._roster.get(order.worker_id)
        if member is not None:
            member.connection.send(commands.to_message(order))

    def _start_worker(self, order: commands.StartWorker) -> None:
        ticket = Ticket(
            self._launcher.address[1],
            self._port,
            self._certificate,
            self._token,
            self._plan.run_id,
            order.worker_id,
            order.incarnation,
        )
        self._launcher.start(ticket, self._on_worker_exit)

    def _on_worker_exit(self, worker_id: int, incarnation: int, reason: str) -> None:
        self._from_thread(inputs.WorkerExited(worker_id, incarnation, reason))

    # the sampler, in its own thread unless asking is cheap

    def _ask(self, trial_id: int) -> None:
        if self._asking is None:
            self._inbox.append(self._answer(trial_id))
        else:
            self._asking.submit(lambda: self._from_thread(self._answer(trial_id)))

    def _tell(self, order: commands.Tell) -> None:
        ended = order.ended
        value = value_told(ended)
        tell = self._sampler.tell_again if order.is_again else self._sampler.tell
        if self._asking is None:
            self._tell_now(tell, ended.trial_id, ended.state, value)
        else:
            self._asking.submit(self._tell_now, tell, ended.trial_id, ended.state, value)

    def _answer(self, trial_id: int) -> inputs.Input:
        begin = time.perf_counter()
        try:
            answer = self._sampler.ask(trial_id)
            if isinstance(answer, Suggestion):
                encode_messages([answer.hparams])
            elif not isinstance(answer, Answer):
                raise TypeError(f"ask returned {answer!r}; allowed: a Suggestion, WAIT or EXHAUSTED")
        except Exception as error:  # user-given samplers may raise anything: the run ends with their message
            logger.exception("the sampler failed")
            return inputs.SamplerFailed(f"{type(error).__name__}: {error}")
        if isinstance(answer, Answer):
            return inputs.NotSuggested(trial_id, answer)
        return inputs.Suggested(trial_id, answer, time.perf_counter() - begin)

    def _tell_now(
        self,
        tell: Callable[[int, facts.TrialState, float | None], None],
        trial_id: int,
        state: facts.TrialState,
        value: float | None,
    ) -> None:
        try:
            tell(trial_id, state, value)
        except Exception as error:  # as above
            logger.exception("the sampler failed")
            self._from_thread(inputs.SamplerFailed(f"{type(error).__name__}: {error}"))
