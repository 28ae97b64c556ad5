"""The repository holds together: links lead somewhere, the pins fit the ranges, CI runs what the README says."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lagom_magic
from lagom_magic.magics.options import VERBS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def requirements() -> Iterator[Requirement]:
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return (Requirement(text) for texts in lists for text in texts)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_relative_links_lead_somewhere(name: str) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#\s]+)", (ROOT / name).read_text())
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in DOCUMENTS:
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / name).read_text(), re.MULTILINE))
        assert named <= targets, name


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    assert re.findall(r"^make .*", (ROOT / ".ci" / "run").read_text(), re.MULTILINE) == ["make check", "make test"]


def test_pins_are_plain_versions_within_our_ranges() -> None:
    assert [name for name, version in pins().items() if not re.fullmatch(r"[0-9][0-9a-z.]*", version)] == []
    wrong = [
        f"{requirement} but {pins()[name]}"
        for requirement in requirements()
        if (name := canonicalize_name(requirement.name)) in pins() and not requirement.specifier.contains(pins()[name])
    ]
    assert wrong == []


def test_everything_that_the_tests_install_is_pinned() -> None:
    extras = PROJECT["optional-dependencies"]
    tested = [*PROJECT["dependencies"], *extras["local"], *extras["torch"], *extras["demo"], *extras["dev"]]
    names = {canonicalize_name(one.name) for one in map(Requirement, tested) if not one.marker or one.marker.evaluate()}
    assert names - pins().keys() == {"lagom-magic"}


def test_the_version_has_one_source_and_a_line_in_the_changelog() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert f"## [{lagom_magic.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_readme_lists_exactly_the_options_that_there_are() -> None:
    listed = set(re.findall(r"`(--[a-z-]+)", (ROOT / "README.md").read_text().split("## The function")[0]))
    options = VERBS["hpo"].options
    there = {option.flag for option in options} | {option.alias for option in options if option.alias}
    of_verbs = {option.flag for verb in VERBS.values() for option in verb.options}
    assert there - listed == set()
    assert listed - there - of_verbs == set()


def test_the_readme_names_every_verb_that_there_is() -> None:
    lines = re.findall(r"^%lagom (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    named = {part.split()[0] for line in lines for part in line.split(" | ")}
    assert named == {verb.name for verb in VERBS.values() if not verb.is_cell}
