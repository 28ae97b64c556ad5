"""`%lagom attach`: a second kernel watches the run of a first one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from kernels import open_kernel

pytestmark = [pytest.mark.spark, pytest.mark.lab]

CELL = """\
%%lagom run --set gate=GATE --name watched
def train(gate, reporter=None):
    reporter.broadcast(0.25, step=0)
    print("at the gate")
    with open(gate) as file:
        return {"accuracy": float(file.read())}
"""


def test_a_run_is_watched_from_a_second_kernel_until_its_end(tmp_path: Path, jupyter_loop: None) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with open_kernel(tmp_path) as first, open_kernel(tmp_path) as second:
        driving = first.start(CELL.replace("GATE", f"'{gate}'"))
        driving.until_shown("RUNNING")
        given_up = second.start("%lagom attach watched")
        given_up.until_shown("RUNNING")
        second.interrupt()
        given_up.end()
        assert given_up.error == "", str(given_up)
        assert "goes on. Stop it with: %lagom stop" in given_up.text
        watching = second.start("%lagom attach watched")
        watching.until_shown("RUNNING")
        with open(gate, "w") as file:
            file.write("0.75")
        watching.end()
        driving.end()
        assert driving.error == "", str(driving)
        assert watching.error == "", str(watching)
        assert any("COMPLETE" in shown["text/plain"] for shown in watching.displays.values())
        assert "at the gate" in watching.text
        assert first.value("lagom_run.trials[0].metrics['accuracy']") == "0.75"
        assert second.value("lagom_run.trials[0].metrics['accuracy']") == "0.75"


def test_a_run_whose_kernel_is_killed_is_left_as_interrupted_where_it_is_watched(
    tmp_path: Path, jupyter_loop: None
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with open_kernel(tmp_path) as first, open_kernel(tmp_path) as second:
        first.start(CELL.replace("GATE", f"'{gate}'")).until_shown("RUNNING")
        watching = second.start("%lagom attach watched")
        watching.until_shown("RUNNING")
        first.kill()
        watching.end()
        assert watching.error == "", str(watching)
        (shown,) = watching.displays.values()
        for face in (shown["text/plain"], shown["text/html"]):
            assert "interrupted: its driver ended before the run did" in face
            assert "running on 1" not in face
        assert "STOPPED" in shown["text/plain"]
        assert watching.text.endswith(" goes on with what is missing\n")
