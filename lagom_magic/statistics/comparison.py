"""One metric of an ablation: each component's paired difference to the baseline, corrected for their number.

What the table of an ablation takes its numbers from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

from lagom_magic.events.ablation import BASELINE
from lagom_magic.statistics.components import Component
from lagom_magic.statistics.paired import Difference, difference, holm, resolution_of

#: A Holm-corrected p-value below it is evidence.
SIGNIFICANCE = 0.05

#: What leaving a component out does: see `AblationRow.evidence`.
Evidence = Literal["worse", "better", "lower", "higher", "none"]


class Comparison:
    """The numbers of one metric; all mappings are by component.

    Args:
        metric: its name.
        components: the baseline and the others.
        pairs: the pairs among them, with their two parts.
        is_maximised: whether more is better; None for a metric that is not the one that counts.
    """

    def __init__(
        self,
        metric: str,
        components: Mapping[str, Component],
        pairs: Mapping[str, tuple[str, str]],
        is_maximised: bool | None,
    ) -> None:
        self.metric = metric
        self._is_maximised = is_maximised
        #: Repeat → finite number.
        self.values = {
            label: component.values(metric if is_maximised is None else None) for label, component in components.items()
        }
        #: Smallest step between two repeats of one component; 0.0 when no component's repeats differ.
        self.resolution = resolution_of(values.values() for values in self.values.values())
        baseline = self.values[BASELINE]
        self.differences = {
            label: difference([(value, baseline[r]) for r, value in values.items() if r in baseline], self.resolution)
            for label, values in self.values.items()
            if label != BASELINE
        }
        self.p_holm = _corrected(self.differences)
        self.interactions = {label: self._interaction(label, *pair) for label, pair in pairs.items()}
        self.interaction_p_holm = _corrected(self.interactions)

    def evidence(self, label: str) -> Evidence | None:
        """What leaving it out does; None when that cannot be said."""
        delta, p = self.differences[label].mean, self.p_holm[label]
        if delta is None or p is None:
            return None
        if p >= SIGNIFICANCE:
            return "none"
        if self._is_maximised is None:
            return "higher" if delta > 0 else "lower"
        return "better" if (delta > 0) == self._is_maximised else "worse"

    def loss(self, label: str) -> float | None:
        """How much worse the metric that counts becomes without it."""
        delta = self.differences[label].mean
        return None if delta is None else -delta if self._is_maximised else delta

    def notices(self) -> Iterator[str]:
        """About repeats, or differences, that are all the same."""
        if sum(len(values) > 1 for values in self.values.values()) < 2:
            return
        if not self.resolution:
            yield (
                "The repeats never differ: seeds change nothing here, so there is no noise to test against. The "
                "differences are exact for this data and say nothing about other data: draw the split from the seed."
            )
            return
        same = [label for label, found in self.differences.items() if found.p and found.mean and not found.has_spread]
        if same:
            yield (
                f"The same difference in every repeat: {listed(same)}. Its interval takes the noise to be that of "
                f"rounding: the smallest step between repeats of {self.metric} is {self.resolution:.3g}."
            )

    def _interaction(self, label: str, first: str, second: str) -> Difference:
        """The pair's difference beyond the sum of the two alone: v_ab + v_0 − v_a − v_b of each repeat."""
        both, one, other, baseline = (self.values[name] for name in (label, first, second, BASELINE))
        repeats = [r for r in both if r in one and r in other and r in baseline]
        sums = [(both[r] + baseline[r], one[r] + other[r]) for r in repeats]
        return difference(sums, self.resolution * math.sqrt(2))  # four rounded numbers instead of two


def _corrected(differences: Mapping[str, Difference]) -> dict[str, float | None]:
    return dict(zip(differences, holm([found.p for found in differences.values()]), strict=True))


def listed(names: list[str], limit: int = 5) -> str:
    """The names in one line, the first few of many."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
