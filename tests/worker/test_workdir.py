"""The working directory: reads see the notebook's folder, writes never reach it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
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
    "xgboost's data": (
        "import xgboost, numpy as np; xgboost.DMatrix(np.zeros((4, 1)), np.zeros(4)).save_binary('model.pt')"
    ),
    "TorchScript": (
        "import torch; torch.jit.script(torch.nn.Linear(2, 2)).save('model.pt')\n"
        "torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), 'data/table.csv')\n"
        "torch.jit.trace(torch.abs, torch.ones(1)).save('data/deep/rows.csv')"
    ),
    "torch.export": (
        "import torch\n"
        "exported = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))\n"
        "torch.export.save(exported, 'model.pt')"
    ),
    "pyarrow": (
        "import pyarrow as pa, pyarrow.csv, pyarrow.feather\n"
        "with pa.OSFile('model.pt', 'wb') as file:\n"
        "    assert isinstance(file, pa.OSFile)\n"
        "    file.write(b'mine')\n"
        "pyarrow.csv.write_csv(pa.table({'a': [1]}), 'data/table.csv')\n"
        "pyarrow.feather.write_feather(pa.table({'a': [1]}), 'data/deep/rows.csv')"
    ),
    "pyarrow's streams": (
        "import pyarrow as pa, pyarrow.ipc\n"
        "with pa.output_stream('model.pt') as file:\n"
        "    file.write(b'mine')\n"
        "table = pa.table({'a': [1]})\n"
        "with pa.ipc.new_file('data/table.csv', table.schema) as file:\n"
        "    file.write(table)\n"
        "with pa.ipc.new_stream('data/deep/rows.csv', table.schema) as file:\n"
        "    file.write(table)"
    ),
    "safetensors": (
        "import numpy, safetensors.numpy; safetensors.numpy.save_file({'a': numpy.zeros(2)}, 'data/table.csv')"
    ),
    "tensorflow": (
        "import tensorflow as tf\n"
        "tf.io.write_file('model.pt', 'mine')\n"
        "tf.io.write_file(tf.constant('data/deep/rows.csv'), 'mine')\n"
        "with tf.io.gfile.GFile('data/table.csv', 'w') as file:\n"
        "    file.write('mine')\n"
        "os.remove('data/table.csv')\n"
        "os.symlink(os.path.join(workdir.notebook_dir, 'data', 'table.csv'), 'data/table.csv')\n"
        "with tf.io.TFRecordWriter('data/table.csv') as file:\n"
        "    file.write(b'mine')\n"
    ),
    "tensorflow's checkpoints": (
        "import tensorflow as tf\n"
        "point = tf.train.Checkpoint(v=tf.Variable(1.0))\n"
        "point.save('data/deep/ck')\n"
        "os.chdir('/'); point.write(os.path.join(workdir.path, 'data', 'ck'))\n"
    ),
    "tensorflow's models and summaries": (
        "import tensorflow as tf\n"
        "with tf.summary.create_file_writer('data/logs').as_default():\n"
        "    tf.summary.scalar('a', 1.0, 0)\n"
        "tf.saved_model.save(tf.Module(), 'data/deep')\n"
    ),
    "tensorflow's files": (
        "import tensorflow as tf; files = tf.io.gfile\n"
        "files.copy('model.pt', 'data/table.csv', overwrite=True)\n"
        "files.makedirs('data/deep/er')\n"
        "files.rename('data/table.csv', 'data/other.csv')\n"
        "files.remove('data/deep/rows.csv')\n"
    ),
    "tensorflow removes a tree": "import tensorflow as tf; tf.io.gfile.rmtree('data')",
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


READS = {
    "h5py": "import h5py; h5py.File('big.h5').close()",
    "h5py, by name": "import h5py; h5py.File(name='big.h5', mode='r').close()",
    "pyarrow": "import pyarrow; pyarrow.OSFile('model.pt').close(); pyarrow.OSFile('model.pt', mode='rb').close()",
}


@pytest.mark.parametrize("code", READS.values(), ids=READS.keys())
def test_what_is_opened_in_c_for_reading_is_not_copied(code: str, workdir: Workdir, notebook: Path) -> None:
    with h5py.File(notebook / "big.h5", "w") as file:
        file["x"] = range(1000)
    workdir.create()
    guarded(workdir, code)
    assert all((Path(workdir.path) / name).is_symlink() for name in ("big.h5", "model.pt", "data"))


@pytest.mark.parametrize("folder", ["", "data/deep/"])
def test_a_copy_that_stayed_as_it_was_is_no_file_of_the_trial(
    folder: str, workdir: Workdir, notebook: Path, tmp_path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(notebook / folder / "rows.db")) as connection, connection:
        connection.execute("create table t (x)")
    (notebook / folder / "numbers.dat").write_bytes(bytes(800))
    workdir.create()
    guarded(
        workdir,
        f"import sqlite3, numpy; c = sqlite3.connect('{folder}rows.db'); c.execute('select * from t').fetchall();"
        f"c.close(); numpy.memmap('{folder}numbers.dat')[0]; open('model.pt', 'a').write(' and more')",
    )
    assert not Path(workdir.path, folder, "rows.db").is_symlink()
    assert workdir.collect(str(tmp_path / "files")) == ""
    assert tree(tmp_path / "files") == {"model.pt": "old model and more"}
    assert Path(workdir.path, "data").is_symlink()
    assert Path(workdir.path, folder, "rows.db").samefile(notebook / folder / "rows.db")


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


def test_a_file_of_a_name_that_is_taken_gets_a_free_one(workdir: Workdir, tmp_path: Path) -> None:
    work, files = Path(workdir.path), tmp_path / "files"
    (files / "folder").mkdir(parents=True)
    (files / "same.json").write_text("of trial.dir")
    (files / "out").write_text("of trial.dir")
    (work / "same.json").write_text("mine")
    (work / "folder").write_text("mine")
    (work / "out").mkdir()
    (work / "out" / "a").write_text("mine")
    assert workdir.collect(str(files)) == ""
    assert tree(files) == {
        "same.json": "of trial.dir",
        "same_2.json": "mine",
        "folder_2": "mine",
        "out": "of trial.dir",
        "out_2/a": "mine",
    }


def test_what_is_in_a_folder_that_may_not_be_written_moves_too(workdir: Workdir, tmp_path: Path) -> None:
    """As an ordinary user, whom the folder's mode stops: a copy of a data set that is read-only, for one."""
    (tmp_path / "files").mkdir()
    script = (
        "import os\n"
        "from lagom_magic.worker.workdir import Workdir\n"
        f"workdir = Workdir({workdir.path!r}, {workdir.notebook_dir!r})\n"
        "os.chdir(workdir.path)\n"
        "os.makedirs('copy/deep')\n"
        "for name in ('copy/deep/rows', 'copy/table', 'result'):\n"
        "    open(name, 'w').write(name)\n"
        "for name, mode in {'copy/deep': 0, 'copy': 0o555, '.': 0o555}.items():\n"
        "    os.chmod(name, mode)\n"
        f"print(workdir.collect({str(tmp_path / 'files')!r}), os.listdir('.'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        preexec_fn=_heed_modes,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert "could not be kept" not in done.stdout
    assert tree(tmp_path / "files") == {name: name for name in ("copy/deep/rows", "copy/table", "result")}
    assert sorted(os.listdir(workdir.path)) == ["data", "model.pt"]


def _heed_modes() -> None:
    """From the next exec on even root needs a mode that lets it; nothing changes for anybody else."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def test_one_file_that_cannot_be_kept_costs_no_other(workdir: Workdir, tmp_path: Path) -> None:
    work = Path(workdir.path)
    files = tmp_path
    while len(str(files)) < 3900:  # a path may have 4,096 bytes
        files /= "f" * min(200, 3900 - len(str(files)))
    (work / "d").mkdir()
    (work / "d" / ("x" * 255)).write_text("mine")
    (work / "a").write_text("mine")
    (work / "model.pt").unlink()
    lost = workdir.collect(str(files))
    assert f"'d/{'x' * 255}'" in lost
    assert "File name too long" in lost
    assert tree(files) == {"a": "mine"}
    assert sorted(os.listdir(work)) == ["data", "model.pt"]
    assert (work / "model.pt").read_text() == "old model"


def test_what_cannot_even_be_removed_is_not_there_for_the_next_trial(
    workdir: Workdir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (Path(workdir.path) / "result").write_text("mine")
    (Path(workdir.path) / "stuck").write_text("of another user")
    monkeypatch.setattr("os.unlink", _unless_stuck(os.unlink))
    monkeypatch.setattr("os.rename", _unless_stuck(os.rename))
    assert workdir.collect(str(tmp_path / "files")) == ""
    assert tree(tmp_path / "files") == {"result": "mine", "stuck": "of another user"}
    assert sorted(os.listdir(workdir.path)) == ["data", "model.pt"]
    assert workdir.leftover == ""
    (Path(workdir.path) / "next").write_text("next")
    assert workdir.collect(str(tmp_path / "next")) == ""
    assert tree(tmp_path / "next") == {"next": "next"}


def test_a_folder_that_can_be_neither_emptied_nor_replaced_says_so(
    workdir: Workdir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (Path(workdir.path) / "stuck").write_text("of another user")
    monkeypatch.setattr("os.unlink", _unless_stuck(os.unlink))
    monkeypatch.setattr("os.rename", _unless_stuck(os.rename, str(workdir.path)))
    workdir.collect(str(tmp_path / "files"))
    assert "cannot be removed" in workdir.leftover


IN_ITS_PLACE: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "a link": (lambda work, notebook: work.symlink_to(notebook), "left a link to '"),
    "a link to nowhere": (lambda work, _: work.symlink_to("/nowhere/at/all"), "left a link to '/nowhere/at/all'"),
    "a file": (lambda work, _: work.write_text("mine"), "left a file"),
    "a pipe": (lambda work, _: os.mkfifo(work), "left a file"),
    "nothing": (lambda *_: None, "left nothing"),
}


@pytest.mark.parametrize(("put", "words"), IN_ITS_PLACE.values(), ids=IN_ITS_PLACE.keys())
def test_what_a_trial_put_in_the_folders_place_gives_way_and_is_not_followed(
    workdir: Workdir, notebook: Path, tmp_path: Path, put: Callable[[Path, Path], object], words: str
) -> None:
    before = tree(notebook)
    work = Path(workdir.path)
    (work / "lost").write_text("mine")
    shutil.rmtree(work)
    put(work, notebook)
    warning = workdir.collect(str(tmp_path / "files"))
    assert words in warning
    assert "in the place of its working directory" in warning
    assert tree(notebook) == before
    assert not (tmp_path / "files").exists()
    assert work.is_dir()
    assert not work.is_symlink()
    (work / "next").write_text("next")
    assert workdir.collect(str(tmp_path / "next")) == ""
    assert tree(tmp_path / "next") == {"next": "next"}
    assert sorted(os.listdir(work)) == ["data", "model.pt"]


def test_a_folder_that_became_a_link_is_known_by_its_own_name_to_the_next_process(
    workdir: Workdir, notebook: Path, tmp_path: Path
) -> None:
    before = tree(notebook)
    shutil.rmtree(workdir.path)
    Path(workdir.path).symlink_to(notebook)
    again = Workdir(workdir.path, workdir.notebook_dir)
    assert again.path == workdir.path
    again.collect(str(tmp_path / "files"))
    assert tree(notebook) == before


def test_the_links_that_a_trial_made_itself_are_told_with_what_they_led_to(
    workdir: Workdir, notebook: Path, tmp_path: Path
) -> None:
    guarded(
        workdir,
        "os.symlink('/elsewhere/e.csv', 'train.csv'); os.symlink('deep', 'data/again')\n"
        "os.symlink(workdir.notebook_dir + '/model.pt', 'alias.pt'); os.makedirs('made'); os.symlink('/x', 'made/x')\n"
        "os.remove('model.pt'); os.symlink('/elsewhere/model.pt', 'model.pt')",
    )
    workdir.collect(str(tmp_path / "files"))
    assert workdir.own_links == {
        f"{workdir.path}/train.csv": "/elsewhere/e.csv",
        f"{workdir.path}/data/again": "deep",
        f"{workdir.path}/alias.pt": f"{notebook}/model.pt",
        f"{workdir.path}/made/x": "/x",
        f"{workdir.path}/model.pt": "/elsewhere/model.pt",
    }
    workdir.collect(str(tmp_path / "files"))
    assert workdir.own_links == {}


def _unless_stuck(call: Callable[..., None], *more: str) -> Callable[..., None]:
    """The system's call, for which one file (and `more`) belongs to somebody else."""

    def refusing(path: str, *rest: str) -> None:
        if os.path.basename(path) == "stuck" or path in more:
            raise PermissionError(13, "Permission denied", path)
        call(path, *rest)

    return refusing


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
