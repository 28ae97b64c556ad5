import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import cloudpickle
import pytest

from lagom_magic.errors import ConfigError
from lagom_magic.spec.config import BaseConfig, OptimizationConfig
from lagom_magic.spec.inspection import FunctionPlan, doubts_of_defaults, plan_function, without_fixed
from lagom_magic.spec.space import Categorical, Float, Int, Searchspace
from lagom_magic.spec.study import Switch


class Network: ...


def search(fn: Callable[..., Any], **values: Any) -> FunctionPlan:
    return plan_function(fn, OptimizationConfig(**values))


def complaint(fn: Any, config: BaseConfig | None = None, **values: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        plan_function(fn, config or OptimizationConfig(**values))
    return str(caught.value)


def train(lr: Float(0, 1), width: Int(1, 8) = 4, reporter: Any = None) -> float:  # type: ignore[valid-type]
    return 0.0


def test_annotated_arguments_are_searched_and_ours_are_filled() -> None:
    plan = search(train)
    assert plan.space == Searchspace(lr=Float(0, 1), width=Int(1, 8))
    assert (plan.hparam_names, plan.wants, plan.fixed, plan.fixed_hparams) == (("lr", "width"), ("reporter",), {}, {})


def test_a_space_fills_arguments_by_name_and_everything_goes_into_hparams() -> None:
    def by_name(lr: float, note: str = "") -> None: ...
    def as_dict(hparams: dict[str, Any]) -> None: ...
    def as_rest(**values: Any) -> None: ...

    space = Searchspace(lr=Float(0, 1))
    assert search(by_name, searchspace=space).hparam_names == ("lr",)
    assert (search(as_dict, searchspace=space).hparam_names, search(as_dict, searchspace=space).wants) == (
        (),
        ("hparams",),
    )
    assert search(as_rest, searchspace=space).hparam_names == ("lr",)


def test_data_and_models_fill_the_arguments_of_their_names() -> None:
    def fit(module: Any, dataset: Any, train_set: Any, lr: Float(0, 1), test_set: Any = None) -> None: ...  # type: ignore[valid-type]

    data = (1, 2)
    plan = search(fit, model=Network, dataset=data, train_set="a.csv")
    assert plan.fixed == {"module": Network, "dataset": data, "train_set": "a.csv"}
    assert plan.fixed["dataset"] is data


def test_fixed_values_win_over_annotations_and_leave_the_space() -> None:
    plan = search(train, hparams={"lr": 7.0})
    assert plan.space == Searchspace(width=Int(1, 8))
    assert plan.fixed_hparams == {"lr": 7.0}
    assert plan.hparam_names == ("width", "lr")


def test_a_fixed_value_may_fill_an_argument_that_is_not_searched() -> None:
    def fit(lr: Float(0, 1), epochs: int) -> None: ...  # type: ignore[valid-type]

    assert search(fit, hparams={"epochs": 3}).fixed_hparams == {"epochs": 3}


def test_fixing_a_hyperparameter_settles_the_conditions_on_it() -> None:
    space = Searchspace(
        kind=Categorical(["sgd", "adam"]),
        momentum=Float(0, 1, when={"kind": "sgd"}),
        nesterov=Float(0, 0.5, when={"momentum": [0, 1]}),
        lr=Float(0, 1),
    )
    assert without_fixed(space, {"kind": "sgd"}) == Searchspace(
        momentum=Float(0, 1), nesterov=Float(0, 0.5, when={"momentum": [0, 1]}), lr=Float(0, 1)
    )
    assert without_fixed(space, {"kind": "adam"}) == Searchspace(lr=Float(0, 1))


def test_a_default_outside_its_domain_is_fine() -> None:
    def fit(lr: Float(0, 1) = 5.0) -> None: ...  # type: ignore[valid-type]

    assert search(fit).hparam_names == ("lr",)


def test_a_default_outside_its_domain_is_told() -> None:
    def fit(a: Float(0, 1) = 5, k: Categorical(["x"]) = "z", b: Int(1, 3) = 2, c: Int(1, 3) = None) -> None: ...  # type: ignore[valid-type]

    assert doubts_of_defaults(search(fit)) == (
        "the default a=5 is not in Float(0, 1): a plain call uses it, the search never tries it.",
        "the default k='z' is not in Categorical(['x']): a plain call uses it, the search never tries it.",
    )
    assert doubts_of_defaults(plan_function(fit, BaseConfig())) == ()


def test_a_switch_is_refused_in_a_search_with_what_to_write() -> None:
    def fit(lr: Float(0, 1), augment: Switch() = True) -> None: ...  # type: ignore[valid-type]
    def as_class(lr: Float(0, 1), augment: Switch = True) -> None: ...  # type: ignore[valid-type]

    assert complaint(fit) == (
        "Argument 'augment' of fit() is a Switch, which %%lagom ablate turns off. "
        "To search it write augment: Categorical([True, False]); to fix it, --set augment=True."
    )
    assert "Argument 'augment' of as_class() is a Switch" in complaint(as_class)
    assert search(fit, hparams={"augment": False}).fixed_hparams == {"augment": False}
    assert plan_function(fit, BaseConfig(hparams={"lr": 0.5})).wants == ()


def test_a_data_name_may_be_a_hyperparameter() -> None:
    def fit(model: Categorical(["cnn", "mlp"])) -> None: ...  # type: ignore[valid-type]

    assert search(fit).hparam_names == ("model",)
    assert complaint(fit, model=Network) == "model (--model) is given, but 'model' is searched too. Drop one of them."


def test_a_single_run_takes_the_defaults_and_records_those_of_hyperparameters() -> None:
    def fit(lr: Float(0, 1) = 0.5, epochs: int = 3) -> None: ...  # type: ignore[valid-type]

    plan = plan_function(fit, BaseConfig())
    assert (plan.space, plan.fixed_hparams, plan.hparam_names) == (Searchspace(), {"lr": 0.5}, ("lr",))
    assert plan_function(fit, BaseConfig(hparams={"lr": 0.1})).fixed_hparams == {"lr": 0.1}


def test_lambdas_partials_and_callable_objects_can_be_searched() -> None:
    class Trainer:
        def __call__(self, lr: Float(0, 1)) -> None: ...  # type: ignore[valid-type]

    assert search(lambda lr: lr, searchspace={"lr": Float(0, 1)}).hparam_names == ("lr",)
    assert search(Trainer()).hparam_names == ("lr",)
    assert search(functools.partial(train, width=3)).hparam_names == ("lr", "width")


def test_seed_and_budget_keep_their_own_default_where_there_is_nothing_to_give() -> None:
    def fit(lr: Float(0, 1), seed: int = 1, budget: int = 10) -> None: ...  # type: ignore[valid-type]

    assert search(fit).wants == ("seed",)
    assert search(fit, seed=None).wants == ()
    assert search(fit, pruner="asha").wants == ("seed", "budget")


def test_a_sampler_of_the_users_own_may_choose_the_names() -> None:
    def fit(lr: float, depth: int, reporter: Any = None) -> None: ...

    plan = search(fit, optimizer=object(), hparams={"depth": 3})
    assert (plan.space, plan.hparam_names, plan.wants) == (Searchspace(), ("depth", "lr"), ("reporter",))


def test_the_payload_has_no_annotations_and_can_be_pickled() -> None:
    payload = cloudpickle.loads(cloudpickle.dumps(search(train).payload()))
    assert payload["train_fn"](lr=1) == 0.0
    assert payload["train_fn"].__annotations__ == {}
    assert (payload["fixed"], payload["wants"], payload["hparam_names"]) == ({}, ["reporter"], ["lr", "width"])


def test_an_argument_that_nothing_fills_is_named_with_what_can_fill_it() -> None:
    def fit(lr: Float(0, 1), reportr: Any) -> None: ...  # type: ignore[valid-type]

    assert complaint(fit) == (
        "Nothing fills argument 'reportr' of fit(). Arguments are filled by name: hparams, reporter, seed, trial, "
        "budget; model, module, dataset, train_set, test_set from the options of these names; hyperparameters (lr). "
        "Give it a default, a domain (reportr: Float(0, 1)), or a value: --set reportr=… Did you mean reporter?"
    )


@pytest.mark.parametrize(
    ("fn", "config", "fix"),
    [
        (
            lambda lr, dataset: 0,
            OptimizationConfig(searchspace={"lr": Float(0, 1)}),
            "Give --dataset NAME, or a default.",
        ),
        (
            lambda lr, budget: 0,
            OptimizationConfig(searchspace={"lr": Float(0, 1)}),
            "A budget comes with --pruner asha or hyperband; or give it a default.",
        ),
        (lambda epochs: 0, BaseConfig(), "Give it a default, or a value: --set epochs=…"),
    ],
)
def test_how_to_fill_an_argument_depends_on_its_name(fn: Any, config: BaseConfig, fix: str) -> None:
    assert fix in complaint(fn, config)


def test_an_argument_that_only_has_to_be_given_is_not_taken_for_a_misspelt_one() -> None:
    text = complaint(lambda module, test_set: 0, BaseConfig(module=dict))
    assert text.endswith("Give --test-set NAME, or a default.")


def test_a_hyperparameter_declared_twice_is_an_error() -> None:
    assert complaint(train, searchspace={"lr": Float(0, 2)}) == (
        "'lr' is declared twice: Float(0, 1) in the annotation of train() and Float(0, 2) in the search space "
        "(--space). Remove one of them."
    )


def test_a_space_that_names_no_argument_is_an_error_with_the_nearest() -> None:
    def fit(width: Any, depth: Any = 1) -> None: ...

    assert complaint(fit, searchspace={"widht": Int(1, 2)}) == (
        "search space (--space) names 'widht', but fit() has no such argument; it has: width, depth. "
        "Add the argument 'widht', or take all in `hparams`. Did you mean width?"
    )
    assert complaint(train, hparams={"wdth": 3}) == (
        "hparams (--hparams/--set) names 'wdth', but train() has no such argument; it has: lr, width. "
        "Add the argument 'wdth', or take all in `hparams`. Did you mean width?"
    )


def test_what_lagom_fills_cannot_be_searched_nor_set() -> None:
    def fit(seed: Int(0, 9)) -> None: ...  # type: ignore[valid-type]

    assert complaint(fit) == "'seed' is filled by lagom and cannot be a hyperparameter. Rename it."
    assert complaint(train, hparams={"seed": 3}) == (
        "hparams (--hparams/--set) names 'seed', which is filled by --seed. Drop it there."
    )
    assert complaint(train, hparams={"train_set": 3}) == (
        "hparams (--hparams/--set) names 'train_set', which is filled by --train-set. Drop it there."
    )


def test_nothing_to_search_is_an_error() -> None:
    assert complaint(lambda: 0) == (
        "<lambda>() has nothing to search. Declare a hyperparameter, such as lr: Float(1e-4, 1e-1), or give --space; "
        "for one tracked call use %%lagom run."
    )
    assert "has nothing to search (lr, width fixed)" in complaint(train, hparams={"lr": 1, "width": 2})


def test_data_that_the_function_does_not_take_is_an_error() -> None:
    assert complaint(train, dataset=[1]) == (
        "dataset (--dataset) is given, but train() has no argument 'dataset'. Add the argument, or drop the option."
    )


def test_a_conditional_hyperparameter_needs_a_default() -> None:
    def fit(kind: Categorical(["a", "b"]), extra: Float(0, 1, when={"kind": "a"})) -> None: ...  # type: ignore[valid-type]

    assert complaint(fit) == (
        "'extra' exists only when {'kind': 'a'}, so fit() needs a default for the other trials: write extra=None."
    )


async def _asynchronous(lr: Float(0, 1)) -> None: ...  # type: ignore[valid-type]


async def _asynchronous_generator(lr: Float(0, 1)) -> AsyncIterator[int]:  # type: ignore[valid-type]
    yield 1


def _generator(lr: Float(0, 1)) -> Iterator[int]:  # type: ignore[valid-type]
    yield 1


def _undecorated(fn: Callable[..., Any]) -> Callable[..., Any]:
    def hidden(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return hidden


def _positional(lr: Float(0, 1), /) -> None: ...  # type: ignore[valid-type]


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (
            _asynchronous,
            "_asynchronous() is async; allowed: a plain function that returns its result. "
            "Write `def` and run your loop in it with asyncio.run().",
        ),
        (
            _asynchronous_generator,
            "_asynchronous_generator() is an async generator; allowed: a plain function that returns its result. "
            "Write `def` and return the result.",
        ),
        (
            _generator,
            "_generator() is a generator; allowed: a plain function that returns its result. "
            "Report with reporter.broadcast() in place of `yield`, and return.",
        ),
        (len, "len() is built in; allowed: a plain function that returns its result. Wrap it in a function of yours."),
        (
            _undecorated(train),
            "hidden() takes *args, which nothing can fill: arguments are filled by name. Name them; "
            "if a decorator hides them, let it use functools.wraps.",
        ),
        (_positional, "_positional(): 'lr' is positional-only, but arguments are filled by name. Drop the '/'."),
        (
            3,
            "The training function is 3, of type int; allowed: a function, a functools.partial or an object "
            "with __call__. Pass the function itself, without calling it.",
        ),
        (
            Network,
            f"The training function is {Network!r}, a class; allowed: a function, a functools.partial or an object "
            "with __call__. Pass the function itself, without calling it.",
        ),
    ],
)
def test_what_cannot_be_a_training_function_is_refused(fn: Any, message: str) -> None:
    assert complaint(fn) == message
