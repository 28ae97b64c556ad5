"""From the names or objects that a user gives to the sampler and the pruner of a run.

Called before Spark starts, so all that cannot work is said here.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from lagom_magic.errors import ConfigError
from lagom_magic.search.asha_pruner import AshaPruner
from lagom_magic.search.base import Direction, Pruner, Sampler
from lagom_magic.search.grid_sampler import GridSampler
from lagom_magic.search.hyperband_pruner import HyperbandPruner
from lagom_magic.search.median_pruner import MedianPruner
from lagom_magic.search.none_pruner import NonePruner
from lagom_magic.search.promotion_sampler import PromotionSampler
from lagom_magic.search.qmc_sampler import QmcSampler
from lagom_magic.search.random_sampler import RandomSampler
from lagom_magic.spec import checks
from lagom_magic.spec.config import PRUNERS, SAMPLER_ALIASES, SAMPLERS
from lagom_magic.spec.space import Searchspace

#: What a sampler imports beyond NumPy; also the name that pip knows.
_NEEDS = {"tpe": ("optuna",), "gp": ("optuna", "torch", "scipy"), "cmaes": ("optuna", "cmaes"), "qmc": ("scipy",)}
#: Budgets of a function that names `budget`: 1, 2, 4, 8, 16 when there are trials enough to climb there.
_MAX_RUNGS = 5


@dataclass(frozen=True, slots=True)
class Search:
    """What a run searches with, and the names to show for it."""

    sampler: Sampler
    pruner: Pruner
    sampler_name: str
    pruner_name: str


def make_search(
    space: Searchspace,
    sampler: str | object | None,
    pruner: str | object | None,
    *,
    direction: Direction,
    n_trials: int,
    seed: int | None,
    wants_budget: bool = False,
    es_interval: int = 1,
    es_min: int = 10,
) -> Search:
    """The sampler and the pruner of a run.

    Args:
        space: what is searched; may be empty for one trial or for a sampler object of the user's own.
        sampler: a name of `SAMPLERS` (Maggy's too), a `Sampler`, an `optuna` sampler; None = random.
        pruner: a name of `PRUNERS`, a `Pruner`, an `optuna` pruner; None = median.
        direction: "max" or "min".
        n_trials: how many trials the run may have, >= 1; a grid knows better, see `Search.sampler.n_trials`.
        seed: the run's; None = different each time.
        wants_budget: the training function names `budget`: ASHA and Hyperband promote instead of stopping.
        es_interval: the median rule judges each so many steps, >= 1.
        es_min: the median rule begins after so many complete trials, >= 1.

    Raises:
        ConfigError: for an unknown name, a class instead of an instance, a package that is missing, a space
            that the sampler cannot search, or `sampler="asha"` beside another pruner.
    """
    if direction not in ("max", "min"):
        raise ConfigError(f"direction={direction!r}; allowed: 'max', 'min'.")
    pruner = _asha_of(sampler, pruner)
    sampler_name = _name_of("sampler", sampler, SAMPLERS, default="random")
    pruner_name = _name_of("pruner", pruner, PRUNERS, default="median")
    chosen = _make_sampler(sampler_name, sampler, space, direction, n_trials, seed)
    judge = _make_pruner(pruner_name, pruner, direction, es_interval, es_min)
    if wants_budget and isinstance(judge, (AshaPruner, HyperbandPruner)):
        return Search(_promoting(chosen, judge, direction, n_trials), NonePruner(), sampler_name, pruner_name)
    return Search(chosen, judge, sampler_name, pruner_name)


def _asha_of(sampler: object, pruner: object) -> object:
    """The pruner once `--sampler asha` is understood."""
    if not (isinstance(sampler, str) and _plain(sampler) == "asha"):
        return pruner
    if pruner is None or (isinstance(pruner, str) and _plain(pruner) == "asha") or isinstance(pruner, AshaPruner):
        return pruner or "asha"
    shown = pruner if isinstance(pruner, str) else type(pruner).__name__
    raise ConfigError(
        f"--sampler asha is random search under the ASHA pruner, and cannot have --pruner {shown} as well. "
        f"Use --sampler random --pruner {shown}, or leave --pruner out."
    )


def _plain(name: str) -> str:
    return name.strip().lower()


def _name_of(role: str, given: object, known: tuple[str, ...], default: str) -> str:
    """The name to show; a name that was given is checked."""
    if given is None:
        return default
    if isinstance(given, type):
        raise ConfigError(f"{role}: {given.__name__} is a class. Give an instance: {given.__name__}(…).")
    if not isinstance(given, str):
        return type(given).__name__
    name = _plain(given)
    if role == "sampler":
        name = SAMPLER_ALIASES.get(name, name)
    if name not in known:
        aliases = tuple(SAMPLER_ALIASES) if role == "sampler" else ()
        raise ConfigError(
            f"Unknown {role} {given!r}; known: {', '.join(known)}, or a variable that holds a {role} object."
            f"{checks.meant(name, known + aliases)}"
        )
    return name


def _make_sampler(
    name: str, given: object, space: Searchspace, direction: Direction, n_trials: int, seed: int | None
) -> Sampler:
    if isinstance(given, Sampler):
        return given
    if not len(space) and n_trials != 1:
        raise ConfigError(
            f"The search space is empty, so all {n_trials} trials would be the same. Annotate an argument "
            "(lr: Float(1e-4, 1e-1)), give --space NAME, or use --trials 1."
        )
    if _is_optuna(given, "samplers", "BaseSampler"):
        from lagom_magic.search.optuna_sampler import OptunaSampler

        return OptunaSampler(given, space, direction)  # type: ignore[arg-type]
    if given is not None and not isinstance(given, str):
        raise ConfigError(
            f"sampler={given!r} is a {type(given).__name__}; allowed: {', '.join(SAMPLERS)}, a lagom_magic Sampler, "
            "or an optuna.samplers.BaseSampler."
        )
    _check_packages(name)
    return _named_sampler(name if len(space) else "random", space, direction, seed)


def _named_sampler(name: str, space: Searchspace, direction: Direction, seed: int | None) -> Sampler:
    if name == "random":
        return RandomSampler(space, seed)
    if name == "grid":
        return GridSampler(space)
    if name == "qmc":
        return QmcSampler(space, seed)
    from lagom_magic.search import optuna_sampler as with_optuna

    if name == "tpe":
        return with_optuna.OptunaSampler(
            with_optuna.tpe(space, seed), space, direction, history=with_optuna.TPE_HISTORY
        )
    if name == "gp":
        return with_optuna.OptunaSampler(
            with_optuna.gp(seed), space, direction, history=with_optuna.GP_HISTORY, pruned_are_complete=True
        )
    return with_optuna.OptunaSampler(with_optuna.cmaes(space, seed), space, direction)


def _check_packages(name: str) -> None:
    missing = [package for package in _NEEDS.get(name, ()) if find_spec(package) is None]
    if missing:
        raise ConfigError(
            f"--sampler {name} needs {' and '.join(missing)} in this notebook's Python: "
            f"pip install {' '.join(missing)}. (--sampler random needs nothing.)"
        )


def _make_pruner(name: str, given: object, direction: Direction, es_interval: int, es_min: int) -> Pruner:
    if isinstance(given, Pruner):
        return given
    if _is_optuna(given, "pruners", "BasePruner"):
        from lagom_magic.search.optuna_pruner import OptunaPruner

        return OptunaPruner(given, direction)  # type: ignore[arg-type]
    if given is not None and not isinstance(given, str):
        raise ConfigError(
            f"pruner={given!r} is a {type(given).__name__}; allowed: {', '.join(PRUNERS)}, a lagom_magic Pruner, "
            "or an optuna.pruners.BasePruner."
        )
    match name:
        case "median":
            return MedianPruner(direction, es_min=es_min, es_interval=es_interval)
        case "asha":
            return AshaPruner(direction)
        case "hyperband":
            return HyperbandPruner(direction)
    return NonePruner()


def _is_optuna(given: object, module: str, base: str) -> bool:
    """Whether it is an object of Optuna's, without importing Optuna: who has one has imported it."""
    optuna: Any = sys.modules.get("optuna")
    return optuna is not None and isinstance(given, getattr(getattr(optuna, module), base))


def _promoting(
    inner: Sampler, pruner: AshaPruner | HyperbandPruner, direction: Direction, n_trials: int
) -> PromotionSampler:
    min_budget = pruner.min_step or 1
    return PromotionSampler(
        inner,
        direction,
        reduction_factor=pruner.reduction_factor,
        min_budget=min_budget,
        max_budget=pruner.max_step or min_budget * pruner.reduction_factor ** (_n_rungs(n_trials, pruner) - 1),
        n_brackets=pruner.n_brackets if isinstance(pruner, HyperbandPruner) else 1,
    )


def _n_rungs(n_trials: int, pruner: AshaPruner | HyperbandPruner) -> int:
    """As many rungs as the trials can fill so that one configuration reaches the highest, from 2 to 5."""
    n_rungs = 2
    while n_rungs < _MAX_RUNGS and sum(pruner.reduction_factor**k for k in range(n_rungs + 1)) <= n_trials:
        n_rungs += 1
    return n_rungs
