"""An ablation's components in the static faces; the stored faces of `faces/ablation*` hold the rest."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from display_runs import BEGAN, run_started, view_of

from lagom_magic.display.ablation_text import BAR_WIDTH, interval_bar
from lagom_magic.display.html import SIZE_LIMIT_BYTES, render_html
from lagom_magic.display.live import render
from lagom_magic.display.text import render_text
from lagom_magic.events.facts import Fact, RunEnded, RunState, TrialEnded, TrialError, TrialStarted, TrialState
from lagom_magic.statistics.ablation import AblationRow

HOSTILE = ["<img src=x onerror=alert(1)>", "</style><script>alert(1)</script>", "a\u202eb\x1b[31m", "x" * 100_000]


def header(**changes: Any) -> Fact:
    return run_started(kind="ablate", sampler="loco", pruner="none", hparam_names=("component", "repeat"), **changes)


def trial(trial_id: int, component: str, repeat: int, value: float | None, change: str = "") -> list[Fact]:
    """A trial; None fails it."""
    started = TrialStarted(trial_id, 1, 1, {"component": component, "repeat": repeat})
    if value is None:
        error = TrialError("ValueError", f"no {component}", "…")
        return [started, TrialEnded(trial_id, 1, 1, TrialState.FAILED, {}, None, 1.0, error)]
    metrics = {"accuracy": value, "loss": 1 - value}
    changes = (change,) if change else ()
    return [
        started,
        TrialEnded(trial_id, 1, 1, TrialState.COMPLETE, metrics, value, 1.0, n_parameters=9, changes=changes),
    ]


def study(n_components: int, n_repeats: int = 3, name: str = "part") -> list[Fact]:
    """Every second component matters, the last one fails."""
    facts: list[Fact] = [header()]
    for repeat in range(n_repeats):
        noise = 0.001 * (-1) ** repeat
        facts += trial(len(facts), "baseline", repeat, 0.9 + noise)
        for number in range(n_components - 1):
            value = 0.9 - 0.01 * (number % 2) * number + noise * (1 + 0.1 * (number + repeat))
            facts += trial(len(facts), f"{name}{number}", repeat, value, f"how {name}{number} was left out")
        facts += trial(len(facts), f"{name} last", repeat, None)
    return facts


class Tags(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_best_trial_is_no_result_of_an_ablation() -> None:
    view = view_of(study(4))
    for face in render(view, BEGAN, "x").values():
        shown = face.rpartition("</style>")[2]
        assert "best" not in shown
        assert "★" not in shown
        assert "baseline, 3 repeats (± sd)" in face.replace("\xa0", " ")


def test_a_component_that_cannot_be_left_out_is_a_row_with_its_reason() -> None:
    view = view_of(study(3))
    text = render_text(view, BEGAN, "x")
    assert "part last" in text
    assert "\n    ValueError: no part last\n" in text
    assert "! " not in text
    assert '<tr class="lg-row lg-why">' in render_html(view, BEGAN, "x")


def test_one_failed_repeat_of_a_component_is_a_notice() -> None:
    view = view_of([*study(2), *trial(99, "part0", 3, None)])
    assert "! trial 99 failed: ValueError: no part0" in render_text(view, BEGAN, "x")


def test_one_repeat_has_no_interval_and_says_so() -> None:
    facts = [*study(3, n_repeats=1), RunEnded(RunState.COMPLETE)]
    text = render_text(view_of(facts), BEGAN, "x")
    assert "no interval" in text
    assert "[-" not in text.partition("component ")[2].partition("trial ")[0]
    assert "\n! " in text


def test_before_the_first_trial_there_is_no_table() -> None:
    html = render_html(view_of([header()]), BEGAN, "x")
    assert "<table" not in html
    assert "baseline: none" in html.replace("\xa0", " ")


def test_many_trials_are_folded_and_few_are_not() -> None:
    assert "<details" in render_html(view_of(study(5)), BEGAN, "x")
    assert "<details" not in render_html(view_of(study(2)), BEGAN, "x")


@pytest.mark.parametrize("name", ["part", '"' * 200])
def test_the_html_face_is_bounded_however_many_components_there_are(name: str) -> None:
    html = render_html(view_of([*study(150, 2, name), RunEnded(RunState.COMPLETE)]), BEGAN, "x")
    assert len(html.encode()) <= SIZE_LIMIT_BYTES
    assert html.count("lg-part") >= 10
    assert "more components" in html


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_foreign_text_stays_text(text: str) -> None:
    facts = [
        header(metric=text),
        *trial(1, "baseline", 0, 0.5),
        *trial(2, text, 0, 0.4, text),
        *trial(3, f"{text}!", 0, None),
    ]
    bundle = render(view_of(facts), BEGAN, "x")
    page = Tags(bundle["text/html"])
    assert not page.tags & {"img", "script", "a", "iframe"}
    assert not page.attributes & {"onerror", "src", "href"}
    for face in bundle.values():
        assert not set(face) & set("\x1b\u202e")
        assert len(face.encode()) <= SIZE_LIMIT_BYTES


def test_every_bar_has_a_text_alternative() -> None:
    html = render_html(view_of(study(4)), BEGAN, "x")
    assert 'role="img" aria-label="Δ -' in html
    assert html.count("<svg") == html.count('role="img" aria-label="Δ') + html.count(
        'aria-hidden="true"><path class="lg-g'
    )


def test_an_axis_has_a_name_for_more_than_its_zero_and_none_before_there_is_a_difference() -> None:
    wide = [0.0, 0.3, -0.3]
    both = [
        trial(2 * r + 1 + n, name, r, 0.5 + n * wide[r]) for r in range(3) for n, name in enumerate(("baseline", "a"))
    ]
    html = render_html(view_of([header(), *(fact for facts in both for fact in facts)]), BEGAN, "x")
    assert 'text-anchor="middle">-0.5</text>' in html
    nothing = render_html(view_of([header(), *trial(1, "baseline", 0, 0.5)]), BEGAN, "x")
    assert "lg-part" in nothing
    assert ">0</text>" not in nothing


@pytest.mark.parametrize(
    ("delta", "low", "high", "bar"),
    [
        (-0.5, -0.75, -0.25, "   |--*--|  :            "),
        (0.0, -0.25, 0.25, "         |--*--|         "),
        (-0.5, None, None, "      *     :            "),
        (0.5, -9.0, 9.0, "<-----------------*----->"),
        (None, None, None, "            :            "),
    ],
)
def test_a_difference_is_drawn_on_its_interval(
    delta: float | None, low: float | None, high: float | None, bar: str
) -> None:
    row = AblationRow("a", "m", delta=delta, ci_low=low, ci_high=high, evidence="worse")
    assert interval_bar(row, (-1.0, 1.0)) == bar
    assert len(bar) == BAR_WIDTH


def test_those_who_train_together_are_told_by_how_many() -> None:
    facts = [run_started(kind="train"), TrialStarted(0, 1, 1, {}, None, 4)]
    bundle = render(view_of(facts), BEGAN, "x")
    assert "4 workers" in bundle["text/plain"]
    assert '<td class="lg-l lg-wide" title="ranks r0 to r3, r0 on w1">4 workers</td>' in bundle["text/html"]
