"""Curves as small inline SVG: a trial's sparkline, a metric over steps of some trials or of one, the best over time.

Used by the HTML face and the report. Sizes are bounded whatever a run holds: curves are thinned, here or by who reads
them from the journal, and only some trials drawn. Colours come from the style sheet's classes, so the pictures follow
the theme.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from lagom_magic.display import summary
from lagom_magic.display.wording import duration, metric, number
from lagom_magic.events.facts import TrialState
from lagom_magic.events.fold import RunView, TrialView

Point = tuple[float, float]

SPARKLINE_SIZE = (56, 16)
SPARKLINE_POINTS = 20
PLOT_WIDTH, PLOT_HEIGHT, PLOT_LEFT, PLOT_RIGHT = 366, 150, 40, 6
CURVE_POINTS = 40
CURVE_LIMIT = 24
DOT_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Frame:
    """Data ranges and the rectangle, in SVG units, that shows them; what lies outside is moved to the rim."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    left: float
    top: float
    right: float
    bottom: float

    def place(self, point: Point) -> str:
        x = _share(point[0], self.x_low, self.x_high)
        y = _share(point[1], self.y_low, self.y_high)
        return f"{self.left + x * (self.right - self.left):.4g} {self.bottom - y * (self.bottom - self.top):.4g}"

    def path(self, points: Iterable[Point]) -> str:
        """An SVG path through the points; one point alone becomes a dot."""
        places = [self.place(point) for point in points]
        return f"M{'L'.join(places)}{'h.01' if len(places) == 1 else ''}"


def value_range(trials: Iterable[TrialView], best_value: float | None) -> tuple[float, float] | None:
    """Range of the trials' curves in which most of them can be told apart; None without any.

    Outliers (a first loss of 1e6) do not flatten the rest: the range ends at the middle 90 % of the values where
    the others lie further away than three times its width. The best value is always inside.
    """
    values = [value for trial in trials for _, value in thinned(trial.series.points, CURVE_POINTS)]
    if not values:
        return None
    low, high = _range_of_most(values)
    return (low, high) if best_value is None else (min(low, best_value), max(high, best_value))


def _range_of_most(values: Iterable[float]) -> tuple[float, float]:
    values = sorted(values)
    low, high = values[0], values[-1]
    inner_low, inner_high = values[len(values) // 20], values[-1 - len(values) // 20]
    reach = 3 * (inner_high - inner_low)
    if reach and inner_low - low > reach:
        low = inner_low
    if reach and high - inner_high > reach:
        high = inner_high
    return low, high


def sparkline(trial: TrialView, y_range: tuple[float, float], last_step: int) -> str:
    """The trial's curve in the size of a word, on axes that all rows share; '' without reports."""
    points = trial.series.points
    if not points:
        return ""
    width, height = SPARKLINE_SIZE
    frame = Frame(min(0, points[0][0]), last_step, *y_range, left=2, top=2, right=width - 2, bottom=height - 2)
    label = f"from {metric(points[0][1])} to {metric(points[-1][1])}"
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img"'
        f' aria-label="{escape(label)}">{_path(frame.path(thinned(points, SPARKLINE_POINTS)))}</svg>'
    )


def curves(view: RunView, trials: Sequence[TrialView]) -> str:
    """The metric over steps, the best and the running trials in front; '' when nobody reported."""
    drawn = [trial for trial in trials if trial.series.points][:CURVE_LIMIT]
    y_range = value_range(drawn, None)
    if y_range is None:
        return ""
    steps = [step for trial in drawn for step, _ in trial.series.points]
    frame = _plot_frame((min(steps), max(steps)), y_range)
    # What should be seen best is drawn last.
    order = sorted(drawn, key=lambda trial: (trial is summary.best_trial(view), trial.state is TrialState.RUNNING))
    paths = [
        _path(frame.path(thinned(trial.series.points, CURVE_POINTS)), _curve_class(view, trial)) for trial in order
    ]
    name = summary.metric_name(view)
    label = f"{name} over steps of {len(drawn)} trials, between {metric(y_range[0])} and {metric(y_range[1])}"
    return _figure(f"{name} by step", label, [*_axes(frame, _step_axis(frame)), *paths])


def curve(name: str, points: Sequence[tuple[int, float]]) -> str:
    """One metric of one trial over steps; its values are finite, and there are some. Outliers are as in the others."""
    steps, values = zip(*points, strict=True)
    frame = _plot_frame((min(steps), max(steps)), _range_of_most(values))
    label = f"{name} over steps, from {metric(values[0])} to {metric(values[-1])}"
    return _figure(name, label, [*_axes(frame, _step_axis(frame)), _path(frame.path(points), "lg-running lg-top")])


def best_so_far(view: RunView, now: float) -> str:
    """Every complete trial as a dot over time, and the best value so far as a line; '' before two of them."""
    started_at = view.started_at
    if started_at is None or view.n_valued < 2 or summary.best_trial(view) is None:
        return ""
    ended = [t for t in view.trials.values() if t.state is TrialState.COMPLETE and t.ended_at is not None]
    dots = [
        (trial.ended_at + trial.paused_s - started_at, trial.metric)
        for trial in ended[-DOT_LIMIT:]
        if trial.ended_at is not None and trial.metric is not None and math.isfinite(trial.metric)
    ]
    end_s = view.elapsed_s(now)
    kept = view.improvements[-CURVE_POINTS:]
    steps = [*((item.elapsed_s, item.value) for item in kept), (end_s, kept[-1].value)]
    y_range = _inner_range([value for _, value in dots], kept[-1].value)
    frame = _plot_frame((0.0, end_s), y_range)
    dotted = "".join(f"M{frame.place(dot)}h.01" for dot in dots if y_range[0] <= dot[1] <= y_range[1])
    parts = [
        *_axes(frame, [(0.0, "0 s"), (end_s, duration(end_s))]),
        _path(dotted, "lg-faint lg-dots"),
        _path(_stairs(frame, steps), "lg-best lg-top"),
    ]
    label = f"best {summary.metric_name(view)} so far: {metric(kept[0].value)} at first, {metric(kept[-1].value)} now"
    return _figure("best so far", label, parts)


def thinned(points: Sequence[tuple[int, float]], limit: int) -> list[tuple[int, float]]:
    """At most `limit` of the points, evenly chosen, always the first and the last."""
    if len(points) <= limit:
        return list(points)
    return [points[round(i * (len(points) - 1) / (limit - 1))] for i in range(limit)]


def ticks(low: float, high: float, n: int) -> list[float]:
    """The roundest numbers from `low` to `high` that are at least `n`; only `low` where no float tells them apart."""
    span = high - low
    if not 0 < span < math.inf:
        return [low]
    size = 10.0 ** math.floor(math.log10(span))
    if 0.1 * size == 0:
        return [low]
    for step in (size * factor for factor in (10, 5, 2.5, 2, 1, 0.5, 0.25, 0.2, 0.1)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 >= n:
            break
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _inner_range(values: list[float], best_value: float) -> tuple[float, float]:
    values = sorted(values) or [best_value]
    low, high = values[len(values) // 10], values[-1 - len(values) // 10]
    return min(low, best_value), max(high, best_value)


def _plot_frame(x_range: tuple[float, float], y_range: tuple[float, float]) -> Frame:
    return Frame(*x_range, *y_range, left=PLOT_LEFT, top=8, right=PLOT_WIDTH - PLOT_RIGHT, bottom=PLOT_HEIGHT - 22)


def _axes(frame: Frame, x_labels: list[tuple[float, str]]) -> list[str]:
    parts = []
    values = ticks(frame.y_low, frame.y_high, 3)
    digits = next((n for n in range(4, 12) if len({number(value, n) for value in values}) == len(values)), 12)
    for value in values:
        place = frame.place((frame.x_low, value))
        y = place.split()[1]
        parts.append(_path(f"M{place}H{frame.right:g}", "lg-grid"))
        parts.append(
            f'<text x="{frame.left - 6:g}" y="{y}" dy="3.5" text-anchor="end">{escape(number(value, digits))}</text>'
        )
    for value, text in x_labels:
        x = frame.place((value, frame.y_low)).split()[0]
        anchor = "end" if float(x) > frame.right - 8 else "start" if float(x) < frame.left + 8 else "middle"
        parts.append(f'<text x="{x}" y="{frame.bottom + 16:g}" text-anchor="{anchor}">{escape(text)}</text>')
    return parts


def _step_axis(frame: Frame) -> list[tuple[float, str]]:
    return [(x, number(round(x))) for x in ticks(frame.x_low, frame.x_high, 3) if x == int(x)]


def _stairs(frame: Frame, steps: list[Point]) -> str:
    first, *rest = [frame.place(step).split() for step in steps]
    return f"M{' '.join(first)}" + "".join(f"H{x}V{y}" for x, y in rest)


def _figure(title: str, label: str, parts: list[str]) -> str:
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg class="lg-plot" viewBox="0 0 {PLOT_WIDTH} {PLOT_HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg></figure>"
    )


def _path(d: str, name: str = "") -> str:
    return f'<path fill="none" class="{name}" d="{d}"/>' if name else f'<path fill="none" d="{d}"/>'


def _curve_class(view: RunView, trial: TrialView) -> str:
    if trial is summary.best_trial(view):
        return "lg-best lg-top"
    return "lg-faint" if trial.state is TrialState.COMPLETE else f"lg-{trial.state.lower()}"


def _share(value: float, low: float, high: float) -> float:
    return 0.5 if not high > low else min(1.0, max(0.0, (value - low) / (high - low)))
