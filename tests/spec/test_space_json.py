from __future__ import annotations

import json

import pytest

from lagom_magic.errors import ConfigError
from lagom_magic.spec.space import Categorical, Float, Int, Ordinal, Searchspace
from lagom_magic.spec.space_json import space_from_json, space_to_json

SPACE = Searchspace(
    lr=Float(1e-4, 1e-1, log=True),
    momentum=Float(0.0, 0.9, step=0.1, when={"optimizer": ["sgd", "rmsprop"]}),
    width=Int(16, 256, step=16),
    depth=Int(1, 8, log=True, when={"optimizer": "adam"}),
    optimizer=Categorical(["sgd", "rmsprop", "adam"]),
    batch=Ordinal([16, 32, 64], when={"optimizer": ("sgd",)}),
    odd=Categorical([None, True, 0.5, "x"]),
)


def test_a_space_survives_json_with_its_conditions_and_order() -> None:
    document = json.loads(json.dumps(space_to_json(SPACE), allow_nan=False))
    again = space_from_json(document)
    assert list(again) == list(SPACE)
    assert space_to_json(again) == document
    assert all(type(again[name]) is type(SPACE[name]) for name in SPACE)
    assert again["lr"] == SPACE["lr"]
    assert again["momentum"].is_active({"optimizer": "sgd"})
    assert not again["batch"].is_active({"optimizer": "adam"})


def test_a_set_of_conditions_becomes_a_list() -> None:
    space = Searchspace(a=Categorical(["x", "y"]), b=Float(0, 1, when={"a": {"y", "x"}}))
    assert space_to_json(space)["b"]["when"] == {"a": ["x", "y"]}


def test_fields_of_a_newer_version_are_ignored() -> None:
    space = space_from_json({"lr": {"kind": "Float", "low": 0.0, "high": 1.0, "prior": "normal"}})
    assert space["lr"] == Float(0.0, 1.0)


@pytest.mark.parametrize("entry", [{"kind": "Complex"}, {}, {"kind": "Float", "low": 1.0}])
def test_an_entry_that_is_no_domain_is_a_clear_error(entry: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="lr: "):
        space_from_json({"lr": entry})
