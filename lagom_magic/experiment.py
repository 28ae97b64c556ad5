"""`experiment.lagom(train_fn, config)`: the public door, which the magics use too; wires a run together.

Called on the thread that shall own the Spark session, in a notebook the main one. All that can be wrong with
the function, the space or the options is said before Spark starts.
"""

from __future__ import annotations

import inspect
import os
import textwrap
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lagom_magic.errors import ConfigError, LagomError, RunError, RunFailed, RunStopped
from lagom_magic.run import Run
from lagom_magic.spec.config import AblationConfig, BaseConfig, OptimizationConfig

if TYPE_CHECKING:
    from lagom_magic.cluster.interrupts import Interrupts
    from lagom_magic.launching import MakeLauncher
    from lagom_magic.resuming import RepeatedCall

#: How long an interrupted cell waits for its run to stop in order.
_STOP_WAIT_S = 1.9
#: And an abandoned one for its driver's farewell, without which the next cell would meet a live run.
_ABANDON_WAIT_S = 1.5


class _Current:
    """The one live run of this process: a kernel has one driver, and a second would fight for its slots."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run: Run | None = None

    def get(self) -> Run | None:
        run = self._run
        return run if run is not None and run.is_alive else None

    def claim(self) -> AbstractContextManager[Any]:
        """Held while a run is being started; refuses a second one."""
        live = self.get()
        if live is not None or not self._lock.acquire(blocking=False):
            name = live.id if live else "one that is starting"
            raise ConfigError(
                f"a run is live in this kernel: {name}. Wait for it, or stop it with `%lagom stop`, then try again."
            )
        return _Release(self._lock)

    def set(self, run: Run) -> None:
        self._run = run


class _Release:
    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_current = _Current()


def current_run() -> Run | None:
    """The run that is live in this process, or None."""
    return _current.get()


def lagom(train_fn: Callable[..., Any], config: BaseConfig | None = None, **options: Any) -> Run:
    """Runs an experiment and returns when it has ended.

    Args:
        train_fn: the oblivious training function.
        config: an OptimizationConfig searches its hyperparameters, an AblationConfig leaves out its parts, a
            TorchDistributedConfig or TfDistributedConfig trains on several workers; a BaseConfig calls it once. None =
            made of `options`: an ablation or a search when they name one (`ablation_study`, `repeats` …;
            `searchspace`, `optimizer`, `num_trials` …), else one call.
        **options: the fields of the config, when none is given.

    Returns:
        The finished run.

    Raises:
        ConfigError: before Spark starts, for anything that cannot work.
        RunStopped: the run was stopped; `error.run` holds what is finished.
        RunFailed: every trial failed, or the run could not go on; `error.run` likewise.
    """
    if config is not None and options:
        raise ConfigError(f"give a config or keywords, not both; the keywords were: {', '.join(options)}.")
    if config is None:
        config = _config_of(train_fn, options)
    return launch(train_fn, config)


def _config_of(train_fn: Callable[..., Any], options: dict[str, Any]) -> BaseConfig:
    ablation_only = AblationConfig.__dataclass_fields__.keys() - OptimizationConfig.__dataclass_fields__.keys()
    if ablation_only & options.keys():
        return AblationConfig(**options)
    search_only = OptimizationConfig.__dataclass_fields__.keys() - BaseConfig.__dataclass_fields__.keys()
    if search_only & options.keys() or "direction" in options:
        return OptimizationConfig(**options)
    return BaseConfig(**options)


def launch(
    train_fn: Callable[..., Any] | RepeatedCall,
    config: BaseConfig,
    *,
    detach: bool = False,
    ui: str = "auto",
    source: str | None = None,
    notebook_dir: Path | None = None,
    make_launcher: MakeLauncher | None = None,
    resumed: Run | None = None,
) -> Run:
    """`lagom` with what only a notebook knows.

    Args:
        train_fn: the training function, or what an earlier run called.
        config: what to do with it.
        detach: return at once; the run goes on in its own threads.
        ui: "auto", "html", "text" or "none".
        source: the cell's text, kept as source.py; None = the function's own source.
        notebook_dir: where relative paths begin; None = the working directory.
        make_launcher: who starts workers; None = Spark.
        resumed: the run to go on with: a training from its last checkpoint in a new run, any other in its own folder.

    Raises:
        As `lagom`.
    """
    if not isinstance(config, BaseConfig):
        raise ConfigError(
            f"config is of type {type(config).__name__}; allowed: OptimizationConfig, AblationConfig, "
            "TorchDistributedConfig, TfDistributedConfig, BaseConfig."
        )
    with ExitStack() as stack:
        stack.enter_context(_current.claim())
        try:
            from lagom_magic.cluster.interrupts import held_interrupts
            from lagom_magic.launching import Launching

            launching = Launching(
                train_fn,
                config,
                source or (_source_of(train_fn) if callable(train_fn) else ""),
                notebook_dir or Path.cwd(),
                make_launcher,
                resumed,
            )
            launching.open_cluster(ui)
            interrupts = stack.enter_context(held_interrupts())
        except KeyboardInterrupt:
            raise RunStopped("stopped before the first trial; nothing has run.") from None
        run = launching.start()
        _current.set(run)
        if not detach or is_noninteractive() or interrupts.is_waiting:
            _wait(run, interrupts)
            raise_outcome(run)
    return run


def _wait(run: Run, interrupts: Interrupts) -> None:
    """Waits for the end; an interrupt stops the run, a second one abandons it, a third one goes through."""
    try:
        interrupts.deliver()
        run.wait()
    except KeyboardInterrupt:
        try:
            run.stop()
            if run.wait(_STOP_WAIT_S):
                return
        except KeyboardInterrupt:
            run.abandon()
            run.wait(_ABANDON_WAIT_S)
        else:
            run.abandon()


def raise_outcome(run: Run) -> None:
    """Turns the end of a run into the error that its cell shows; returns for a complete one."""
    error = outcome_error(run)
    if error is not None:
        raise error


def outcome_error(run: Run) -> BaseException | None:
    """The error that a run's cell ends with; None for a complete run."""
    from lagom_magic.resuming import how_to_go_on

    crash = run.crash
    if crash is not None and not isinstance(crash, LagomError):
        return crash
    state = run.state
    if state == "COMPLETE":
        return None
    # One that is not over yet was abandoned.
    kind: type[RunError] = RunFailed if state == "FAILED" else RunStopped
    how = how_to_go_on(run)
    error = kind(run.describe_end() + (f" {how}." if how else ""), run)
    if kind is RunFailed and run.traceback:
        error.add_note(run.traceback)
    return error


def is_noninteractive() -> bool:
    """Whether LAGOM_NONINTERACTIVE says that nobody watches, so that nothing may go on behind a cell."""
    return os.environ.get("LAGOM_NONINTERACTIVE", "") not in ("", "0")


def _source_of(train_fn: Callable[..., Any]) -> str:
    try:
        return textwrap.dedent(inspect.getsource(train_fn))
    except (OSError, TypeError):  # defined by exec, or in C: there is no text to keep
        return f"# the source of {getattr(train_fn, '__qualname__', train_fn)} is not known\n"
