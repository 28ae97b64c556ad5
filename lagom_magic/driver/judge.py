"""Which number of a trial counts, and whether it is one: the rules of the metric, without any state."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from lagom_magic.errors import nearest
from lagom_magic.events.facts import MetricReported, Metrics, TrialEnded, TrialError, TrialState
from lagom_magic.events.fold import validated

#: What a training function's plain number is called.
PLAIN = "metric"

#: How many names a message lists.
_MAX_NAMES = 10
#: Names of metrics that are errors or costs.
_LESS_IS_BETTER = re.compile(
    r"loss|error|(^|_)(rm|m)?(se|sle|ae|ape)$|perplexity|deviance|nll|cost|latency", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A trial's end as the driver sees it.

    Attributes:
        ended: with `metric` set, or turned to FAILED with the reason.
        run_error: set when the whole run cannot go on: no trial will ever have the metric.
    """

    ended: TrialEnded
    run_error: str = ""


def reported_value(metrics: Metrics, metric: str | None) -> float | None:
    """The number of one report that counts: of the metric that counts, or the plain one, which has no other name.

    None when the report is about something else, or nobody has said yet which metric counts.
    """
    if metric is not None and metric in metrics:
        return metrics[metric]
    return metrics.get(PLAIN)


def steering_value(
    report: MetricReported, metric: str | None, named: str | None, seen: Collection[str]
) -> float | None:
    """The number of a report that the pruner hears of.

    Args:
        report: one of the function's own, or what a library has logged by itself.
        metric: the metric that counts, as far as it is known.
        named: the metric that counts, where its user has named it: nothing else of a library's steers.
        seen: names of all metrics that this attempt has reported so far.
    """
    if not report.is_automatic:
        return reported_value(report.metrics, metric)
    return report.metrics.get(named) if named is not None and validated(named) not in seen else None


def countable(report: Metrics, *, is_automatic: bool) -> Metrics:
    """Those numbers of a last report that may count; of what a library logs, none that it has validated as well."""
    if not is_automatic:
        return report
    return {name: value for name, value in report.items() if validated(name) not in report}


def judge(
    ended: TrialEnded, metric: str | None, last_report: Metrics, *, was_seen: bool, is_automatic: bool = False
) -> Verdict:
    """Whether a trial that its worker calls COMPLETE is so.

    Args:
        ended: as the worker sent it, state COMPLETE.
        metric: the metric that counts, None = the only number.
        last_report: what the trial broadcast last, name → number; counts when it returned no number.
        was_seen: whether an earlier trial had the metric.
        is_automatic: the last report is what a library has logged; without a name, none of it counts.
    """
    if is_automatic and metric is None and not ended.metrics and last_report:
        message = (
            "it returned no number. Return the one that counts, or name one that was logged, with --maximize or "
            f"--minimize: {', '.join(list(last_report)[:_MAX_NAMES])}."
        )
        return _failed(ended, "NO_METRIC", message, stops_run=not was_seen)
    if is_automatic and metric is not None and not ended.metrics and validated(metric) in last_report:
        message = (
            f"{metric!r} was logged on the training data, and {validated(metric)!r} beside it. Name that one, or "
            "return the number that counts."
        )
        return _failed(ended, "NO_METRIC", message, stops_run=not was_seen)
    metrics = ended.metrics or last_report
    if not metrics:
        returned = ", ".join(f"{key}={text}" for key, text in ended.values.items()) or "None"
        return _failed(
            ended, "NO_METRIC", f"it returned {returned} and broadcast nothing; return a number, or a dict with one"
        )
    if metric is None and len(metrics) > 1:
        names = ", ".join(metrics)
        message = (
            f"it returned several numbers ({names}) and no one is named. "
            f"Say which counts: `--maximize {next(iter(metrics))}` or `--minimize {next(iter(metrics))}`."
        )
        return _failed(ended, "NO_METRIC", message, stops_run=not was_seen)
    name = next(iter(metrics)) if metric is None else metric
    if name not in metrics:
        # a plain return value is the metric, whatever its name
        if list(metrics) == [PLAIN]:
            metrics = {name: metrics[PLAIN]}
        else:
            message = (
                f"the metric {name!r} is not among what it returned: {', '.join(metrics)}.{nearest(name, metrics)}"
            )
            return _failed(ended, "NO_METRIC", message, stops_run=not was_seen)
    value = metrics[name]
    if math.isnan(value):
        return _failed(ended, "NAN", f"{name} is nan")
    return Verdict(replace(ended, metrics=metrics, metric=value))


def doubt_of_direction(metric: str, direction: str) -> str:
    """What to tell a person who named no metric, when the one found reads as if less were better; '' without doubt."""
    if direction == "max" and _LESS_IS_BETTER.search(metric):
        return f"{metric} is maximised, as nothing else was said. If less is better: --minimize {metric}"
    return ""


def _failed(ended: TrialEnded, kind: str, message: str, *, stops_run: bool = False) -> Verdict:
    failed = replace(ended, state=TrialState.FAILED, error=TrialError(kind, message))
    return Verdict(failed, f"trial {ended.trial_id}: {message}" if stops_run else "")
