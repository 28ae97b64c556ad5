"""What an ablation has found so far: each component beside the baseline, for every metric.

Run at every redraw of the view, and by `Run.ablation`: one pass over the trials, then sums.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypedDict

from lagom_magic.events.ablation import BASELINE, REPEAT
from lagom_magic.events.facts import TrialState
from lagom_magic.events.fold import RunView, TrialView
from lagom_magic.statistics.comparison import Comparison, Evidence, listed
from lagom_magic.statistics.components import Component, Unit, components_of, pairs_of
from lagom_magic.statistics.paired import Difference, mean_and_deviation

__all__ = ["BASELINE", "Ablation", "AblationRow", "ablation_of"]


@dataclass(frozen=True, slots=True)
class AblationRow:
    """One component and one metric; None where nothing can be said (yet).

    Attributes:
        component: what was left out; "baseline" for nothing, "a + b" for a pair.
        mean: over the component's complete repeats.
        delta: mean of the paired differences to the baseline, same seeds.
        ci_low, ci_high: 95 % confidence interval of `delta`, not corrected; None with fewer than two pairs.
        p: two-sided, of the paired t-test.
        p_holm: `p`, Holm-corrected over the components of this metric, pairs among them.
        n: pairs (for the baseline: its complete repeats).
        effect_size: Cohen's d_z.
        state: RUNNING or WAITING while a trial does, else COMPLETE with a complete one, else FAILED, PRUNED, STOPPED.
        reason: why it failed, in one line; "" with a complete trial.
        change: how it was left out, in words; "".
        parameters: of the model.
        seconds: of a step (an epoch), or of a trial: see `Ablation.unit`; the median over repeats, without the first
            trial of each worker, which pays for imports.
        evidence: what its absence does: "worse" or "better" for the metric that counts, "lower" or "higher" for
            others, "none" = no evidence (`p_holm` >= 0.05), None = cannot be said.
        interaction: of a pair: `delta` beyond the sum of the two alone.
        interaction_low, interaction_high: its 95 % confidence interval.
        interaction_p_holm: Holm-corrected over the pairs of this metric.
        sd: standard deviation over the component's complete repeats; None with fewer than two.
    """

    component: str
    metric: str
    mean: float | None = None
    delta: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    n: int = 0
    effect_size: float | None = None
    state: str = "WAITING"
    reason: str = ""
    change: str = ""
    parameters: int | None = None
    seconds: float | None = None
    evidence: Evidence | None = None
    interaction: float | None = None
    interaction_low: float | None = None
    interaction_high: float | None = None
    interaction_p_holm: float | None = None
    sd: float | None = None


@dataclass(frozen=True, slots=True)
class Ablation:
    """The table of an ablation.

    Attributes:
        rows: of each metric, the one that counts first: the baseline, then the component whose absence costs most of
            the metric that counts first, then those without a difference, failed ones last. The order of components
            is the same for every metric.
        unit: what `AblationRow.seconds` are of.
        notices: what a reader must know: one repeat only, repeats that never differ, unpaired ones …
        is_maximised: whether more is better of the metric that counts.
    """

    rows: tuple[AblationRow, ...]
    unit: Unit
    notices: tuple[str, ...] = ()
    is_maximised: bool = True


class _Shared(TypedDict):
    """What the rows of one component have in common, whatever the metric."""

    state: str
    reason: str
    change: str
    parameters: int | None
    seconds: float | None


def ablation_of(view: RunView) -> Ablation:
    """The table as the run stands.

    Only COMPLETE trials count, and of those the newest attempt; a component and the baseline are paired by repeat.
    """
    components = components_of(view.trials.values())
    if not any(component.trials for component in components.values()):
        return Ablation((), "trial", is_maximised=view.is_maximised)
    complete = [trial for component in components.values() for trial in component.complete.values()]
    unit: Unit = "step" if complete and all(trial.n_steps for trial in complete) else "trial"
    pairs = pairs_of(components)
    counting, *others = _metrics(view)
    counted = Comparison(counting, components, pairs, view.is_maximised)
    comparisons = [counted, *(Comparison(name, components, pairs, None) for name in others)]
    first_ids = _first_ids(complete)
    ordered = [(component, _shared(component, unit, first_ids)) for component in _ordered(components, counted)]
    rows = tuple(_row(component, comparison, shared) for comparison in comparisons for component, shared in ordered)
    return Ablation(rows, unit, tuple(_notices(view, components, counted)), view.is_maximised)


def _metrics(view: RunView) -> list[str]:
    """The metric that counts, then the others that functions told of; a plain number is the one that counts."""
    counting = view.metric_name or next(iter(view.metric_names), "metric")
    passed_over = {counting, "metric", *view.logged_names}
    return [counting, *(name for name in view.metric_names if name not in passed_over)]


def _ordered(components: Mapping[str, Component], counted: Comparison) -> list[Component]:
    def key(component: Component) -> tuple[bool, bool, float]:
        loss = None if component.label == BASELINE else counted.loss(component.label)
        is_last = component.state is TrialState.FAILED
        return component.label != BASELINE, is_last, math.inf if loss is None else -loss

    return sorted(components.values(), key=key)


def _row(component: Component, comparison: Comparison, shared: _Shared) -> AblationRow:
    label = component.label
    values = list(comparison.values[label].values())
    mean, sd = mean_and_deviation(values) if values else (None, None)
    if label == BASELINE:
        return AblationRow(label, comparison.metric, mean=mean, sd=sd, n=len(values), **shared)
    found, beyond = comparison.differences[label], comparison.interactions.get(label, Difference(0))
    return AblationRow(
        label,
        comparison.metric,
        mean=mean,
        sd=sd,
        delta=found.mean,
        ci_low=found.low,
        ci_high=found.high,
        p=found.p,
        p_holm=comparison.p_holm[label],
        n=found.n,
        effect_size=found.effect_size,
        evidence=comparison.evidence(label),
        interaction=beyond.mean,
        interaction_low=beyond.low,
        interaction_high=beyond.high,
        interaction_p_holm=comparison.interaction_p_holm.get(label),
        **shared,
    )


def _first_ids(complete: Iterable[TrialView]) -> set[int]:
    """The first trial of each worker."""
    first: dict[int | None, int] = {}
    for trial in complete:
        first[trial.worker_id] = min(trial.id, first.get(trial.worker_id, trial.id))
    return set(first.values())


def _shared(component: Component, unit: Unit, first_ids: Collection[int]) -> _Shared:
    return {
        "state": component.state.value,
        "reason": component.reason,
        "change": component.change,
        "parameters": component.parameters,
        "seconds": component.seconds(unit, first_ids),
    }


def _notices(view: RunView, components: Mapping[str, Component], counted: Comparison) -> Iterator[str]:
    baseline = components[BASELINE]
    if baseline.state.is_final and not baseline.complete:
        why = f": {baseline.reason.rstrip('.')}" if baseline.reason else ""
        yield f"No repeat of the baseline is complete{why}. There is nothing to compare with."
    all_began = view.state.is_final or (view.n_trials is not None and len(view.trials) >= view.n_trials)
    if (
        all_began
        and baseline.complete
        and not any(trial.hparams[REPEAT] for one in components.values() for trial in one.trials)
    ):
        yield "One repeat: differences without an interval; --repeats 5 tells what is noise."
    yield from counted.notices()
    unmoved = [label for label, component in components.items() if label != BASELINE and component.equals(baseline)]
    if unmoved:
        yield (
            f"The same as the baseline in every metric and repeat, to the last bit: {listed(unmoved)}. It plays no "
            "part in what is measured, or the function did not do without it."
        )
    gaps = [
        f"{label} ({gap})"
        for label, component in components.items()
        if component.complete and (gap := _gap(component, len(counted.values[label])))
    ]
    if gaps:
        unpaired = " A repeat without its baseline has no difference." if gaps[0].startswith(f"{BASELINE} (") else ""
        yield f"Only complete repeats count. Left out: {listed(gaps)}.{unpaired}"


def _gap(component: Component, n_values: int) -> str:
    """How many of its repeats are left out, and why: '1 failed, 2 pruned'."""
    lost = Counter(trial.state for trial in component.trials)
    reasons = {
        "failed": lost[TrialState.FAILED],
        "pruned": lost[TrialState.PRUNED],
        "stopped": lost[TrialState.STOPPED],
        "without a finite number": len(component.complete) - n_values,
    }
    return ", ".join(f"{n} {reason}" for reason, n in reasons.items() if n)
