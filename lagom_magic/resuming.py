"""Going on with a run, and running one or one of its trials again: what is needed beside the folder's content."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lagom_magic.errors import ConfigError
from lagom_magic.events.ablation import BASELINE, REPEAT
from lagom_magic.events.facts import CHECKPOINTS, Fact, RunEnded, RunStarted, RunState, TrialState
from lagom_magic.run import Run
from lagom_magic.search.base import Suggestion
from lagom_magic.search.factory import Search
from lagom_magic.spec.config import (
    PRUNERS,
    SAMPLER_ALIASES,
    SAMPLERS,
    AblationConfig,
    BaseConfig,
    OptimizationConfig,
    TfDistributedConfig,
    TorchDistributedConfig,
)
from lagom_magic.spec.space import Domain
from lagom_magic.spec.space_json import space_from_json, space_to_json
from lagom_magic.spec.variants import ON
from lagom_magic.store.journal import INTERRUPTED
from lagom_magic.store.jsontext import json_line
from lagom_magic.store.layout import RunLayout

if TYPE_CHECKING:
    from lagom_magic.calling import Call

#: Kind of a run that goes on in its own folder → the config that makes such runs.
_CONFIGS: dict[str, type[BaseConfig]] = {"hpo": OptimizationConfig, "ablate": AblationConfig, "run": BaseConfig}
#: What travels with the function, and is no option of a run that goes on with what its folder keeps.
_TRAVELS = (
    "model",
    "module",
    "dataset",
    "train_set",
    "test_set",
    "process_data",
    "ablation_study",
    "searchspace",
    "hparams",
    "files",
    "py_files",
)


@dataclass(frozen=True, slots=True)
class RepeatedCall:
    """What an earlier run called, to be called again.

    Attributes:
        run: the earlier run.
        trial_id: the trial to repeat; None = all of them.
    """

    run: Run
    trial_id: int | None = None

    @property
    def is_isolated(self) -> bool:
        """Whether that run's trials had processes of their own."""
        document = self.run.config
        return bool(document.get("isolate") or (document.get("config") or {}).get("isolate"))

    def suggestion(self) -> Suggestion | None:
        """What the only trial runs with: that of the trial to repeat, or of a run that repeated one; None = a search's.

        The seed is that of the trial that was the first of them all.
        """
        only = _repeated_suggestion(self.run)
        if self.trial_id is None:
            return only
        trial = self.run.view.trials[self.trial_id]
        if only is not None:
            seed_id = only.seed_id
        else:
            seed_id = int(trial.hparams[REPEAT]) if self.run.is_ablation else trial.id
        return Suggestion(dict(trial.hparams), trial.budget, seed_id)

    def document(self) -> dict[str, Any]:
        """For run.json: where it comes from."""
        suggestion = self.suggestion()
        return {
            "run_id": self.run.id,
            "trial_id": self.trial_id,
            "suggestion": None if suggestion is None else asdict(suggestion),
        }


def _repeated_suggestion(run: Run) -> Suggestion | None:
    """What the only trial of a run that repeats one trial runs with; None of other runs."""
    document = run.config.get("repeats") or {}
    if document.get("suggestion"):
        return Suggestion(**document["suggestion"])
    # As runs were stored that did not say it: what the trial began with, and the seed of the trial that it repeats.
    trial, trial_id = run.view.trials.get(0), document.get("trial_id")
    if trial_id is None or trial is None:
        return None
    return Suggestion(
        dict(trial.hparams), trial.budget, trial.hparams[REPEAT] if run.config.get("components") else trial_id
    )


def repeated_trial(run: Run, trial_id: int) -> RepeatedCall:
    """One trial of a run, with its hyperparameters, budget and seed.

    Raises:
        ConfigError: when the run has no such trial, or is a training, which is one trial on all workers.
    """
    if _kind_of(run) == "train":
        raise ConfigError(f"run {run.id} is a training, which is one trial: %lagom rerun {run.id} repeats it.")
    trial = run.view.trials.get(trial_id)
    if trial is None or trial.started_at is None:
        ids = sorted(run.view.trials)
        known = f"0 to {ids[-1]}" if ids else "none yet"
        raise ConfigError(f"run {run.id} has no trial {trial_id} that was started; it has {known}.")
    return RepeatedCall(run, trial_id)


def config_of_trial(run: Run, changed: Mapping[str, Any] | None = None) -> BaseConfig:
    """The config under which one trial of a run is run again: one tracked call.

    Args:
        run: the earlier run.
        changed: fields in place of what that makes.
    """
    header = run.view.header
    options = {
        "name": run.name,
        "optimization_key": None if header is None else header.metric,
        "direction": "max" if header is None else header.direction,
        "seed": None if header is None else header.seed,
        "workers": 1,
    }
    stored = run.config.get("config") or {}
    same = ("trial_timeout", "gpus_per_worker", "autolog", "log_weights")
    options |= {name: stored[name] for name in same if name in stored}
    return BaseConfig(**options | dict(changed or {}))


def config_of(run: Run, changed: Mapping[str, Any] | None = None) -> BaseConfig:
    """The config of a stored run, which goes on with what its folder keeps.

    Args:
        run: the earlier run.
        changed: fields in place of what it had.

    Raises:
        ConfigError: when it was searched by an object, of which the folder keeps the name only; for a number of
            trials or repeats, where its kind has none.
    """
    known = {option.name for option in fields(_config_type(run))}
    for name, flag in (("num_trials", "--trials"), ("repeats", "--repeats")):
        if name in (changed or {}) and name not in known:
            raise ConfigError(f"run {run.id} is of %%lagom {_kind_of(run)}, which has no {flag}: drop it.")
    options = stored_options(run) | dict(changed or {})
    for name in ("optimizer", "pruner"):
        _check_named(run, options, name)
    if _kind_of(run) == "train" and options.get("workers") is None:
        options["workers"] = run.config.get("n_workers")  # how many train together is part of what is computed
    return _config_type(run)(**options)


def inherited_options(run: Run, given: Collection[str]) -> dict[str, Any]:
    """The options of a stored run for the cell that goes on with it.

    Args:
        run: the earlier run.
        given: options that the cell's line names; they win, and what excludes them is not inherited.

    Raises:
        ConfigError: when a sampler or pruner was an object, and the line names none; for a training, which goes on
            from its checkpoint.
    """
    if _kind_of(run) == "train":
        raise ConfigError(
            f"run {run.id} is of %%lagom train, which goes on from its checkpoint in a new run: %lagom resume "
            f"{run.id}, or run its cell with --resume {run.id}."
        )
    options, document = stored_options(run), run.config
    asked = document.get("config") or {}
    for name in ("optimizer", "pruner"):
        if name not in given:
            _check_named(run, options, name)
    if asked.get("searchspace") and "searchspace" not in given:
        options["searchspace"] = space_from_json(asked["searchspace"])
    if not {"hparams", "set"} & set(given) and asked.get("hparams"):
        options["hparams"] = {
            name: value for name, value in document.get("fixed_hparams", {}).items() if name in asked["hparams"]
        }
    if {"maximize", "minimize"} & set(given):
        options.pop("optimization_key", None)
        options.pop("direction", None)
    return {name: value for name, value in options.items() if name not in given}


def _check_named(run: Run, options: Mapping[str, Any], name: str) -> None:
    """Whether what a run was searched with is known by its name."""
    known = (*SAMPLERS, *SAMPLER_ALIASES) if name == "optimizer" else PRUNERS
    if isinstance(options.get(name), str) and options[name] not in known:
        flag = "--sampler" if name == "optimizer" else "--pruner"
        raise ConfigError(
            f"run {run.id} used an object as {name}: {options[name]}, which its folder does not keep. Run the "
            f"function's cell with --resume {run.id} {flag} NAME, and give it such an object."
        )


def stored_options(run: Run) -> dict[str, Any]:
    """The options of a stored run, as its config takes them, less what travels with the function."""
    document = run.config.get("config") or {}
    known = {option.name for option in fields(_config_type(run))}
    return {name: value for name, value in document.items() if name in known and name not in _TRAVELS}


def _kind_of(run: Run) -> str:
    header = run.view.header
    return header.kind if header is not None else str(run.config.get("kind"))


def _config_type(run: Run) -> type[BaseConfig]:
    kind = _kind_of(run)
    if kind in _CONFIGS:
        return _CONFIGS[kind]
    if kind != "train":
        known = ", ".join((*_CONFIGS, "train"))
        raise ConfigError(f"run {run.id} is of the kind {kind!r}; this version knows {known}. Use a newer one.")
    is_torch = "backend" in (run.config.get("config") or {})  # the other one has no such option
    return TorchDistributedConfig if is_torch else TfDistributedConfig


def checkpoint_of(run: Run, *, is_kept_call: bool = False) -> Path:
    """What a training goes on from.

    Args:
        run: the earlier run.
        is_kept_call: it goes on with what its folder keeps: the same function with the same hyperparameters.

    Raises:
        ConfigError: when there is nothing, or nothing is left to do.
    """
    _check_ended(run)
    trials = run.trials
    if is_kept_call and trials and trials[0].state is TrialState.COMPLETE:
        raise ConfigError(
            f"nothing of run {run.id} is missing: its training is complete. To train on, run its cell with "
            f"--resume {run.id} and more epochs."
        )
    checkpoint = trials[0].checkpoint if trials else _adopted(run)
    if checkpoint is None:
        anew = f" %lagom rerun {run.id} begins anew." if is_kept_call else ""
        raise ConfigError(
            f"run {run.id} (--resume) kept no checkpoint to go on from. The function keeps one with "
            "reporter.checkpoint(model=model, optimizer=optimizer, epoch=epoch) and takes it up with "
            f"reporter.restore.{anew}"
        )
    return checkpoint


def _adopted(run: Run) -> Path | None:
    """What a training that was cut off before it began was to go on from."""
    return max((RunLayout(run.dir).trial_dir(0, 1) / CHECKPOINTS).glob("[!.]*"), default=None)


def check_resumable(
    run: Run,
    config: BaseConfig,
    call: Call,
    search: Search,
    n_trials: int,
    *,
    has_end: bool,
) -> None:
    """Whether a run can be gone on with like this.

    Args:
        run: the earlier run.
        config: of the run as it goes on.
        call: what it calls now.
        search: its sampler and pruner.
        n_trials: how many trials it is to have in all.
        has_end: its journal says how it ended; else that is missing in any case.

    Raises:
        ConfigError: when it is alive, is another search, or nothing of it is missing.
    """
    _check_ended(run)
    kind = next((kind for kind, made in _CONFIGS.items() if type(config) is made), "train")
    header, document = run.view.header, run.config
    if header is None:  # killed before its first line
        return
    if header.kind != kind:
        raise ConfigError(f"run {run.id} (--resume) is of %%lagom {header.kind}, not of %%lagom {kind}.")
    _check_same_search(run, config, call, search)
    _check_same_ablation(run, document.get("components") or {}, _as_json(call.document()) or {})
    n_ended = _n_ended(run)
    if n_ended >= n_trials and has_end:
        more, flag = "", "--trials"
        if kind == "hpo" and search.sampler.n_trials is None:
            more = f" --trials {2 * n_ended} goes on with more."
        elif isinstance(config, AblationConfig) and config.num_trials is None:
            flag, n_more = "--repeats", 2 * math.ceil(config.repeats * n_ended / max(1, n_trials))
            more = f" --repeats {n_more} goes on with more."
        elif isinstance(config, AblationConfig) and config.num_trials == n_trials:
            more = f" --trials {n_trials} is all that may run; a larger one goes on with more."
        if n_ended > n_trials:
            raise ConfigError(
                f"run {run.id} has {n_ended} trials already, and {flag} is the number in all, which makes "
                f"{n_trials}.{more}"
            )
        raise ConfigError(f"nothing of run {run.id} is missing: {n_ended} of {n_trials} trials have ended.{more}")


def _check_same_search(run: Run, config: BaseConfig, call: Call, search: Search) -> None:
    """Whether the trials to come are those of the same search."""
    header, document = run.view.header, run.config
    assert header is not None
    space_before = space_from_json(document.get("searchspace") or {})
    space_now = space_from_json(_as_json(space_to_json(call.space)))
    fixed_before, fixed_now = (
        _as_json(one) for one in (document.get("fixed_hparams", call.fixed_hparams), call.fixed_hparams)
    )
    told = {
        "the search space differs": _differences(space_before, space_now, absent="not searched"),
        "what is fixed differs": _differences(fixed_before, fixed_now, absent="not fixed"),
        "the metric was": _difference(header.metric, config.metric),
        "the direction was": _difference(header.direction, config.direction),
        "the seed was": _difference(header.seed, config.seed),
        "the sampler was": _difference(header.sampler, search.sampler_name),
        "the pruner was": _difference(header.pruner, search.pruner_name),
    }
    what = next((f"{what}{how}" for what, how in told.items() if how), None)
    if what is not None:
        raise ConfigError(
            f"run {run.id} (--resume) cannot go on with another search: {what}. "
            "Leave that as it was, or begin a new run without --resume."
        )


def _difference(before: Any, now: Any) -> str:
    return f" {before!r} and is {now!r}" if _as_json(before) != _as_json(now) else ""


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], absent: str) -> str:
    """': lr: Float(0.1, 1) → Float(0.1, 2), n: Int(1, 9) → not searched'; '' where they are the same."""
    texts = []
    for name in dict.fromkeys((*before, *now)):
        values = [one.get(name) for one in (before, now)]
        if values[0] != values[1] or (name in before) != (name in now):
            was, is_now = (_written(one[name]) if name in one else absent for one in (before, now))
            texts.append(f"{name}: {' → '.join((was, is_now) if was != is_now else map(repr, values))}")
    return f": {', '.join(texts)}" if texts else ""


def _written(value: Any) -> str:
    """A domain as the user writes it, or the value of what is fixed."""
    if not isinstance(value, Domain):
        return repr(value)
    return value.describe() + (f" when {dict(value.when)!r}" if value.when else "")


def _check_same_ablation(run: Run, before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> None:
    """Whether two ablations, as `Call.document` has them, leave out the same of the same baseline."""
    other = [label for label in {**before, **now} if _left_out(before.get(label)) != _left_out(now.get(label))]
    if other:
        raise ConfigError(
            f"run {run.id} (--resume) cannot go on with another ablation: {', '.join(other)} leave out something else, "
            "or only one of the two has them. Begin a new run without --resume."
        )
    were_on, are_on = (ablation.get(BASELINE, {}).get(ON, {}) for ablation in (before, now))
    for name, value in were_on.items():
        if name in are_on and are_on[name] != value:
            raise ConfigError(
                f"run {run.id} (--resume) cannot go on with another ablation: the switch {name} was {value!r} when it "
                f"was on, and is {are_on[name]!r}. Leave its default as it was, or begin a new run without --resume."
            )


def _left_out(variant: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if variant is None else {what: value for what, value in variant.items() if what != ON}


def has_ended(facts: Sequence[Fact]) -> bool:
    """Whether the last session of a run came to its end; its driver was killed otherwise."""
    last = next((fact for fact in reversed(facts) if isinstance(fact, (RunStarted, RunEnded))), None)
    return isinstance(last, RunEnded)


def how_to_go_on(run: Run) -> str:
    """'%lagom resume k3f7 goes on …' of a run that was stopped or cut off; '' of others, or with nothing missing."""
    view = run.view
    is_whole = view.n_trials is not None and _n_ended(run) >= view.n_trials
    if (view.state is RunState.STOPPED and not is_whole) or view.state_reason == INTERRUPTED:
        return f"%lagom resume {run.id} goes on with what is missing"
    return ""


def _n_ended(run: Run) -> int:
    """How many trials are over, and not to be run again."""
    counts = run.view.counts
    return sum(counts[state] for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED))


def going_on_with(run: Run, config: BaseConfig) -> dict[str, Any]:
    """What run.json says of the options when a run goes on with the function that its folder keeps."""
    before = run.config.get("config") or {}
    return {name: before.get(name, value) if name in _TRAVELS else value for name, value in config.document().items()}


def notebook_dir_of(run: Run) -> Path | None:
    """Where relative paths began in a run; None when that folder is not here."""
    folder = run.config.get("notebook_dir")
    path = Path(folder) if isinstance(folder, str) else None
    return path if path is not None and path.is_dir() else None


def _as_json(value: Any) -> Any:
    """As it is when it has been in run.json."""
    return json.loads(json_line(value))


def _check_ended(run: Run) -> None:
    if run.is_alive:
        raise ConfigError(f"run {run.id} (--resume) is alive. Stop it first: %lagom stop {run.id}")
