"""LOCO, leave one component out: which component's which repeat an ablation runs next.

The sampler of `%%lagom ablate`; the driver asks it as any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from lagom_magic.errors import ConfigError
from lagom_magic.events.ablation import BASELINE, COMPONENT, REPEAT
from lagom_magic.events.facts import HParams, TrialState
from lagom_magic.search.base import EXHAUSTED, WAIT, Answer, Direction, Sampler, Suggestion
from lagom_magic.statistics.paired import Difference, difference, expected_width, resolution_of

#: With `until_width` and no `max_trials`: at most so many times the planned trials.
MAX_TIMES_PLANNED = 4


@dataclass(slots=True)
class _Component:
    """What is known of one component's repeats."""

    label: str
    #: The next repeat that was never asked for.
    next_repeat: int = 0
    in_flight: set[int] = field(default_factory=set)
    #: Repeat → the metric that counts, finite.
    values: dict[int, float] = field(default_factory=dict)
    n_ended: int = 0
    n_complete: int = 0
    n_failed: int = 0

    @property
    def is_barred(self) -> bool:
        """It has failed with two seeds and never worked, so a further repeat would fail too."""
        return self.n_failed > 1 and not self.n_complete

    @property
    def is_hopeless(self) -> bool:
        """Most of its repeats have given no number, so it gets none beyond the planned ones."""
        return self.n_ended > 2 * len(self.values)


class LocoSampler(Sampler):
    """Every component and the baseline, the same repeats of each; then more where the noise is still large.

    Repeat by repeat, the baseline first, so that the whole table fills early. Repeat r of every component has the
    same seed. A component that failed twice and was never complete gets no further repeats; the baseline goes on.

    With `until_width`, after the planned repeats: another one for the component whose 95 % interval of the difference
    to the baseline is widest, repeats in flight taken into account, and the baseline's repeat before it where it
    lacks one. It ends when every interval is at most that wide, or with `max_trials`.

    `n_trials` is what is planned, or `max_trials` when that is less; with `until_width` it is an upper bound.

    Args:
        components: labels of what to leave out, without the baseline; each once.
        repeats: of every component and the baseline, >= 1.
        direction: taken as every sampler does; a width has none.
        until_width: from the low to the high end of an interval, in units of the metric that counts, > 0; None = the
            planned repeats only.
        max_trials: at most so many, >= 1; None = what is planned, or with `until_width` four times that.

    Raises:
        ConfigError: for a number that cannot work, or a label that is there twice or is the baseline's.
    """

    is_cheap = True

    def __init__(
        self,
        components: Sequence[str],
        *,
        repeats: int,
        direction: Direction,
        until_width: float | None = None,
        max_trials: int | None = None,
    ) -> None:
        _check(components, repeats, until_width, max_trials)
        self._repeats = repeats
        self._until_width = until_width
        #: The baseline first.
        self._components = [_Component(label) for label in (BASELINE, *components)]
        self._baseline = self._components[0]
        self._n_asked = 0
        #: {trial_id: (component, repeat)} of those in flight, and of those told as FAILED, which may be told again.
        self._in_flight: dict[int, tuple[_Component, int]] = {}
        self._failed: dict[int, tuple[_Component, int]] = {}
        #: The difference to the baseline by label; those that an end has changed are left out.
        self._differences: dict[str, Difference] = {}
        n_planned = repeats * len(self._components)
        if max_trials is None:
            self._max_trials = n_planned if until_width is None else MAX_TIMES_PLANNED * n_planned
        else:
            self._max_trials = max_trials if until_width is not None else min(max_trials, n_planned)
        self.n_trials = self._max_trials
        if until_width is not None:
            expected_width(difference([(1.0, 0.0), (0.0, 0.0)]), 3)  # loads scipy here, not in the driver's loop

    def ask(self, trial_id: int) -> Suggestion | Answer:
        if self._n_asked >= self._max_trials:
            return EXHAUSTED
        component = self._planned() or self._widest()
        if component is None:
            return WAIT if self._in_flight else EXHAUSTED
        return self._sent(trial_id, component, component.next_repeat)

    def recall(self, trial_id: int, hparams: HParams, budget: int | None) -> Suggestion:
        component = next((one for one in self._components if one.label == hparams[COMPONENT]), None)
        if component is None:
            labels = ", ".join(one.label for one in self._components)
            raise ConfigError(
                f"the run that is resumed left out {hparams[COMPONENT]!r}, which the study has no more: {labels}."
            )
        return self._sent(trial_id, component, hparams[REPEAT])

    def _sent(self, trial_id: int, component: _Component, repeat: int) -> Suggestion:
        component.next_repeat = max(component.next_repeat, repeat + 1)
        component.in_flight.add(repeat)
        self._in_flight[trial_id] = component, repeat
        self._n_asked += 1
        return Suggestion({COMPONENT: component.label, REPEAT: repeat}, seed_id=repeat)

    def tell(self, trial_id: int, state: TrialState, value: float | None) -> None:
        if trial_id not in self._in_flight:
            return
        component, repeat = self._in_flight.pop(trial_id)
        component.in_flight.discard(repeat)
        component.n_ended += 1
        if state is TrialState.FAILED:
            component.n_failed += 1
            self._failed[trial_id] = component, repeat
        self._learn(component, repeat, state, value)

    def tell_again(self, trial_id: int, state: TrialState, value: float | None) -> None:
        if trial_id not in self._failed or state is TrialState.FAILED:
            return
        component, repeat = self._failed.pop(trial_id)
        component.n_failed -= 1
        self._learn(component, repeat, state, value)

    def _learn(self, component: _Component, repeat: int, state: TrialState, value: float | None) -> None:
        if state is not TrialState.COMPLETE:
            return
        component.n_complete += 1
        if value is not None and math.isfinite(value):
            component.values[repeat] = value
            changed = self._components if component is self._baseline else [component]
            for one in changed:
                if repeat in one.values:
                    self._differences.pop(one.label, None)  # a new pair

    def _planned(self) -> _Component | None:
        """The first component of the lowest repeat that is planned and was not asked for."""
        waiting = (
            component
            for component in self._components
            if component.next_repeat < self._repeats and (component is self._baseline or not component.is_barred)
        )
        return min(waiting, key=lambda component: component.next_repeat, default=None)

    def _widest(self) -> _Component | None:
        """Who gets a repeat beyond the planned ones: the widest, or the baseline that it needs; None = nobody."""
        if self._until_width is None or self._baseline.is_hopeless:
            return None
        widths = [(self._width(component), component) for component in self._components[1:]]
        wide = [(width, component) for width, component in widths if width > self._until_width]
        if not wide:
            return None
        _, component = max(wide, key=lambda one: one[0])
        self._skip_lost(component)
        return self._baseline if component.next_repeat >= self._baseline.next_repeat else component

    def _skip_lost(self, component: _Component) -> None:
        """Pass over repeats whose baseline has ended without a number."""
        baseline = self._baseline
        while component.next_repeat < baseline.next_repeat and not (
            component.next_repeat in baseline.values or component.next_repeat in baseline.in_flight
        ):
            component.next_repeat += 1

    def _width(self, component: _Component) -> float:
        """The width to expect once its repeats in flight are complete; −inf when there is nothing to do for it now."""
        if component.is_hopeless:
            return -math.inf
        baseline = self._baseline
        found = self._difference(component)
        coming = len(component.in_flight & (baseline.in_flight | baseline.values.keys()))
        coming += len(baseline.in_flight & component.values.keys())
        if found.width is None:
            return math.inf if found.n + coming < 2 else -math.inf
        return expected_width(found, found.n + coming)

    def _difference(self, component: _Component) -> Difference:
        found = self._differences.get(component.label)
        if found is None:
            baseline = self._baseline.values
            pairs = [(value, baseline[r]) for r, value in component.values.items() if r in baseline]
            found = difference(pairs)
            if found.n > 1 and found.width is None:  # rare: all the same, so its noise is that of rounding
                found = difference(pairs, resolution_of(one.values.values() for one in self._components))
            self._differences[component.label] = found
        return found


def _check(components: Sequence[str], repeats: int, until_width: float | None, max_trials: int | None) -> None:
    if not components:
        raise ConfigError("an ablation needs a component to leave out: there is none.")
    twice = next((label for label in components if components.count(label) > 1), None)
    if twice is not None or BASELINE in components:
        label = BASELINE if twice is None else twice
        raise ConfigError(f"component {label!r} is there twice: the labels of an ablation tell its trials apart.")
    if repeats < 1:
        raise ConfigError(f"--repeats takes a whole number from 1, not {repeats}.")
    if until_width is not None and not (math.isfinite(until_width) and until_width > 0):
        raise ConfigError(f"--until-width takes a number > 0, in units of the metric, not {until_width}.")
    if max_trials is not None and max_trials < 1:
        raise ConfigError(f"an ablation takes a number of trials from 1, not {max_trials}.")
