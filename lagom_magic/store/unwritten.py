"""What a driver that was killed has left unwritten of trials that its journal knows; for when the run is resumed.

The journal comes first, everything else up to a second later. The store's thread makes up for what is found here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lagom_magic.events.facts import Fact, TrialEnded, TrialStarted
from lagom_magic.events.fold import fold
from lagom_magic.events.paths import OWN_SUFFIX
from lagom_magic.events.views import RunView, TrialView
from lagom_magic.store.event_records import SESSION_END
from lagom_magic.store.journal import JournalLine
from lagom_magic.store.layout import RunLayout

#: The end of an event file in which a session's last record lies; it has about 130 bytes.
_TAIL_BYTES = 512
#: More than there are in a record before its name.
_BEFORE_NAME_BYTES = 48


@dataclass(slots=True)
class PastFacts:
    """The journal of a run that is resumed; empty for a new one.

    Attributes:
        view: the fold of it.
        facts: each with its time; without those of attempts that were over.
        ends: of all attempts that came to one, with the trial as it was then.
    """

    view: RunView = field(default_factory=RunView)
    facts: list[tuple[Fact, float]] = field(default_factory=list)
    ends: list[tuple[TrialView, TrialEnded]] = field(default_factory=list)

    @classmethod
    def of(cls, lines: Iterable[JournalLine]) -> PastFacts:
        """Fold these lines."""
        past = cls()
        for line in lines:
            n_late = past.view.n_late
            fold(past.view, line.fact, line.time)
            if past.view.n_late > n_late:
                continue
            past.facts.append((line.fact, line.time))
            if isinstance(line.fact, TrialEnded):
                past.ends.append((past.view.trials[line.fact.trial_id], line.fact))
        return past


def ends_without_file(layout: RunLayout, past: PastFacts) -> Iterator[tuple[TrialView, TrialEnded]]:
    """The attempts that have ended and have no trial.json."""
    for trial, ended in past.ends:
        if not os.path.exists(f"{layout.trial_folder(ended.trial_id, ended.attempt)}/trial.json"):
            yield trial, ended


def unfinished_sessions(layout: RunLayout, past: PastFacts) -> dict[tuple[int, int], str]:
    """{(trial, attempt): name of its event file, '' without one} of those whose file lacks how it ended.

    Raises:
        OSError: as the file system reports it.
    """
    started = [(fact.trial_id, fact.attempt) for fact, _ in past.facts if isinstance(fact, TrialStarted)]
    found = {}
    for key in started:
        folder = os.path.join(layout.tensorboard, layout.trial_name(*key))
        name = _own_file(folder)
        if not name or not _has_end(f"{folder}/{name}"):
            found[key] = name
    return found


def _own_file(folder: str) -> str:
    """The event file there that the driver wrote; '' without one."""
    try:
        return next((name for name in sorted(os.listdir(folder)) if name.endswith(OWN_SUFFIX)), "")
    except FileNotFoundError:
        return ""


def _has_end(path: str) -> bool:
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
        tail = file.read()
    name_at = tail.rfind(SESSION_END)
    # A record is its length in eight bytes, a checksum of four, the event, and a checksum: the last one must be whole.
    begins = range(max(0, name_at - _BEFORE_NAME_BYTES), name_at)
    return any(begin + 16 + int.from_bytes(tail[begin : begin + 8], "little") == len(tail) for begin in begins)
