from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_runs import run_on_disk

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.store.tags import NOTE_LIMIT, change_notes, note_of, tags_of


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that began with `--tag pii --tag retention=90d`."""
    folder = run_on_disk(tmp_path)
    document = json.loads((folder / "run.json").read_text())
    document["config"] = {"tags": ["pii", "retention=90d"]}
    (folder / "run.json").write_text(json.dumps(document))
    return folder


def test_a_run_has_the_tags_that_it_began_with(run: Path) -> None:
    assert tags_of(run) == ("pii", "retention=90d")
    assert note_of(run) == ""
    assert not (run / "notes.json").exists()


def test_tags_are_added_and_removed(run: Path) -> None:
    assert change_notes(run, ["paper", "pii"], remove=["retention"]) == ("paper", "pii")
    assert tags_of(run) == ("paper", "pii")
    assert change_notes(run, remove=["paper", "pii"]) == ()
    assert tags_of(run) == ()


def test_a_tag_with_a_value_takes_the_place_of_another_of_its_name(run: Path) -> None:
    assert change_notes(run, ["retention=30d", "k=1", "k=2"]) == ("pii", "retention=30d", "k=2")


def test_a_note_is_kept_beside_the_tags_and_replaced(run: Path) -> None:
    change_notes(run, note="two\nlines, ünd more")
    assert (note_of(run), tags_of(run)) == ("two\nlines, ünd more", ("pii", "retention=90d"))
    change_notes(run, ["paper"])
    assert note_of(run) == "two\nlines, ünd more"
    change_notes(run, note="")
    assert note_of(run) == ""


def test_what_a_later_version_keeps_there_stays(run: Path) -> None:
    (run / "notes.json").write_text('{"format": 1, "tags": ["a"], "stars": 5}')
    change_notes(run, ["b"])
    assert json.loads((run / "notes.json").read_text()) == {"format": 1, "tags": ["a", "b"], "stars": 5, "note": ""}


def test_a_tag_that_the_run_does_not_have_cannot_be_removed(run: Path) -> None:
    with pytest.raises(ConfigError, match=r"no tag 'x' to remove. It has: pii, retention=90d."):
        change_notes(run, ["paper"], remove=["x"])
    assert tags_of(run) == ("pii", "retention=90d")


@pytest.mark.parametrize("tag", ["", "two words", "ü", "a/b", "..", "a\0", "x" * 65, "=", "a\n"])
def test_an_impossible_tag_changes_nothing(run: Path, tag: str) -> None:
    with pytest.raises(ConfigError, match=r"tags \(--tag\) is .*; allowed: 1 to 64 letters, digits"):
        change_notes(run, ["good", tag], note="new")
    assert (tags_of(run), note_of(run)) == (("pii", "retention=90d"), "")


def test_a_note_has_a_limit(run: Path) -> None:
    with pytest.raises(ConfigError, match="20,001 characters; at most 20,000"):
        change_notes(run, note="x" * (NOTE_LIMIT + 1))


@pytest.mark.parametrize("content", [b'{"tags": [', b"[]", b"\xff\xfe", b"[" * 100_000])
def test_damaged_notes_are_told_of_and_not_written_over(
    run: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (run / "notes.json").write_bytes(content)
    assert (tags_of(run), note_of(run)) == (("pii", "retention=90d"), "")
    assert "notes.json is damaged" in caplog.text
    with pytest.raises(StoreError, match="Mend it, or delete it"):
        change_notes(run, ["new"])
    assert (run / "notes.json").read_bytes() == content


def test_several_who_tag_at_once_lose_nothing(run: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: change_notes(run, [f"t{number}"]), range(40)))
    assert set(tags_of(run)) == {"pii", "retention=90d", *(f"t{number}" for number in range(40))}


def test_a_lock_that_is_a_link_is_not_followed(run: Path, tmp_path: Path) -> None:
    (run / ".notes.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot be kept"):
        change_notes(run, ["new"])
    assert not (tmp_path / "elsewhere").exists()


@settings(max_examples=60, deadline=None)
@given(tag=st.text(max_size=70) | st.from_regex(r"[A-Za-z0-9._=-]{1,64}", fullmatch=True))
def test_whatever_a_tag_is_only_notes_json_changes(tmp_path_factory: pytest.TempPathFactory, tag: str) -> None:
    folder = tmp_path_factory.mktemp("home") / "digits" / "run"
    folder.mkdir(parents=True)
    try:
        assert change_notes(folder, [tag]) == (tag,) == tags_of(folder)
        expected = {".notes.lock", "notes.json"}
    except ConfigError:
        expected = set()
    assert {name for _, _, names in os.walk(folder.parent.parent) for name in names} == expected
    assert os.listdir(folder.parent) == ["run"]
