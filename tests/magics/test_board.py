from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator

import pytest
from magic_shell import LiveStandIn, Notebook, store_run

from lagom_magic.display.board import stop_board
from lagom_magic.run import Run


@pytest.fixture
def stored(notebook: Notebook) -> Iterator[Run]:
    run = store_run()
    yield run
    stop_board(run.dir)


def said(notebook: Notebook, capsys: pytest.CaptureFixture[str], line: str) -> str:
    notebook.run(line).raise_error()
    return capsys.readouterr().out


def test_it_shows_the_newest_run_and_can_be_stopped(
    notebook: Notebook, stored: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = said(notebook, capsys, "%lagom board")
    assert shown.startswith(f"TensorBoard of run digits/{stored.id}: http://127.0.0.1:")
    address = re.findall(r"http://\S+/", shown)[0]
    with urllib.request.urlopen(address, timeout=30) as reply:
        assert b"<title>TensorBoard</title>" in reply.read()
    assert said(notebook, capsys, f"%lagom board {stored.id[-4:]}") == shown
    assert said(notebook, capsys, "%lagom board --stop") == f"TensorBoard of run {stored.id} is stopped\n"
    assert "nothing to stop" in said(notebook, capsys, f"%lagom board {stored.id} --stop")


def test_several_runs_have_one_with_the_same_links(
    notebook: Notebook, stored: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = store_run("iris")
    try:
        shown = said(notebook, capsys, f"%lagom board {stored.id} {other.id} {stored.id}")
        runs = f"TensorBoard of runs digits/{stored.id}, iris/{other.id}"
        address = re.fullmatch(
            rf"{runs}: (http://127\.0\.0\.1:(\d+)/) \(from another machine, .*: <Jupyter>/proxy/\2/\)\n", shown
        )
        assert address is not None
        monkeypatch.setenv("TENSORBOARD_PROXY_URL", "/user/me/proxy/%PORT%/")
        assert (
            said(notebook, capsys, f"%lagom board {stored.id} {other.id}") == f"{runs}: /user/me/proxy/{address[2]}/\n"
        )
    finally:
        assert stop_board(stored.dir, other.dir)


def test_the_live_run_goes_first(notebook: Notebook, stored: Run, capsys: pytest.CaptureFixture[str]) -> None:
    live = Run(store_run("iris", state=None).dir, LiveStandIn())
    notebook.backend.live = live
    assert "nothing to stop" in said(notebook, capsys, f"%lagom board {stored.id} --stop")
    assert live.id in said(notebook, capsys, "%lagom board --stop")


def test_without_a_run_it_says_so(notebook: Notebook) -> None:
    assert notebook.error("%lagom board") == (
        "UsageError: %lagom board: there is no run yet. Start one with %%lagom hpo."
    )
