"""The front end's translations: every string that the page shows is there, with its plural and its placeholders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CATALOGUES = sorted((ROOT / "lagom_magic" / "locale").glob("*/LC_MESSAGES/lagom_magic.json"))

TEXT = r"\s*'((?:[^'\\]|\\.)*)'"
ONE = re.compile(rf"\.__\({TEXT}")
SEVERAL = re.compile(rf"\._n\({TEXT},{TEXT}")


def strings_of_the_page() -> dict[str, str | None]:
    """{message: its plural, None without one} of labextension/src."""
    paths = (ROOT / "labextension" / "src").rglob("*.ts*")
    source = "".join(path.read_text("utf-8") for path in paths if "__tests__" not in path.parts)
    single = {match[1].replace("\\'", "'"): None for match in ONE.finditer(source)}
    return single | {match[1]: match[2] for match in SEVERAL.finditer(source)}


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"%\d", text))


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parents[1].name)
def test_a_catalogue_translates_every_string(path: Path) -> None:
    catalogue = json.loads(path.read_text("utf-8"))
    head = catalogue.pop("")
    assert head["language"] == path.parents[1].name.replace("_", "-")
    strings = strings_of_the_page()
    assert catalogue.keys() == strings.keys()
    for message, plural in strings.items():
        texts = catalogue[message]
        assert len(texts) == (1 if plural is None else 2), message
        for text, original in zip(texts, [message] if plural is None else [message, plural], strict=True):
            assert text.strip(), message
            assert placeholders(text) == placeholders(original), message


def test_there_is_a_catalogue_and_there_are_strings() -> None:
    assert [path.parents[1].name for path in CATALOGUES] == ["de_DE"]
    assert len(strings_of_the_page()) > 150
