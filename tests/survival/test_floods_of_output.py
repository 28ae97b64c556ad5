"""Whatever a trial prints is whole in its output.log, and the kernel stays small."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from masters import Master, by_case, output_of

pytestmark = [pytest.mark.spark]


def forget_peak_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def memory_mb(name: str) -> float:
    """VmRSS or VmHWM, its peak, of this process, which is the run's kernel."""
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def console_of(run: Any) -> str:
    return (run.dir / "console.log").read_text()


def test_a_million_lines_arrive_and_the_kernel_stays_small(master: Master, capsys: pytest.CaptureFixture[str]) -> None:
    def train(case):
        for i in range(1_000_000):
            print("line", i)
        return 1.0

    master.run(lambda case: print("a line") or 1.0, cases=["warm up"], ui="text")
    forget_peak_memory()
    before_mb = memory_mb("VmRSS")
    run = master.run(train, cases=["flood"], workers=1, ui="text")
    grown_mb = memory_mb("VmHWM") - before_mb
    assert run.state == "COMPLETE"
    lines = output_of(run.trials[0]).splitlines()
    assert len(lines) == 1_000_000
    assert lines[-1] == b"line 999999"
    assert grown_mb < 50
    shown = capsys.readouterr().out
    assert shown.count("[w1 t0]") < 100_000
    assert "output.log" in shown


def test_a_line_of_10_mb_is_kept_whole_and_shown_cut(master: Master) -> None:
    def train(case):
        print("x" * 10_000_000)
        print("after it")
        return 1.0

    run = master.run(train, cases=["long line"], workers=1)
    assert run.state == "COMPLETE"
    assert output_of(run.trials[0]) == b"x" * 10_000_000 + b"\nafter it\n"
    console = console_of(run)
    assert len(console) < 20_000
    assert "[w1 t0] after it\n" in console


def test_bytes_that_are_no_text_are_kept_as_they_are(master: Master) -> None:
    def train(case):
        os.write(1, bytes(range(256)) + b"\n")
        print("after it")
        return 1.0

    run = master.run(train, cases=["binary"], workers=1)
    assert run.state == "COMPLETE"
    assert output_of(run.trials[0]) == bytes(range(256)) + b"\nafter it\n"
    assert "[w1 t0] after it\n" in console_of(run)


def test_a_bar_of_carriage_returns_is_shown_at_its_end(master: Master) -> None:
    def train(case):
        for percent in range(101):
            print(f"\r{percent:3d} %", end="", flush=True)
        print("\nafter it")
        return 1.0

    run = master.run(train, cases=["bar"], workers=1)
    assert run.state == "COMPLETE"
    assert output_of(run.trials[0]).count(b"\r") == 101
    console = console_of(run)
    assert "[w1 t0] 100 %\n[w1 t0] after it\n" in console
    assert "\r" not in console


def test_what_c_code_and_subprocesses_print_is_the_trials_output(master: Master) -> None:
    def train(case):
        if case == "C":
            ctypes.CDLL(None).printf(b"from C, not flushed\n")
        if case == "subprocess":
            subprocess.run(["sh", "-c", "echo to stdout; echo to stderr >&2"], check=True)
        return 1.0

    run = master.run(train, cases=["C", "subprocess", "silent"])
    trials = by_case(run)
    assert run.state == "COMPLETE"
    assert output_of(trials["C"]) == b"from C, not flushed\n"
    assert output_of(trials["subprocess"]) == b"to stdout\nto stderr\n"
    assert output_of(trials["silent"]) == b""
    worker, trial = trials["subprocess"].worker, trials["subprocess"].id
    assert f"[w{worker} t{trial}] to stderr\n" in console_of(run)
