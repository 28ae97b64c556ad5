"""The rules of `conftest.py` hold: what a test leaves behind is seen, and a skip is a failure."""

from __future__ import annotations

import builtins
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import leak_checks
import pytest
from leak_checks import Snapshot, leaks_since

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leak_checks, "GRACE_S", 0.05)


def test_a_test_that_leaves_nothing_passes() -> None:
    assert leaks_since(Snapshot.take()) == []


def test_a_running_thread_is_seen() -> None:
    before, done = Snapshot.take(), threading.Event()
    thread = threading.Thread(target=done.wait, args=(30,), name="left-behind")
    thread.start()
    assert "thread 'left-behind' (not daemon) still runs" in leaks_since(before)
    done.set()
    thread.join()
    assert leaks_since(before) == []


def test_a_child_process_is_seen() -> None:
    before = Snapshot.take()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        (leak,) = leaks_since(before)
        assert leak.startswith(f"process {child.pid}")
    assert leaks_since(before) == []


def test_a_daemon_that_left_our_process_tree_is_seen() -> None:
    before = Snapshot.take()
    source = (
        "import subprocess\n"
        "daemon = subprocess.Popen(['sh', '-c', 'echo $$; sleep 30; echo'], start_new_session=True,"
        " stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)\n"
        "print(daemon.stdout.readline().decode())"
    )
    pid = int(subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout)
    leaks = leaks_since(before)
    os.killpg(pid, signal.SIGKILL)
    assert any(leak.startswith(f"process {pid} ") for leak in leaks)
    assert any(leak.endswith(": sleep 30") for leak in leaks)


def test_an_open_socket_is_seen() -> None:
    before = Snapshot.take()
    with socket.create_server(("127.0.0.1", 0)) as server:
        (leak,) = leaks_since(before)
        assert f"port {server.getsockname()[1]}" in leak
    assert leaks_since(before) == []


def test_a_changed_environment_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Snapshot.take()
    monkeypatch.setenv("LAGOM_LEFT", "1")
    assert leaks_since(before) == ["environment variable LAGOM_LEFT: was None, is '1'"]


def test_a_patched_print_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Snapshot.take()
    monkeypatch.setattr(builtins, "print", lambda *_: None)
    (leak,) = leaks_since(before)
    assert leak.startswith("builtins.print")


def test_a_replaced_signal_handler_is_seen() -> None:
    before = Snapshot.take()
    was = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    (leak,) = leaks_since(before)
    signal.signal(signal.SIGUSR1, was)
    assert leak.startswith("SIGUSR1")


def test_a_changed_directory_and_a_run_folder_in_it_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Snapshot.take()
    (tmp_path / "lagom_runs").mkdir()
    monkeypatch.chdir(tmp_path)
    directory, litter = leaks_since(before)
    assert directory.startswith("working directory")
    assert litter == f"{tmp_path / 'lagom_runs'} was left in the working directory"


def test_a_skip_fails_but_for_gpu_tests_and_rings_run_in_order(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makeini(
        "[pytest]\nmarkers =\n  spark:\n  lab:\n  gpu:\n  soak:\n"
        f"pythonpath = {Path(__file__).parent / 'support'} {Path(__file__).parent.parent}\naddopts = --strict-markers\n"
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.lab
        def test_lab(): pass

        @pytest.mark.soak
        def test_soak(): pass

        @pytest.mark.spark
        def test_spark(): pass

        def test_pure(): pass

        def test_skips(): pytest.skip("not today")

        @pytest.mark.gpu
        def test_gpu(): pytest.skip("no GPU")
        """
    )
    result = pytester.runpytest_subprocess("-v", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, failed=1, skipped=1, deselected=1)
    result.stdout.fnmatch_lines(["*::test_pure PASSED*", "*::test_spark PASSED*", "*::test_lab PASSED*"])
