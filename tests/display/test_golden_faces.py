"""Every stored journal is drawn as its stored faces say; run this file to write them anew, then read the difference."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path

import pytest

from lagom_magic.display.live import Display, render
from lagom_magic.display.publisher import RecordingPublisher
from lagom_magic.events.fold import RunView, fold
from lagom_magic.store.journal import JournalReader

JOURNALS = sorted((Path(__file__).parents[1] / "journals").glob("*.jsonl"))
FACES = Path(__file__).parent / "faces"
FOLDER = "lagom_runs/digits/20261122-093000-k3f7"
SUFFIXES = {"text/plain": ".txt", "text/html": ".html"}


def view_of(journal: Path) -> RunView:
    view = RunView()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(journal, Path(folder) / "events.jsonl")
        for line in JournalReader(Path(folder)).read_new():
            fold(view, line.fact, line.time)
    return view


def faces_of(journal: Path) -> dict[str, str]:
    """Name of the stored file → what belongs in it, with a second gone by since the journal's last line."""
    view = view_of(journal)
    bundle = render(view, (view.updated_at or 0.0) + 1, FOLDER)
    return {f"{journal.stem}{SUFFIXES[mime_type]}": f"{face}\n" for mime_type, face in bundle.items()}


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda journal: journal.stem)
def test_a_journal_is_drawn_as_its_stored_faces_say(journal: Path) -> None:
    for name, face in faces_of(journal).items():
        assert _readable(face) == (FACES / name).read_text("utf-8")


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda journal: journal.stem)
def test_a_display_that_followed_the_journal_line_by_line_ends_with_the_same_faces(
    journal: Path, tmp_path: Path
) -> None:
    view = view_of(journal)
    publisher = RecordingPublisher()
    with (
        open(tmp_path / "events.jsonl", "w", encoding="utf-8") as growing,
        Display(tmp_path, publisher, clock=lambda: (view.updated_at or 0.0) + 1) as display,
    ):
        fcntl.flock(growing, fcntl.LOCK_EX)  # as its driver does
        for line in journal.read_text("utf-8").splitlines(keepends=True):
            growing.write(line)
            growing.flush()
            display.wake()
    expected = faces_of(journal)[f"{journal.stem}.txt"].replace(FOLDER, str(tmp_path))
    assert publisher.bundles[-1]["text/plain"] + "\n" == expected


def test_there_are_journals() -> None:
    assert len(JOURNALS) >= 5


def _readable(face: str) -> str:
    """One element a line; without the style sheet, which has its own file and would drown a difference."""
    before, _, rest = face.partition("<style>")
    return (before + rest.partition("</style>")[2]).replace("><", ">\n<")


if __name__ == "__main__":
    FACES.mkdir(exist_ok=True)
    for stored in JOURNALS:
        for name, face in faces_of(stored).items():
            (FACES / name).write_text(_readable(face), encoding="utf-8")
