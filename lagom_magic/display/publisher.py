"""Where a display's output goes: a notebook's cell, a terminal, a list. Called on the display thread only."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from html import escape
from typing import Any, ClassVar, TextIO

from lagom_magic.display.html import render_html
from lagom_magic.display.text import render_text
from lagom_magic.events.fold import RunView

#: MIME type → what to show: text, or a JSON object.
Bundle = dict[str, Any]
#: (view, now in seconds since the epoch, folder as a person reads it) → one face.
Face = Callable[[RunView, float, str], str]

FACES: dict[str, Face] = {"text/html": render_html, "text/plain": render_text}
UI_MODES = ("auto", "widget", "html", "text")

_log = logging.getLogger(__name__)


class Publisher(ABC):
    """Takes tables and lines.

    Attributes:
        mime_types: the faces it wants.
        is_live: whether it shows tables before the last one.
        wants_widget: whether a widget should show the run, with the faces as what is saved.
        line_budget_bytes: how much of the prints it takes in all; None = any amount.
    """

    mime_types: tuple[str, ...] = ("text/plain",)
    is_live: bool = False
    wants_widget: bool = False
    line_budget_bytes: ClassVar[int | None] = None

    @abstractmethod
    def show(self, bundle: Bundle, is_final: bool) -> None:
        """Show the table, in place of the one before."""

    @abstractmethod
    def write(self, text: str) -> None:
        """Show whole lines of prints."""

    def announce(self, text: str) -> None:
        """Say what goes on before there is a table; the first table takes its place where tables are live."""
        if self.is_live:
            html = f'<div class="lagom-run" role="status">{escape(text)}</div>'
            faces = {"text/html": html, "text/plain": text}
            self.show({mime_type: faces[mime_type] for mime_type in self.mime_types}, is_final=False)
        else:
            self.write(f"{text}\n")


class TerminalPublisher(Publisher):
    """Prefixed lines as they come and one table at the end: for terminals, scripts and logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, bundle: Bundle, is_final: bool) -> None:
        if is_final:
            self.write(f"{bundle['text/plain']}\n")

    def write(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        # A terminal that cannot show a sign must not end the display.
        self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()


class RecordingPublisher(Publisher):
    """Keeps everything: for tests, and for a display whose result is wanted as data."""

    def __init__(self, is_live: bool = True, mime_types: tuple[str, ...] = tuple(FACES)) -> None:
        self.is_live, self.mime_types = is_live, mime_types
        self.bundles: list[Bundle] = []
        self.batches: list[str] = []
        self.is_final = False

    def show(self, bundle: Bundle, is_final: bool) -> None:
        self.bundles.append(bundle)
        self.is_final = is_final

    def write(self, text: str) -> None:
        self.batches.append(text)


def make_publisher(ui: str = "auto") -> Publisher:
    """The publisher that suits where we are; call it on the thread that runs the cell.

    Args:
        ui: one of `UI_MODES`. 'auto' is the widget where a person watches and it is installed, else the HTML face;
            'widget' the same, with a warning where there is none; 'text' leaves the HTML face out.

    Raises:
        ValueError: for another `ui`.
    """
    if ui not in UI_MODES:
        raise ValueError(f"ui={ui!r}: allowed: {', '.join(UI_MODES)}")
    from lagom_magic.display.notebook import NotebookPublisher, has_person, kernel_shell

    shell = kernel_shell()
    if shell is None:
        return TerminalPublisher(sys.stdout)
    mime_types = ("text/plain",) if ui == "text" else tuple(FACES)
    is_live = not is_noninteractive()
    can_be_watched = ui in ("auto", "widget") and is_live and has_person(shell)
    lack = _lack_of_widget() if can_be_watched else "nobody watches this cell's output"
    if lack and ui == "widget" and is_live:
        warnings.warn(f"no widget, so the HTML face is shown: {lack}.", stacklevel=2)
    return NotebookPublisher(shell, mime_types, is_live, wants_widget=not lack)


def _lack_of_widget() -> str:
    """Why there can be no widget; '' when there can."""
    try:
        from lagom_magic.display.widget import is_built
    except ImportError as error:
        return f"it needs anywidget (pip install anywidget): {error}"
    except Exception as error:  # what other people's code says as it is imported
        _log.warning("anywidget is broken, so runs are shown without a widget: %s: %s", type(error).__name__, error)
        return f"anywidget is broken: {type(error).__name__}: {error}"
    return "" if is_built() else "its page was not built; in a checkout run `jlpm install && jlpm build:widget`"


def is_noninteractive() -> bool:
    """Whether LAGOM_NONINTERACTIVE says that nobody watches."""
    return os.environ.get("LAGOM_NONINTERACTIVE", "") not in ("", "0")
