"""What a study includes and excludes, checked against what is there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lagom_magic.errors import ConfigError
from lagom_magic.spec.parts import Part
from lagom_magic.spec.selection import Features, Layers

KNOWN = ["age", "fare", "deck"]
PARTS = ["stem", "block1.conv", "block1.norm", "block1", "head"]


@pytest.fixture
def features() -> Features:
    return Features(lambda: KNOWN)


@pytest.fixture
def layers() -> Layers:
    return Layers(lambda: [Part(name, "layer", f"the {name}") for name in PARTS])


def complaint(act: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        act()
    return str(caught.value)


def test_features_come_in_the_order_of_the_dataset_however_they_were_included(features: Features) -> None:
    features.include("deck", "age")
    assert features.chosen(KNOWN) == ("age", "deck")
    features.include(["fare"])
    assert features.chosen(KNOWN) == ("age", "fare", "deck")


def test_including_without_names_means_all(features: Features) -> None:
    assert not features.is_chosen
    features.include()
    features.exclude("fare")
    assert features.chosen(KNOWN) == ("age", "deck")


def test_excluding_alone_means_all_others(features: Features) -> None:
    features.exclude("age")
    assert features.chosen(KNOWN) == ("fare", "deck")


def test_features_of_data_without_names_are_taken_as_they_were_included(features: Features) -> None:
    features.include("b", "a", "b")
    features.exclude("a")
    assert features.chosen(None) == ("b",)


def test_a_misspelt_name_is_told_with_the_nearest(features: Features, layers: Layers) -> None:
    features.include("fair")
    assert complaint(lambda: features.chosen(KNOWN)) == (
        "features.include names 'fair', which is not there; known: age, fare, deck. Did you mean fare?"
    )
    layers.exclude("block1.cnv")
    assert complaint(lambda: layers.chosen(PARTS)).endswith("Did you mean block1.conv?")


@pytest.mark.parametrize("name", [3, "", None, ["a", 3]])
def test_what_is_no_name_is_refused_at_once(features: Features, name: object) -> None:
    message = complaint(lambda: features.include(name))  # type: ignore[arg-type]
    assert message.startswith("features.include")
    assert "Write features.include('a', 'b')." in message


def test_groups_are_lists_or_prefixes(layers: Layers) -> None:
    layers.include_groups(["stem", "head"])
    layers.include_groups([["block1.conv", "head"], ["stem"]])
    layers.include_groups(prefix="block1.")
    assert layers.chosen_groups(PARTS) == {
        "stem, head": ("stem", "head"),
        "block1.conv, head": ("block1.conv", "head"),
        "stem": ("stem",),
        "block1.*": ("block1.conv", "block1.norm"),
    }
    assert layers.chosen(PARTS) == ()


def test_a_prefix_that_covers_a_part_leaves_its_inner_parts_to_it(layers: Layers) -> None:
    layers.include_groups(prefix="block")
    assert layers.chosen_groups(PARTS) == {"block*": ("block1",)}


def test_groups_can_be_taken_back_but_only_those_that_are_there(layers: Layers) -> None:
    layers.include_groups(["stem", "head"])
    layers.include_groups(prefix="block1.")
    layers.exclude_groups(prefix="block1.")
    assert list(layers.chosen_groups(PARTS)) == ["stem, head"]
    layers.exclude_groups(["stem"])
    assert "names 'stem', which is not included; groups: stem, head, block1.*" in complaint(
        lambda: layers.chosen_groups(PARTS)
    )


def test_a_group_that_nothing_belongs_to_is_told_with_what_there_is(layers: Layers) -> None:
    layers.include_groups(prefix="blok")
    assert complaint(lambda: layers.chosen_groups(PARTS)) == (
        "layers.include_groups(prefix='blok'): no part of the model begins so. It has: stem, block1.conv, block1.norm, "
        "block1, head. Did you mean block1?"
    )
    assert "names, lists of names, or prefix=…" in complaint(layers.include_groups)


def test_all_parts_are_printed_with_what_they_are(layers: Layers, capsys: pytest.CaptureFixture[str]) -> None:
    layers.print_all()
    assert capsys.readouterr().out.splitlines()[:2] == ["stem         the stem", "block1.conv  the block1.conv"]
    layers.include_groups(["stem", "head"])
    layers.print_all_groups()
    assert capsys.readouterr().out == "stem, head  stem, head\n"
