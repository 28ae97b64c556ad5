"""The live view under a cell: a widget while somebody looks, and faces that a saved notebook keeps.

Made by `experiment.launch` where a person's front end ran the cell; elsewhere `Display` draws the faces alone. One
output holds them all. A front end draws the widget anew whenever that output is updated, so it is updated once, when
the run has ended (docs/live-view.md says what was measured).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from lagom_magic.display.answers import Backing
from lagom_magic.display.conversation import Conversation
from lagom_magic.display.live import Display, readable_folder, render
from lagom_magic.display.notebook import NotebookPublisher
from lagom_magic.display.publisher import Bundle
from lagom_magic.display.saved_lines import LINES_LIMIT, lines_html, lines_text
from lagom_magic.display.widget import STATIC, WidgetPage
from lagom_magic.store.layout import FORMAT

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
RUN_MIME = "application/vnd.lagom-magic.run+json"

_log = logging.getLogger(__name__)


class LiveView:
    """Shows one run under the cell that began it."""

    def __init__(
        self,
        run_dir: Path,
        publisher: NotebookPublisher,
        backing: Backing,
        static: Path = STATIC,
        *,
        shows_past_lines: bool = True,
    ) -> None:
        """Open the widget; call it on the cell's thread.

        Args:
            run_dir: the run's folder.
            publisher: shows the output.
            backing: of the run.
            static: the folder with the page's code.
            shows_past_lines: as for `Display`, should there be no widget after all; the widget's list has all lines.
        """
        self._run_dir, self._publisher = run_dir, publisher
        #: What went wrong last; the run is not touched by it.
        self.error: Exception | None = None
        self._shown: _WidgetFace | Display
        try:
            self._shown = _WidgetFace(run_dir, publisher, WidgetPage(run_dir, publisher.channel, backing, static))
        except Exception as error:  # the run's outer edge, as below: a front end or package that fails is no reason
            _log.exception("The widget of %s cannot be made; the HTML face is shown.", run_dir)
            self.error = error
            self._shown = Display(run_dir, publisher, shows_past_lines=shows_past_lines)

    @property
    def conversation(self) -> Conversation:
        """The page's talk with this kernel; it goes on after the run.

        Raises:
            AssertionError: where there is no widget after all.
        """
        assert isinstance(self._shown, _WidgetFace)
        return self._shown.conversation

    def start(self) -> None:
        """Show the output and begin to tell what is new; on the cell's thread."""
        self._guarded(self._shown.start)

    def wake(self) -> None:
        """Say that the folder has news; costs next to nothing and may be called from any thread."""
        self._shown.wake()

    def close(self) -> None:
        """Show how the run ended; what the page asks from now on is answered from the folder."""
        self._guarded(self._shown.close)

    def leave(self) -> None:
        """Stop watching a run that goes on; the page goes on talking with this kernel."""
        self._guarded(self._shown.leave)

    def _guarded(self, step: Callable[[], object]) -> None:
        """The run's outer edge: a display that fails must not end the run, nor go unseen."""
        try:
            step()
        except Exception as error:
            _log.exception("The display of %s failed.", self._run_dir)
            self.error = error


class _WidgetFace:
    """The widget, and beside it the faces in the same output."""

    def __init__(self, run_dir: Path, publisher: NotebookPublisher, page: WidgetPage) -> None:
        self._run_dir, self._publisher, self._page = run_dir, publisher, page
        self.conversation = page.conversation

    def start(self) -> None:
        self.conversation.follower.reading.refresh()
        self._publisher.show(self._bundle(), is_final=False)
        self.conversation.start()

    def wake(self) -> None:
        self.conversation.wake()

    def close(self) -> None:
        self.conversation.end_of_driver()
        self.leave()

    def leave(self) -> None:
        self.conversation.follower.reading.refresh()
        self._page.tell_state()
        self._publisher.show(self._bundle(), is_final=True)

    def _bundle(self) -> Bundle:
        reading = self.conversation.follower.reading
        with reading.lock:
            faces = render(reading.view, time.time(), readable_folder(self._run_dir), self._publisher.mime_types)
            lines = list(reading.lines.since(reading.lines.n_lines - LINES_LIMIT))
            n_lines = reading.lines.n_lines
        faces["text/html"] += lines_html(lines, n_lines)
        faces["text/plain"] += lines_text(lines, n_lines)
        run = {"dir": str(self._run_dir), "run_id": self._run_dir.name, "format": FORMAT}
        return {WIDGET_MIME: self._page.mime, RUN_MIME: run, **faces}
