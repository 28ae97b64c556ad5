"""What a run calls: a function of the notebook, or what an earlier run's folder keeps of one; used by `launching`."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lagom_magic.errors import ConfigError
from lagom_magic.spec.config import BaseConfig, DistributedConfig
from lagom_magic.spec.framework import check_installed, check_models
from lagom_magic.spec.inspection import FunctionPlan, doubts_of_defaults, plan_function
from lagom_magic.spec.space import Searchspace
from lagom_magic.spec.space_json import space_from_json
from lagom_magic.store.call import StoredCall, read_call, read_document
from lagom_magic.store.layout import RunLayout, default_home

if TYPE_CHECKING:
    from lagom_magic.cluster.kit import WorkerKit

logger = logging.getLogger("lagom_magic.calling")

#: Imported once, not by each trial of an ablation: 20 ms.
_ABLATION_OF_A_TRIAL = "lagom_magic.worker.ablation.ablation"


class Call(Protocol):
    """A function and how each trial calls it.

    Attributes:
        name: the function's.
        source: its text.
        space: what is searched.
        fixed_hparams: hyperparameter → value, the same for every trial.
        defaults: argument → the default of its own that every trial has there.
        components: labels of what an ablation leaves out; None = this is no ablation.
        takes_budget: the function names `budget`.
        kit: what workers get; there after `pack`.
        notes: what a person should know before it starts.
        can_be_kept: what it carries is there after its run, too.
    """

    name: str
    source: str
    space: Searchspace
    fixed_hparams: dict[str, Any]
    defaults: dict[str, Any]
    components: tuple[str, ...] | None
    takes_budget: bool
    kit: WorkerKit
    notes: tuple[str, ...]
    can_be_kept: bool

    def pack(self, *, gives_budgets: bool) -> None:
        """Make everything ready that needs no Spark.

        Raises:
            ConfigError: for what cannot be called so, or cannot travel.
        """

    def make_ready(self, announce: Callable[[str], None], n_workers: int) -> None:
        """Make ready what needs Spark, on the caller's thread.

        Raises:
            Exception: what the user's `process_data` raises.
        """

    def preload_modules(self) -> list[str]:
        """What a process can import before it runs the function."""

    def document(self) -> Any:
        """What an ablation leaves out, as JSON holds it; None = this is no ablation."""

    def close(self) -> None:
        """Remove data that were made for this run alone."""


class FunctionCall:
    """A function of the notebook or program. Everything that the user gave is checked by its construction."""

    def __init__(
        self, train_fn: Callable[..., Any], config: BaseConfig, source: str, notebook_dir: Path, *, is_local: bool
    ) -> None:
        """Check the function beside its config.

        Args:
            train_fn: the training function.
            config: what to do with it.
            source: its text.
            notebook_dir: where relative paths begin.
            is_local: whether workers run on this machine.

        Raises:
            ConfigError: for the function, the space, or an option.
        """
        from lagom_magic.cluster.data import RunData

        self.name = str(getattr(train_fn, "__name__", type(train_fn).__name__))
        self.source = source
        self._config = config
        self._notebook_dir = notebook_dir
        self._is_local = is_local
        self._train_fn = train_fn
        plan = self._plan = plan_function(train_fn, config)
        self.space, self.fixed_hparams, self.defaults = plan.space, plan.fixed_hparams, plan.defaults
        self.components = None if plan.ablation is None else tuple(plan.ablation.components)
        self.takes_budget = "budget" in plan.wants
        self.notes = doubts_of_defaults(plan)
        self.can_be_kept = True
        self._data = RunData(default_home(), is_shared=isinstance(config, DistributedConfig))

    def pack(self, *, gives_budgets: bool) -> None:
        config = self._config
        if not gives_budgets:
            self._plan = _without_budget(self._plan)
        if isinstance(config, DistributedConfig):
            check_models(config.framework, vars(config))
            if self._is_local:
                check_installed(config.framework)
        self._plan = replace(self._plan, fixed=self._data.looked_up(self._plan.fixed))
        # What only Spark can make ready is left out here, so that all else is found wanting before Spark starts.
        self.kit, self._kit_notes = self._packed(self._data.without_frames(self._plan.fixed))
        self.notes += self._globals_beside_arguments()

    def make_ready(self, announce: Callable[[str], None], n_workers: int) -> None:
        fixed, processing = self._plan.fixed, self._plan.processing
        if processing is not None:
            fixed = fixed | self._data.looked_up(processing.call(vars(self._config)))
        try:
            self.can_be_kept = not self._data.has_frames(fixed)  # what is written of them goes with the run
            if processing is not None or not self.can_be_kept:
                fixed = self._data.written(fixed, announce)
                self.kit, self._kit_notes = self._packed(fixed)
            shares_rows = getattr(self._config, "strategy", "") != "tp"
            self.notes = self._kit_notes + self.notes + self._data.notes(fixed, n_workers if shares_rows else 1)
        except BaseException:
            self.close()
            raise

    def preload_modules(self) -> list[str]:
        from lagom_magic.cluster.references import preload_modules

        ablation = self._plan.ablation
        if ablation is None:
            return preload_modules(self._train_fn, self._notebook_dir)
        functions = [self._train_fn, *ablation.functions]
        names = {name for function in functions for name in preload_modules(function, self._notebook_dir)}
        return [_ABLATION_OF_A_TRIAL, *sorted(names)]

    def document(self) -> dict[str, Any] | None:
        return None if self._plan.ablation is None else self._plan.ablation.document()

    def close(self) -> None:
        self._data.close()

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

    def _globals_beside_arguments(self) -> tuple[str, ...]:
        """What the function uses by a global name that an ablation gives it as an argument, ablated."""
        from lagom_magic.cluster.references import plain_function, used_variables

        function, ablation = plain_function(self._train_fn), self._plan.ablation
        if function is None or ablation is None:
            return ()
        given = {"model": ablation.model, **ablation.data}
        return tuple(
            f"{self.name}() uses the global {name!r}, of which nothing is left out: use its argument {argument!r}."
            for name, value in used_variables(function).items()
            for argument, made in given.items()
            if made is not None and value is made
        )


class KeptCall:
    """What an earlier run called, as its folder keeps it: the same bytes go to the workers, and none is opened here."""

    can_be_kept = True

    def __init__(self, run_dir: Path, config: BaseConfig, notebook_dir: Path, *, is_local: bool) -> None:
        """Read it.

        Args:
            run_dir: the folder of the earlier run.
            config: what to do with it now.
            notebook_dir: where relative paths began then.
            is_local: whether workers run on this machine.

        Raises:
            StoreError: when the folder does not hold it.
        """
        layout = RunLayout(run_dir)
        document = read_document(layout)
        self._kept: StoredCall = read_call(layout)
        self._document = document.get("components")
        self._config = config
        self._notebook_dir = notebook_dir
        self._is_local = is_local
        self.name = str(document.get("train_fn", "function"))
        self.source = text_of(layout.newest_source) or f"# the source of {self.name} is not known\n"
        self.space = space_from_json(document.get("searchspace") or {})
        self.fixed_hparams = self._kept.fixed_hparams
        self.defaults = document.get("defaults") or {}
        self.components = None if self._kept.components is None else tuple(self._kept.components)
        self.takes_budget = self._kept.takes_budget
        self.notes: tuple[str, ...] = ()

    def pack(self, *, gives_budgets: bool) -> None:
        from lagom_magic.cluster.prepare import kit_of

        config, distribution = self._config, None
        if isinstance(config, DistributedConfig):
            distribution = config.distribution()
            if self._is_local:
                check_installed(config.framework)
        self.kit = kit_of(
            self._kept.payload,
            self._kept.user_code_zip,
            self._notebook_dir,
            is_local=self._is_local,
            distribution=distribution,
        )

    def make_ready(self, announce: Callable[[str], None], n_workers: int) -> None:
        """There is nothing left to make."""

    def preload_modules(self) -> list[str]:
        return self._kept.preload_modules

    def document(self) -> Any:
        return self._document

    def close(self) -> None:
        """Nothing was made."""


def text_of(path: Path) -> str:
    """A source for people to read; '' where it cannot be, for what is called does not need it."""
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        logger.warning("%s cannot be read: %s", path, error.strerror)
        return ""


def kept(call: Call) -> StoredCall:
    """What a run's folder is to keep of a call that is packed."""
    return StoredCall(
        payload=call.kit.payload,
        user_code_zip=call.kit.user_code_zip,
        fixed_hparams=call.fixed_hparams,
        components=None if call.components is None else list(call.components),
        takes_budget=call.takes_budget,
        preload_modules=call.preload_modules(),
    )


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
