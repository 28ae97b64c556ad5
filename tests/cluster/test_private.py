"""The user's own folder below the temporary directory."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from lagom_magic.cluster.private import private_folder
from lagom_magic.errors import ClusterError


@pytest.fixture(autouse=True)
def _temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_it_is_closed_to_others_and_the_same_each_time() -> None:
    folder = private_folder("java", "content")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert private_folder("java", "content") == folder
    assert private_folder("java", "other content") != folder


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / f"lagom-{os.getuid()}").mkdir()
    (tmp_path / f"lagom-{os.getuid()}").chmod(0o777)
    with pytest.raises(ClusterError, match="TMPDIR"):
        private_folder("java")


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"lagom-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ClusterError):
        private_folder("java")
