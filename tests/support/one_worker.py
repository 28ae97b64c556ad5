"""A real worker (bootstrap, supervisor, trial process) and a driver that does what a test tells it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import threading
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle

from lagom_magic.rpc.server import Connection, Server
from lagom_magic.rpc.tls import make_certificate
from lagom_magic.worker.bootstrap import run_worker

PACKAGE = Path(__file__).parents[2] / "lagom_magic"
CERTIFICATE, PRIVATE_KEY = make_certificate()
TOKEN = b"0123456789abcdef0123456789abcdef"
TIMEOUT_S = 60.0
#: What a driver answers a hello with.
SETTINGS: dict[str, Any] = {
    "metric": None,
    "train_fn": "train",
    "notebook_dir": "/nonexistent/notebooks",
    "trial_timeout_s": None,
    "isolate": False,
    "preload_modules": [],
    "reports_at_once": True,
    "autolog": True,
    "log_weights": None,
    "heartbeat_interval_s": 5.0,
    "stop_grace_s": [0.5, 1.0],
}


def package_zip() -> bytes:
    """Our own source, as a launcher ships it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(PACKAGE.rglob("*.py")):
            archive.write(path, path.relative_to(PACKAGE.parent))
    return buffer.getvalue()


def zip_of(files: dict[str, str]) -> bytes:
    """User modules, as a launcher ships them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def by_value(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a notebook defines it: pickled with its code, not by the name of this test's module."""
    function.__module__ = "__main__"
    function.__annotations__ = {}
    return function


@dataclass
class Ended:
    """What the driver heard of one attempt."""

    record: dict[str, Any]
    reports: list[dict[str, Any]]
    output: bytes
    quiet_output: bytes

    @property
    def state(self) -> str:
        return str(self.record["state"])

    @property
    def text(self) -> str:
        return self.output.decode("utf-8", "replace")


@dataclass
class OneWorker:
    """The driver's side; every wait has a limit."""

    connection: Connection | None = None
    hello: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    output: dict[tuple[int | None, int], bytearray] = field(default_factory=dict)
    quiet_output: dict[tuple[int | None, int], bytearray] = field(default_factory=dict)
    files: dict[tuple[int, int, str], bytes] = field(default_factory=dict)
    #: Of `files`, those of which the last byte has come.
    whole: set[tuple[int, int, str]] = field(default_factory=set)
    closed: str | None = None
    failure: BaseException | None = None
    on_output: Callable[[bytes], None] | None = None
    keeps_output: bool = True
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_messages(self, connection: Connection, messages: list[dict[str, Any]]) -> None:
        self.connection = connection
        self.messages += [message for message in messages if message["type"] != "heartbeat"]
        self._changed.set()

    def on_blob(self, connection: Connection, header: dict[str, Any], data: bytes) -> None:
        if header["type"] == "output":
            kept = self.output if header.get("console", True) else self.quiet_output
            if self.on_output is not None:
                self.on_output(data)
            if self.keeps_output:
                kept.setdefault((header["trial_id"], header["attempt"]), bytearray()).extend(data)
        else:
            key = (header["trial_id"], header["attempt"], header["path"])
            assert len(self.files.get(key, b"")) == header["offset"]
            self.files[key] = self.files.get(key, b"") + data
            if header["is_last"]:
                assert len(self.files[key]) == header["size_bytes"]
                assert hashlib.sha256(self.files[key]).hexdigest() == header["sha256"]
                self.whole.add(key)
            connection.send({"type": "chunk_stored"})
        self._changed.set()

    def on_closed(self, connection: Connection, reason: str) -> None:
        self.closed = reason
        self._changed.set()

    async def until(self, condition: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> Any:
        """Waits for something to have been heard."""
        async with asyncio.timeout(timeout_s):
            while not (value := condition()):
                self._changed.clear()
                await self._changed.wait()
        return value

    async def heard(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The first message of a type with these fields."""

        def find() -> dict[str, Any] | None:
            for message in self.messages:
                if message["type"] == kind and all(message.get(name) == value for name, value in fields.items()):
                    return message
            return None

        found: dict[str, Any] = await self.until(find)
        return found

    def send(self, kind: str, **fields: Any) -> None:
        assert self.connection is not None
        self.connection.send({"type": kind, **fields})

    def start(self, trial_id: int, attempt: int = 1, seed: int | None = None, **hparams: Any) -> None:
        """Starts a trial and does not wait."""
        self.send(
            "start_trial",
            trial_id=trial_id,
            attempt=attempt,
            hparams=hparams,
            seed=seed,
            budget=None,
            rank=0,
            checkpoint=None,
            world_size=1,
        )

    async def ended(self, trial_id: int, attempt: int = 1) -> Ended:
        """The end of a trial."""
        record = await self.heard("trial_ended", trial_id=trial_id, attempt=attempt)
        key = (trial_id, attempt)
        return Ended(
            record,
            [m for m in self.messages if m["type"] == "metric_reported" and (m["trial_id"], m["attempt"]) == key],
            bytes(self.output.get(key, b"")),
            bytes(self.quiet_output.get(key, b"")),
        )

    async def run(self, trial_id: int, attempt: int = 1, seed: int | None = None, **hparams: Any) -> Ended:
        """One trial from start to end."""
        self.start(trial_id, attempt, seed, **hparams)
        return await self.ended(trial_id, attempt)


@contextlib.asynccontextmanager
async def one_worker(
    train_fn: Callable[..., Any],
    notebook_dir: Path | str = "/nonexistent/notebooks",
    *,
    notebook_python: str = "elsewhere:/usr/bin/python3",
    wants: tuple[str, ...] = (),
    names: tuple[str, ...] = (),
    gpus: list[str] | None = None,
    user_code: dict[str, str] | None = None,
    user_code_path: list[str] | None = None,
    payload: bytes | None = None,
    welcome: bool = True,
    **settings: Any,
) -> AsyncIterator[OneWorker]:
    """A worker that has been welcomed; told to shut down and waited for at the end."""
    driver = OneWorker()
    server = Server(driver, TOKEN, CERTIFICATE, PRIVATE_KEY)
    content = {"train_fn": by_value(train_fn), "fixed": {}, "wants": list(wants), "hparam_names": list(names)}
    launch = {
        "ticket": {
            "host": "127.0.0.1",
            "port": server.listen("127.0.0.1"),
            "certificate": CERTIFICATE,
            "token_hex": TOKEN.hex(),
            "run_id": "20261122-093000-test",
            "worker_id": 1,
            "incarnation": 1,
        },
        "package_zip": package_zip(),
        "payload": cloudpickle.dumps(content) if payload is None else payload,
        "user_code_zip": zip_of(user_code or {}),
        "gpus": gpus,
        "notebook_dir": str(notebook_dir),
        "notebook_python": notebook_python,
        "spark_attempt": 0,
        "session_path": user_code_path or [],
        "distribution": None,
    }

    def task() -> None:
        try:
            run_worker(launch)
        except RuntimeError as error:
            driver.failure = error

    thread = threading.Thread(target=task, name="spark-task")
    thread.start()
    try:
        driver.hello = await driver.heard("hello")
        if welcome:
            driver.send(
                "welcome",
                settings={**SETTINGS, "notebook_dir": str(notebook_dir), **settings},
            )
        yield driver
        if driver.closed is None:
            driver.send("shut_down")
            await driver.heard("goodbye")
            await driver.until(lambda: driver.closed is not None)
    finally:
        await server.close()
        await asyncio.to_thread(thread.join, TIMEOUT_S)
        assert not thread.is_alive()
