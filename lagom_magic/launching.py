"""From a training function and a config to a run that has begun; the wiring behind `experiment.launch`.

Everything that can be wrong with what the user gave is found in `Launching.__init__`, before Spark is touched.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lagom_magic.calling import Call, FunctionCall, KeptCall, kept, text_of
from lagom_magic.driver.driver import START_TIMEOUT_S, Driver
from lagom_magic.driver.launcher import Launcher
from lagom_magic.driver.past import Past, replay
from lagom_magic.driver.plan import RunPlan
from lagom_magic.errors import ClusterError, ConfigError, StoreError
from lagom_magic.events.ablation import COMPONENT, REPEAT
from lagom_magic.events.facts import RunState
from lagom_magic.mirroring import MirrorPlan, Mirrors, together
from lagom_magic.resuming import RepeatedCall, check_resumable, checkpoint_of, going_on_with, has_ended, notebook_dir_of
from lagom_magic.run import Run, stored_importances
from lagom_magic.search.base import Direction, Suggestion
from lagom_magic.search.factory import Search, make_search
from lagom_magic.search.loco_sampler import LocoSampler
from lagom_magic.search.none_pruner import NonePruner
from lagom_magic.search.one_point_sampler import OnePointSampler
from lagom_magic.search.promotion_sampler import PromotionSampler
from lagom_magic.spec.config import AblationConfig, BaseConfig, DistributedConfig, OptimizationConfig
from lagom_magic.spec.duration import ALLOWED, seconds
from lagom_magic.spec.space_json import space_to_json
from lagom_magic.store.journal import JournalReader
from lagom_magic.store.layout import RunLayout, default_home
from lagom_magic.store.mirror import fetch
from lagom_magic.store.requests import Request
from lagom_magic.store.store import RunStore

if TYPE_CHECKING:
    from lagom_magic.cluster.kit import WorkerKit
    from lagom_magic.cluster.session import SessionInfo
    from lagom_magic.display import Display, Publisher
    from lagom_magic.display.liveview import LiveView

#: Makes the launcher of a run: (kit, run id, number of workers) → launcher. Tests give their own, without Spark.
MakeLauncher = Callable[["WorkerKit", str, int], Launcher]


class Launching:
    """One run on its way: checked, then given a cluster, then started."""

    def __init__(
        self,
        called: Callable[..., Any] | RepeatedCall,
        config: BaseConfig,
        source: str,
        notebook_dir: Path,
        make_launcher: MakeLauncher | None = None,
        resumed: Run | None = None,
    ) -> None:
        """Check everything that the user gave.

        Args:
            called: the training function, or what an earlier run called.
            config: what to do with it.
            source: of the function; of a repeated call its own counts.
            notebook_dir: where relative paths begin.
            make_launcher: who starts workers; None = Spark.
            resumed: the run to go on with: a training's last checkpoint in a new run, any other in its own folder.

        Raises:
            ConfigError: for the function, the space, an option, or something that cannot be pickled; and when a run
                cannot be resumed so.
            StoreError: when the folder of an earlier run does not hold what it takes.
        """
        self._config = config
        self._mirror_plan = MirrorPlan(config)
        if resumed is not None:
            fetch(resumed.dir)
            resumed = Run(resumed.dir)  # the one given may have been looked at before
        self._notebook_dir = notebook_dir.resolve()
        self._repeated = called if isinstance(called, RepeatedCall) else None
        #: What the only trial of a repeated one runs with.
        self._point: Suggestion | None = None
        if self._repeated is not None:
            self._point = self._repeated.suggestion()
            self._notebook_dir = notebook_dir_of(self._repeated.run) or self._notebook_dir
        self._make_launcher = make_launcher
        self._checkpoint: Path | None = None
        #: The run whose folder this one goes on in.
        self._continued: Run | None = None
        if resumed is not None and isinstance(config, DistributedConfig):
            self._checkpoint = checkpoint_of(resumed, is_kept_call=isinstance(called, RepeatedCall))
        elif resumed is not None:
            self._continued = resumed
        self._resumed = resumed
        #: What that run has behind it, and how many facts say so.
        self._past: Past | None = None
        self._n_past = 0
        is_local = self._will_be_local()
        self._call: Call
        if isinstance(called, RepeatedCall):
            self._call = KeptCall(called.run.dir, config, self._notebook_dir, is_local=is_local)
        else:
            self._call = FunctionCall(called, config, source, self._notebook_dir, is_local=is_local)
        self._search = _search_of(self._call, config) if self._point is None else _only(self._point)
        if self._continued is not None:
            facts = [line.fact for line in JournalReader(self._continued.dir).read_new()]
            check_resumable(
                self._continued, config, self._call, self._search, self._n_trials(), has_end=has_ended(facts)
            )
            self._n_past = len(facts)
            self._past = replay(facts, self._search.sampler, self._search.pruner, self._fixed_hparams, config.metric)
        self._session: SessionInfo | None = None
        self._publisher: Publisher | None = None
        self._call.pack(gives_budgets=self._point is not None or _gives_budgets(self._search, config))
        self._notes: tuple[str, ...] = self._origin()
        self._n_workers = config.workers or os.cpu_count() or 1
        n_points = self._search.sampler.n_trials or 0
        if isinstance(config, AblationConfig):
            assert self._call.components is not None
            self._notes += _notes_of(config, config.repeats * (1 + len(self._call.components)))
        elif n_points > self._n_trials():
            self._notes += (
                f"the grid has {n_points:,} points, and {self._n_trials()} of them run; --trials {n_points} runs all.",
            )
        self._start_timeout_s = _start_timeout_s()

    def _origin(self) -> tuple[str, ...]:
        """What to say of where this run comes from."""
        if self._past is not None:
            n_ended = len(self._past.trials) - self._past.n_missing
            lost = self._past.lost_files
            shown = f"{', '.join(lost[:3])}{f' and {len(lost) - 3:,} more' if len(lost) > 3 else ''}"
            return (
                f"resumed: {n_ended} of {self._n_trials()} trials had ended.",
                *([f"files that did not arrive before the run was cut off: {shown}."] if lost else []),
                *self._change_of_source(),
            )
        if self._repeated is None or self._checkpoint is not None:
            return ()
        run, trial_id = self._repeated.run, self._repeated.trial_id
        if trial_id is None:
            began_with = run.config.get("resumes")
            how = f" from its beginning, without the checkpoint of run {began_with} that it had" if began_with else ""
            return (f"repeats run {run.id}{how}.",)
        trial = run.view.trials[trial_id]
        had = f"there {run.view.metric_name} was {trial.metric!r}" if trial.metric is not None else "there it had none"
        return (f"repeats trial {trial_id} of run {run.id}; {had}.",)

    def _change_of_source(self) -> tuple[str, ...]:
        """What to say where the run goes on with another function than it has trials of."""
        if self._continued is None or self._goes_on_as_kept:
            return ()
        newest = RunLayout(self._continued.dir).newest_source
        before = text_of(newest).strip()
        if before in ("", self._call.source.strip()):
            return ()
        return (f"the source is not that of the trials before ({newest.name}): the table holds numbers of both.",)

    @property
    def _fixed_hparams(self) -> dict[str, Any]:
        """What trials get beside what is suggested to them; a repeated one is suggested all that it had."""
        return self._call.fixed_hparams if self._point is None else {}

    def _will_be_local(self) -> bool:
        if self._make_launcher is not None:
            return True
        from lagom_magic.cluster.session import current_session
        from lagom_magic.cluster.slots import is_local

        context = current_session()
        return context is None or is_local(context.master)

    def open_cluster(self, ui: str) -> None:
        """Take the notebook's Spark session, or start a local one, and make the data ready; on the caller's thread.

        Args:
            ui: how to show that, and then the run: "auto", "html", "text" or "none".

        Raises:
            ClusterError: when there is no Spark to be had.
            Exception: what `process_data` raises.
        """
        self._publisher = publisher_of(ui)
        if self._make_launcher is None:
            self._take_session()
        self._call.make_ready(self._announce, self._n_workers)

    def _announce(self, text: str) -> None:
        if self._publisher is not None:
            self._publisher.announce(text)

    def _take_session(self) -> None:
        from lagom_magic.cluster.session import current_session, ensure_session
        from lagom_magic.cluster.slots import count_slots

        config = self._config
        if current_session() is None:
            self._announce("lagom: starting a local Spark, once for this notebook …")
        self._session = ensure_session(config.workers)
        slots = count_slots(self._session.context, config.gpus_per_worker)
        wanted = config.workers or max(1, slots)
        if self._session.is_local and 0 < slots < wanted:
            if self._kind == "train":
                raise ClusterError(_no_gang(self._session, slots, wanted, of_gpus=bool(config.gpus_per_worker)))
            self._notes += (_few_slots(self._session, slots, wanted, of_gpus=bool(config.gpus_per_worker)),)
            wanted = slots
        self._n_workers = wanted

    def start(self) -> Run:
        """Begin the run and return at once.

        Raises:
            StoreError: when its folder cannot be written, or the run that it goes on with has come to life.
        """
        notices = _Notices(self._call.notes + self._notes)
        with ExitStack() as undo:
            undo.callback(self._call.close)
            not_begun = {"state": RunState.FAILED if self._continued is None else self._continued.state}
            store = self._store(notices)
            undo.callback(store.close, not_begun)
            self._keep_in(store)
            if self._checkpoint is not None and self._resumed is not None:
                notices(_resuming(self._resumed))
            driver = self._driver(store)
            undo.callback(driver.discard)
            run = Run(store.layout.root, driver)
            display = display_of(run, self._publisher, shows_past_lines=self._continued is None)
            if display is not None:
                undo.callback(display.close)
                display.start()
            mirrors = self._mirror_plan.of_run(store.layout, notices)
            followers = [follower.wake for follower in (display, mirrors) if follower]
            if followers:
                store.on_written = driver.on_progress = together(*followers)
            log = _DriverLog(store.layout.root)
            undo.callback(log.close)
            call = self._call
            driver.on_end = lambda: _finish(display, log, call, mirrors, driver)
            mirrors.start()
            undo.callback(mirrors.close, is_stopped=True)
            notices.go_to(driver.notice)
            driver.start()
            undo.pop_all()
        return run

    def _store(self, notices: Callable[[str], None]) -> RunStore:
        """A new run's, or that of the run that this one goes on in, with the options that it has now."""
        if self._continued is None:
            call = kept(self._call) if self._call.can_be_kept else None
            home, name = default_home(), self._experiment_name()
            return RunStore.create(home, name, self._document(), self._call.source, notices, call)
        changed: dict[str, Any] = {"config": self._config_document(), "isolate": self._isolates}
        if self._goes_on_as_kept:
            return RunStore.resume(self._continued.dir, changed, None, self._n_past, notices)
        changed |= {"components": self._call.document(), "defaults": self._call.defaults}
        return RunStore.resume(self._continued.dir, changed, self._call.source, self._n_past, notices)

    def _keep_in(self, store: RunStore) -> None:
        """Write what a run goes on with, where its folder has not got it, and of a new run where it comes from."""
        if self._continued is None:
            store.keep_provenance(self._notebook_dir, self._surroundings)
        elif self._call.can_be_kept and not self._goes_on_as_kept:
            store.keep_call(kept(self._call))

    @property
    def _goes_on_as_kept(self) -> bool:
        """Whether the run's own folder holds what it calls."""
        return self._continued is not None and isinstance(self._call, KeptCall)

    def _surroundings(self) -> dict[str, Any]:
        """What provenance.json says of Spark and the data; called on a thread of the store's."""
        from lagom_magic.cluster.inputs import inputs_of
        from lagom_magic.cluster.session import settings_of

        spark = None if self._session is None else settings_of(self._session.context)
        return {"spark": spark, "inputs": inputs_of(vars(self._config), self._notebook_dir)}

    def _driver(self, store: RunStore) -> Driver:
        config = self._config
        n_trials = self._n_trials()
        is_training = self._kind == "train"
        n_workers = self._n_workers if is_training else min(self._n_workers, n_trials)
        plan = RunPlan(
            run_id=store.run_id,
            experiment=self._experiment_name(),
            kind=self._kind,
            n_trials=n_trials,
            n_workers=n_workers,
            metric=config.metric,
            direction=cast(Direction, config.direction),
            needs_metric=self._kind in ("hpo", "ablate") or config.metric is not None,
            seed=config.seed,
            retries=config.retries,
            max_failures=config.max_failures,
            sampler=self._search.sampler_name,
            pruner=self._search.pruner_name,
            hparam_names=tuple(self._call.space) if self._call.components is None else (COMPONENT, REPEAT),
            fixed_hparams=self._fixed_hparams,
            world_size=n_workers if is_training else 1,
            checkpoint=None if self._checkpoint is None else store.adopt_checkpoint(self._checkpoint),
            averages_metrics=isinstance(config, DistributedConfig) and config.average_metrics,
        )
        return Driver(
            plan,
            self._settings(),
            self._search.sampler,
            self._search.pruner,
            self._launcher(store.run_id, n_workers),
            store,
            timeout_s=config.timeout_s,
            start_timeout_s=self._start_timeout_s,
            past=self._past,
        )

    @property
    def _kind(self) -> str:
        if isinstance(self._config, DistributedConfig):
            return "train"
        if isinstance(self._config, AblationConfig):
            return "ablate"
        return "hpo" if isinstance(self._config, OptimizationConfig) else "run"

    def _n_trials(self) -> int:
        if self._point is not None:
            return 1
        if isinstance(self._config, AblationConfig):
            n_planned = self._search.sampler.n_trials
            assert n_planned is not None
            return min(n_planned, self._config.num_trials or n_planned)
        if not isinstance(self._config, OptimizationConfig):
            return 1
        return min(self._search.sampler.n_trials or self._config.num_trials, self._config.num_trials)

    def _launcher(self, run_id: str, n_workers: int) -> Launcher:
        if self._make_launcher is not None:
            return self._make_launcher(self._call.kit, run_id, n_workers)
        from lagom_magic.cluster.spark import SparkLauncher

        assert self._session is not None
        return SparkLauncher(self._session.context, self._call.kit, run_id, n_workers, self._config.gpus_per_worker)

    def _settings(self) -> dict[str, Any]:
        isolate = self._isolates
        return {
            "metric": self._config.metric,
            "train_fn": self._call.name,
            "notebook_dir": str(self._notebook_dir),
            "trial_timeout_s": self._config.trial_timeout_s,
            "isolate": isolate,
            "preload_modules": self._call.preload_modules() if isolate else [],
            "reports_at_once": self._search.pruner_name != "none",
            "autolog": self._config.autolog,
            "log_weights": self._config.log_weights,
            "stop_grace_s": [0.5, 1.0],
        }

    @property
    def _isolates(self) -> bool:
        if self._repeated is not None and self._repeated.is_isolated:
            return True
        # What one variant does to its process (a precision, a cached model) must not reach the next one.
        return self._call.components is not None or getattr(self._config, "isolate", False)

    def _experiment_name(self) -> str:
        if self._continued is not None:
            return self._continued.name
        return self._config.name or re.sub(r"[^A-Za-z0-9._-]", "_", self._call.name).strip("._")[:64] or "experiment"

    def _config_document(self) -> dict[str, Any]:
        if self._repeated is None or self._point is not None:
            return self._config.document()
        return going_on_with(self._repeated.run, self._config)

    def _document(self) -> dict[str, Any]:
        session = self._session
        return {
            "kind": self._kind,
            "train_fn": self._call.name,
            "config": self._config_document(),
            "searchspace": space_to_json(self._call.space),
            "fixed_hparams": self._call.fixed_hparams,
            "defaults": self._call.defaults,
            "components": self._call.document(),
            "isolate": self._isolates,
            "repeats": self._repeated.document() if self._repeated is not None and self._checkpoint is None else None,
            "resumes": self._resumed.id if self._resumed is not None and self._checkpoint is not None else None,
            "n_workers": self._n_workers,
            "notebook_dir": str(self._notebook_dir),
            "spark": None
            if session is None
            else {"master": session.master, "version": session.version, "ui_link": session.ui_link},
        }


def _resuming(run: Run) -> str:
    """What to say of the checkpoint that a training goes on from."""
    if run.state is not RunState.COMPLETE:
        return f"goes on from the last checkpoint of run {run.id}, in this new run."
    return (
        f"going on from the checkpoint of run {run.id}, which is complete: there may be nothing left to do. "
        "Give more epochs."
    )


def _no_gang(session: SessionInfo, slots: int, wanted: int, of_gpus: bool) -> str:
    what, fix = _shortage(session, slots, of_gpus)
    return f"a training on {wanted} workers needs {wanted} slots at once, and {what}: {fix}."


def _few_slots(session: SessionInfo, slots: int, wanted: int, of_gpus: bool) -> str:
    what, fix = _shortage(session, slots, of_gpus)
    return f"running on {slots} of {wanted} workers: {what} ({fix})."


def _shortage(session: SessionInfo, slots: int, of_gpus: bool) -> tuple[str, str]:
    """What is short, and what to do."""
    from lagom_magic.cluster.session import RESERVED_SLOTS

    if of_gpus:
        what = f"{session.master} has no more slots for that share of GPUs than {slots}"
        more = "a session with more GPUs"
    elif session.is_ours:
        what = f"{session.master} has {slots}, as {RESERVED_SLOTS} more are kept for the notebook's other cells"
        more = "restart the kernel: Spark starts with as many slots as its first run asks for"
    else:
        what, more = f"{session.master} has no more slots than {slots}", "a session with more cores"
    return what, f"use --workers {slots}, or {more}"


def _notes_of(config: AblationConfig, n_planned: int) -> tuple[str, ...]:
    """What to say of an ablation before it starts."""
    if config.until_width is not None:
        return (
            "--until-width: who repeats until intervals look narrow stops where they do so by chance, so intervals and "
            f"p are somewhat optimistic; the less so, the more --repeats there are at first ({config.repeats}).",
        )
    if config.num_trials is None or n_planned <= config.num_trials:
        return ()
    return (
        f"the ablation has {n_planned:,} trials, and {config.num_trials} of them run; --trials {n_planned} runs all.",
    )


def _search_of(call: Call, config: BaseConfig) -> Search:
    if isinstance(config, AblationConfig):
        assert call.components is not None
        sampler = LocoSampler(
            call.components,
            repeats=config.repeats,
            direction=cast(Direction, config.direction),
            until_width=config.until_width,
            max_trials=config.num_trials,
        )
        return Search(sampler, NonePruner(), config.ablator, "none")
    if not isinstance(config, OptimizationConfig):
        return make_search(call.space, None, "none", direction="max", n_trials=1, seed=config.seed)
    return make_search(
        call.space,
        config.sampler_choice,
        config.pruner_choice,
        direction=cast(Direction, config.direction),
        n_trials=config.num_trials,
        seed=config.seed,
        wants_budget=call.takes_budget,
        es_interval=config.es_interval,
        es_min=config.es_min,
    )


def _only(suggestion: Suggestion) -> Search:
    """The search of a trial that is run again."""
    return Search(OnePointSampler(suggestion), NonePruner(), "repeat", "none")


def _start_timeout_s() -> float:
    """LAGOM_START_TIMEOUT: seconds until the first worker must be there, and in a training all of them, and then
    their ranks ready; a busy cluster may need more.
    """
    text = os.environ.get("LAGOM_START_TIMEOUT", "")
    value = seconds(text) if text else START_TIMEOUT_S
    if value is None:
        raise ConfigError(f"LAGOM_START_TIMEOUT is {text!r}; allowed: {ALLOWED}. Such as LAGOM_START_TIMEOUT=600.")
    return value


def _gives_budgets(search: Search, config: BaseConfig) -> bool:
    is_own_sampler = isinstance(config, OptimizationConfig) and not isinstance(config.sampler_choice, str)
    return is_own_sampler or isinstance(search.sampler, PromotionSampler)


def publisher_of(ui: str) -> Publisher | None:
    """Who shows a run's face: "auto", "widget", "html" or "text"; None for "none"."""
    if ui == "none":
        return None
    from lagom_magic.display import make_publisher

    return make_publisher(ui)


def display_of(run: Run, publisher: Publisher | None, *, shows_past_lines: bool = True) -> Display | LiveView | None:
    """What shows this run there; None without a publisher.

    Args:
        run: of which there is a folder.
        publisher: who shows it.
        shows_past_lines: what was printed before now is printed here too; the widget's list has it in any case.
    """
    if publisher is None:
        return None
    from lagom_magic.display import Display
    from lagom_magic.display.notebook import NotebookPublisher

    if not isinstance(publisher, NotebookPublisher) or not publisher.wants_widget:
        return Display(run.dir, publisher, shows_past_lines=shows_past_lines)
    from lagom_magic.display.answers import Backing
    from lagom_magic.display.liveview import LiveView

    backing = Backing(
        importances=partial(stored_importances, run.dir),  # not of `run`: the view outlives its driver
        is_driven=lambda: run.is_alive,
        steer=lambda record: _steer(run, Request.of(record)),
    )
    return LiveView(run.dir, publisher, backing, shows_past_lines=shows_past_lines)


def _steer(run: Run, request: Request) -> None:
    """What a page in this notebook asks of the run.

    Raises:
        StoreError: when it has ended.
    """
    match request:
        case Request("prune", int(trial_id)):
            run.prune(trial_id)
        case Request("retry", int(trial_id)):
            run.retry(trial_id)
        case _ if run.is_alive:
            run.stop()
        case _:
            raise StoreError(f"run {run.id} has ended.")


def _finish(display: Display | LiveView | None, log: _DriverLog, call: Call, mirrors: Mirrors, driver: Driver) -> None:
    call.close()
    log.close()  # nothing in the folder changes any more
    mirrors.close(is_stopped=driver.outcome is not None and driver.outcome.state is RunState.STOPPED)
    if display is not None:
        display.close()


class _Notices:
    """Keeps what there is to say until the driver can take it."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._early = list(texts)
        self._take: Callable[[str], None] = self._early.append

    def __call__(self, text: str) -> None:
        self._take(text)

    def go_to(self, take: Callable[[str], None]) -> None:
        self._take = take
        for text in self._early:
            take(text)


class _DriverLog:
    """`LAGOM_LOG=debug` keeps what our loggers say in the run's folder."""

    def __init__(self, run_dir: Path) -> None:
        self._logger = logging.getLogger("lagom_magic")
        self._handler: logging.Handler | None = None
        self._level = self._logger.level
        level = os.environ.get("LAGOM_LOG", "").upper()
        if level in logging.getLevelNamesMapping():
            self._handler = logging.FileHandler(run_dir / "driver.log", encoding="utf-8")
            self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
            self._logger.addHandler(self._handler)
            self._logger.setLevel(level)

    def close(self) -> None:
        if self._handler is not None:
            self._logger.removeHandler(self._handler)
            self._logger.setLevel(self._level)
            self._handler.close()
