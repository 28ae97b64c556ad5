"""A whole worker over a real channel: the ordinary life of trials."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest
from one_worker import CERTIFICATE, PACKAGE, SETTINGS, TOKEN, Ended, OneWorker, one_worker, package_zip

from lagom_magic.worker.bootstrap import run_worker


def run(scenario: Any) -> Any:
    return asyncio.run(scenario)


def test_a_trial_runs_reports_prints_and_ends() -> None:
    def train(lr, reporter):
        print(f"lr is {lr}")
        reporter.broadcast(0.5)
        reporter.broadcast({"loss": float("nan"), "accuracy": 2}, step=7)
        return {"loss": lr * 2}

    async def scenario() -> None:
        async with one_worker(train, wants=("reporter",), names=("lr",)) as worker:
            ended = await worker.run(3, lr=0.25)
        assert ended.state == "COMPLETE"
        assert ended.record["metrics"] == {"loss": 0.5}
        assert [(r["step"], r["metrics"]) for r in ended.reports] == [
            (0, {"metric": 0.5}),
            (7, {"loss": "nan", "accuracy": 2.0}),
        ]
        assert ended.output == b"lr is 0.25\n"
        assert worker.failure is None

    run(scenario())


def test_hello_says_who_it_is() -> None:
    async def scenario() -> None:
        async with one_worker(lambda: None, gpus=["2"]) as worker:
            hello = worker.hello
        assert hello["protocol"] == 1
        assert (hello["worker_id"], hello["incarnation"], hello["spark_attempt"]) == (1, 1, 0)
        assert hello["gpus"] == ["2"]
        assert hello["python"] == platform.python_version()
        assert hello["host"] == platform.node()

    run(scenario())


def test_the_trials_gpus_are_set_before_the_users_modules_are_imported() -> None:
    from_module = "import os\nSEEN = os.environ.get('CUDA_VISIBLE_DEVICES')\n"

    def train():
        import early

        return {"seen": early.SEEN}

    async def scenario() -> None:
        async with one_worker(train, gpus=["3", "1"], user_code={"early.py": from_module}) as worker:
            ended = await worker.run(0)
        assert ended.record["values"] == {"seen": "'3,1'"}

    run(scenario())


def test_what_the_function_may_know_of_its_trial(tmp_path: Path) -> None:
    def train(hparams, trial, seed, budget, a):
        import os

        assert hparams == {"a": 1, "b": [2]}
        assert a == 1
        assert (trial.id, trial.attempt, trial.worker, trial.rank, trial.world_size) == (4, 2, 1, 0, 1)
        assert os.path.isdir(trial.dir)
        try:
            trial.id = 5
        except AttributeError:
            return {"seed": seed, "budget": budget, "notebook": trial.notebook_dir}

    async def scenario() -> None:
        wants = ("hparams", "trial", "seed", "budget")
        async with one_worker(train, tmp_path, wants=wants, names=("a",)) as worker:
            alone = {"rank": 0, "world_size": 1, "checkpoint": None}
            worker.send("start_trial", trial_id=4, attempt=2, hparams={"a": 1, "b": [2]}, seed=9, budget=3, **alone)
            ended = await worker.ended(4, 2)
        assert ended.record["metrics"] == {"seed": 9.0, "budget": 3.0}, ended
        assert ended.record["values"] == {"notebook": repr(str(tmp_path))}

    run(scenario())


def test_a_file_that_cannot_be_kept_costs_neither_others_nor_the_next_trial(tmp_path: Path) -> None:
    def train(trial, i):
        import os

        seen = sorted(os.listdir("."))
        if i == 0:
            # A path may have 4,096 bytes: this one fits here, and no longer among the trial's files.
            deep = os.getcwd()
            while len(deep) < 3880:
                deep += "/" + "d" * 200
            os.makedirs(deep)
            with open(os.path.join(deep, "x" * (4090 - len(deep))), "w") as file:
                file.write("lost")
            with open(os.path.join(trial.dir, "mine"), "w") as file:
                file.write("mine")
        with open("result.txt", "w") as file:
            file.write(str(i))
        return {"loss": i, "seen": str(seen)}

    async def scenario() -> None:
        async with one_worker(train, tmp_path, wants=("trial",), names=("i",)) as worker:
            ends = [await worker.run(i, i=i) for i in range(2)]
        assert [end.record["files"] for end in ends] == [["files/mine", "files/result.txt"], ["files/result.txt"]]
        assert "could not be kept" in ends[0].record["warnings"][-1]
        assert ends[1].record["values"] == {"seen": repr("[]")}

    run(scenario())


def test_files_come_back_and_the_notebooks_folder_is_untouched(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("in")

    def train(trial, i):
        import os

        from lagom_magic import tensorboard

        with open("input.txt") as file:
            assert file.read() == "in"
        with open("input.txt", "w") as file:
            file.write(f"out {i}")
        with open("big.bin", "wb") as file:
            file.write(bytes(2_500_000))
        open("empty", "w").close()
        with open(os.path.join(trial.dir, "mine"), "w") as file:
            file.write("mine")
        with open(os.path.join(tensorboard.logdir(), "profile"), "w") as file:
            file.write("scalars")
        return {"loss": 1, "report": "empty"}

    async def scenario() -> None:
        async with one_worker(train, tmp_path, wants=("trial",), names=("i",)) as worker:
            for i in range(2):
                ended = await worker.run(i, i=i)
                assert ended.record["files"] == [
                    "artifacts/empty",
                    "files/big.bin",
                    "files/input.txt",
                    "files/mine",
                    "tensorboard/profile",
                ], ended
        assert worker.files[0, 1, "files/big.bin"] == bytes(2_500_000)
        assert worker.files[0, 1, "artifacts/empty"] == b""
        assert worker.files[0, 1, "tensorboard/profile"] == b"scalars"
        assert [worker.files[i, 1, "files/input.txt"] for i in range(2)] == [b"out 0", b"out 1"]
        assert os.listdir(tmp_path) == ["input.txt"]
        assert (tmp_path / "input.txt").read_text() == "in"

    run(scenario())


def test_files_of_a_trial_whose_process_died_come_back(tmp_path: Path) -> None:
    def train():
        import os

        with open("checkpoint", "w") as file:
            file.write("half")
        os._exit(1)

    async def scenario() -> None:
        async with one_worker(train, tmp_path) as worker:
            ended = await worker.run(0)
            assert ended.record["files"] == ["files/checkpoint"]
        assert worker.files[0, 1, "files/checkpoint"] == b"half"

    run(scenario())


def test_log_that_is_not_for_the_notebook_keeps_its_place_in_the_file() -> None:
    def train(reporter):
        reporter.log("loud")
        reporter.log("quiet", jupyter=False)

    async def scenario() -> None:
        async with one_worker(train, wants=("reporter",)) as worker:
            ended = await worker.run(0)
        assert (ended.output, ended.quiet_output) == (b"loud\n", b"quiet\n")

    run(scenario())


def test_the_same_seed_gives_the_same_numbers_even_for_libraries_imported_in_the_trial() -> None:
    def train():
        import random

        import numpy
        import torch

        return {"random": random.random(), "numpy": numpy.random.rand(), "torch": torch.rand(())}

    async def scenario() -> None:
        async with one_worker(train) as worker:
            ended = [await worker.run(i, seed=seed) for i, seed in enumerate([7, 7, 8, None, None])]
        drawn = [end.record["metrics"] for end in ended]
        assert drawn[0] == drawn[1]
        for name in ("random", "numpy", "torch"):
            assert len({metrics[name] for metrics in drawn}) == 4

    run(scenario())


def test_a_file_that_only_the_notebook_sees_is_an_error_that_names_files() -> None:
    def train():
        with open("rows.csv") as file:
            return file.read()

    async def scenario() -> None:
        async with one_worker(train, "/nonexistent/notebooks") as worker:
            error = (await worker.run(0)).record["error"]
        assert error["kind"] == "FileNotFoundError"
        assert "`--files rows.csv`" in error["message"]

    run(scenario())


@pytest.mark.parametrize(
    ("beside", "is_notebooks_python", "advice"),
    [
        (
            None,
            False,
            ": install it there (`pip install no_such_package`), or ship a module of yours with `--py-files`.",
        ),
        ("table.csv", False, ": install it there (`pip install no_such_package`)."),
        ("table.csv", True, ", which is the notebook's own: `%pip install no_such_package`."),
        (
            "no_such_package.py",  # it came after the worker began
            True,
            ". If you mean 'no_such_package.py' beside the notebook, ship it with `--py-files no_such_package.py`.",
        ),
    ],
)
def test_a_missing_package_is_named_with_the_host_and_how_to_get_it(
    tmp_path: Path, beside: str | None, is_notebooks_python: bool, advice: str
) -> None:
    def train():
        import no_such_package.part  # noqa: F401

    async def scenario() -> None:
        host = platform.node()
        folder = "/nonexistent/notebooks"
        if beside is not None:
            folder = str(tmp_path)
        python = f"{host}:{sys.executable}" if is_notebooks_python else f"elsewhere:{sys.executable}"
        async with one_worker(train, folder, notebook_python=python) as worker:
            if beside is not None:
                (tmp_path / beside).touch()
            error = (await worker.run(0)).record["error"]
        assert error["message"] == (
            "No module named 'no_such_package'. "
            f"Package 'no_such_package' is missing on worker host {host} ({sys.executable}){advice}"
        )

    run(scenario())


def test_a_parked_worker_waits_and_may_be_welcomed_later() -> None:
    async def scenario() -> None:
        async with one_worker(lambda: 1.0, welcome=False) as worker:
            worker.send("park")
            worker.send("welcome", settings=SETTINGS)
            assert (await worker.run(0)).state == "COMPLETE"

    run(scenario())


def test_a_refused_worker_ends_and_says_why() -> None:
    async def scenario() -> None:
        async with one_worker(lambda: 1.0, welcome=False) as worker:
            worker.send("refused", reason="Python 3.9")
            await worker.until(lambda: worker.closed is not None)
        assert "refused this worker: Python 3.9" in str(worker.failure)

    run(scenario())


def test_a_driver_that_is_not_there_is_told() -> None:
    launch = {
        "ticket": {
            "host": "127.0.0.1",
            "port": 1,
            "certificate": CERTIFICATE,
            "token_hex": TOKEN.hex(),
            "run_id": "r",
            "worker_id": 1,
            "incarnation": 1,
        },
        "package_zip": package_zip(),
        "payload": b"",
        "user_code_zip": b"",
        "gpus": None,
        "notebook_dir": "/nonexistent",
        "notebook_python": "",
        "spark_attempt": 0,
        "session_path": [],
        "distribution": None,
    }
    with pytest.raises(RuntimeError, match=r"the driver at 127\.0\.0\.1:1 cannot be reached"):
        run_worker(launch)


def test_nothing_is_left_on_the_workers_disk_and_the_token_is_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def scenario() -> None:
        async with one_worker(lambda: 1.0) as worker:
            await worker.run(0)
            processes = [psutil.Process(worker.hello["pid"])]
            processes += processes[0].children(recursive=True)
            for process in processes:
                shown = "\0".join([*process.cmdline(), *process.environ().values()])
                assert TOKEN.hex() not in shown
                assert TOKEN.decode() not in shown
                assert CERTIFICATE.splitlines()[1] not in shown
        home = tmp_path / f"lagom-{os.getuid()}"
        assert home.stat().st_mode & 0o777 == 0o700
        assert [name for name in os.listdir(home) if not name.startswith(("package-", "user-code-"))] == []

    run(scenario())


@pytest.mark.parametrize("modules", [[], ["numpy"], ["torch", "sklearn.linear_model"]], ids=str)
def test_isolated_trials_are_forks_that_share_nothing(modules: list[str]) -> None:
    def train(reporter):
        import os
        import sys

        sys.modules["mark"] = sys.modules.get("mark", 0) + 1
        reporter.broadcast(os.getppid())
        if "torch" in sys.modules:
            import torch

            assert torch.ones(200, 200).mm(torch.ones(200, 200))[0, 0] == 200
        print("hello")
        return {"mark": sys.modules.pop("mark"), "pid": os.getpid()}

    async def scenario() -> None:
        async with one_worker(train, wants=("reporter",), isolate=True, preload_modules=modules) as worker:
            ended = []
            for i in range(100):
                ended.append(await worker.run(i))
                assert ended[i].state == "COMPLETE", ended[i]
                assert ended[i].output == b"hello\n"
                if i > 4 and _is_forked(ended[i], worker):
                    break
            assert _is_forked(ended[-1], worker), "the template was never ready"
        assert {end.record["metrics"]["mark"] for end in ended} == {1.0}
        assert len({end.record["metrics"]["pid"] for end in ended}) == len(ended)
        assert [m for m in worker.messages if m["type"] == "noticed"] == []

    run(scenario())


def _is_forked(ended: Ended, worker: OneWorker) -> bool:
    return ended.reports[0]["metrics"]["metric"] != worker.hello["pid"]


def test_isolated_forks_without_a_seed_differ() -> None:
    def train():
        import numpy

        return numpy.random.rand()

    async def scenario() -> None:
        async with one_worker(train, isolate=True, preload_modules=["numpy"]) as worker:
            drawn = [(await worker.run(i)).record["metrics"]["metric"] for i in range(20)]
        assert len(set(drawn)) == 20

    run(scenario())


def test_preloading_that_starts_threads_is_told_and_trials_run_all_the_same() -> None:
    threaded = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"

    async def scenario() -> None:
        settings: dict[str, Any] = {"isolate": True, "preload_modules": ["threaded"]}
        async with one_worker(lambda: 1.0, user_code={"threaded.py": threaded}, **settings) as worker:
            noticed = await worker.heard("noticed")
            for i in range(3):
                assert (await worker.run(i)).state == "COMPLETE"
        assert "importing threaded starts threads" in noticed["text"]

    run(scenario())


def test_a_fork_that_dies_costs_its_trial_only() -> None:
    def train(i, reporter):
        import os

        reporter.broadcast(os.getppid())
        if i % 2:
            os.kill(os.getpid(), 11)
        return 1.0

    async def scenario() -> None:
        settings: dict[str, Any] = {"isolate": True, "preload_modules": []}
        async with one_worker(train, names=("i",), wants=("reporter",), **settings) as worker:
            ended = [await worker.run(i, i=i) for i in range(10)]
        assert [end.state for end in ended] == ["COMPLETE", "FAILED"] * 5
        assert {end.record["error"]["kind"] for end in ended[1::2]} == {"SIGSEGV"}
        assert _is_forked(ended[-1], worker)

    run(scenario())


def test_a_stopped_fork_is_stopped_by_the_ladder() -> None:
    def train(i, reporter):
        import time

        reporter.broadcast(0)
        if i == 3:
            print("asleep")
            time.sleep(1e6)

    async def scenario() -> None:
        settings: dict[str, Any] = {"isolate": True, "preload_modules": []}
        async with one_worker(train, names=("i",), wants=("reporter",), **settings) as worker:
            for i in range(3):
                await worker.run(i, i=i)
            worker.start(3, i=3)
            await worker.until(lambda: worker.output)
            worker.send("stop_trial", trial_id=3, attempt=1)
            assert (await worker.ended(3)).state == "STOPPED"

    run(scenario())


def test_the_worker_package_imports_without_site_packages() -> None:
    modules = [f"lagom_magic.worker.{path.stem}" for path in (PACKAGE / "worker").glob("*.py")]
    code = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\nprint(len(sys.modules))"
    subprocess.run(
        [sys.executable, "-S", "-I", "-c", f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n{code}"],
        check=True,
        timeout=60,
    )


def test_the_trial_process_imports_no_event_loop_and_no_tls() -> None:
    code = "import sys, lagom_magic.worker.trial_process; print({'asyncio', 'ssl'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )
    assert done.stdout == "set()\n"


def test_an_error_with_an_endless_text_and_a_long_quiet_log_arrive_in_pieces() -> None:
    def train(reporter):
        reporter.log("x" * 3_000_000, jupyter=False)
        raise ValueError("y" * 30_000_000)

    async def scenario() -> None:
        async with one_worker(train, wants=("reporter",)) as worker:
            ended = await worker.run(0)
        assert len(ended.record["error"]["message"]) == 10_000
        assert ended.quiet_output.startswith(b"x" * 3_000_000 + b"\n")

    run(scenario())
