from __future__ import annotations

import os
import threading
from datetime import datetime
from pathlib import Path

import pytest

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.store.layout import (
    RunLayout,
    check_experiment_name,
    create_run_dir,
    is_run_id,
    write_unless_kept,
    write_whole,
)

NOW = datetime(2026, 11, 22, 9, 30, 0)


@pytest.mark.parametrize("name", ["digits", "a.b-c_D", "x" * 64, "..."[:1] + "x"])
def test_ordinary_experiment_names_are_accepted(name: str) -> None:
    assert check_experiment_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "x" * 65, "é", "a\n", "a\0"])
def test_names_that_are_no_folder_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="experiment's name"):
        check_experiment_name(name)


def test_a_run_id_shows_when_the_run_began(tmp_path: Path) -> None:
    layout = create_run_dir(tmp_path, "digits", NOW)
    assert layout.root.name.startswith("20261122-093000-")
    assert is_run_id(layout.root.name)
    assert layout.root.parent == tmp_path / "digits"


def test_many_drivers_that_begin_in_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    made: list[Path] = []
    threads = [
        threading.Thread(target=lambda: made.extend(create_run_dir(tmp_path, "x", NOW).root for _ in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(made) == len(set(made)) == 80


def test_runs_of_one_second_are_sorted_as_they_were_begun(tmp_path: Path) -> None:
    made = [create_run_dir(tmp_path, name, NOW).root.name for name in ["x", "y"] * 50]
    assert made == sorted(made)


def test_a_home_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="LAGOM_HOME"):
        create_run_dir(tmp_path / "file", "x", NOW)


def test_the_second_attempt_has_a_folder_of_its_own() -> None:
    layout = RunLayout(Path("/run"))
    assert layout.trial_dir(7, 1) == Path("/run/trials/0007")
    assert layout.trial_dir(7, 2) == Path("/run/trials/0007.2")
    assert layout.tensorboard_dir(12345, 3) == Path("/run/tensorboard/12345.3")


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_whole(tmp_path / "folder", b"never")
    assert sorted(os.listdir(tmp_path)) == ["folder", "x"]


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_text_that_changes_is_kept_beside_the_older_ones(tmp_path: Path) -> None:
    for text in ("a", "a", "b\r\n", "b\r\n", "a"):
        write_unless_kept(tmp_path / "source.py", text)
    assert [(tmp_path / name).read_bytes() for name in ("source.py", "source.2.py", "source.3.py")] == [
        b"a",
        b"b\r\n",
        b"a",
    ]
    assert len(texts(tmp_path)) == 3


@pytest.mark.parametrize("missing", ["source.py", "source.2.py"])
def test_a_text_takes_no_other_ones_place_where_one_is_missing(tmp_path: Path, missing: str) -> None:
    for text in "abc":
        write_unless_kept(tmp_path / "source.py", text)
    (tmp_path / missing).unlink()
    kept = texts(tmp_path)
    write_unless_kept(tmp_path / "source.py", "d")
    assert texts(tmp_path) == kept | {"source.4.py": "d"}


def test_the_newest_source_is_that_of_the_greatest_number(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    assert layout.newest_source == layout.source
    assert layout.sources() == []
    for name in ("source.py", "source.2.py", "source.10.py", "source.9.py"):
        (tmp_path / name).touch()
    for name in ("source.1.py", "source.02.py", "source.11.py.part", "source.old.py", "resource.12.py"):
        (tmp_path / name).touch()
    assert layout.newest_source.name == "source.10.py"
    assert [path.name for path in layout.sources()] == ["source.py", "source.2.py", "source.9.py", "source.10.py"]
