"""The machine that decides what every worker does next; run by the driver's shell, and by tests without one.

No socket, thread, file or clock is inside: facts and inputs go in, commands come out, and the same sequence
gives the same commands. The pruner is part of it, being a pure function of the reports; the sampler is not,
because asking it may take seconds.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field, replace

from lagom_magic.driver import inputs
from lagom_magic.driver.gang import Gang, Seat
from lagom_magic.driver.judge import countable, doubt_of_direction, judge, reported_value, steering_value
from lagom_magic.driver.past import RESUMED, RETRIED_BY_USER, Past
from lagom_magic.driver.plan import RunPlan
from lagom_magic.events import commands, facts
from lagom_magic.events.commands import Command
from lagom_magic.events.facts import HParams, Metrics, RunState, TrialEnded, TrialError, TrialState
from lagom_magic.search.base import EXHAUSTED, Pruner

#: How often a slot's worker is started again.
MAX_RESTARTS = 3
#: Ask ahead when asking costs more than this share of a trial.
_ASK_AHEAD_SHARE = 0.01


@dataclass(slots=True)
class _Trial:
    hparams: HParams
    budget: int | None
    #: Which of the run's seeds it has.
    seed_id: int
    attempt: int = 1
    state: TrialState = TrialState.WAITING
    worker_id: int = 0
    n_losses: int = 0
    n_failures: int = 0
    #: It was told to end at its next broadcast, by the pruner or by a person.
    is_pruned: bool = False
    #: The sampler was told how it ended; after a retry it is told again.
    is_told: bool = False
    #: The newest that it has kept.
    checkpoint: facts.FileStored | None = None
    #: Of its attempt that runs on several workers; `worker_id` then holds rank 0.
    gang: Gang | None = None
    #: The metrics that it broadcast last; of those that a library has logged, each one's last value.
    last_report: Metrics = field(default_factory=dict)
    is_report_automatic: bool = False

    @property
    def countable(self) -> Metrics:
        """Those numbers of its last report that may count."""
        return countable(self.last_report, is_automatic=self.is_report_automatic)

    def take_report(self, report: facts.MetricReported) -> None:
        self.is_report_automatic = report.is_automatic
        self.last_report = {**self.last_report, **report.metrics} if report.is_automatic else report.metrics


@dataclass(slots=True)
class _Slot:
    incarnation: int = 1
    host: str = ""
    is_registered: bool = False
    is_gone: bool = False
    n_restarts: int = 0
    trial_id: int | None = None
    #: Of its trial, the last one too; None = one that it runs alone.
    rank: int | None = None


class DriverState:
    """Decides what every worker does next. Change it only through `start` and `handle`."""

    def __init__(self, plan: RunPlan, pruner: Pruner, past: Past | None = None) -> None:
        """Begin a run, or go on with one.

        Args:
            plan: what to do.
            pruner: who gives up on trials; of a run that is resumed, told what it was told then.
            past: what the run has behind it; None = nothing.
        """
        self._plan = plan
        self._pruner = pruner
        #: Every trial that was suggested; ids are dense from 0.
        self.trials: dict[int, _Trial] = {}
        #: Trials in state WAITING, in the order in which they will start.
        self._waiting: deque[int] = deque()
        #: {worker_id: slot}; a slot's `trial_id` is its RUNNING trial.
        self.slots = {worker_id: _Slot() for worker_id in range(1, plan.n_workers + 1)}
        self._is_asking = False
        self._is_exhausted = False
        #: The sampler said WAIT: ask again after the next end.
        self._sampler_waits = False
        self._metric_was_seen = False
        #: The metric that counts, as soon as it is known.
        self._metric_name = plan.metric
        #: (trial, attempt, path) of the files that ended trials have announced and that have not arrived.
        self._files_due: set[tuple[int, int, str]] = set()
        #: How often a trial has come to its end, a retried one each time; and that number when last asked.
        self._n_ends = self._n_ends_at_ask = 0
        #: {trial_id: why, in one line} of the trials in state FAILED, in the order of their ends.
        self._failures: dict[int, str] = {}
        #: How many of `trials` are in a final state.
        self._n_final = 0
        self._n_complete = 0
        self._ask_cost_s = 0.0
        self._mean_duration_s: float | None = None
        #: Set once the run goes towards its end: its final state and why.
        self._ending: tuple[RunState, str] | None = None
        self._is_draining = False
        #: How often a training began to wait: for workers, at the start and when it is requeued; and for its ranks.
        self.n_gang_waits = 1
        self.state = RunState.STARTING
        if past is not None:
            self._take_up(past)

    def _take_up(self, past: Past) -> None:
        self._metric_name, self._metric_was_seen = past.metric_name, past.metric_was_seen
        for trial_id, before in past.trials.items():
            hparams = {**self._plan.fixed_hparams, **before.suggestion.hparams}
            seed_id = trial_id if before.suggestion.seed_id is None else before.suggestion.seed_id
            trial = self.trials[trial_id] = _Trial(hparams, before.suggestion.budget, seed_id, before.attempt)
            trial.n_failures, trial.n_losses, trial.is_told = before.n_failures, before.n_losses, before.is_told
            if before.ended is None:
                trial.attempt += 1
                self._waiting.append(trial_id)
                continue
            trial.state = before.ended.state
            self._n_final += 1
            self._n_complete += trial.state is TrialState.COMPLETE
            if trial.state is TrialState.FAILED:
                self._failures[trial_id] = _why(before.ended)

    @property
    def reason(self) -> str:
        """Why the run ended, or is about to; '' for a plain end."""
        return self._ending[1] if self._ending else ""

    def is_gang_incomplete(self, n_waits: int) -> bool:
        """Whether a training still waits for what it waited for when `n_gang_waits` was `n_waits`."""
        if not self._plan.has_gangs or self._ending or n_waits != self.n_gang_waits:
            return False
        gang = self._running_gang()
        return self._n_registered() < self._plan.world_size if gang is None else not gang.is_met

    def _running_gang(self) -> Gang | None:
        return next((t.gang for t in self.trials.values() if t.state is TrialState.RUNNING), None)

    def _n_registered(self) -> int:
        return sum(slot.is_registered for slot in self.slots.values())

    @property
    def ending_state(self) -> RunState | None:
        """The state towards which the run goes; None while it goes on."""
        return self._ending[0] if self._ending else None

    def start(self) -> list[Command]:
        """The first commands of the run."""
        plan = self._plan
        started = facts.RunStarted(
            plan.run_id,
            plan.experiment,
            plan.kind,
            plan.n_trials,
            plan.n_workers,
            plan.metric,
            plan.direction,
            plan.sampler,
            plan.pruner,
            plan.seed,
            plan.hparam_names,
        )
        again = [
            commands.Record(facts.TrialRequeued(trial_id, self.trials[trial_id].attempt, RESUMED))
            for trial_id in self._waiting
        ]
        # Nothing may be left to do: its driver was killed after the last trial.
        workers = [] if self._is_done() else [commands.StartWorker(worker_id, 1) for worker_id in self.slots]
        return [commands.Record(started), *again, *workers, *self._next()]

    def handle(self, event: facts.Fact | inputs.Input) -> list[Command]:
        """The commands that follow from one more event; [] after the end of the run."""
        if self.state.is_final:
            return []
        return [*self._react(event), *self._next()]

    def _react(self, event: facts.Fact | inputs.Input) -> list[Command]:
        match event:
            case facts.MetricReported():
                return self._on_report(event)
            case facts.TrialEnded():
                return self._on_trial_ended(event)
            case facts.RankReady():
                return self._on_rank_ready(event)
            case facts.FileStored():
                self._files_due.discard((event.trial_id, event.attempt, event.path))
                trial = self.trials.get(event.trial_id)
                if trial is not None and event.path.startswith(facts.CHECKPOINTS) and event.attempt == trial.attempt:
                    trial.checkpoint = event
                return [commands.Record(event)]
            case facts.ModelExported() | facts.FilesUsed():
                is_running = self._running(event.trial_id, event.attempt, event.worker_id) is not None
                return [commands.Record(event)] if is_running else []
            case facts.Noticed():
                return [commands.Record(event)]
            case inputs.Suggested():
                return self._on_suggested(event)
            case inputs.NotSuggested(answer=answer):
                self._is_asking = False
                self._is_exhausted = self._is_exhausted or answer is EXHAUSTED
                # What ended while it was asked may be what it waits for: then it is asked again.
                self._sampler_waits = answer is not EXHAUSTED and self._n_ends == self._n_ends_at_ask
                return []
            case inputs.SamplerFailed(message=message):
                self._is_asking = False
                return self._begin_end(RunState.FAILED, f"the sampler failed: {message}")
            case facts.WorkerRegistered():
                return self._on_registered(event)
            case facts.WorkerLost():
                return self._on_lost(event)
            case inputs.WorkerLeft(worker_id=worker_id):
                self.slots[worker_id].is_registered = False
                return []
            case inputs.WorkerExited():
                return self._on_exited(event)
            case inputs.ClusterUnfit(reason=reason):
                return self._begin_end(RunState.FAILED, reason)
            case inputs.GangIncomplete():
                return self._on_gang_incomplete(event)
            case inputs.SlotsShort(shortage=shortage):
                return [commands.Record(facts.Noticed(shortage))]
            case inputs.StopRequested(reason=reason):
                return self._begin_end(RunState.STOPPED, reason)
            case inputs.PruneRequested(trial_id=trial_id):
                return self._on_prune_requested(trial_id)
            case inputs.RetryRequested(trial_id=trial_id):
                return self._on_retry_requested(trial_id)
            case inputs.TimeIsUp(timeout_s=timeout_s):
                return self._on_time_is_up(timeout_s)
            case inputs.PatienceEnded():
                return self._on_patience_ended()
        raise AssertionError(f"no rule for {event!r}")

    # trials

    def _on_suggested(self, event: inputs.Suggested) -> list[Command]:
        self._is_asking = False
        self._ask_cost_s = event.cost_s
        hparams = {**self._plan.fixed_hparams, **event.suggestion.hparams}
        suggestion = event.suggestion
        seed_id = event.trial_id if suggestion.seed_id is None else suggestion.seed_id
        self.trials[event.trial_id] = _Trial(hparams, suggestion.budget, seed_id, checkpoint=self._plan.checkpoint)
        if self._ending:  # never started: it leaves no trace
            self.trials[event.trial_id].state = TrialState.STOPPED
            self._n_final += 1
        else:
            self._waiting.append(event.trial_id)
        return []

    def _on_report(self, event: facts.MetricReported) -> list[Command]:
        trial = self._running(event.trial_id, event.attempt, event.worker_id)
        if trial is None:
            return []
        if trial.gang is not None:
            merged = trial.gang.merged(event.worker_id, event.step, event.metrics)
            if merged is None:
                return []
            event = replace(event, worker_id=trial.worker_id, metrics=merged)
        trial.take_report(event)
        result: list[Command] = [commands.Record(event)]
        value = steering_value(event, self._metric_name, self._plan.metric, trial.last_report)
        if value is None or trial.is_pruned or self._ending:
            return result
        try:
            trial.is_pruned = self._pruner.report(event.trial_id, event.step, value)
        except Exception as error:  # a pruner of the user's may raise anything: the run ends with its message
            return [*result, *self._begin_end(RunState.FAILED, f"the pruner failed: {type(error).__name__}: {error}")]
        return [*result, *(self._prune(event.trial_id, trial) if trial.is_pruned else [])]

    def _prune(self, trial_id: int, trial: _Trial) -> list[Command]:
        return [commands.PruneTrial(worker_id, trial_id, trial.attempt) for worker_id in _workers_of(trial)]

    def _on_trial_ended(self, event: TrialEnded) -> list[Command]:
        trial = self._running(event.trial_id, event.attempt, event.worker_id)
        if trial is None:
            return []
        self.slots[event.worker_id].trial_id = None
        self._files_due.update((event.trial_id, event.attempt, path) for path in event.files)
        if trial.gang is not None:
            return self._on_rank_gone(event.trial_id, trial, trial.gang, event)
        return self._on_outcome(event, trial)

    def _on_outcome(self, event: TrialEnded, trial: _Trial) -> list[Command]:
        """An attempt has ended, with all its ranks."""
        known_metric = self._metric_name
        event, run_error = self._judged(event, trial)
        self._learn_duration(event.duration_s)
        result: list[Command] = [commands.Record(event)]
        if known_metric is None and self._metric_name is not None:
            doubt = doubt_of_direction(self._metric_name, self._plan.direction)
            result += [commands.Record(facts.Noticed(doubt))] if doubt else []
        if event.state is TrialState.FAILED and not run_error and not self._ending:
            if trial.n_failures < self._plan.retries:
                trial.n_failures += 1
                reason = f"{event.error.kind if event.error else 'failed'}, retry {trial.n_failures}"
                return [*result, *self._requeue(event.trial_id, trial, reason)]
            run_error = self._too_many_failures(event.error)
        result += self._finish_trial(event.trial_id, trial, event)
        return [*result, *(self._begin_end(RunState.FAILED, run_error) if run_error else [])]

    def _judged(self, event: TrialEnded, trial: _Trial) -> tuple[TrialEnded, str]:
        """The end with the metric that counts, or as a failure; and why the whole run cannot go on, or ''."""
        if event.state is TrialState.FAILED:
            return event, ""
        if event.state is not TrialState.COMPLETE or not self._plan.needs_metric:
            metrics = event.metrics or trial.last_report
            counting = event.metrics or trial.countable
            metric = reported_value(counting, self._metric_name)
            if metric is None and self._plan.metric is None and event.state is TrialState.COMPLETE:
                metric = next(iter(metrics.values()), None)  # a single call compares nothing: its first number is shown
            return replace(event, metrics=metrics, metric=metric), ""
        verdict = judge(
            event,
            self._plan.metric,
            trial.last_report,
            was_seen=self._metric_was_seen,
            is_automatic=trial.is_report_automatic,
        )
        ended = verdict.ended
        self._metric_was_seen |= ended.metric is not None or (ended.error is not None and ended.error.kind == "NAN")
        if self._metric_name is None and ended.metric is not None:
            self._metric_name = next(iter(ended.metrics))
        return ended, verdict.run_error

    def _too_many_failures(self, error: TrialError | None) -> str:
        """Why the run ends of one failure more; '' when it bears it."""
        n_failed = len(self._failures) + 1
        limit = self._plan.max_failures
        if limit is None or n_failed <= limit:
            return ""
        last = error.in_words if error else "no reason given"
        return f"{n_failed} trials failed, more than max_failures={limit} allows; the last: {last}"

    def _finish_trial(self, trial_id: int, trial: _Trial, ended: TrialEnded) -> list[Command]:
        trial.state = ended.state
        trial.last_report = {}
        if ended.state is TrialState.FAILED:
            self._failures[trial_id] = _why(ended)
        self._n_final += 1
        self._n_ends += 1
        self._n_complete += ended.state is TrialState.COMPLETE
        self._sampler_waits = False
        self._pruner.end(trial_id, ended.state)
        is_again, trial.is_told = trial.is_told, True
        return [commands.Tell(ended, is_again)]

    def _requeue(self, trial_id: int, trial: _Trial, reason: str) -> list[Command]:
        trial.attempt += 1
        trial.state = TrialState.WAITING
        trial.is_pruned = False
        trial.last_report = {}
        trial.gang = None
        self.n_gang_waits += 1
        self._waiting.appendleft(trial_id)
        self._pruner.restart(trial_id)
        return [commands.Record(facts.TrialRequeued(trial_id, trial.attempt, reason))]

    def _on_prune_requested(self, trial_id: int) -> list[Command]:
        trial = self.trials.get(trial_id)
        if self._ending:
            return []
        if trial is None or trial.state is not TrialState.RUNNING:
            return [self._declined(trial_id, "only a running trial can be pruned")]
        if trial.is_pruned:
            return []
        trial.is_pruned = True
        return self._prune(trial_id, trial)

    def _on_retry_requested(self, trial_id: int) -> list[Command]:
        trial = self.trials.get(trial_id)
        if self._ending:
            return []
        if trial is None or trial.state is not TrialState.FAILED:
            return [self._declined(trial_id, "only a failed trial can be retried")]
        del self._failures[trial_id]
        self._n_final -= 1
        trial.n_losses = 0
        return self._requeue(trial_id, trial, RETRIED_BY_USER)

    def _declined(self, trial_id: int, why: str) -> Command:
        trial = self.trials.get(trial_id)
        what = f"trial {trial_id} is {trial.state.lower()}" if trial else f"there is no trial {trial_id} yet"
        return commands.Record(facts.Noticed(f"{what}: {why}."))

    def _running(self, trial_id: int, attempt: int, worker_id: int) -> _Trial | None:
        """The trial if this very attempt is running on this worker; None for what comes late or from another."""
        trial = self.trials.get(trial_id)
        if trial is None or trial.state is not TrialState.RUNNING:
            return None
        return trial if trial.attempt == attempt and self.slots[worker_id].trial_id == trial_id else None

    def _learn_duration(self, duration_s: float) -> None:
        mean = self._mean_duration_s
        self._mean_duration_s = duration_s if mean is None else 0.8 * mean + 0.2 * duration_s

    # workers

    def _on_registered(self, event: facts.WorkerRegistered) -> list[Command]:
        slot = self.slots[event.worker_id]
        slot.is_registered = True
        slot.is_gone = False
        slot.incarnation = event.incarnation
        slot.host = event.host
        if self.state is RunState.STARTING:
            self.state = RunState.RUNNING
        result: list[Command] = [commands.Record(event)]
        if self._ending:
            result.append(commands.ShutDownWorker(event.worker_id))
        return result

    def _on_lost(self, event: facts.WorkerLost) -> list[Command]:
        slot = self.slots[event.worker_id]
        if not slot.is_registered or slot.incarnation != event.incarnation:
            return []
        slot.is_registered = False
        result: list[Command] = [commands.Record(event)]
        trial_id, slot.trial_id = slot.trial_id, None
        if trial_id is None:
            return result
        trial = self.trials[trial_id]
        if trial.gang is not None:
            return [*result, *self._on_rank_gone(trial_id, trial, trial.gang, event)]
        return [*result, *self._on_trial_lost(trial_id, event)]

    # the ranks of a trial

    def _on_rank_ready(self, event: facts.RankReady) -> list[Command]:
        trial = self._running(event.trial_id, event.attempt, event.worker_id)
        if trial is None or trial.gang is None:
            return []
        addresses = trial.gang.ready(event.worker_id, event.address)
        # An address may hold what lets ranks trust each other: it is for them alone.
        result: list[Command] = [commands.Record(replace(event, address=""))]
        if addresses is not None:
            result += [
                commands.Meet(worker_id, event.trial_id, event.attempt, addresses) for worker_id in _workers_of(trial)
            ]
        return result

    def _on_rank_gone(
        self, trial_id: int, trial: _Trial, gang: Gang, how: TrialEnded | facts.WorkerLost
    ) -> list[Command]:
        """One rank has ended or is lost: the others cannot go on without it, unless it came to its end."""
        result: list[Command] = [
            commands.StopTrial(seat.worker_id, trial_id, trial.attempt) for seat in gang.end(how.worker_id, how)
        ]
        if not gang.is_over:
            return result
        outcome = gang.outcome()
        if isinstance(outcome, facts.WorkerLost):
            return [*result, *self._on_trial_lost(trial_id, outcome)]
        return [*result, *self._on_outcome(outcome, trial)]

    def _on_gang_incomplete(self, event: inputs.GangIncomplete) -> list[Command]:
        if not self.is_gang_incomplete(event.n_waits):  # the last has come meanwhile
            return []
        gang = self._running_gang()
        if gang is None:
            who = f"{self._n_registered()} of the {self._plan.world_size} workers that train together"
            what = f"{who} came within {event.timeout_s:g} s."
        else:
            what = f"{', '.join(gang.missing)} did not get ready within {event.timeout_s:g} s."
        fix = "LAGOM_START_TIMEOUT=600 waits longer."
        return self._begin_end(RunState.FAILED, " ".join(filter(None, (what, event.shortage, fix))))

    # lost workers

    def _on_trial_lost(self, trial_id: int, event: facts.WorkerLost) -> list[Command]:
        trial = self.trials[trial_id]
        if self._ending:
            return self._end_here(trial_id, trial, TrialState.STOPPED, None)
        reason = f"worker {event.worker_id} was lost: {event.reason}"
        trial.n_losses += 1
        if trial.n_losses == 1:
            return self._requeue(trial_id, trial, reason)
        if trial.n_failures < self._plan.retries:
            trial.n_failures += 1
            return self._requeue(trial_id, trial, f"{reason}, retry {trial.n_failures}")
        often = "twice" if trial.n_losses == 2 else f"{trial.n_losses} times"
        error = TrialError("LOST", f"its worker was lost {often}; the last, worker {event.worker_id}: {event.reason}")
        run_error = self._too_many_failures(error)
        result = self._end_here(trial_id, trial, TrialState.FAILED, error)
        return [*result, *(self._begin_end(RunState.FAILED, run_error) if run_error else [])]

    def _end_here(self, trial_id: int, trial: _Trial, state: TrialState, error: TrialError | None) -> list[Command]:
        """Ends an attempt that no worker will end."""
        metric = reported_value(trial.countable, self._metric_name)
        ended = TrialEnded(trial_id, trial.attempt, trial.worker_id, state, trial.last_report, metric, error=error)
        return [commands.Record(ended), *self._finish_trial(trial_id, trial, ended)]

    def _on_exited(self, event: inputs.WorkerExited) -> list[Command]:
        slot = self.slots[event.worker_id]
        if slot.incarnation != event.incarnation or slot.is_gone:
            return []
        result: list[Command] = []
        if slot.is_registered and not self._is_draining:
            lost = facts.WorkerLost(event.worker_id, event.incarnation, event.reason or "its Spark job ended")
            result += self._on_lost(lost)
        slot.is_registered = False
        if self._ending:
            slot.is_gone = True
        elif slot.n_restarts < MAX_RESTARTS:
            slot.n_restarts += 1
            slot.incarnation += 1
            result.append(commands.StartWorker(event.worker_id, slot.incarnation))
        else:
            slot.is_gone = True
            result += self._check_anyone_left(event.reason)
        return result

    def _check_anyone_left(self, reason: str) -> list[Command]:
        n_left = sum(not slot.is_gone for slot in self.slots.values())
        if self._ending or n_left >= self._plan.world_size:
            return []
        who = "every worker" if n_left == 0 else "a worker of those that train together"
        return self._begin_end(RunState.FAILED, f"{who} was lost {1 + MAX_RESTARTS} times; the last reason: {reason}")

    # the end

    def _begin_end(self, state: RunState, reason: str) -> list[Command]:
        """Turns towards the end: running trials are stopped, waiting ones will not start."""
        if self._ending:
            return []
        self._ending = (state, reason)
        result: list[Command] = []
        while self._waiting:
            trial_id = self._waiting.popleft()
            trial = self.trials[trial_id]
            if trial.attempt > 1:  # it has rows to close
                result += self._end_here(trial_id, trial, TrialState.STOPPED, None)
            else:
                trial.state = TrialState.STOPPED
                self._n_final += 1
        for worker_id, slot in self.slots.items():
            if slot.trial_id is not None:
                result.append(commands.StopTrial(worker_id, slot.trial_id, self.trials[slot.trial_id].attempt))
        return result

    def _on_time_is_up(self, timeout_s: float) -> list[Command]:
        what = f"the run's timeout of {timeout_s:g} s has passed"
        if self._n_complete:
            return [commands.Record(facts.Noticed(what)), *self._begin_end(RunState.COMPLETE, what)]
        return self._begin_end(RunState.FAILED, f"{what}, and no trial was complete")

    def _on_patience_ended(self) -> list[Command]:
        if not self._ending:
            return []
        result: list[Command] = []
        for slot in self.slots.values():
            trial_id, slot.trial_id = slot.trial_id, None
            if trial_id is not None and not self.trials[trial_id].state.is_final:
                result += self._end_here(trial_id, self.trials[trial_id], TrialState.STOPPED, None)
            slot.is_registered = False
        return result

    # what comes next

    def _next(self) -> list[Command]:
        """Hands out trials, asks for more, and notices the end."""
        result: list[Command] = []
        if not self._ending:
            result += self._assign()
            if self._wants_suggestion():
                self._is_asking = True
                self._n_ends_at_ask = self._n_ends
                result.append(commands.Ask(len(self.trials)))
            if self._is_done():
                result += self._begin_end(*self._verdict())
        if self._ending and not any(slot.trial_id is not None for slot in self.slots.values()):
            result += self._drain()
        return result

    def _assign(self) -> list[Command]:
        if not self._waiting:
            return []
        result: list[Command] = []
        world_size = self._plan.world_size
        idle = [w for w, slot in self.slots.items() if slot.is_registered and slot.trial_id is None]
        for begin in range(0, len(idle) - world_size + 1, world_size):
            if self._waiting:
                result += self._start_trial(idle[begin : begin + world_size])
        return result

    def _start_trial(self, worker_ids: list[int]) -> list[Command]:
        """Starts the next trial on these workers, the first of which holds rank 0."""
        trial_id = self._waiting.popleft()
        trial = self.trials[trial_id]
        trial.state = TrialState.RUNNING
        trial.worker_id = worker_ids[0]
        n_ranks = len(worker_ids)
        if self._plan.has_gangs:
            self.n_gang_waits += 1
            seats = tuple(Seat(worker_id, self.slots[worker_id].host) for worker_id in worker_ids)
            trial.gang = Gang(seats, self._plan.averages_metrics)
        seed = trial_seed(self._plan.seed, trial.seed_id)
        result: list[Command] = []
        for rank, worker_id in enumerate(worker_ids):
            self.slots[worker_id].trial_id = trial_id
            self.slots[worker_id].rank = rank if self._plan.has_gangs else None
            result.append(
                commands.StartTrial(
                    worker_id,
                    trial_id,
                    trial.attempt,
                    trial.hparams,
                    seed,
                    trial.budget,
                    rank,
                    n_ranks,
                    trial.checkpoint,
                )
            )
        started = facts.TrialStarted(trial_id, trial.attempt, worker_ids[0], trial.hparams, trial.budget, n_ranks)
        return [*result, commands.Record(started)]

    def _wants_suggestion(self) -> bool:
        if self._is_asking or self._is_exhausted or self._sampler_waits or len(self.trials) >= self._plan.n_trials:
            return False
        n_idle = sum(slot.is_registered and slot.trial_id is None for slot in self.slots.values())
        return len(self._waiting) < n_idle + self._n_ahead() + (self.state is RunState.STARTING)

    def _n_ahead(self) -> int:
        """Suggestions kept ready; none for one worker, so that its search can be replayed."""
        n_busy = sum(slot.trial_id is not None for slot in self.slots.values())
        if self._plan.n_workers == 1 or self._mean_duration_s is None:
            return 0
        return n_busy if self._ask_cost_s > _ASK_AHEAD_SHARE * self._mean_duration_s else 0

    def _is_done(self) -> bool:
        if self._is_asking or self._n_final < len(self.trials):
            return False
        nothing_comes = self._is_exhausted or len(self.trials) >= self._plan.n_trials
        return nothing_comes or self._sampler_waits

    def _verdict(self) -> tuple[RunState, str]:
        if not self.trials:
            return RunState.FAILED, "the sampler suggested nothing"
        n_failed = len(self._failures)
        if n_failed == len(self.trials):
            what = "the trial failed" if n_failed == 1 else f"every one of the {n_failed} trials failed, the first"
            return RunState.FAILED, f"{what} with {next(iter(self._failures.values()))}"
        return RunState.COMPLETE, ""

    def _drain(self) -> list[Command]:
        """Tells the workers to send their files and leave; the run ends when the last has left."""
        result: list[Command] = []
        if not self._is_draining:
            self._is_draining = True
            result += [commands.ShutDownWorker(w) for w, slot in self.slots.items() if slot.is_registered]
        if not any(slot.is_registered for slot in self.slots.values()) and self._ending:
            self.state, reason = self._ending
            if self._files_due:
                result.append(commands.Record(facts.Noticed(_missing_files(self._files_due))))
            result += [commands.Record(facts.RunEnded(self.state, reason)), commands.EndRun(self.state, reason)]
        return result


def _workers_of(trial: _Trial) -> tuple[int, ...]:
    """Those that run it, by rank."""
    return (trial.worker_id,) if trial.gang is None else tuple(seat.worker_id for seat in trial.gang.seats)


def _why(ended: TrialEnded) -> str:
    """Why a trial failed, in one line."""
    reason = ended.error.in_words if ended.error else "no reason given"
    return reason.partition("\n")[0]


def _missing_files(due: set[tuple[int, int, str]]) -> str:
    shown = ", ".join(f"{path} of trial {trial_id}" for trial_id, _, path in sorted(due)[:3])
    more = f" and {len(due) - 3:,} more" if len(due) > 3 else ""
    return f"files that the run's end left on the workers: {shown}{more}."


def trial_seed(run_seed: int | None, seed_id: int) -> int | None:
    """One of a run's seeds, in [0, 2**32), the same for every attempt of a trial; None when the run has none."""
    if run_seed is None:
        return None
    return int.from_bytes(hashlib.sha256(f"{run_seed}/{seed_id}".encode()).digest()[:4])
