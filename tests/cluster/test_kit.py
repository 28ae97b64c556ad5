"""What workers get."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

from lagom_magic.cluster.kit import WorkerKit, own_launch, package_zip, path_additions, zip_bytes
from lagom_magic.driver.launcher import Secret, Ticket


def test_equal_files_give_equal_archives_in_any_order() -> None:
    assert zip_bytes({"a.py": b"1", "b/c.py": b"2"}) == zip_bytes({"b/c.py": b"2", "a.py": b"1"})


def test_our_package_travels_as_source_alone() -> None:
    names = zipfile.ZipFile(io.BytesIO(package_zip())).namelist()
    assert "lagom_magic/cluster/kit.py" in names
    assert all(name.startswith("lagom_magic/") and name.endswith(".py") for name in names)


def test_launch_parts_are_what_run_worker_takes() -> None:
    kit = WorkerKit("source", b"package", b"payload", b"code", "/notebooks", ("/added",))
    ticket = Ticket("127.0.0.1", 4711, "PEM", Secret(b"\1" * 32), "run-1", 2, 1)
    launch = {**kit.shared(), **own_launch(ticket, ["0"])}
    assert launch["ticket"]["token_hex"] == "01" * 32
    assert launch["session_path"] == ["/added"]
    assert launch["gpus"] == ["0"]
    assert set(launch) == {
        "bootstrap_source", "package_zip", "payload", "user_code_zip", "notebook_dir", "notebook_python",
        "session_path", "distribution", "ticket", "gpus",
    }  # fmt: skip


def test_only_what_the_notebook_added_to_the_path_is_handed_on(tmp_path: Path) -> None:
    notebook_dir, added = tmp_path / "notebooks", tmp_path / "libraries"
    notebook_dir.mkdir()
    added.mkdir()
    entries = [*sys.path, "", str(notebook_dir), str(added), str(added), str(tmp_path / "missing")]
    before = path_additions(sys.path, notebook_dir)
    assert set(path_additions(entries, notebook_dir)) - set(before) == {str(added)}
