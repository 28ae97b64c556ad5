"""The widget of a run: its page lives in the notebook, and talks with the kernel that drives the run.

Made on the thread that runs the cell, by `LiveView`. The page's requests arrive on the main thread, or on a subshell's
while the cell is busy; updates leave on the follower's thread. Imported only where anywidget is installed.
"""

from __future__ import annotations

import json
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from lagom_magic.display.answers import Backing
from lagom_magic.display.conversation import PROTOCOL, Conversation
from lagom_magic.display.follower import WOKEN_LOOK_INTERVAL_S
from lagom_magic.display.notebook import CellChannel
from lagom_magic.display.viewmodel import run_head
from lagom_magic.display.wire import Message, wire_text
from lagom_magic.events.fold import RunView

#: Where the page's code lies that is made from labextension/ by `jlpm build:widget`.
STATIC = Path(__file__).with_name("static")


class RunWidget(anywidget.AnyWidget):
    """What the front end holds of a run: enough to draw its head at once; the rest comes by messages.

    Attributes:
        run: the head of docs/live-view.md, as it was when the run's state last changed.
        dir: the run's folder.
        protocol: version of the messages.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    run = traitlets.Dict().tag(sync=True)
    dir = traitlets.Unicode().tag(sync=True)
    protocol = traitlets.Int(PROTOCOL).tag(sync=True)

    def __init__(self, channel: CellChannel, static: Path, **traits: Any) -> None:
        """Open the widget.

        Args:
            channel: what its messages leave by.
            static: the folder with the page's code.
            **traits: `run` and `dir`.
        """
        self._channel: CellChannel | None = None
        super().__init__(_esm=_text_of(static / "widget.js"), _css=_text_of(static / "widget.css"), **traits)
        self._channel = channel
        answer_on_subshells(self.comm)

    def _send(self, msg: Message, buffers: Any = None) -> None:
        # ipywidgets' own sends with the calling thread's parent, which may be none or another cell's, and ipykernel
        # 7.4 notes for each message with an id, as our replies have one, which subshell it left from.
        if self._channel is None or buffers:
            super()._send(msg, buffers)
        else:
            self._channel.send("comm_msg", {"comm_id": self.model_id, "data": json.loads(wire_text(msg))})


class WidgetPage:
    """The kernel's end of a run's widget."""

    def __init__(
        self,
        run_dir: Path,
        channel: CellChannel,
        backing: Backing,
        static: Path = STATIC,
    ) -> None:
        """Open the widget; call it on the cell's thread.

        Args:
            run_dir: the run's folder.
            channel: sends messages on behalf of the cell, from any thread.
            backing: of the run.
            static: the folder with the page's code.
        """
        self.conversation = Conversation(run_dir, self._send, backing, look_interval_s=WOKEN_LOOK_INTERVAL_S)
        self._widget = RunWidget(channel, static, run=run_head(RunView()), dir=str(run_dir))
        self._told_state = ""
        self._telling = threading.Lock()
        self._widget.on_msg(self._on_message)

    @property
    def mime(self) -> dict[str, Any]:
        """Content of `application/vnd.jupyter.widget-view+json`."""
        return {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}

    def tell_state(self) -> None:
        """Keep the widget's own state, which a reloaded page begins with, up with the run's."""
        reading = self.conversation.follower.reading
        with self._telling, reading.lock:
            if reading.view.state.value != self._told_state:
                self._told_state = reading.view.state.value
                self._widget.run = run_head(reading.view)

    def _on_message(self, _: RunWidget, content: Any, __: Any) -> None:
        self.conversation.handle(content)

    def _send(self, message: Message) -> None:
        self._widget.send(message)
        if message["type"] == "update":
            self.tell_state()


def answer_on_subshells(comm: Any) -> None:
    """Let messages from the page be handled while the cell is busy.

    A front end sends them to a subshell, and ipykernel 7.4 sends those of a comm that the kernel opened back to the
    main shell, which is busy. It asks the comm where to; an attribute that is None leaves the front end's choice.
    Versions without that attribute route as the front end says.

    Source: ipykernel 7.4 kernelbase.py, `shell_channel_thread_main`.
    """
    if hasattr(type(comm), "_reply_subshell_for"):
        comm._reply_subshell_for = None


def _text_of(path: Path) -> str:
    """The file's text, which all widgets of a kernel share: ipywidgets keeps each for the kernel's life."""
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read(path: Path, _: int) -> str:
    return path.read_text("utf-8")


def is_built(static: Path = STATIC) -> bool:
    """Whether the page's code is there."""
    return (static / "widget.js").is_file() and (static / "widget.css").is_file()
