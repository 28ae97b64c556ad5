from __future__ import annotations

import io
import sys

import pytest

from lagom_magic.display.publisher import RecordingPublisher, TerminalPublisher, make_publisher


def test_plain_python_gets_a_terminal_publisher(capsys: pytest.CaptureFixture[str]) -> None:
    publisher = make_publisher("auto")
    assert isinstance(publisher, TerminalPublisher)
    publisher.write("[w1 t0] hello\n")
    assert capsys.readouterr().out == "[w1 t0] hello\n"


def test_an_unknown_ui_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="ui='gui': allowed: auto, widget, html, text"):
        make_publisher("gui")


def test_a_terminal_shows_only_the_last_table() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    publisher = TerminalPublisher(stream)
    publisher.show({"text/plain": "early"}, is_final=False)
    publisher.show({"text/plain": "late"}, is_final=True)
    stream.seek(0)
    assert stream.read() == "late\n"


def test_a_terminal_that_lacks_a_sign_shows_a_question_mark() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    TerminalPublisher(stream).write("ok … done\n")
    stream.seek(0)
    assert stream.read() == "ok ? done\n"


def test_a_recording_publisher_keeps_everything() -> None:
    publisher = RecordingPublisher()
    publisher.write("a\n")
    publisher.show({"text/plain": "table"}, is_final=True)
    assert (publisher.batches, publisher.bundles, publisher.is_final) == (["a\n"], [{"text/plain": "table"}], True)


def test_ipython_is_not_imported_for_a_terminal() -> None:
    import subprocess

    source = (
        "import sys, lagom_magic.display as display; display.make_publisher();"
        "sys.exit(any(name in sys.modules for name in ('IPython', 'ipykernel', 'optuna', 'pyspark')))"
    )
    subprocess.run([sys.executable, "-c", source], check=True, env={"PYTHONPATH": ":".join(sys.path)}, timeout=60)
