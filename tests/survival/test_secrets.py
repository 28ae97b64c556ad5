"""The token of a run is nowhere where another program, user or reader could find it."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from calling_home import Home, call_home
from masters import Master, ended, worker_processes

from lagom_magic import Run
from lagom_magic.cluster.private import private_folder
from lagom_magic.driver.driver import Driver

pytestmark = [pytest.mark.spark]


def forms_of(token: bytes) -> list[bytes]:
    """How it could be written; upper case is compared too."""
    return [token, token.hex().encode(), base64.b64encode(token), base64.urlsafe_b64encode(token), repr(token).encode()]


def places(run: Run, master: Master, since: float) -> Iterator[tuple[str, bytes]]:
    """(name, content) of all that may be looked at; of files those changed `since`, seconds since the epoch."""
    for process in Path("/proc").iterdir():
        for name in ("cmdline", "environ"):
            try:
                yield str(process / name), (process / name).read_bytes()
            except OSError:  # no process, or one that ended meanwhile
                continue
    settings = master.info.context.getConf().getAll()
    yield "Spark's settings", "\n".join(f"{name}={value}" for name, value in settings).encode()
    yield "Spark's local properties", str(master.info.context._jsc.sc().getLocalProperties()).encode()
    for folder in (run.dir, master.notebook_dir, private_folder("spark").parent, *folders_of_workers()):
        for path, _, names in os.walk(folder):
            for file in (Path(path, name) for name in names):
                try:
                    if file.is_file() and file.stat().st_mtime >= since:
                        yield str(file), file.read_bytes()
                except OSError:  # removed meanwhile
                    continue


def folders_of_workers() -> set[Path]:
    """Working directories of the Spark tasks, where executors log, and of all processes below them."""
    parents = [process.parent() for process in worker_processes()]
    return {Path(process.cwd()) for process in [*worker_processes(), *filter(None, parents)]} - {Path("/"), Path.cwd()}


def test_the_token_is_in_no_log_journal_output_setting_argument_or_environment(
    master: Master, home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def train(case, port, reporter):
        print("a line of output")
        reporter.broadcast(1.0)
        call_home(port)
        if case == "bad":
            raise ValueError("with a traceback")
        return 1.0

    monkeypatch.setenv("LAGOM_LOG", "debug")
    since = time.time() - 1
    run = master.begin(train, cases=["good", "bad", "last"], ui="text", hparams={"port": home.port})
    driver = run._live
    assert isinstance(driver, Driver)
    forms = forms_of(bytes(driver._token))
    callers = home.next_callers(2)
    seen = dict(places(run, master, since))
    callers[0].say()
    callers[1].supervisor.kill()
    home.next_caller().say()
    home.next_caller().say()
    assert ended(run).state == "COMPLETE"
    seen |= {f"{name}, afterwards": content for name, content in places(run, master, since)}
    seen["what the notebook shows"] = "".join(capfd.readouterr()).encode()
    files = {name.removesuffix(", afterwards").rpartition("/")[2] for name in seen}
    assert {"driver.log", "output.log", "events.jsonl", "trial.json"} <= files
    assert f"/proc/{os.getpid()}/environ" in seen
    assert any(b"LAGOM_WORKER=" in content for name, content in seen.items() if name.endswith("/environ"))
    found = [name for name, content in seen.items() for form in forms if form.lower() in content.lower()]
    assert found == []
    assert bytes(driver._token).hex() not in f"{driver.__dict__} {driver._token!r}"
