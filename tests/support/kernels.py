"""A real kernel as a notebook drives it: cells go in, messages come out, ■ interrupts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel
from jupyter_core.utils import ensure_event_loop

CELL_TIMEOUT_S = 120.0
_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def jupyter_loop() -> Iterator[None]:
    """The event loop that jupyter_client keeps for a process; made before a test's leaks are counted."""
    loop = ensure_event_loop()
    yield
    loop.close()


@dataclass
class Cell:
    """One executed cell.

    Attributes:
        text: its streams, as they came.
        displays: the last MIME bundle of each display.
        error: name of the error that it ended with; "" for none yet, and for a good end.
        message: that error's text.
    """

    kernel: Kernel
    msg_id: str
    text: str = ""
    displays: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: str = ""
    message: str = ""
    is_done: bool = False

    def until(self, condition: Callable[[Cell], bool], timeout_s: float = CELL_TIMEOUT_S) -> Cell:
        """Reads messages until the condition holds.

        Raises:
            AssertionError: when the cell ends without it, or in time nothing comes.
        """
        deadline = time.monotonic() + timeout_s
        while not condition(self):
            assert not self.is_done, f"the cell has ended: {self}"
            self._take(self.kernel.client.get_iopub_msg(timeout=max(0.0, deadline - time.monotonic())))
        return self

    def until_shown(self, text: str) -> Cell:
        """Until a display says it."""
        return self.until(lambda cell: any(text in shown["text/plain"] for shown in cell.displays.values()))

    def end(self, timeout_s: float = CELL_TIMEOUT_S) -> Cell:
        """Waits for the end of the cell."""
        return self.until(lambda cell: cell.is_done, timeout_s)

    def _take(self, message: dict[str, Any]) -> None:
        if message["parent_header"].get("msg_id") != self.msg_id:
            return
        content = message["content"]
        match message["msg_type"]:
            case "stream":
                self.text += content["text"]
            case "display_data" | "update_display_data":
                self.displays[content["transient"].get("display_id", "")] = content["data"]
            case "execute_result":
                self.text += content["data"]["text/plain"]
            case "error":
                self.error, self.message = content["ename"], content["evalue"]
            case "status":
                self.is_done = content["execution_state"] == "idle"

    def __str__(self) -> str:
        return f"{self.error} {self.message} after:\n{self.text[-3000:]}"


class Kernel:
    """A kernel of this Python."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager, self.client = manager, client

    def start(self, code: str) -> Cell:
        """Executes a cell and does not wait."""
        return Cell(self, self.client.execute(code, stop_on_error=False))

    def run(self, code: str) -> Cell:
        """Executes a cell to its end."""
        return self.start(code).end()

    def value(self, expression: str) -> str:
        """What the kernel prints for an expression."""
        cell = self.run(f"print({expression})")
        assert not cell.error, str(cell)
        return cell.text.strip()

    def interrupt(self) -> None:
        """■"""
        self.manager.interrupt_kernel()

    def kill(self) -> None:
        """Ends it as the kernel's out-of-memory killer does, and waits until it is gone."""
        process = self.manager.provisioner.process
        process.kill()
        process.wait(30)


@contextmanager
def open_kernel(folder: Path, variables: Mapping[str, str] | None = None) -> Iterator[Kernel]:
    """A kernel in a folder with the magics loaded, shut down at the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAGOM_")}
    environment |= {
        "LAGOM_TEST_SESSION": os.environ["LAGOM_TEST_SESSION"],
        "PYTHONPATH": str(_ROOT),
        # The face that needs no page: what it shows comes as text.
        "LAGOM_UI": "html",
        **(variables or {}),
    }
    manager, client = start_new_kernel(cwd=str(folder), kernel_name="python3", env=environment)
    try:
        kernel = Kernel(manager, client)
        loaded = kernel.run("%load_ext lagom_magic")
        assert not loaded.error, str(loaded)
        yield kernel
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
