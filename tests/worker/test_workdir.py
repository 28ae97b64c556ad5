"""The working directory: reads see the notebook's folder, writes never reach it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from lagom_magic.worker.workdir import Workdir, files_below


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    folder = tmp_path / "notebook"
    (folder / "data" / "deep").mkdir(parents=True)
    (folder / "data" / "deep" / "rows.csv").write_text("rows")
    (folder / "data" / "table.csv").write_text("table")
    (folder / "model.pt").write_text("old model")
    (folder / "__pycache__").mkdir()
    return folder


@pytest.fixture
def workdir(tmp_path: Path, notebook: Path) -> Workdir:
    workdir = Workdir(str(tmp_path / "work"), str(notebook))
    workdir.create()
    return workdir


def tree(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def guarded(workdir: Workdir, code: str) -> str:
    """Runs code in a process with the write guard, inside the working directory."""
    script = (
        "import os, sys\n"
        "from lagom_magic.worker.workdir import Workdir\n"
        "from lagom_magic.worker import audit_hook\n"
        "from lagom_magic.worker.opened_files import OpenedFiles\n"
        "from lagom_magic.worker.write_guard import WriteGuard\n"
        "from lagom_magic.worker.import_hooks import AfterImport\n"
        f"workdir = Workdir({workdir.path!r}, {workdir.notebook_dir!r})\n"
        "os.chdir(workdir.path)\n"
        "guard = WriteGuard(workdir)\n"
        "audit_hook.install(guard, OpenedFiles(workdir, '/nowhere/code', '/nowhere/w1'))\n"
        "AfterImport(guard.actions()).install()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script + code],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_entries_of_the_notebooks_folder_can_be_read(workdir: Workdir) -> None:
    work = Path(workdir.path)
    assert (work / "model.pt").read_text() == "old model"
    assert (work / "data" / "deep" / "rows.csv").read_text() == "rows"
    assert not (work / "__pycache__").exists()


def test_without_the_notebooks_folder_it_is_empty(tmp_path: Path) -> None:
    workdir = Workdir(str(tmp_path / "work"), "/nonexistent/folder")
    workdir.create()
    assert os.listdir(workdir.path) == []


WRITES = {
    "open for writing": "open('model.pt', 'w').write('mine')",
    "open for appending": "open('model.pt', 'a').write(' and more')",
    "open for update": "f = open('model.pt', 'r+'); f.write('new'); f.close()",
    "os.open": "fd = os.open('model.pt', os.O_WRONLY | os.O_TRUNC); os.write(fd, b'mine')",
    "absolute path": "open(os.path.abspath('model.pt'), 'wb').write(b'mine')",
    "pathlib": "import pathlib; pathlib.Path('model.pt').write_text('mine')",
    "inside a linked folder": "open('data/table.csv', 'w').write('mine')",
    "a new file in a linked folder": "open('data/deep/new.csv', 'w').write('mine')",
    "a new folder in a linked one": "os.makedirs('data/deep/er'); open('data/deep/er/x', 'w').write('mine')",
    "replace": "open('tmp', 'w').write('mine'); os.replace('tmp', 'data/table.csv')",
    "remove in a linked folder": "os.remove('data/table.csv'); os.remove('data/deep/rows.csv')",
    "rename in a linked folder": "os.rename('data/table.csv', 'data/other.csv')",
    "rmtree": "import shutil; shutil.rmtree('data/deep'); os.remove('data/table.csv')",
    "truncate": "os.truncate('model.pt', 2)",
    "chmod": "os.chmod('model.pt', 0o600)",
    "after chdir": "os.chdir('data'); open('table.csv', 'w').write('mine'); open('new', 'w').write('mine')",
    "numpy": "import numpy; numpy.save('model.pt', 1); numpy.savez('data/table.csv', 1)",
    "numpy memmap": "import numpy; m = numpy.memmap('model.pt', 'u1', 'r+'); m[:] = 0; m.flush()",
    "torch.save": "import torch; torch.save(1, 'model.pt'); torch.save(1, 'data/table.csv')",
    "xgboost": (
        "import xgboost, numpy as np\n"
        "b = xgboost.train({}, xgboost.DMatrix(np.zeros((4, 1)), np.zeros(4)), 1)\n"
        "os.symlink(os.path.join(workdir.notebook_dir, 'model.pt'), 'model.ubj')\n"
        "b.save_model('model.ubj')"
    ),
}


@pytest.mark.parametrize("code", WRITES.values(), ids=WRITES.keys())
def test_no_write_reaches_the_notebooks_folder(code: str, workdir: Workdir, notebook: Path) -> None:
    before = tree(notebook)
    guarded(workdir, code)
    assert tree(notebook) == before


def test_a_thread_is_guarded_while_another_one_copies_up(workdir: Workdir, notebook: Path) -> None:
    before = tree(notebook)
    guarded(
        workdir,
        "import shutil, threading\n"
        "is_copying, is_written = threading.Event(), threading.Event()\n"
        "copy = shutil.copy2\n"
        "def slow_copy(*paths):\n"
        "    is_copying.set()\n"
        "    is_written.wait(0.5)\n"
        "    return copy(*paths)\n"
        "shutil.copy2 = slow_copy\n"
        "first = threading.Thread(target=lambda: open('model.pt', 'a').write('more'))\n"
        "first.start()\n"
        "assert is_copying.wait(10)\n"
        "open('data/table.csv', 'w').write('mine')\n"
        "is_written.set()\n"
        "first.join(10)\n",
    )
    assert tree(notebook) == before
    assert Path(workdir.path, "model.pt").read_text() == "old modelmore"
    assert Path(workdir.path, "data", "table.csv").read_text() == "mine"


@pytest.mark.parametrize("call", ["connect('rows.db')", "connect('file:rows.db', uri=True)"])
def test_sqlite_writes_to_its_own_copy(workdir: Workdir, notebook: Path, call: str) -> None:
    with sqlite3.connect(notebook / "rows.db") as connection:
        connection.execute("create table t (x)")
    connection.close()
    workdir.create()
    before = (notebook / "rows.db").read_bytes()
    out = guarded(
        workdir,
        f"import sqlite3; c = sqlite3.{call}; c.execute('insert into t values (1)'); c.commit();"
        "print(c.execute('select * from t').fetchall())",
    )
    assert out == "[(1,)]\n"
    assert (notebook / "rows.db").read_bytes() == before


def test_a_database_that_is_opened_for_reading_alone_is_not_copied(workdir: Workdir, notebook: Path) -> None:
    sqlite3.connect(notebook / "rows.db").close()
    workdir.create()
    guarded(workdir, "import sqlite3; sqlite3.connect('file:rows.db?mode=ro', uri=True).close()")
    assert Path(workdir.path, "rows.db").is_symlink()


def test_appending_keeps_what_was_there(workdir: Workdir) -> None:
    guarded(workdir, "open('model.pt', 'a').write(' and more')")
    assert (Path(workdir.path) / "model.pt").read_text() == "old model and more"


def test_what_a_trial_wrote_moves_and_the_links_come_back(workdir: Workdir, notebook: Path, tmp_path: Path) -> None:
    guarded(
        workdir,
        "open('model.pt', 'w').write('mine'); open('data/deep/new.csv', 'w').write('new'); os.makedirs('out/empty');"
        "open('out/log', 'w').write('log'); os.rename('data/table.csv', 'table'); os.mkdir('__pycache__')",
    )
    workdir.collect(str(tmp_path / "files"))
    assert tree(tmp_path / "files") == {"data/deep/new.csv": "new", "model.pt": "mine", "out/log": "log"}
    work = Path(workdir.path)
    assert sorted(os.listdir(work)) == ["__pycache__", "data", "model.pt"]
    assert (work / "data").is_symlink()
    assert (work / "model.pt").read_text() == "old model"


def test_collecting_nothing_makes_no_folder(workdir: Workdir, tmp_path: Path) -> None:
    workdir.collect(str(tmp_path / "files"))
    workdir.collect(str(tmp_path / "files"))
    assert not (tmp_path / "files").exists()


def test_a_file_written_right_after_a_collection_is_seen(workdir: Workdir, tmp_path: Path) -> None:
    for i in range(20):
        (Path(workdir.path) / "out").write_text(str(i))
        workdir.collect(str(tmp_path / str(i)))
        assert (tmp_path / str(i) / "out").read_text() == str(i)


def test_links_that_lead_out_are_no_files_of_the_trial(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    (folder / "again").symlink_to("a.txt")
    (folder / "passwords").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    assert list(files_below(str(folder))) == ["a.txt", "again"]


def test_shipped_files_appear_and_win_over_the_notebooks(tmp_path: Path) -> None:
    notebook, shipped = tmp_path / "notebook", tmp_path / "code" / "__files__"
    shipped.mkdir(parents=True)
    notebook.mkdir()
    (notebook / "table.csv").write_text("old")
    (notebook / "beside.txt").write_text("beside")
    (shipped / "table.csv").write_text("shipped")
    workdir = Workdir(str(tmp_path / "work"), str(notebook), str(tmp_path / "code"))
    workdir.create()
    assert Path(workdir.path, "table.csv").read_text() == "shipped"
    assert Path(workdir.path, "beside.txt").read_text() == "beside"
    workdir.make_own(str(Path(workdir.path, "table.csv")), keep_content=False)
    Path(workdir.path, "table.csv").write_text("a trial's own")
    workdir.collect(str(tmp_path / "files"))
    assert (tmp_path / "files" / "table.csv").read_text() == "a trial's own"
    assert Path(workdir.path, "table.csv").read_text() == "shipped"
    assert (shipped / "table.csv").read_text() == "shipped"
