"""`%lagom` where LAGOM_HOME is a URL: what other machines made is listed and shown, and no password."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from magic_shell import Notebook, store_run

from lagom_magic.run import Run
from lagom_magic.store.layout import default_home
from lagom_magic.store.mirror import mark_changed, refresh_home


@pytest.fixture
def there(tmp_path: Path, notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run that another machine made."""
    monkeypatch.setenv("LAGOM_HOME", "memory://bucket/runs")
    monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / "other"))
    made = store_run()
    mark_changed(made.dir)
    assert refresh_home() == ""
    monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / "cache"))
    yield made
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def said(notebook: Notebook, capsys: pytest.CaptureFixture[str], line: str) -> str:
    notebook.run(line).raise_error()
    return capsys.readouterr().out


def test_runs_of_other_machines_are_listed(notebook: Notebook, there: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert there.id in said(notebook, capsys, "%lagom runs")
    assert list(default_home().glob("*/*/run.json"))


def test_a_run_of_another_machine_is_shown_by_its_name(
    notebook: Notebook, there: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"digits {there.id}" in said(notebook, capsys, f"%lagom show {there.id[-4:]}")
    assert notebook.error("%lagom show 2019").startswith("StoreError: There is no run '2019'")


def test_the_password_of_the_url_is_not_shown(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAGOM_CACHE", str(tmp_path / "cache"))
    notebook.run("%lagom config home=memory://me:s3cret@bucket/runs").raise_error()
    try:
        shown = said(notebook, capsys, "%lagom config") + said(notebook, capsys, "%lagom runs")
        assert "memory://***@bucket/runs" in shown
        assert "s3cret" not in shown
    finally:
        notebook.run("%lagom config home=").raise_error()


def test_a_place_out_of_reach_is_told_and_this_machines_runs_are_listed(
    notebook: Notebook, there: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = store_run("iris")

    def ls(self: MemoryFileSystem, path: str, detail: bool = True, **options: object) -> list[object]:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(MemoryFileSystem, "ls", ls)
    with pytest.warns(UserWarning, match="memory://bucket/runs: no route to host; what is shown is this machine's"):
        shown = said(notebook, capsys, "%lagom runs")
    assert mine.id in shown
    assert there.id not in shown
