"""The model registry on disk: versions count up without races, and nothing in it leads elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.spec.names import is_plain_name
from lagom_magic.store import registry
from lagom_magic.store.model_version import Details, ModelVersion


def placing(text: str = "weights", name: str = "model.bin", **details: Any) -> Callable[[Path], Details]:
    def place(folder: Path) -> Details:
        (folder / name).write_text(text)
        return Details(**details)

    return place


def add(home: Path, name: str = "digits", **details: Any) -> ModelVersion:
    return registry.add(home, name, placing(**details))


def numbers(listing: registry.Listing) -> list[tuple[str, int]]:
    return [(one.name, one.version) for one in listing.versions]


def test_versions_count_up_and_hold_what_was_said(tmp_path: Path) -> None:
    details: dict[str, Any] = {
        "metrics": {"accuracy": 0.9, "loss": float("nan")},
        "description": "a line",
        "framework": "keras",
        "signature": {"inputs": "x: float32 (None, 3)"},
        "run": {"id": "20261122-093000-k3f7", "experiment": "digits", "dir": "/runs/digits/20261122-093000-k3f7"},
        "trial_id": 3,
        "attempt": 2,
        "state": "COMPLETE",
        "folder": "artifacts/models/digits",
        "inputs": ({"path": "/data/x.csv", "size_bytes": 3, "mtime": 1.5, "sha256": ""},),
    }
    assert [add(tmp_path, **details).version for _ in range(12)] == list(range(1, 13))
    found = registry.find(tmp_path, "digits")
    assert found.version == 12
    assert found.path == tmp_path / ".models/digits/12/files/model.bin"
    assert found.path.read_text() == "weights"
    assert (found.size_bytes, found.metrics["accuracy"]) == (7, 0.9)
    assert str(found.metrics["loss"]) == "nan"
    for key, value in details.items():
        assert key == "metrics" or getattr(found, key) == value
    found.check_files()
    document = json.loads((found.dir / "model.json").read_text())
    assert (document["format"], document["name"], document["version"]) == (1, "digits", 12)
    assert registry.find(tmp_path, "digits", 2).version == 2


def test_a_folder_is_one_model_whatever_its_files_are_called(tmp_path: Path) -> None:
    def place(folder: Path) -> Details:
        (folder / "saved/deep").mkdir(parents=True)
        (folder / "saved/model.json").write_text("{}")
        (folder / "saved/deep/weights").write_text("w")
        return Details()

    found = registry.add(tmp_path, "net", place)
    assert found.path.is_dir()
    assert sorted(file["path"] for file in found.files) == ["saved/deep/weights", "saved/model.json"]


def outputs_of_two(program: str, home: Path) -> list[list[int]]:
    """The numbers that two processes print that run a program at once, with 'a' and with 'b'."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(home), who], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for who in "ab"
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [[int(word) for word in process.communicate(timeout=60)[0].split()] for process in processes]


EXPORTING = """
import sys
from pathlib import Path
from lagom_magic.store.model_version import Details
from lagom_magic.store.registry import add

def place(folder):
    (folder / "model.bin").write_text(sys.argv[2])
    return Details()

print("ready", flush=True)
sys.stdin.readline()
print(*(add(Path(sys.argv[1]), "digits", place).version for _ in range(50)))
"""


def test_two_processes_that_export_at_once_get_versions_of_their_own(tmp_path: Path) -> None:
    versions = outputs_of_two(EXPORTING, tmp_path)
    assert [len(own) for own in versions] == [50, 50]
    assert sorted(versions[0] + versions[1]) == list(range(1, 101))
    listing = registry.versions(tmp_path, "digits")
    assert listing.notes == ()
    by_text = {who: sorted(v.version for v in listing.versions if v.path.read_text() == who) for who in "ab"}
    assert by_text == {"a": versions[0], "b": versions[1]}
    assert not list((tmp_path / ".models/digits").glob(".part-*"))


def test_the_number_of_a_deleted_version_is_not_given_again(tmp_path: Path) -> None:
    assert [add(tmp_path).version for _ in range(3)] == [1, 2, 3]
    shutil.rmtree(tmp_path / ".models/digits/3")
    assert add(tmp_path).version == 4
    shutil.rmtree(tmp_path / ".models/digits")
    assert [add(tmp_path).version, add(tmp_path, "iris").version] == [5, 1]
    assert registry.names(tmp_path) == ["digits", "iris"]


def test_an_export_of_a_run_stays_known_when_its_version_is_deleted(tmp_path: Path) -> None:
    run = {"id": "20261122-093000-k3f7", "experiment": "digits", "dir": "/runs"}
    first = add(tmp_path, run=run, trial_id=0, attempt=1, folder="artifacts/models/digits")
    other = {first.fingerprint}
    for change in (
        {"trial_id": 1},
        {"attempt": 2},
        {"folder": "artifacts/models/digits_2"},
        {"run": run | {"id": "x"}},
    ):
        details = {"run": run, "trial_id": 0, "attempt": 1, "folder": "artifacts/models/digits"} | change
        other.add(add(tmp_path / "elsewhere", **details).fingerprint)
    other.remove(first.fingerprint)
    assert len(other) == 4
    shutil.rmtree(tmp_path / ".models/digits")
    assert registry.was_registered(tmp_path, "digits", first.fingerprint)
    assert not any(registry.was_registered(tmp_path, "digits", one) for one in other)
    assert registry.names(tmp_path) == []


def test_a_model_of_no_run_is_never_taken_for_one_that_was_registered(tmp_path: Path) -> None:
    assert add(tmp_path).fingerprint == ""
    registry.mark_registered(tmp_path, "digits", "../../x")
    assert sorted(path.name for path in (tmp_path / ".models").iterdir()) == ["digits", "digits@newest"]


DELETING = """
import shutil, sys
from pathlib import Path
from lagom_magic.store.model_version import Details
from lagom_magic.store.registry import add

def place(folder):
    (folder / "model.bin").write_text("w")
    return Details()

print("ready", flush=True)
sys.stdin.readline()
for _ in range(50):
    version = add(Path(sys.argv[1]), "digits", place)
    shutil.rmtree(version.dir)
    print(version.version, end=" ")
"""


def test_two_processes_that_delete_what_they_export_never_get_a_number_again(tmp_path: Path) -> None:
    versions = outputs_of_two(DELETING, tmp_path)
    assert sorted(versions[0] + versions[1]) == list(range(1, 101))


@pytest.mark.parametrize("text", ["", "nothing", "-3", "1.5", "9" * 40, "\xff"])
def test_a_damaged_mark_of_the_newest_number_holds_no_export_up(tmp_path: Path, text: str) -> None:
    add(tmp_path)
    (tmp_path / ".models/digits@newest").write_bytes(text.encode("latin-1"))
    assert [add(tmp_path).version, add(tmp_path).version] == [2, 3]


def test_the_best_version_is_the_first_among_equals_and_has_a_finite_metric(tmp_path: Path) -> None:
    for value in (0.5, 0.9, 0.9, float("nan"), float("inf")):
        add(tmp_path, metrics={"accuracy": value})
    add(tmp_path, metrics={"other": 5.0})
    assert registry.best(tmp_path, "digits", "accuracy", "max")[0].version == 2
    assert registry.best(tmp_path, "digits", "accuracy", "min")[0].version == 1


def test_an_unknown_model_version_or_metric_is_an_error_that_names_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"There is no model 'digits': none lies in .* yet\. model\.export"):
        registry.find(tmp_path, "digits")
    add(tmp_path, metrics={"accuracy": 0.5})
    with pytest.raises(StoreError, match=r"no model 'digit' in .*\. Did you mean digits\? There are: digits\."):
        registry.find(tmp_path, "digit")
    with pytest.raises(StoreError, match=r"digits has no version 7\. It has 1\."):
        registry.find(tmp_path, "digits", 7)
    for version in (0, -1, True, "1", 1.0):
        with pytest.raises(ConfigError, match="a version is a whole number from 1"):
            registry.find(tmp_path, "digits", version)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"metric 'acuracy'\. Did you mean accuracy\? There are: accuracy\."):
        registry.best(tmp_path, "digits", "acuracy", "max")
    add(tmp_path, "plain")
    with pytest.raises(ConfigError, match=r"No version of plain has metrics\. Give them: model\.export\("):
        registry.best(tmp_path, "plain", "accuracy", "max")


def test_what_cannot_be_read_is_a_note_and_the_rest_is_listed(tmp_path: Path) -> None:
    for _ in range(5):
        add(tmp_path)
    add(tmp_path, "iris")
    models = tmp_path / ".models"
    (models / "digits/1/model.json").write_text("{ half")
    (models / "digits/2/model.json").unlink()
    (models / "digits/3/files/model.bin").rename(models / "moved")
    (models / "digits/3/files/model.bin").symlink_to(models / "moved")
    document = json.loads((models / "digits/4/model.json").read_text())
    (models / "digits/4/model.json").write_text(json.dumps(document | {"format": 2}))
    (models / "digits/6").write_text("a file")
    (models / "digits/notes.txt").write_text("of a person")
    (models / "digits/.part-0123").mkdir()
    (models / "not a name").mkdir()
    (models / "empty").mkdir()
    listing = registry.versions(tmp_path)
    assert numbers(listing) == [("digits", 5), ("iris", 1)]
    assert [note.split(" cannot be read")[0] for note in listing.notes] == [
        f"digits version {n}" for n in (1, 2, 3, 4, 6)
    ]
    assert registry.names(tmp_path) == ["digits", "iris"]
    with pytest.raises(StoreError, match=r"digits version 4 cannot be read: .* format 2"):
        registry.find(tmp_path, "digits", 4)
    assert add(tmp_path).version == 7


def test_a_registry_that_is_no_folder_is_one_error(tmp_path: Path) -> None:
    (tmp_path / ".models").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be read"):
        registry.versions(tmp_path)
    with pytest.raises(StoreError, match=r"cannot be written: .*LAGOM_HOME names another folder"):
        add(tmp_path)


def test_a_version_of_which_the_files_have_changed_says_so(tmp_path: Path) -> None:
    found = add(tmp_path)
    found.path.write_text("others")
    with pytest.raises(StoreError, match="digits version 1 has changed since its export"):
        found.check_files()
    found.path.unlink()
    with pytest.raises(StoreError, match="digits version 1 is not whole"):
        found.check_files()


def test_what_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(folder: Path) -> Details:
        (folder / "half").write_text("…")
        raise RuntimeError("a foreign library")

    with pytest.raises(RuntimeError):
        registry.add(tmp_path, "digits", fail)
    assert list((tmp_path / ".models/digits").iterdir()) == []
    assert registry.versions(tmp_path).versions == ()


DYING = """
import os, sys
from pathlib import Path
from lagom_magic.store.registry import add

def place(folder):
    (folder / "model.bin").write_bytes(b"w" * 100_000)
    os._exit(9)

add(Path(sys.argv[1]), "digits", place)
"""


def test_what_a_killed_export_left_goes_with_an_export_of_that_model_a_day_later(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], check=False).returncode == 9
    folder = tmp_path / ".models/digits"
    (left,) = folder.glob(".part-*")
    assert add(tmp_path).version == 1
    assert left.exists()  # it may be an export that goes on
    (tmp_path / "elsewhere").mkdir()
    (folder / ".part-link").symlink_to(tmp_path / "elsewhere")
    (folder / ".part-file").touch()
    long_ago = time.time() - 25 * 3600
    for path in folder.glob(".part-*"):
        os.utime(path, (long_ago, long_ago), follow_symlinks=False)
    assert add(tmp_path, "iris").version == 1
    assert left.exists()
    assert add(tmp_path).version == 2
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]
    assert (tmp_path / "elsewhere").is_dir()


RENUMBERING = """
import os, sys
from pathlib import Path
from lagom_magic.store.registry import find, renumber

def die_after(source, target, rename=os.rename):
    rename(source, target)
    os._exit(9)

os.rename = die_after
renumber(find(Path(sys.argv[1]), "digits"), 5)
"""


def test_a_version_whose_renumbering_was_killed_is_never_taken_for_a_leftover(tmp_path: Path) -> None:
    add(tmp_path)
    assert subprocess.run([sys.executable, "-c", RENUMBERING, str(tmp_path)], check=False).returncode == 9
    (moved,) = (path for path in (tmp_path / ".models/digits").iterdir())
    long_ago = time.time() - 25 * 3600
    os.utime(moved, (long_ago, long_ago))
    assert add(tmp_path).version == 2
    assert (moved / "files/model.bin").read_text() == "weights"


def test_a_link_in_place_of_a_model_or_a_version_is_not_followed(tmp_path: Path) -> None:
    there = add(tmp_path / "elsewhere")
    (tmp_path / ".models/iris").mkdir(parents=True)
    (tmp_path / ".models/iris/1").symlink_to(there.dir)
    (tmp_path / ".models/digits").symlink_to(there.dir.parent)
    listing = registry.versions(tmp_path)
    assert listing.versions == ()
    assert [note.split(" cannot")[0] for note in listing.notes] == ["digits version 1", "iris version 1"]
    with pytest.raises(StoreError, match="it is a link"):
        registry.find(tmp_path, "digits")


def test_links_and_nothing_are_refused_as_a_model(tmp_path: Path) -> None:
    def link(folder: Path) -> Details:
        (folder / "model").symlink_to("/etc/passwd")
        return Details()

    def linked_folder(folder: Path) -> Details:
        (folder / "model").mkdir()
        (folder / "model/inner").symlink_to("/etc")
        return Details()

    def nothing(folder: Path) -> Details:
        return Details()

    def two(folder: Path) -> Details:
        (folder / "a").touch()
        (folder / "b").touch()
        return Details()

    for place in (link, linked_folder, nothing, two):
        with pytest.raises(StoreError):
            registry.add(tmp_path, "digits", place)
    assert numbers(registry.versions(tmp_path)) == []


BAD_NAMES = ["", ".", "..", "...", "../x", "/x", "a/b", "a\\b", "a\0b", "x" * 65, "a b", "ä", "a\n", None, 7, b"x"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_an_unsafe_name_is_refused_before_anything_is_written(tmp_path: Path, name: Any) -> None:
    for call in (
        lambda: add(tmp_path, name),
        lambda: registry.find(tmp_path, name),
        lambda: registry.best(tmp_path, name, "accuracy", "max"),
        lambda: registry.versions(tmp_path, name) if name is not None else add(tmp_path, name),
        lambda: registry.mark_registered(tmp_path, name, "0" * 64),
        lambda: registry.was_registered(tmp_path, name, "0" * 64),
    ):
        with pytest.raises(ConfigError, match="cannot be the name of a model: use 1 to 64 letters"):
            call()
    assert list(tmp_path.iterdir()) == []


@given(st.one_of(st.text(max_size=80), st.text(alphabet="./\\\0aA-_ ", max_size=70)))
def test_a_plain_name_is_one_folder_below_the_registry(name: str) -> None:
    if is_plain_name(name):
        path = os.path.normpath(os.path.join("/home/.models", name))
        assert os.path.dirname(path) == "/home/.models"
        assert os.path.basename(path) == name
        assert "\0" not in name


@settings(deadline=None, max_examples=50)
@given(path=st.text(alphabet="./\\\0ab", min_size=1, max_size=12))
def test_a_path_in_a_planted_document_never_leads_out_of_its_version(
    tmp_path_factory: pytest.TempPathFactory, path: str
) -> None:
    home = tmp_path_factory.mktemp("home")
    version = add(home)
    document = json.loads((version.dir / "model.json").read_text())
    document["files"][0]["path"] = path
    (version.dir / "model.json").write_text(json.dumps(document))
    for found in registry.versions(home).versions:
        inside = os.path.normpath(found.dir / "files" / found.files[0]["path"])
        assert inside.startswith(f"{found.dir}/files/")
        assert os.path.normpath(found.path).startswith(f"{found.dir}/files/")


@pytest.mark.parametrize("damage", ["nested", "huge", "pipe"])
def test_a_hostile_document_is_a_note_and_holds_nobody_up(tmp_path: Path, damage: str) -> None:
    add(tmp_path, "iris")
    document = add(tmp_path, "digits").dir / "model.json"
    text = document.read_text()
    document.unlink()
    if damage == "pipe":
        os.mkfifo(document)
    elif damage == "nested":
        document.write_text('{"format": 1, "run": ' + "[" * 100_000 + "]" * 100_000 + "}")
    else:
        document.write_text(text.replace('"size_bytes":', '"size_bytes":1e999,"x":'))
    listing = registry.versions(tmp_path)
    assert numbers(listing) == [("iris", 1)]
    assert len(listing.notes) == 1
