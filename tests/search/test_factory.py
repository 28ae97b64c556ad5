import importlib.util
import subprocess
import sys

import optuna
import pytest

from lagom_magic.errors import ConfigError
from lagom_magic.search import Pruner, Sampler, Suggestion, factory, make_search
from lagom_magic.search.asha_pruner import AshaPruner
from lagom_magic.search.grid_sampler import GridSampler
from lagom_magic.search.hyperband_pruner import HyperbandPruner
from lagom_magic.search.median_pruner import MedianPruner
from lagom_magic.search.none_pruner import NonePruner
from lagom_magic.search.optuna_pruner import OptunaPruner
from lagom_magic.search.optuna_sampler import OptunaSampler
from lagom_magic.search.promotion_sampler import PromotionSampler
from lagom_magic.search.qmc_sampler import QmcSampler
from lagom_magic.search.random_sampler import RandomSampler
from lagom_magic.spec import config
from lagom_magic.spec.space import Float, Int, Searchspace

SPACE = Searchspace(n=Int(1, 5))


def search(sampler=None, pruner=None, space=SPACE, **options):
    return make_search(space, sampler, pruner, **{"direction": "max", "n_trials": 20, "seed": 1, **options})


class OneFifth(Sampler):
    def ask(self, trial_id):
        return Suggestion({"n": 5})

    def tell(self, trial_id, state, value):
        pass


@pytest.mark.parametrize(
    ("name", "kind", "shown"),
    [
        (None, RandomSampler, "random"),
        ("random", RandomSampler, "random"),
        ("RandomSearch", RandomSampler, "random"),
        ("grid", GridSampler, "grid"),
        ("gridsearch", GridSampler, "grid"),
        ("TPE", OptunaSampler, "tpe"),
        ("gp", OptunaSampler, "gp"),
        ("cmaes", OptunaSampler, "cmaes"),
        (" qmc ", QmcSampler, "qmc"),
    ],
)
def test_a_sampler_has_its_name_in_any_case_and_maggys_too(name, kind, shown) -> None:
    found = search(name)
    assert type(found.sampler) is kind
    assert found.sampler_name == shown


@pytest.mark.parametrize(
    ("name", "kind", "shown"),
    [
        (None, MedianPruner, "median"),
        ("Median", MedianPruner, "median"),
        ("none", NonePruner, "none"),
        ("ASHA", AshaPruner, "asha"),
        ("hyperband", HyperbandPruner, "hyperband"),
    ],
)
def test_a_pruner_has_its_name_in_any_case(name, kind, shown) -> None:
    found = search(pruner=name)
    assert type(found.pruner) is kind
    assert found.pruner_name == shown


def test_asha_as_a_sampler_is_random_search_under_asha() -> None:
    found = search("Asha")
    assert (found.sampler_name, found.pruner_name) == ("random", "asha")
    assert isinstance(found.pruner, AshaPruner)


def test_asha_as_a_sampler_beside_another_pruner_is_refused() -> None:
    with pytest.raises(ConfigError, match="--sampler random --pruner median"):
        search("asha", "median")


def test_objects_of_ours_and_of_optunas_are_taken_and_shown_by_their_class() -> None:
    ours = search(OneFifth(), MedianPruner("max"))
    assert (ours.sampler_name, ours.pruner_name) == ("OneFifth", "MedianPruner")
    assert isinstance(ours.sampler, OneFifth)
    theirs = search(optuna.samplers.RandomSampler(seed=1), optuna.pruners.ThresholdPruner(lower=0))
    assert (theirs.sampler_name, theirs.pruner_name) == ("RandomSampler", "ThresholdPruner")
    assert isinstance(theirs.sampler, OptunaSampler)
    assert isinstance(theirs.pruner, OptunaPruner)


def test_an_unknown_name_lists_the_known_and_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Unknown sampler 'tpee'; known: random, grid, .* Did you mean tpe\?"):
        search("tpee")
    with pytest.raises(ConfigError, match=r"Unknown pruner 'hyper_band'; known: median, .* Did you mean hyperband\?"):
        search(pruner="hyper_band")


@pytest.mark.parametrize(("role", "given"), [("sampler", OneFifth), ("pruner", MedianPruner)])
def test_a_class_instead_of_an_instance_says_so(role, given) -> None:
    with pytest.raises(ConfigError, match=rf"{given.__name__} is a class. Give an instance"):
        search(**{role: given})


@pytest.mark.parametrize("role", ["sampler", "pruner"])
def test_any_other_object_is_refused_with_what_is_allowed(role) -> None:
    with pytest.raises(ConfigError, match=r"is a int; allowed: .* or an optuna"):
        search(**{role: 3})


@pytest.mark.parametrize(
    ("sampler", "package", "line"),
    [("gp", "torch", "pip install torch"), ("cmaes", "cmaes", "pip install cmaes"), ("qmc", "scipy", "install scipy")],
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(sampler, package, line, monkeypatch) -> None:
    monkeypatch.setattr(factory, "find_spec", lambda name: None if name == package else importlib.util.find_spec(name))
    with pytest.raises(ConfigError, match=line):
        search(sampler)


def test_an_empty_space_is_refused_unless_there_is_one_trial_or_an_own_sampler() -> None:
    with pytest.raises(ConfigError, match="all 20 trials would be the same"):
        search(space=Searchspace())
    for name in ("random", "tpe", "qmc", "grid"):
        assert search(name, space=Searchspace(), n_trials=1).sampler.ask(0).hparams == {}
    assert search(OneFifth(), space=Searchspace()).sampler.ask(0).hparams == {"n": 5}


def test_a_grid_says_how_many_trials_there_are() -> None:
    assert search("grid").sampler.n_trials == 5
    with pytest.raises(ConfigError, match="step"):
        search("grid", space=Searchspace(lr=Float(0, 1)))


def test_the_median_rule_gets_its_settings() -> None:
    pruner = search(es_min=1, es_interval=4).pruner
    assert isinstance(pruner, MedianPruner)
    assert (pruner._es_min, pruner._es_interval) == (1, 4)


def test_a_wrong_direction_is_refused() -> None:
    with pytest.raises(ConfigError, match="allowed: 'max', 'min'"):
        search(direction="maximize")


@pytest.mark.parametrize("pruner", ["asha", "hyperband"])
def test_a_function_that_wants_a_budget_is_promoted_instead_of_stopped(pruner) -> None:
    found = search("tpe", pruner, wants_budget=True)
    assert isinstance(found.sampler, PromotionSampler)
    assert isinstance(found.pruner, NonePruner)
    assert (found.sampler_name, found.pruner_name) == ("tpe", pruner)
    assert found.sampler.ask(0).budget == 1


def test_other_pruners_leave_the_budget_open() -> None:
    found = search("random", "median", wants_budget=True)
    assert found.sampler.ask(0).budget is None


@pytest.mark.parametrize(("n_trials", "budgets"), [(4, {1, 2}), (20, {1, 2, 4, 8}), (200, {1, 2, 4, 8, 16})])
def test_the_ladder_of_budgets_fits_the_number_of_trials(n_trials, budgets) -> None:
    sampler = search(pruner="asha", wants_budget=True, n_trials=n_trials).sampler
    assert set(sampler._budgets) == budgets


def test_the_users_ladder_is_taken() -> None:
    pruner = AshaPruner("max", reduction_factor=3, min_step=2, max_step=18)
    assert search(pruner=pruner, wants_budget=True).sampler._budgets == [2, 6, 18]
    bands = HyperbandPruner("max", reduction_factor=3, min_step=1, max_step=9, n_brackets=2)
    assert search(pruner=bands, wants_budget=True).sampler._budgets == [1, 3, 9]


def test_importing_the_search_imports_neither_optuna_nor_numpy() -> None:
    code = "import sys, lagom_magic.search; print({'optuna', 'numpy', 'scipy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"


def test_every_name_makes_a_pair() -> None:
    for sampler in (*config.SAMPLERS, *config.SAMPLER_ALIASES):
        for pruner in config.PRUNERS if sampler != "asha" else ("asha",):
            found = search(sampler, pruner)
            assert isinstance(found.sampler, Sampler)
            assert isinstance(found.pruner, Pruner)


def test_the_names_are_those_of_the_configs() -> None:
    assert vars(factory)["SAMPLERS"] is config.SAMPLERS
    assert vars(factory)["PRUNERS"] is config.PRUNERS
