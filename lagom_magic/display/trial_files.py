"""The files of a run's trials in its report: links to where they lie, and small pictures of the best trial."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path, PurePath
from typing import NamedTuple
from urllib.parse import quote

from lagom_magic.display.elements import fact_rows, folded, more
from lagom_magic.display.stored import StoredRun
from lagom_magic.display.wording import count, one_line, size
from lagom_magic.errors import StoreError
from lagom_magic.events.fold import TrialView
from lagom_magic.store.layout import RunLayout
from lagom_magic.store.received import safe_parts

#: Files that are linked, and those of them that are to be seen at once.
FILE_LIMIT, UNFOLDED_LIMIT = 500, 10
#: Pictures, and bytes of one.
PICTURE_LIMIT, PICTURE_BYTES = 8, 1 << 20
_PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
#: Where almost all files of a trial lie.
_USUAL = "artifacts/"

#: (trial, link)
_Link = tuple[str, str]


class _File(NamedTuple):
    """A file of a trial.

    Attributes:
        name: below the trial's folder.
        path: where it lies.
        n_bytes: its size.
        problem: why nothing more is known of it.
    """

    name: str
    path: Path
    n_bytes: int
    problem: str = ""


def trial_words(trial: TrialView) -> str:
    """'trial 4', 'trial 4, attempt 2'."""
    return f"trial {trial.id}" + (f", attempt {trial.attempt}" if trial.attempt > 1 else "")


def file_links(run: StoredRun, beside: Path) -> str:
    """Links to the files of trials; a browser follows them only where the run's folder lies as it did.

    Args:
        run: whose trials.
        beside: the folder in which the report will lie.
    """
    main = run.main_trial
    trials = sorted(run.view.trials.values(), key=lambda trial: (trial is not main, trial.id))
    links = [(trial_words(trial), _link(file, beside)) for trial in trials for file in _files(run, trial)]
    n_shown = _n_unfolded([trial for trial, _ in links])
    shown, rest = links[:n_shown], links[n_shown:FILE_LIMIT]
    return _grouped(shown) + folded(f"{count(len(rest), 'more file')}", _grouped(rest)) + more(len(links) - FILE_LIMIT)


def pictures(run: StoredRun, trial: TrialView) -> str:
    """Pictures that a trial has returned, as large as they are."""
    figures: list[str] = []
    for file in _files(run, trial):
        kind = _PICTURES.get(PurePath(file.name).suffix.lower())
        if kind is None or len(figures) == PICTURE_LIMIT or file.n_bytes > PICTURE_BYTES:
            continue
        try:
            data = base64.b64encode(file.path.read_bytes()).decode()
        except OSError as error:
            figures.append(_figure("", f"{_shown(file.name)} cannot be read: {error.strerror}"))
        else:
            picture = f'<img src="data:{kind};base64,{data}" alt="{escape(file.name)}">'
            figures.append(_figure(picture, _shown(file.name)))
    return f'<div class="pictures">{"".join(figures)}</div>' if figures else ""


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def _n_unfolded(trials: list[str]) -> int:
    """How many of the files, each given by its trial, are seen at once: whole trials where that is possible."""
    if len(trials) <= UNFOLDED_LIMIT:
        return len(trials)
    ends = [end for end in range(1, UNFOLDED_LIMIT + 1) if trials[end] != trials[end - 1]]
    return ends[-1] if ends else UNFOLDED_LIMIT


def _link(file: _File, beside: Path) -> str:
    if file.problem:
        return f"{escape(_shown(file.name))} <small>cannot be read: {escape(file.problem)}</small>"
    link = escape(quote(os.fsencode(os.path.relpath(file.path, beside))))
    return f'<a href="{link}">{escape(_shown(file.name))}</a> <small>{size(file.n_bytes)}</small>'


def _shown(name: str) -> str:
    return one_line(name.removeprefix(_USUAL), 200)


def _grouped(links: list[_Link]) -> str:
    return fact_rows(
        (trial, " · ".join(f"<span>{link}</span>" for _, link in group))
        for trial, group in groupby(links, key=lambda link: link[0])
    )


def _files(run: StoredRun, trial: TrialView) -> Iterator[_File]:
    """A trial's files that are there, and in its own folder."""
    root = RunLayout(run.dir).trial_dir(trial.id, trial.attempt)
    for name in sorted(trial.files):
        try:
            path = root.joinpath(*safe_parts(name))
        except StoreError:  # no name of ours
            continue
        try:
            if path.resolve().is_relative_to(root.resolve()) and stat.S_ISREG((status := path.stat()).st_mode):
                yield _File(name, path, status.st_size)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            yield _File(name, path, 0, error.strerror or type(error).__name__)
