"""From a training function and a config to a run that has begun; the wiring behind `experiment.launch`.

Everything that can be wrong with what the user gave is found in `Launching.__init__`, before Spark is touched.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lagom_magic.driver.driver import START_TIMEOUT_S, Driver
from lagom_magic.driver.launcher import Launcher
from lagom_magic.driver.plan import RunPlan
from lagom_magic.errors import ClusterError, ConfigError, StoreError
from lagom_magic.events.ablation import COMPONENT, REPEAT
from lagom_magic.events.facts import RunState
from lagom_magic.run import Run, stored_importances
from lagom_magic.search.base import Direction
from lagom_magic.search.factory import Search, make_search
from lagom_magic.search.loco_sampler import LocoSampler
from lagom_magic.search.none_pruner import NonePruner
from lagom_magic.search.promotion_sampler import PromotionSampler
from lagom_magic.spec.config import AblationConfig, BaseConfig, DistributedConfig, OptimizationConfig
from lagom_magic.spec.duration import ALLOWED, seconds
from lagom_magic.spec.framework import check_installed, check_models
from lagom_magic.spec.inspection import FunctionPlan, doubts_of_defaults, plan_function
from lagom_magic.spec.space_json import space_to_json
from lagom_magic.store.layout import default_home
from lagom_magic.store.requests import Request
from lagom_magic.store.store import RunStore

if TYPE_CHECKING:
    from lagom_magic.cluster.data import RunData
    from lagom_magic.cluster.kit import WorkerKit
    from lagom_magic.cluster.session import SessionInfo
    from lagom_magic.display import Display, Publisher
    from lagom_magic.display.liveview import LiveView

#: Imported once, not by each trial of an ablation: 20 ms.
_ABLATION_OF_A_TRIAL = "lagom_magic.worker.ablation.ablation"
#: Makes the launcher of a run: (kit, run id, number of workers) → launcher. Tests give their own, without Spark.
MakeLauncher = Callable[["WorkerKit", str, int], Launcher]


class Launching:
    """One run on its way: checked, then given a cluster, then started."""

    def __init__(
        self,
        train_fn: Callable[..., Any],
        config: BaseConfig,
        source: str,
        notebook_dir: Path,
        make_launcher: MakeLauncher | None = None,
        resumed: Run | None = None,
    ) -> None:
        """Check everything that the user gave.

        Raises:
            ConfigError: for the function, the space, an option, or something that cannot be pickled.
        """
        from lagom_magic.cluster.data import RunData

        self._config = config
        self._source = source
        self._notebook_dir = notebook_dir.resolve()
        self._make_launcher = make_launcher
        self._checkpoint = None if resumed is None else _checkpoint_of(resumed, config)
        self._is_resumed_complete = resumed is not None and resumed.state is RunState.COMPLETE
        self._train_fn = train_fn
        self._fn_name = str(getattr(train_fn, "__name__", type(train_fn).__name__))
        plan = plan_function(train_fn, config)
        self._search = _search_of(plan, config)
        self._plan = plan if _gives_budgets(self._search, config) else _without_budget(plan)
        self._session: SessionInfo | None = None
        self._publisher: Publisher | None = None
        self._is_local = self._will_be_local()
        if isinstance(config, DistributedConfig):
            check_models(config.framework, vars(config))
            if self._is_local:
                check_installed(config.framework)
        self._data = RunData(default_home(), is_shared=isinstance(config, DistributedConfig))
        self._plan = replace(self._plan, fixed=self._data.looked_up(self._plan.fixed))
        # What only Spark can make ready is left out here, so that all else is found wanting before Spark starts.
        self._kit, self._kit_notes = self._packed(self._data.without_frames(self._plan.fixed))
        self._notes = doubts_of_defaults(plan)
        self._n_workers = config.workers or os.cpu_count() or 1
        n_points = self._search.sampler.n_trials or 0
        if isinstance(config, AblationConfig):
            self._notes += _notes_of(config, n_points) + self._globals_beside_arguments()
        elif n_points > self._n_trials():
            self._notes += (
                f"the grid has {n_points:,} points, and {self._n_trials()} of them run; --trials {n_points} runs all.",
            )
        self._start_timeout_s = _start_timeout_s()

    def _packed(self, fixed: dict[str, Any]) -> tuple[WorkerKit, tuple[str, ...]]:
        from lagom_magic.cluster.prepare import prepare_kit

        config = self._config
        return prepare_kit(
            replace(self._plan, fixed=fixed).payload(),
            self._notebook_dir,
            config.py_files,
            config.files,
            is_local=self._is_local,
            distribution=config.distribution() if isinstance(config, DistributedConfig) else None,
        )

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
        self._publisher = _publisher_of(ui)
        if self._make_launcher is None:
            self._take_session()
        self._make_data_ready()

    def _make_data_ready(self) -> None:
        fixed, processing = self._plan.fixed, self._plan.processing
        if processing is not None:
            fixed = fixed | self._data.looked_up(processing.call(vars(self._config)))
        try:
            if processing is not None or self._data.has_frames(fixed):
                fixed = self._data.written(fixed, self._announce)
                self._kit, self._kit_notes = self._packed(fixed)
            shares_rows = getattr(self._config, "strategy", "") != "tp"
            self._notes += self._data.notes(fixed, self._n_workers if shares_rows else 1)
        except BaseException:
            self._data.close()
            raise

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
        """Begin the run and return at once."""
        notices = _Notices(self._kit_notes + self._notes)
        store = RunStore.create(default_home(), self._experiment_name(), self._document(), self._source, notices)
        try:
            if self._checkpoint is not None:
                notices(_resuming(self._checkpoint.parents[3].name, is_complete=self._is_resumed_complete))
            driver = self._driver(store)
            run = Run(store.layout.root, driver)
            display = _display_of(run, self._publisher)
            if display is not None:
                display.start()
        except BaseException:
            store.close({"state": "FAILED"})
            self._data.close()
            raise
        if display is not None:
            store.on_written = display.wake
            driver.on_progress = display.wake
        log = _DriverLog(store.layout.root)
        data = self._data
        driver.on_end = lambda: _finish(display, log, data)
        driver.start()
        notices.go_to(driver.notice)
        return run

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
            hparam_names=tuple(self._plan.space) if self._plan.ablation is None else (COMPONENT, REPEAT),
            fixed_hparams=self._plan.fixed_hparams,
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
        )

    @property
    def _kind(self) -> str:
        if isinstance(self._config, DistributedConfig):
            return "train"
        if isinstance(self._config, AblationConfig):
            return "ablate"
        return "hpo" if isinstance(self._config, OptimizationConfig) else "run"

    def _n_trials(self) -> int:
        if isinstance(self._config, AblationConfig):
            n_planned = self._search.sampler.n_trials
            assert n_planned is not None
            return min(n_planned, self._config.num_trials or n_planned)
        if not isinstance(self._config, OptimizationConfig):
            return 1
        return min(self._search.sampler.n_trials or self._config.num_trials, self._config.num_trials)

    def _launcher(self, run_id: str, n_workers: int) -> Launcher:
        if self._make_launcher is not None:
            return self._make_launcher(self._kit, run_id, n_workers)
        from lagom_magic.cluster.spark import SparkLauncher

        assert self._session is not None
        return SparkLauncher(self._session.context, self._kit, run_id, n_workers, self._config.gpus_per_worker)

    def _settings(self) -> dict[str, Any]:
        # What one variant does to its process (a precision, a cached model) must not reach the next one.
        isolate = isinstance(self._config, AblationConfig) or getattr(self._config, "isolate", False)
        return {
            "metric": self._config.metric,
            "train_fn": self._fn_name,
            "notebook_dir": str(self._notebook_dir),
            "trial_timeout_s": self._config.trial_timeout_s,
            "isolate": isolate,
            "preload_modules": self._preload_modules() if isolate else [],
            "reports_at_once": self._search.pruner_name != "none",
            "stop_grace_s": [0.5, 1.0],
        }

    def _globals_beside_arguments(self) -> tuple[str, ...]:
        """What the function uses by a global name that an ablation gives it as an argument, ablated."""
        from lagom_magic.cluster.references import plain_function, used_variables

        function, ablation = plain_function(self._train_fn), self._plan.ablation
        if function is None or ablation is None:
            return ()
        given = {"model": ablation.model, **ablation.data}
        return tuple(
            f"{self._fn_name}() uses the global {name!r}, of which nothing is left out: use its argument {argument!r}."
            for name, value in used_variables(function).items()
            for argument, made in given.items()
            if made is not None and value is made
        )

    def _preload_modules(self) -> list[str]:
        from lagom_magic.cluster.references import preload_modules

        ablation = self._plan.ablation
        if ablation is None:
            return preload_modules(self._train_fn, self._notebook_dir)
        functions = [self._train_fn, *ablation.functions]
        names = {name for function in functions for name in preload_modules(function, self._notebook_dir)}
        return [_ABLATION_OF_A_TRIAL, *sorted(names)]

    def _experiment_name(self) -> str:
        return self._config.name or re.sub(r"[^A-Za-z0-9._-]", "_", self._fn_name).strip("._")[:64] or "experiment"

    def _document(self) -> dict[str, Any]:
        session = self._session
        return {
            "kind": self._kind,
            "train_fn": self._fn_name,
            "config": self._config.document(),
            "searchspace": space_to_json(self._plan.space),
            "components": None if self._plan.ablation is None else self._plan.ablation.document(),
            "n_workers": self._n_workers,
            "notebook_dir": str(self._notebook_dir),
            "spark": None
            if session is None
            else {"master": session.master, "version": session.version, "ui_link": session.ui_link},
        }


def _checkpoint_of(run: Run, config: BaseConfig) -> Path:
    """What a training goes on from.

    Raises:
        ConfigError: when there is nothing, or it is no training.
    """
    if not isinstance(config, DistributedConfig):
        raise ConfigError("--resume goes on with a training (%%lagom train); a search is not resumed yet.")
    if run.is_alive:
        raise ConfigError(f"run {run.id} (--resume) is alive. Stop it first: %lagom stop {run.id}")
    trials = run.trials
    checkpoint = trials[0].checkpoint if trials else None
    if checkpoint is None:
        raise ConfigError(
            f"run {run.id} (--resume) kept no checkpoint to go on from. The function keeps one with "
            "reporter.checkpoint(model=model, optimizer=optimizer, epoch=epoch) and takes it up with reporter.restore."
        )
    return checkpoint


def _resuming(run_id: str, *, is_complete: bool) -> str:
    """What to say of the checkpoint that a training goes on from."""
    if not is_complete:
        return f"going on from the checkpoint of run {run_id}."
    return (
        f"going on from the checkpoint of run {run_id}, which is complete: there may be nothing left to do. "
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


def _notes_of(config: AblationConfig, n_points: int) -> tuple[str, ...]:
    """What to say of an ablation before it starts."""
    if config.until_width is not None:
        return (
            "--until-width: who repeats until intervals look narrow stops where they do so by chance, so intervals and "
            f"p are somewhat optimistic; the less so, the more --repeats there are at first ({config.repeats}).",
        )
    if config.num_trials is None or n_points <= config.num_trials:
        return ()
    return (
        f"the ablation has {n_points:,} trials, and {config.num_trials} of them run; --trials {n_points} runs all.",
    )


def _search_of(plan: FunctionPlan, config: BaseConfig) -> Search:
    if isinstance(config, AblationConfig):
        assert plan.ablation is not None
        sampler = LocoSampler(
            plan.ablation.components,
            repeats=config.repeats,
            direction=cast(Direction, config.direction),
            until_width=config.until_width,
            max_trials=config.num_trials,
        )
        return Search(sampler, NonePruner(), config.ablator, "none")
    if not isinstance(config, OptimizationConfig):
        return make_search(plan.space, None, "none", direction="max", n_trials=1, seed=config.seed)
    return make_search(
        plan.space,
        config.sampler_choice,
        config.pruner_choice,
        direction=cast(Direction, config.direction),
        n_trials=config.num_trials,
        seed=config.seed,
        wants_budget="budget" in plan.wants,
        es_interval=config.es_interval,
        es_min=config.es_min,
    )


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


def _without_budget(plan: FunctionPlan) -> FunctionPlan:
    """Where nobody gives budgets, the argument's own default is all there is.

    Raises:
        ConfigError: when it has none.
    """
    if (
        "budget" in plan.wants
        and inspect.signature(plan.train_fn).parameters["budget"].default is inspect.Parameter.empty
    ):
        raise ConfigError(
            "the function takes `budget`, which only the pruners asha and hyperband give (or a sampler of your own): "
            "use --pruner asha, or give the argument a default."
        )
    return replace(plan, wants=tuple(name for name in plan.wants if name != "budget"))


def _publisher_of(ui: str) -> Publisher | None:
    if ui == "none":
        return None
    from lagom_magic.display import make_publisher

    return make_publisher(ui)


def _display_of(run: Run, publisher: Publisher | None) -> Display | LiveView | None:
    if publisher is None:
        return None
    from lagom_magic.display import Display
    from lagom_magic.display.notebook import NotebookPublisher

    if not isinstance(publisher, NotebookPublisher) or not publisher.wants_widget:
        return Display(run.dir, publisher)
    from lagom_magic.display.answers import Backing
    from lagom_magic.display.liveview import LiveView

    backing = Backing(
        importances=partial(stored_importances, run.dir),  # not of `run`: the view outlives its driver
        is_driven=lambda: run.is_alive,
        steer=lambda record: _steer(run, Request.of(record)),
    )
    return LiveView(run.dir, publisher, backing)


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


def _finish(display: Display | LiveView | None, log: _DriverLog, data: RunData) -> None:
    data.close()
    if display is not None:
        display.close()
    log.close()


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
