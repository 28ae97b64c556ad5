"""What a person sees of a run: a table that lives under the cell, and its prints."""

from lagom_magic.display.live import Display, render
from lagom_magic.display.publisher import Publisher, RecordingPublisher, TerminalPublisher, make_publisher

__all__ = [
    "Display",
    "Publisher",
    "RecordingPublisher",
    "TerminalPublisher",
    "make_publisher",
    "render",
]
