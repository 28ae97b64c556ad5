"""What must survive: a trial that dies, hangs, floods or leaves things behind costs that trial only."""

# Training functions travel by value, so they import what they need themselves.
from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pytest
from one_worker import Ended, OneWorker, by_value, one_worker

Train = Callable[..., Any]


def after(train: Train, *, wants: tuple[str, ...] = (), names: tuple[str, ...] = (), **settings: Any) -> list[Ended]:
    """The ends of two trials: hparam `i` is 0 and 1."""

    async def scenario() -> list[Ended]:
        async with one_worker(train, wants=("hparams", *wants), names=names, **settings) as worker:
            ended = [await worker.run(0, i=0), await worker.run(1, i=1)]
        assert worker.failure is None
        return ended

    return asyncio.run(scenario())


def go(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def processes_below(worker: OneWorker) -> list[psutil.Process]:
    return psutil.Process(worker.hello["pid"]).children(recursive=True)


async def gone(pid: int) -> None:
    """Waits, in a thread, until a process that is not our child has ended."""
    fd = await asyncio.to_thread(_pidfd, pid)
    if fd is not None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(fd, ended.set)
        try:
            async with asyncio.timeout(10):
                await ended.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def test_an_exception_is_that_trials_and_its_traceback_shows_the_users_frames_only() -> None:
    def train(hparams):
        def inner():
            raise ValueError("no such luck")

        if hparams["i"] == 0:
            inner()
        return 1.0

    failed, good = after(train)
    assert failed.state == "FAILED"
    error = failed.record["error"]
    assert (error["kind"], error["message"]) == ("ValueError", "no such luck")
    assert "in inner" in error["traceback"]
    assert "lagom_magic/worker" not in error["traceback"]
    assert failed.quiet_output.decode() == error["traceback"]
    assert failed.output == b""
    assert good.state == "COMPLETE"


@pytest.mark.parametrize("code", [0, 3])
def test_os_exit_is_a_failure_with_the_exit_code(code: int) -> None:
    def train(hparams):
        import os

        if hparams["i"] == 0:
            print("before", flush=True)
            os._exit(hparams["code"])
        return 1.0

    async def scenario() -> None:
        async with one_worker(train, wants=("hparams",)) as worker:
            failed = await worker.run(0, i=0, code=code)
            good = await worker.run(1, i=1)
        assert failed.record["error"]["kind"] == "EXIT"
        assert f"exit code {code}" in failed.record["error"]["message"]
        assert failed.output == b"before\n"
        assert good.state == "COMPLETE"

    go(scenario())


def test_a_segfault_is_a_failure_and_its_stack_is_in_the_output() -> None:
    def train(hparams):
        if hparams["i"] == 0:
            import ctypes

            ctypes.string_at(0)
        return 1.0

    failed, good = after(train)
    assert failed.record["error"]["kind"] == "SIGSEGV"
    assert "Segmentation fault" in failed.text
    assert "in train" in failed.text
    assert good.state == "COMPLETE"


def test_sigkill_of_the_trial_process_is_a_failure_that_speaks_of_memory() -> None:
    def train(hparams):
        if hparams["i"] == 0:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

    failed, good = after(train)
    assert failed.record["error"]["kind"] == "SIGKILL"
    assert "memory" in failed.record["error"]["message"]
    assert good.state == "COMPLETE"


def test_sys_exit_and_keyboard_interrupt_are_failures_of_the_trial() -> None:
    def train(hparams):
        import sys

        if hparams["i"] == 0:
            sys.exit(0)
        raise KeyboardInterrupt

    first, second = after(train)
    assert first.record["error"]["kind"] == "SystemExit"
    assert "sys.exit(0)" in first.record["error"]["message"]
    assert second.record["error"]["kind"] == "KeyboardInterrupt"


def test_a_trial_that_sleeps_for_ever_times_out_and_shows_where_it_was() -> None:
    def train(hparams):
        import time

        if hparams["i"] == 0:
            try:
                time.sleep(1e6)
            finally:
                print("tidied up")
        return 1.0

    failed, good = after(train, trial_timeout_s=0.3)
    assert failed.record["error"]["kind"] == "TIMEOUT"
    assert "0.3 s" in failed.record["error"]["message"]
    assert "in train" in failed.record["error"]["traceback"]
    assert failed.output == b"tidied up\n"
    assert good.state == "COMPLETE"


def test_a_catastrophic_regular_expression_times_out_and_shows_where_it_was() -> None:
    def train(hparams):
        import re

        if hparams["i"] == 0:
            re.match(r"(a+)+$", "a" * 100 + "b")
        return 1.0

    failed, good = after(train, trial_timeout_s=0.3)
    assert failed.record["error"]["kind"] == "TIMEOUT"
    assert "in train" in failed.record["error"]["traceback"]
    assert good.state == "COMPLETE"


def test_a_trial_that_holds_the_gil_in_c_times_out_and_shows_its_stack() -> None:
    def train(hparams):
        if hparams["i"] == 0:
            sum(range(10**12))  # one C loop, which looks for no signal
        return 1.0

    failed, good = after(train, trial_timeout_s=1.0)
    assert failed.record["error"]["kind"] == "TIMEOUT"
    assert "in train" in failed.text
    assert good.state == "COMPLETE"


def test_a_left_thread_is_gone_before_the_next_trial() -> None:
    def train(hparams):
        import os
        import threading

        if hparams["i"] == 0:
            threading.Thread(target=threading.Event().wait, daemon=True, name="left").start()
        print(os.getpid(), threading.active_count())
        return 1.0

    first, second = after(train)
    assert first.state == second.state == "COMPLETE"
    assert first.text.split()[0] != second.text.split()[0]
    assert second.text.split()[1] == "1"


def test_a_process_that_was_left_clean_is_used_again() -> None:
    def train(hparams):
        import os
        import subprocess
        import threading

        subprocess.run(["true"], check=True)
        thread = threading.Thread(target=print)
        thread.start()
        thread.join()
        print(os.getpid())
        return 1.0

    first, second = after(train)
    assert first.text.split() == second.text.split()


def test_a_thread_and_a_child_that_are_ending_do_not_cost_the_process() -> None:
    def train(hparams):
        import os
        import subprocess
        import threading

        threading.Thread(target=threading.Event().wait, args=(0.05,)).start()
        subprocess.Popen(["sleep", "0.05"])
        print(os.getpid())

    first, second = after(train)
    assert first.text == second.text


def test_a_left_child_and_a_setsid_grandchild_are_killed() -> None:
    def train(hparams):
        import os
        import subprocess

        child = subprocess.Popen(["sleep", "1000"])
        grandchild = subprocess.run(
            ["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!"], capture_output=True, text=True, check=True
        )
        print(os.getpid(), child.pid, grandchild.stdout.strip())
        return 1.0

    async def scenario() -> None:
        async with one_worker(train, wants=("hparams",)) as worker:
            first = await worker.run(0)
            for pid in map(int, first.text.split()[1:]):
                await gone(pid)
            second = await worker.run(1)
            assert second.state == "COMPLETE"
            below = processes_below(worker)
        assert not [process for process in below if process.is_running()]
        assert [int(pid) for pid in second.text.split() if psutil.pid_exists(int(pid))] == []

    go(scenario())


def test_a_grandchild_alone_does_not_cost_the_process() -> None:
    def train(hparams):
        import os
        import subprocess

        if hparams["i"] == 0:
            subprocess.run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &"], check=True)
        print(os.getpid())
        return 1.0

    first, second = after(train)
    assert first.text == second.text


def test_a_pruned_trial_cannot_go_on_by_catching_exceptions() -> None:
    def train(reporter):
        step = 0
        while True:
            try:
                reporter.broadcast(step)
            except Exception:
                print("swallowed")
            step += 1

    async def scenario() -> None:
        async with one_worker(train, wants=("reporter",)) as worker:
            worker.start(0)
            await worker.heard("metric_reported", step=3)
            worker.send("prune_trial", trial_id=0, attempt=1)
            ended = await worker.ended(0)
        assert ended.state == "PRUNED"
        assert ended.output == b""
        assert ended.record["error"] is None
        assert [report["step"] for report in ended.reports] == list(range(len(ended.reports)))

    go(scenario())


def test_a_bare_except_meets_the_pruning_again_and_the_trial_counts_as_pruned() -> None:
    def train(reporter):
        n_raised, step = 0, 0
        while n_raised < 3:
            try:
                reporter.broadcast(step)
            except:  # noqa: E722
                n_raised += 1
            step += 1
        return 1.0

    async def scenario() -> None:
        async with one_worker(train, wants=("reporter",)) as worker:
            worker.start(0)
            await worker.heard("metric_reported", step=0)
            worker.send("prune_trial", trial_id=0, attempt=1)
            assert (await worker.ended(0)).state == "PRUNED"

    go(scenario())


@pytest.mark.parametrize(
    ("kind", "at_least_s", "at_most_s"), [("broadcasts", 0.0, 0.5), ("sleeps", 0.5, 1.0), ("holds the gil", 1.0, 2.0)]
)
def test_the_stop_ladder_ends_every_trial(kind: str, at_least_s: float, at_most_s: float) -> None:
    def train(hparams, reporter):
        import time

        print("begun")
        while hparams["kind"] == "broadcasts":
            reporter.broadcast(0)
            time.sleep(0.01)
        if hparams["kind"] == "sleeps":
            time.sleep(1e6)
        sum(range(10**12))

    async def scenario() -> None:
        async with one_worker(train, wants=("hparams", "reporter")) as worker:
            worker.start(0, kind=kind)
            await worker.until(lambda: worker.output)
            asked_at = time.monotonic()
            worker.send("stop_trial", trial_id=0, attempt=1)
            ended = await worker.ended(0)
            took_s = time.monotonic() - asked_at
        assert ended.state == "STOPPED"
        assert ended.record["error"] is None
        assert at_least_s <= took_s < at_most_s + 1.0  # the machine may be busy

    go(scenario())


def test_a_late_order_for_another_attempt_is_ignored() -> None:
    def train(reporter):
        for step in range(50):
            reporter.broadcast(step)
        return 1.0

    async def scenario() -> None:
        async with one_worker(train, wants=("reporter",)) as worker:
            await worker.run(0)
            worker.send("prune_trial", trial_id=0, attempt=1)
            worker.send("stop_trial", trial_id=0, attempt=1)
            assert (await worker.run(0, attempt=2)).state == "COMPLETE"

    go(scenario())


def test_every_kind_of_output_is_captured() -> None:
    def train(hparams):
        import ctypes
        import os
        import subprocess
        import sys

        print("print")
        sys.stdout.flush()
        ctypes.CDLL(None).printf(b"printf\n")
        subprocess.run(["sh", "-c", "echo out; echo err >&2"], check=True)
        os.write(1, b"\x00\xff\xfe binary\n")
        print("\rbar 1\rbar 2", end="")
        print("warning", file=sys.stderr)
        ctypes.CDLL(None).printf(b"no newline")
        return 1.0

    first, _ = after(train)
    assert first.output == b"print\nprintf\nout\nerr\n\x00\xff\xfe binary\n\rbar 1\rbar 2warning\nno newline", (
        first.output
    )


def test_a_ten_megabyte_line_arrives_whole() -> None:
    def train(hparams):
        print("x" * 10_000_000)
        return 1.0

    first, second = after(train)
    assert first.output == second.output == b"x" * 10_000_000 + b"\n"


def test_output_belongs_to_the_trial_that_wrote_it() -> None:
    def train(hparams):
        print(f"trial {hparams['i']}")

    first, second = after(train)
    assert (first.output, second.output) == (b"trial 0\n", b"trial 1\n")


def test_a_million_lines_pass_a_slow_driver_and_the_supervisor_does_not_grow() -> None:
    def train(hparams, reporter):
        print("warm")
        reporter.broadcast(0)
        for i in range(1_000_000):
            print(i, "a line of an ordinary length, give or take")
        return 1.0

    async def scenario() -> None:
        async with one_worker(train, wants=("hparams", "reporter")) as worker:
            worker.keeps_output = False
            n_bytes = 0
            paused = asyncio.Event()

            def count(data: bytes) -> None:
                nonlocal n_bytes
                n_bytes += len(data)
                if not paused.is_set() and n_bytes > 1_000_000 and worker.connection is not None:
                    worker.connection.pause_reading()
                    asyncio.get_running_loop().call_later(0.5, worker.connection.resume_reading)
                    paused.set()

            worker.on_output = count
            worker.start(0)
            await worker.heard("metric_reported")
            supervisor = psutil.Process(worker.hello["pid"])
            before = supervisor.memory_info().rss
            ended = await worker.ended(0)
            assert ended.state == "COMPLETE"
            grown = supervisor.memory_info().rss - before
        expected = 5 + sum(len(f"{i} a line of an ordinary length, give or take\n") for i in range(1_000_000))
        assert n_bytes == expected
        assert grown < 8_000_000

    go(scenario())


def test_a_print_that_the_driver_does_not_take_can_be_stopped() -> None:
    def train(reporter):
        reporter.broadcast(0)
        while True:
            print("x" * 1000)

    async def scenario() -> None:
        async with one_worker(train, wants=("reporter",)) as worker:
            worker.keeps_output = False
            worker.start(0)
            await worker.heard("metric_reported")
            assert worker.connection is not None
            worker.connection.pause_reading()
            worker.send("stop_trial", trial_id=0, attempt=1)
            asyncio.get_running_loop().call_later(1.5, worker.connection.resume_reading)
            assert (await worker.ended(0)).state == "STOPPED"

    go(scenario())


def test_reports_are_all_delivered_even_a_hundred_thousand() -> None:
    def train(reporter):
        for step in range(100_000):
            reporter.broadcast(step)
        return 1.0

    async def scenario() -> None:
        async with one_worker(train, wants=("reporter",), reports_at_once=False) as worker:
            ended = await worker.run(0)
        assert [report["step"] for report in ended.reports] == list(range(100_000))

    go(scenario())


def test_sigkill_of_the_supervisor_leaves_nothing_and_fails_the_task() -> None:
    def train(reporter):
        import subprocess
        import time

        subprocess.run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &"], check=True)
        reporter.broadcast(0)
        time.sleep(1e6)

    async def scenario() -> None:
        async with one_worker(train, wants=("reporter",)) as worker:
            worker.start(0)
            await worker.heard("metric_reported")
            below = processes_below(worker)
            assert len(below) == 2
            os.kill(worker.hello["pid"], signal.SIGKILL)
            await worker.until(lambda: worker.closed is not None)
        assert "exit code -9" in str(worker.failure)
        assert [process for process in below if process.is_running() and process.status() != "zombie"] == []

    go(scenario())


def test_losing_the_driver_kills_the_trial_and_fails_the_task() -> None:
    def train(reporter):
        import time

        reporter.broadcast(0)
        time.sleep(1e6)

    async def scenario() -> None:
        async with one_worker(train, wants=("reporter",)) as worker:
            worker.start(0)
            await worker.heard("metric_reported")
            below = processes_below(worker)
            assert worker.connection is not None
            worker.connection.abort("the test")
            await worker.until(lambda: worker.closed is not None)
        assert "lost the driver" in str(worker.failure)
        assert [process for process in below if process.is_running()] == []

    go(scenario())


def test_a_shut_down_during_a_trial_kills_it() -> None:
    def train(reporter):
        import time

        reporter.broadcast(0)
        time.sleep(1e6)

    async def scenario() -> None:
        async with one_worker(train, wants=("reporter",)) as worker:
            worker.start(0)
            await worker.heard("metric_reported")
            below = processes_below(worker)
        assert worker.failure is None
        assert [process for process in below if process.is_running()] == []

    go(scenario())


def test_closing_descriptors_that_are_not_ones_own_costs_the_trial_only() -> None:
    def train(hparams):
        import os
        import time

        if hparams["i"] == 0:
            os.closerange(3, 100)
            time.sleep(1e6)
        return 1.0

    failed, good = after(train)
    assert failed.state == "FAILED"
    assert good.state == "COMPLETE"


def test_a_closed_standard_output_costs_the_process_not_the_next_trial() -> None:
    def train(hparams):
        import sys

        if hparams["i"] == 0:
            sys.stdout.close()
            return 1.0
        print("still here")
        return 1.0

    first, second = after(train)
    assert first.state == second.state == "COMPLETE"
    assert second.output == b"still here\n"


@pytest.mark.parametrize("broken", ["stdout", "folder"])
def test_what_a_trial_broke_for_the_next_one_does_not_cost_its_result(broken: str) -> None:
    def train(hparams):
        import os
        import shutil
        import sys

        if hparams["i"] == 0 and hparams["broken"] == "stdout":
            sys.stdout = object()
        elif hparams["i"] == 0:
            shutil.rmtree(os.getcwd())
        open("file", "w").close() if hparams["i"] else None
        return 1.0

    async def scenario() -> None:
        async with one_worker(train, wants=("hparams",)) as worker:
            first, second = await worker.run(0, i=0, broken=broken), await worker.run(1, i=1, broken=broken)
        assert (first.state, first.record["metrics"]) == ("COMPLETE", {"metric": 1.0})
        assert (second.state, second.record["files"]) == ("COMPLETE", ["files/file"])
        assert second.output == b""

    go(scenario())


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_trial_that_replaces_its_working_directory_costs_neither_the_notebooks_folder_nor_the_next_trial(
    kind: str, isolate: bool, tmp_path: Path
) -> None:
    (tmp_path / "data.csv").write_text("precious")

    def train(hparams):
        import os
        import shutil

        if hparams["i"] == 1:
            shutil.copy("data.csv", "file")
            return 1.0
        work = os.getcwd()
        os.chdir("/")
        shutil.rmtree(work)
        if hparams["kind"] == "file":
            open(work, "w").close()
            return 1.0
        os.symlink(hparams["notebook"], work)
        os.chdir(work)
        return {"metric": 1.0, "returned": "data.csv"}

    async def scenario() -> None:
        hparams = {"kind": kind, "notebook": str(tmp_path)}
        async with one_worker(train, tmp_path, wants=("hparams",), isolate=isolate) as worker:
            first, second = await worker.run(0, i=0, **hparams), await worker.run(1, i=1, **hparams)
        assert (first.state, first.record["metrics"]) == ("COMPLETE", {"metric": 1.0})
        assert f"left a {kind}" in first.record["warnings"][-1]
        assert (second.state, second.record["files"]) == ("COMPLETE", ["files/file"]), second
        assert second.record["warnings"] == []
        assert worker.files[1, 1, "files/file"] == b"precious"

    go(scenario())
    assert os.listdir(tmp_path) == ["data.csv"]
    assert (tmp_path / "data.csv").read_text() == "precious"


def test_a_killed_trial_that_replaced_its_working_directory_costs_that_trial_only(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("precious")

    def train(hparams):
        import os
        import shutil

        if hparams["i"] == 0:
            work = os.getcwd()
            shutil.rmtree(work)
            os.symlink(hparams["notebook"], work)
            os._exit(3)
        open("file", "w").close()
        return 1.0

    async def scenario() -> None:
        async with one_worker(train, tmp_path, wants=("hparams",)) as worker:
            first = await worker.run(0, i=0, notebook=str(tmp_path))
            second = await worker.run(1, i=1)
            notice = await worker.heard("noticed")
        assert first.record["error"]["kind"] == "EXIT"
        assert "left a link" in notice["text"]
        assert (second.state, second.record["files"]) == ("COMPLETE", ["files/file"])

    go(scenario())
    assert (tmp_path / "data.csv").read_text() == "precious"


@pytest.mark.parametrize(("end", "code"), [("return", 0), ("raise", 1), ("sys.exit(3)", 3), ("sys.exit('why')", 1)])
def test_a_fork_that_comes_out_of_the_function_ends_there_as_a_program_does(end: str, code: int) -> None:
    def train(hparams):
        import os
        import sys

        pid = os.fork()
        if pid == 0:
            print("the child's", end=" ")
            if hparams["end"] == "raise":
                raise ValueError("only in the child")
            if hparams["end"] == "sys.exit(3)":
                sys.exit(3)
            if hparams["end"] == "sys.exit('why')":
                sys.exit("why")
            return {"metric": -1.0}
        return {"metric": 1.0, "code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "pid": os.getpid()}

    async def scenario() -> None:
        async with one_worker(train, wants=("hparams",)) as worker:
            first, second = await worker.run(0, end=end), await worker.run(1, end=end)
        for ended in (first, second):
            assert (ended.state, ended.record["metrics"]["metric"]) == ("COMPLETE", 1.0), ended
            assert ended.record["metrics"]["code"] == code
            assert "the child's" in ended.text
            assert ("ValueError: only in the child" in ended.text) == (end == "raise")
            assert ("why" in ended.text) == (end == "sys.exit('why')")
            assert "lagom_magic/worker" not in ended.text
        assert first.record["metrics"] == second.record["metrics"]
        assert [message["type"] for message in worker.messages].count("trial_ended") == 2

    go(scenario())


@pytest.mark.parametrize("isolate", [False, True])
def test_a_fork_that_nobody_waits_for_neither_takes_the_trial_over_nor_stays(isolate: bool, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def train(hparams, reporter):
        import os

        if os.fork() == 0:
            if hparams["is_late"]:
                with open(hparams["gate"]) as file:  # comes back after the trial; the others at once
                    file.readline()
            return -1.0
        reporter.broadcast(1.0)
        return 1.0

    async def scenario() -> None:
        async with one_worker(train, wants=("hparams", "reporter"), isolate=isolate) as worker:
            ends = [
                await worker.run(0, gate=str(gate), is_late=False),
                await worker.run(1, gate=str(gate), is_late=True),
            ]
            file.write(b"go\n")
            ends.append(await worker.run(2, gate=str(gate), is_late=False))
        assert [(end.state, end.record["metrics"]) for end in ends] == [("COMPLETE", {"metric": 1.0})] * 3
        assert worker.failure is None

    with gate.open("rb+", buffering=0) as file:  # for reading too, so that nobody waits to open it
        go(scenario())


def test_a_fork_while_another_thread_prints_ends_too() -> None:
    def train():
        import os
        import threading

        is_done = threading.Event()

        def chatter():
            while not is_done.is_set():
                print("." * 100)

        thread = threading.Thread(target=chatter)
        thread.start()
        codes = set()
        for _ in range(50):
            pid = os.fork()
            if pid == 0:
                return -1.0
            codes.add(os.waitpid(pid, 0)[1])
        is_done.set()
        thread.join()
        return {"metric": max(codes)}

    async def scenario() -> None:
        async with one_worker(train) as worker:
            ended = await worker.run(0)
        assert ended.record["metrics"] == {"metric": 0.0}, ended.state

    go(scenario())


def test_a_fork_that_comes_out_of_unpickling_the_function_ends_there() -> None:
    class Forks:
        def __reduce__(self):
            return os.fork, ()

    def train(pid):
        return {"metric": float(pid > 0)}

    content = {"train_fn": by_value(train), "fixed": {"pid": Forks()}, "wants": [], "hparam_names": []}

    async def scenario() -> None:
        async with one_worker(train, payload=cloudpickle.dumps(content)) as worker:
            ended = await worker.run(0)
        assert ended.record["metrics"] == {"metric": 1.0}, ended

    go(scenario())


def test_countless_files_are_cut_and_told() -> None:
    def train():
        for i in range(10_050):
            open(f"{i:05d}", "w").close()
        return 1.0

    async def scenario() -> None:
        async with one_worker(train) as worker:
            ended = await worker.run(0)
            assert ended.state == "COMPLETE"
            assert len(ended.record["files"]) == 10_000
            assert ended.record["files"][-1] == "files/09999"
            assert "50 left out" in ended.record["warnings"][0]

    go(scenario())


def test_a_result_that_fits_into_no_message_fails_its_trial_and_says_so() -> None:
    def train(hparams):
        return {"x" * 20_000_000: 1.0} if hparams["i"] == 0 else 1.0

    first, second = after(train)
    assert first.state == "FAILED"
    assert "Return less" in first.record["error"]["message"]
    assert second.state == "COMPLETE"


def test_a_payload_that_cannot_be_unpickled_fails_each_trial() -> None:
    async def scenario() -> None:
        async with one_worker(lambda: None, payload=b"cno_such_package_of_mine\nx\n.") as worker:
            for trial_id in range(2):
                error = (await worker.run(trial_id)).record["error"]
                assert error["kind"] == "ModuleNotFoundError"
                assert "'no_such_package_of_mine' is missing on worker host" in error["message"]

    go(scenario())


def test_a_dataloader_with_two_workers_runs_and_the_process_stays() -> None:
    def train(hparams):
        import os

        import torch
        from torch.utils.data import DataLoader, TensorDataset

        loader = DataLoader(TensorDataset(torch.arange(8.0)), batch_size=2, num_workers=2)
        print(os.getpid())
        return sum(float(batch.sum()) for (batch,) in loader)

    first, second = after(train)
    assert first.record["metrics"] == {"metric": 28.0}, first
    assert first.text == second.text, (first, second)
