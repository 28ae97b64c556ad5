"""The components of an ablation: its trials, grouped by what each left out.

What `ablation_of` begins with.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from lagom_magic.events.ablation import AND, BASELINE, COMPONENT, REPEAT
from lagom_magic.events.facts import TrialState
from lagom_magic.events.fold import TrialView

#: What seconds are counted of.
Unit = Literal["step", "trial"]


@dataclass(slots=True)
class Component:
    """The trials of one component."""

    label: str
    trials: list[TrialView] = field(default_factory=list)
    #: By repeat.
    complete: dict[int, TrialView] = field(default_factory=dict)

    @property
    def state(self) -> TrialState:
        """RUNNING or WAITING while a trial does, else COMPLETE with a complete one, else FAILED, PRUNED, STOPPED."""
        states = {trial.state for trial in self.trials}
        order = ("RUNNING", "WAITING", "COMPLETE", "FAILED", "PRUNED", "STOPPED")
        return next((TrialState(name) for name in order if name in states), TrialState.WAITING)

    @property
    def reason(self) -> str:
        """First line of the first failure; "" with a complete trial."""
        if self.complete:
            return ""
        errors = (trial.error for trial in self.trials if trial.state is TrialState.FAILED and trial.error)
        return next((error.in_words.partition("\n")[0] for error in errors), "")

    @property
    def change(self) -> str:
        return next(("; ".join(trial.changes) for trial in self._telling() if trial.changes), "")

    @property
    def parameters(self) -> int | None:
        return next((trial.n_parameters for trial in self._telling() if trial.n_parameters is not None), None)

    def seconds(self, unit: Unit, first_ids: Collection[int]) -> float | None:
        """Median over the complete trials of their seconds a step, or in all.

        Args:
            unit: what they are of.
            first_ids: the first trial of each worker, which pays for imports and tells nothing.
        """
        telling = [trial for trial in self.complete.values() if trial.id not in first_ids]
        found = [trial.duration_s / (trial.n_steps if unit == "step" else 1) for trial in telling]
        return median(found) if found else None

    def values(self, metric: str | None) -> dict[int, float]:
        """Repeat → finite number, of the complete trials; without a name of the metric that counts."""
        if metric is None:
            found = ((repeat, trial.metric) for repeat, trial in self.complete.items())
        else:
            found = ((repeat, trial.metrics.get(metric)) for repeat, trial in self.complete.items())
        return {repeat: value for repeat, value in found if value is not None and math.isfinite(value)}

    def equals(self, other: Component) -> bool:
        """Whether both have complete repeats in common, and each of these gave the same numbers."""
        common = self.complete.keys() & other.complete.keys()
        return bool(common) and all(self.complete[r].metrics == other.complete[r].metrics for r in common)

    def _telling(self) -> Iterator[TrialView]:
        yield from self.complete.values()
        yield from self.trials


def components_of(trials: Iterable[TrialView]) -> dict[str, Component]:
    """By label, the baseline first, then as they were first seen."""
    components = {BASELINE: Component(BASELINE)}
    for trial in trials:
        label, repeat = trial.hparams.get(COMPONENT), trial.hparams.get(REPEAT)
        if not isinstance(label, str) or not isinstance(repeat, int):
            continue  # stopped before it began
        component = components.get(label)
        if component is None:
            component = components[label] = Component(label)
        component.trials.append(trial)
        if trial.state is TrialState.COMPLETE:
            component.complete[repeat] = trial
    return components


def pairs_of(components: Mapping[str, Component]) -> dict[str, tuple[str, str]]:
    """Label of a pair → the labels of the two; both have trials of their own."""
    pairs = {}
    for label in components:
        at = label.find(AND)
        while at >= 0:
            first, second = label[:at], label[at + len(AND) :]
            if first in components and second in components:
                pairs[label] = (first, second)
                break
            at = label.find(AND, at + 1)
    return pairs
