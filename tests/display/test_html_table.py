from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from display_runs import BEGAN, run_started, some_run, trial_facts, view_of

from lagom_magic.display.html import SIZE_LIMIT_BYTES, render_html, render_whole_html
from lagom_magic.display.live import render
from lagom_magic.events.facts import (
    Fact,
    MetricReported,
    Noticed,
    RunEnded,
    RunState,
    TrialEnded,
    TrialError,
    TrialStarted,
    TrialState,
    WorkerRegistered,
)
from lagom_magic.events.views import RunView

#: What our face is made of; anything else came from outside.
TAGS = {"div", "style", "strong", "span", "b", "small", "ul", "li", "figure", "figcaption", "svg", "path", "text"}
TAGS |= {"table", "caption", "thead", "tbody", "tr", "th", "td"}
ATTRIBUTES = {"class", "role", "aria-label", "aria-hidden", "style", "scope", "colspan", "title"}
ATTRIBUTES |= {"width", "height", "viewbox", "fill", "d", "x", "y", "dy", "text-anchor"}
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</style><script>alert(1)</script>",
    "\"' onmouseover=alert(1) x='",
    "{{constructor.constructor('alert(1)')()}} ${7*7} {% raw %}",
    "$\\href{javascript:alert(1)}{x}$",
    "javascript:alert(1)",
    "abc\u202egnp.exe\u2066",
    "\x1b[31mred\x1b]8;;javascript:alert(1)\x07link\x07",
    "<svg/onload=alert(1)>",
    "]]>--><!--",
    "\ud83d half a pair",
    "x" * 1_000_000,
]


class Page(HTMLParser):
    """What a browser would make of the HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.styles = 0
        self.shown: list[str] = []
        self._is_in_style = False
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.shown).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self._is_in_style = tag == "style"
        self.styles += self._is_in_style
        self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        self._is_in_style = False
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._is_in_style:
            self.shown.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def hostile_run(text: str) -> list[Fact]:
    """The text in every field that somebody else fills."""
    header = run_started(
        run_id=text, experiment=text, metric=text, sampler=text, pruner=text, hparam_names=(text, "nested")
    )
    facts: list[Fact] = [header, WorkerRegistered(1, 1, text, 1, (text,), text), Noticed(text)]
    for trial_id, value in enumerate((text, text + "2", text + "3")):
        facts.append(TrialStarted(trial_id, 1, 1, {text: value, "nested": [value], "same": {text: [text]}}))
        facts.append(MetricReported(trial_id, 1, 1, 0, {text: 0.5, f"other {text}": 1.0}))
    facts.append(TrialEnded(0, 1, 1, TrialState.COMPLETE, {text: 0.7}, 0.7, 1.0, None, (text,), (text,), {text: text}))
    facts.append(TrialEnded(1, 1, 1, TrialState.FAILED, {}, None, 1.0, TrialError(text, text, text)))
    return [*facts, RunEnded(RunState.FAILED, text)]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_foreign_text_stays_text_in_every_field(text: str) -> None:
    bundle = render(view_of(hostile_run(text)), BEGAN, text)
    page = Page(bundle["text/html"])
    assert page.tags <= TAGS
    assert page.attributes <= ATTRIBUTES
    assert page.styles == 1
    for face in bundle.values():
        assert not set(face) & set("\x1b\x07\u202e\u2066\ud83d")
        assert len(face.encode()) <= SIZE_LIMIT_BYTES
    # A title may hold what an attribute cannot break out of, and the text itself is there to read.
    if "\x1b" not in text and "\u202e" not in text and "\ud83d" not in text:
        assert text[:20].split(maxsplit=1)[0] in page.text


def test_the_face_is_made_of_what_the_lists_above_allow() -> None:
    page = Page(render_html(view_of(some_run()), BEGAN, "x"))
    assert page.tags == TAGS


def test_the_head_says_what_a_person_wants_to_know() -> None:
    view = view_of(some_run())
    text = Page(render_html(view, (view.updated_at or 0.0) + 1, "lagom_runs/digits/x")).text.replace("\xa0", " ")
    for words in (
        "digits 20261122-093000-k3f7 ● running on 1 worker",
        "0.8637 accuracy ↑ trial 1 · lr 0.05 · width 32",
        "5 of 30 trials 3 complete · 1 pruned · 1 failed · 1 running",
        "29 s about 50 s left",
        "11 % saved ≈ 2 of 18 steps not run",
        "1 / 2 workers busy",
        "✖ failed",
        "ValueError: shapes differ",
        "the same in all trials: width 32",
        "tpe · asha · seed 7 lagom_runs/digits/x",
    ):
        assert words in text


def test_what_trials_warn_of_is_a_notice_but_in_a_report_which_has_a_section_of_it() -> None:
    warned = TrialEnded(0, 1, 1, TrialState.COMPLETE, metric=0.5, warnings=("'value' is a <DataFrame>",))
    view = view_of([run_started(), *trial_facts(0, None), warned])
    assert "trial 0 warns: 'value' is a <DataFrame>" in Page(render_html(view, BEGAN, "x")).text
    assert "warns" not in render_whole_html(view, BEGAN, "x")


def test_pictures_and_the_bar_have_text_alternatives() -> None:
    html = render_html(view_of(some_run()), BEGAN, "x")
    assert 'aria-label="5 of 30 trials: 3 complete · 1 pruned · 1 failed · 1 running"' in html
    assert 'aria-label="accuracy over steps of 6 trials, between 0.03333 and 0.8637"' in html
    assert 'aria-label="best accuracy so far: 0.8366 at first, 0.8637 now"' in html
    assert html.count("<svg") == html.count('role="img" aria-label="from') + 2
    assert '<th scope="row"' in html
    assert '<th scope="col"' in html
    assert "<caption>" in html


def test_a_run_that_has_not_begun_is_shown_too() -> None:
    page = Page(render_html(RunView(), BEGAN, "x"))
    assert "starting" in page.text
    assert "table" not in page.tags


def test_a_run_without_reports_has_neither_steps_nor_curves() -> None:
    facts = [run_started(), *trial_facts(0, TrialState.COMPLETE, n_steps=0)]
    text = Page(render_html(view_of(facts), BEGAN, "x")).text
    assert "step" not in text
    assert "curve" not in text


def test_reports_of_what_does_not_count_make_no_empty_curves() -> None:
    facts = [run_started(metric=None), TrialStarted(0, 1, 1, {})]
    facts += [MetricReported(0, 1, 1, step, {"logloss": 0.5}, is_automatic=True) for step in range(3)]
    text = Page(render_html(view_of(facts), BEGAN, "x")).text
    assert "step" in text
    assert "curve" not in text


def test_metrics_without_a_column_are_named() -> None:
    metrics = {"accuracy": 0.5, "loss": 0.1, "recall": 0.2, "precision": 0.3, "f1": 0.4}
    facts = [run_started(), TrialStarted(0, 1, 1, {"lr": 0.1})]
    facts.append(TrialEnded(0, 1, 1, TrialState.COMPLETE, metrics, 0.5))
    for face in render(view_of(facts), BEGAN, "x").values():
        assert "metrics without a column: precision · f1" in face


def test_a_complete_trial_without_a_number_is_told_as_such() -> None:
    facts = [run_started(), TrialStarted(0, 1, 1, {}), TrialEnded(0, 1, 1, TrialState.COMPLETE)]
    for face in render(view_of([*facts, RunEnded(RunState.COMPLETE)]), BEGAN, "x").values():
        told = face.replace("\xa0", " ")
        assert "no number" in told
        assert "no complete trial" not in told


def test_the_end_does_not_depend_on_the_clock() -> None:
    view = view_of(some_run(is_ended=True))
    assert render_html(view, BEGAN, "x") == render_html(view, BEGAN + 1e6, "x")


@pytest.mark.parametrize("value", ["short", '"' * 200])
def test_its_size_is_bounded_however_large_the_run(value: str) -> None:
    names = tuple(f"hyperparameter_{i}" for i in range(40))
    facts: list[Fact] = [run_started(hparam_names=names)]
    for trial_id in range(300):
        hparams: dict[str, Any] = dict.fromkeys(names, f"{trial_id}{value}")
        error = TrialError("ValueError", value * 50) if trial_id % 2 else None
        state = TrialState.FAILED if error else TrialState.COMPLETE
        facts += trial_facts(trial_id, state, trial_id / 300, hparams, n_steps=300, error=error)
    view = view_of([*facts, RunEnded(RunState.COMPLETE)])
    html = render_html(view, BEGAN, "x")
    assert len(html.encode()) <= SIZE_LIMIT_BYTES
    n_rows = html.count('scope="row"')
    assert n_rows >= 10
    assert f"… and {300 - n_rows} more" in html


def test_a_living_runs_table_is_short_and_an_ended_ones_is_long() -> None:
    living, ended = some_run(n_complete=100), some_run(n_complete=100, is_ended=True)
    assert render_html(view_of(living), BEGAN, "x").count('scope="row"') == 20
    assert render_html(view_of(ended), BEGAN, "x").count('scope="row"') == 50
