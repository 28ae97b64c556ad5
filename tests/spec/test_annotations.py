import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import pytest

from lagom_magic.errors import ConfigError
from lagom_magic.spec.annotations import declared_domains, strip_annotations
from lagom_magic.spec.space import Domain, Float, Int


def domains_of(fn: Callable[..., Any]) -> dict[str, Domain]:
    return declared_domains(fn, inspect.signature(fn).parameters)


def test_a_domain_is_found_as_annotation_in_annotated_and_as_text() -> None:
    def train(lr: Float(0, 1), width: Annotated[int, Int(1, 8)], depth: "Int(1, 3)" = 2, note: str = "") -> None: ...  # type: ignore[valid-type]

    assert domains_of(train) == {"lr": Float(0, 1), "width": Int(1, 8), "depth": Int(1, 3)}


def test_text_is_read_with_the_functions_globals_and_closure() -> None:
    high = 8
    namespace: dict[str, Any] = {"Int": Int, "low": 2}
    exec("from __future__ import annotations\ndef train(width: Int(low, 4)): ...", namespace)
    assert domains_of(namespace["train"]) == {"width": Int(2, 4)}

    def train(width: "Int(1, high)") -> int:  # type: ignore[valid-type]
        return high

    assert domains_of(train) == {"width": Int(1, 8)}


def test_text_that_is_no_domain_of_ours_may_be_unreadable() -> None:
    def train(model: "nowhere.Model") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert domains_of(train) == {}


def test_a_domain_in_text_that_cannot_be_read_says_why() -> None:
    namespace: dict[str, Any] = {}
    exec("def train(lr: 'Float(0, 1)'): ...", namespace)
    with pytest.raises(ConfigError) as caught:
        domains_of(namespace["train"])
    assert str(caught.value) == (
        "The annotation of argument 'lr' cannot be read: Float(0, 1) raised NameError: name 'Float' is not defined. "
        "Import its names in the notebook: from lagom_magic import Float, Int, Categorical, Ordinal, Switch."
    )


def test_an_empty_range_in_text_is_the_same_error_as_elsewhere() -> None:
    def train(lr: "Float(1, 0)") -> None: ...  # type: ignore[valid-type]

    with pytest.raises(ConfigError, match="is an empty range: low must be <= high"):
        domains_of(train)


def test_a_domain_without_its_values_is_an_error() -> None:
    def train(lr: Float) -> None: ...

    with pytest.raises(ConfigError) as caught:
        domains_of(train)
    assert str(caught.value) == "Argument 'lr' is annotated Float, without its values: write Float(1e-4, 1e-1)."


def test_two_domains_of_one_argument_are_an_error() -> None:
    def train(lr: Annotated[float, Float(0, 1), Float(0, 2)]) -> None: ...

    with pytest.raises(ConfigError) as caught:
        domains_of(train)
    assert str(caught.value) == "Argument 'lr' has 2 domains: Float(0, 1), Float(0, 2). Keep one."


def test_the_copy_has_no_annotations_and_the_original_keeps_its() -> None:
    offset = 10

    def train(lr: Float(0, 1), width: int = 2, *, depth: Int(1, 3) = 3) -> float:  # type: ignore[valid-type]
        """Adds up."""
        return offset + lr + width + depth  # type: ignore[no-any-return]

    copy = strip_annotations(train)
    assert copy.__annotations__ == {}
    assert "lr" in train.__annotations__
    assert copy(1) == 16
    assert (copy.__name__, copy.__doc__, copy.__qualname__) == (train.__name__, train.__doc__, train.__qualname__)


def test_a_decorated_function_is_stripped_all_the_way_down() -> None:
    def loud(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs) + 1

        return wrapper

    @loud
    def train(lr: Float(0, 1)) -> float:  # type: ignore[valid-type]
        return lr  # type: ignore[no-any-return]

    copy = strip_annotations(train)
    assert copy(lr=1) == 2
    assert copy.__annotations__ == {}
    assert copy.__wrapped__.__annotations__ == {}  # type: ignore[attr-defined]
    assert [cell.cell_contents.__annotations__ for cell in copy.__closure__] == [{}]  # type: ignore[attr-defined]
    assert domains_of(train) == {"lr": Float(0, 1)}


class Trainer:
    def __init__(self, bonus: int) -> None:
        self.bonus = bonus

    def __call__(self, lr: Float(0, 1)) -> float:  # type: ignore[valid-type]
        return lr + self.bonus  # type: ignore[no-any-return]

    def train(self, lr: Float(0, 1)) -> float:  # type: ignore[valid-type]
        return lr + self.bonus  # type: ignore[no-any-return]


def test_partials_methods_and_callable_objects_stay_what_they_are() -> None:
    trainer = Trainer(bonus=5)
    method = strip_annotations(trainer.train)
    assert method(1) == 6
    assert method.__annotations__ == {}
    assert strip_annotations(trainer) is trainer
    part = strip_annotations(functools.partial(trainer.train, lr=2))
    assert part() == 7
    assert domains_of(trainer) == domains_of(trainer.train) == {"lr": Float(0, 1)}


def test_a_function_with_an_empty_closure_cell_can_be_copied() -> None:
    def outer() -> Callable[..., Any]:
        def train() -> Any:
            return later

        copy = strip_annotations(train)
        later = 4
        return copy

    assert outer()() == 4
