import os
import subprocess
import sys
from pathlib import Path

import pytest
from magic_shell import Notebook, bare_shell

import lagom_magic
from lagom_magic.errors import LagomError
from lagom_magic.magics import load, unload
from lagom_magic.magics.extension import own_line


def test_loading_twice_changes_nothing(notebook: Notebook) -> None:
    shell = notebook.shell
    before = shell.magics_manager.registry["LagomMagics"]
    load(shell)
    assert shell.magics_manager.registry["LagomMagics"] is before
    assert len(shell.Completer.custom_matchers) == 1
    assert shell.input_transformers_cleanup.count(own_line) == 1


def test_unloading_takes_everything_away_and_loading_brings_it_back(tmp_path: Path) -> None:
    with bare_shell(tmp_path) as shell:
        transformers = list(shell.input_transformers_cleanup)
        for _ in range(2):
            shell.run_line_magic("load_ext", "lagom_magic")
            assert shell.find_line_magic("lagom") is not None
            shell.run_line_magic("unload_ext", "lagom_magic")
            assert shell.find_line_magic("lagom") is None
            assert shell.find_cell_magic("lagom") is None
            assert shell.Completer.custom_matchers == []
            assert list(shell.input_transformers_cleanup) == transformers


def test_unloading_gives_the_environment_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGOM_UI", "html")
    with bare_shell(tmp_path) as shell:
        load(shell)
        shell.run_line_magic("lagom", "config ui=text workers=2")
        assert os.environ["LAGOM_UI"] == "text"
        unload(shell)
    assert os.environ["LAGOM_UI"] == "html"
    assert "LAGOM_WORKERS" not in os.environ


def test_unloading_what_is_not_loaded_does_nothing(tmp_path: Path) -> None:
    with bare_shell(tmp_path) as shell:
        unload(shell)


def test_on_windows_there_is_one_clear_error(tmp_path: Path) -> None:
    with bare_shell(tmp_path) as shell:
        with pytest.raises(LagomError) as caught:
            load(shell, platform="win32")
        assert str(caught.value) == (
            "lagom_magic runs on Linux and macOS, not on Windows itself, since its workers need POSIX processes. "
            "Start Jupyter inside WSL2: https://learn.microsoft.com/windows/wsl/install"
        )
        assert shell.find_line_magic("lagom") is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["%%lagom hpo --help\n"], ["%lagom hpo --help\n"]),
        (["\n", "%%lagom status\n", "\n"], ["%lagom status\n"]),
        (["%%lagom hpo\n", "x = 1\n"], ["%%lagom hpo\n", "x = 1\n"]),
        (["%%lagomx\n"], ["%%lagomx\n"]),
        (["%%lagom hpo?\n"], ["%lagom hpo --help\n"]),
        (["%lagom stop ?\n"], ["%lagom stop --help\n"]),
        (["%lagom stop\n"], ["%lagom stop\n"]),
        (["%%lagom?\n"], ["%%lagom?\n"]),
        (["x = 1\n"], ["x = 1\n"]),
        ([], []),
    ],
)
def test_a_cell_magic_alone_in_its_cell_is_a_line_magic(lines: list[str], expected: list[str]) -> None:
    assert own_line(lines) == expected


@pytest.mark.parametrize("question", ["%%lagom hpo?", "%lagom hpo?", "%%lagom hpo ?", "%%lagom hpo??"])
def test_a_question_mark_shows_the_help_of_the_verb(
    notebook: Notebook, capsys: pytest.CaptureFixture[str], question: str
) -> None:
    assert notebook.shell.run_cell(question).success
    assert capsys.readouterr().out.startswith("usage: %lagom hpo [options]")


def test_loading_imports_nothing_heavy(tmp_path: Path) -> None:
    code = """
import sys
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell(config=config)
before = set(sys.modules)
shell.run_line_magic("load_ext", "lagom_magic")
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(new & {"optuna", "pyspark", "torch", "tensorflow", "numpy", "pandas", "cryptography", "asyncio", "ssl"}))
"""
    package_parent = str(Path(lagom_magic.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": package_parent, "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == ""
