"""Paired comparisons: the difference of two ways over the same seeds, with its noise, and many of them at once.

The table of an ablation is made of these, and its sampler asks them where more repeats tell most.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

#: Of every interval.
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """A variant minus its baseline, over pairs; None where nothing can be said.

    Attributes:
        n: pairs that count: both numbers finite.
        mean: of the differences; None without a pair.
        low, high: 95 % confidence interval of the mean, by Student's t; None with fewer than two pairs.
        p: two-sided, of the paired t-test of a mean of 0; None with fewer than two pairs.
        effect_size: Cohen's d_z, the mean over the differences' standard deviation (n − 1); None without a spread.
    """

    n: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    effect_size: float | None = None

    @property
    def width(self) -> float | None:
        """From `low` to `high`."""
        return None if self.low is None or self.high is None else self.high - self.low

    @property
    def has_spread(self) -> bool:
        """Whether the differences differ; False too when there are fewer than two."""
        return self.effect_size is not None


def difference(pairs: Sequence[tuple[float, float]], resolution: float = 0.0) -> Difference:
    """What the pairs say.

    Differences that are all the same have no spread to estimate the noise from. All 0, they are no difference at
    all: p = 1. All the same and not 0, rounding may hide their noise (an accuracy over 200 samples moves in steps
    of 0.005), so it is taken to be as large as what rounding to `resolution` does to a difference, a standard
    deviation of resolution / √6, or what little was seen if that is more. Without a resolution nothing varies: one
    number was made n times, so there is no interval and no p.

    Args:
        pairs: (variant, baseline) of one seed each; a pair with nan or ±inf is left out.
        resolution: smallest step of the numbers, >= 0; matters only to differences without a spread.
    """
    finite = [pair for pair in pairs if math.isfinite(pair[0] - pair[1])]
    n = len(finite)
    if not n:
        return Difference(0)
    mean, deviation = mean_and_deviation([a - b for a, b in finite])
    if deviation is None:
        return Difference(n, mean)
    rounding = _rounding([value for pair in finite for value in pair], deviation)
    if deviation <= rounding:
        return _without_spread(n, 0.0 if abs(mean) <= rounding else mean, deviation, resolution)
    return _by_t(n, mean, deviation, effect_size=mean / deviation)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (n − 1) of finite numbers, at least one; no deviation of a single one."""
    n = len(values)
    mean = math.fsum([value / n for value in values])
    if n == 1:
        return mean, None
    furthest = max(max(values) - mean, mean - min(values))
    if furthest == 0 or math.isinf(furthest):
        return mean, None if furthest else 0.0
    # Divided by the largest, so that squares of very large and very small numbers stay numbers.
    return mean, furthest * math.sqrt(sum([((value - mean) / furthest) ** 2 for value in values]) / (n - 1))


def _without_spread(n: int, mean: float, deviation: float, resolution: float) -> Difference:
    if mean == 0:
        return Difference(n, 0.0, 0.0, 0.0, p=1.0)
    if resolution == 0:
        return Difference(n, mean)
    return _by_t(n, mean, max(deviation, resolution / math.sqrt(6)), effect_size=None)


def _by_t(n: int, mean: float, deviation: float, effect_size: float | None) -> Difference:
    half = deviation * _half_width(n)
    p = 2 * _student_t()(n - 1, -abs(mean) / deviation * math.sqrt(n))
    return Difference(n, mean, mean - half, mean + half, p, effect_size)


def expected_width(found: Difference, n: int) -> float:
    """The width that an interval would have with `n` >= 2 pairs of the same spread; inf while there is no interval."""
    width = found.width
    return math.inf if width is None else width * _half_width(n) / _half_width(found.n)


@cache
def _student_t() -> Callable[[float, float], float]:
    """Student's t: the probability below a number, by degrees of freedom; an import at each call would cost more."""
    from scipy.special import stdtr  # type: ignore[import-untyped]

    return lambda freedom, t: float(stdtr(freedom, t))


@cache
def _half_width(n: int) -> float:
    """Of the interval over n >= 2 numbers with a standard deviation of 1."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) / math.sqrt(n)


def resolution_of(groups: Iterable[Iterable[float]]) -> float:
    """The smallest step in which numbers differ within a group (the repeats of one way); 0.0 when none do."""
    smallest = math.inf
    for group in groups:
        ordered = sorted(value for value in group if math.isfinite(value))
        steps = [high - low for low, high in pairwise(ordered) if high > low]
        if steps:
            rounding = _rounding(ordered, min(steps))
            smallest = min([smallest, *(step for step in steps if step > rounding)])
    return 0.0 if math.isinf(smallest) else smallest


def _rounding(values: Sequence[float], step: float) -> float:
    """How far the last digits of such numbers may move a difference, which is no spread.

    Numbers that all fit into 32 bits come from there, as what torch and Keras return. That is looked up only for a
    `step` so small that it matters.
    """
    largest = max(abs(max(values)), abs(min(values)))
    rounding = 8 * largest * 2.0**-24
    if step > rounding or array("f", values).tolist() == list(values):
        return rounding
    return 8 * largest * 2.0**-53


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values corrected for being many, in their order; None, which was not tested, stays None.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979.
    """
    tested = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - rank)))
        corrected[index] = largest
    return corrected
