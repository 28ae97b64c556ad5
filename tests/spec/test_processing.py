"""How `process_data` is called and where what it returns goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lagom_magic.errors import ConfigError
from lagom_magic.spec.config import BaseConfig
from lagom_magic.spec.inspection import plan_function


def train(train_set: Any, test_set: Any) -> None: ...


def train_alone(train_set: Any, test_set: Any = None) -> None: ...


def train_dataset(dataset: Any) -> None: ...


def both(train_path: str, test_path: str) -> Any:
    return train_path + "!", test_path + "?"


def one(path: str) -> Any:
    return (path, path)


def arguments(train_fn: Callable[..., Any], process_data: Callable[..., Any], **given: Any) -> dict[str, Any]:
    """What the training function gets."""
    config = BaseConfig(process_data=process_data, **given)
    plan = plan_function(train_fn, config)
    assert plan.processing is not None
    return plan.fixed | plan.processing.call(vars(config))


def test_maggys_two_paths_become_two_sets() -> None:
    assert arguments(train, both, train_set="a", test_set="b") == {"train_set": "a!", "test_set": "b?"}


def test_a_set_that_the_function_does_not_take_is_dropped() -> None:
    def only(train_set: Any) -> None: ...

    assert arguments(only, both, train_set="a", test_set="b") == {"train_set": "a!"}


def test_one_argument_of_any_name_gets_the_one_thing_that_is_given() -> None:
    assert arguments(train, one, dataset="d") == {"train_set": "d", "test_set": "d"}
    assert arguments(train_dataset, one, dataset="d") == {"dataset": ("d", "d")}
    assert arguments(train_alone, one, train_set="t") == {"train_set": ("t", "t")}


def test_what_it_does_not_take_goes_on_as_it_is() -> None:
    def first(train_path: str) -> str:
        return train_path.upper()

    assert arguments(train, first, train_set="a", test_set="b") == {"train_set": "A", "test_set": "b"}


def test_its_defaults_stay_and_it_may_take_nothing() -> None:
    def partly(train_path: str, test_path: str = "none", limit: int = 3) -> Any:
        return (train_path, test_path, limit)

    assert arguments(train_alone, partly, train_set="a") == {"train_set": ("a", "none", 3)}
    assert arguments(train, lambda: (1, 2)) == {"train_set": 1, "test_set": 2}


def test_a_test_set_may_be_none_where_it_has_a_default() -> None:
    def without(train_path: str, test_path: str) -> Any:
        return train_path, None

    assert arguments(train_alone, without, train_set="a", test_set="b") == {"train_set": "a"}
    with pytest.raises(ConfigError, match="returned None for test_set"):
        arguments(train, without, train_set="a", test_set="b")


@pytest.mark.parametrize(
    ("train_fn", "process_data", "given", "message"),
    [
        (train, both, {"train_set": "a"}, r"takes test_path, and test_set \(--test-set\) is not given"),
        (train, lambda trian_path, other: None, {"train_set": "a"}, r"'trian_path' of <lambda>\(.*Did you mean train_"),
        (train, lambda data, /: None, {"dataset": "a"}, "positional-only"),
        (lambda: None, lambda dataset: dataset, {"dataset": "a"}, "no argument for what <lambda>"),
        (train, lambda dataset: None, {"dataset": "a"}, "returned None; it is to return train_set, test_set"),
        (train, lambda dataset: 3, {"dataset": "a"}, r"returned a int; .*Write `return train_set, test_set`"),
        (train, lambda dataset: (1, 2, 3), {"dataset": "a"}, "returned a tuple of 3"),
        (train_dataset, lambda dataset: None, {"dataset": "a"}, r"Is there a `return`\?"),
        (train, "both", {"train_set": "a"}, "allowed: a function"),
    ],
)
def test_what_cannot_work_is_said_by_name(
    train_fn: Callable[..., Any], process_data: Any, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        arguments(train_fn, process_data, **given)


def test_what_it_raises_goes_through() -> None:
    def broken(dataset: Any) -> Any:
        raise FileNotFoundError(dataset)

    with pytest.raises(FileNotFoundError, match="nowhere"):
        arguments(train, broken, dataset="nowhere")
