"""What the head of a run says, in words: the same sentences for the text and HTML faces."""

from __future__ import annotations

from itertools import islice

from lagom_magic.display.ablation import is_ablation
from lagom_magic.display.rows import Columns
from lagom_magic.display.wording import NOTHING, count, duration, hparam, metric, number, one_line, percent
from lagom_magic.events.facts import RunState, TrialState
from lagom_magic.events.fold import RunView, TrialView

#: The order in which states are counted and coloured, the settled ones first.
STATES = (
    TrialState.COMPLETE,
    TrialState.PRUNED,
    TrialState.FAILED,
    TrialState.STOPPED,
    TrialState.RUNNING,
    TrialState.WAITING,
)
NAME_LIMIT = 40
#: Different warnings of trials that are told.
WARNING_LIMIT = 3


def experiment_name(view: RunView) -> str:
    """The experiment, harmless in any face."""
    return one_line(view.header.experiment, NAME_LIMIT) if view.header else "run"


def run_id(view: RunView) -> str:
    """The run's id; '' before its first fact."""
    return one_line(view.header.run_id, NAME_LIMIT) if view.header else ""


def state(view: RunView) -> str:
    """'starting', 'running on 4 workers', 'complete' …"""
    if view.state is not RunState.RUNNING:
        return view.state.lower()
    n_alive = view.n_workers_alive
    return f"running on {count(n_alive, 'worker')}" if n_alive else "waiting for workers"


def metric_name(view: RunView) -> str:
    """The metric that counts; 'metric' while none is known."""
    return one_line(view.metric_name or "metric", NAME_LIMIT)


def arrow(view: RunView) -> str:
    """'↑' when more is better."""
    return "↑" if view.is_maximised else "↓"


def best_trial(view: RunView) -> TrialView | None:
    """The best one; None where there is none, and in an ablation, whose trials do not compete."""
    return None if is_ablation(view) else view.best


def workers_of(trial: TrialView) -> str:
    """Who runs it or ran it: 'w1', and '4 workers' that train together."""
    if trial.world_size > 1:
        return count(trial.world_size, "worker")
    return NOTHING if trial.worker_id is None else f"w{trial.worker_id}"


def ranks_of(trial: TrialView) -> str:
    """Of workers that train together: 'ranks r0 to r3, r0 on w1'; '' of one alone."""
    if trial.world_size < 2:
        return ""
    where = "" if trial.worker_id is None else f", r0 on w{trial.worker_id}"
    return f"ranks r0 to r{trial.world_size - 1}{where}"


def trial_label(trial: TrialView) -> str:
    """'7', and '7.2' for its second attempt: as its folder is named."""
    return str(trial.id) if trial.attempt == 1 else f"{trial.id}.{trial.attempt}"


def best(view: RunView) -> tuple[str, str]:
    """The best value, and whose it is: ('0.9833', 'trial 14 · lr 0.0031 · width 192')."""
    trial = view.best
    if trial is None:
        return NOTHING, _why_no_best(view)
    names = [name for name in view.hparam_columns if name in trial.hparams]
    chosen = [f"{one_line(name, 24)} {hparam(trial.hparams[name], 16)}" for name in names[:4]]
    more = [f"{len(names) - 4} more"] if len(names) > 4 else []
    return metric(trial.metric), " · ".join([f"trial {trial_label(trial)}", *chosen, *more])


def progress(view: RunView) -> tuple[str, str]:
    """Trials that ended, and of how many: ('20', 'of 30 trials')."""
    if view.n_trials is None:
        return f"{view.n_done:,}", "trials" if view.n_done != 1 else "trial"
    return f"{view.n_done:,}", f"of {count(view.n_trials, 'trial')}"


def state_counts(view: RunView) -> str:
    """'14 complete · 5 pruned · 1 failed · 4 running'; '' before the first trial."""
    return " · ".join(f"{view.counts[s]:,} {s.lower()}" for s in STATES if view.counts[s])


def times(view: RunView, now: float) -> tuple[str, str]:
    """Elapsed, and what is left: ('1m 12s', 'about 38 s left'); at the end what the trials took together."""
    if view.state.is_final:
        return duration(view.elapsed_s(now)), f"{duration(view.ended_duration_s)} of trials" if view.n_done else ""
    left_s = view.remaining_s(now)
    return _whole(view.elapsed_s(now)), "" if left_s is None else f"about {_rough(left_s)} left"


def saved(view: RunView) -> tuple[str, str] | None:
    """Compute that pruning saved: ('41 %', '187 of 456 steps not run'); None for a run that does not prune."""
    estimate = view.compute_saved()
    if estimate is not None:
        return (
            percent(estimate.fraction),
            f"≈ {number(round(estimate.n_steps_saved))} of {number(round(estimate.n_steps_expected))} steps not run",
        )
    has_pruner = view.header is not None and view.header.pruner not in ("", "none")
    return (NOTHING, "nothing to compare yet" if not view.state.is_final else "nothing pruned") if has_pruner else None


def workers(view: RunView) -> tuple[str, str]:
    """Workers busy, of how many: ('3 / 4', 'workers busy · 2 GPUs · 1 lost')."""
    n_wanted = max(view.header.n_workers if view.header else 0, len(view.workers))
    n_gpus = len({(worker.host, gpu) for worker in view.workers.values() for gpu in worker.gpus})
    n_lost = sum(bool(worker.lost_reason) and not worker.is_alive for worker in view.workers.values())
    details = ([count(n_gpus, "GPU")] if n_gpus else []) + ([f"{n_lost} lost"] if n_lost else [])
    if view.state.is_final:
        return str(len(view.workers)), " · ".join(["worker" if len(view.workers) == 1 else "workers", *details])
    n_busy = sum(worker.trial_id is not None for worker in view.workers.values())
    return f"{n_busy} / {n_wanted}", " · ".join(["workers busy", *details])


def error_line(trial: TrialView, limit: int) -> str:
    """Why it failed, on one line: 'ValueError: shapes do not match'; '' when it did not."""
    return one_line(trial.error.in_words, limit) if trial.error is not None else ""


def constants_line(columns: Columns, limit: int = 12) -> str:
    """What has no column: 'the same in all trials: batch 64 · optimizer sgd; metrics without a column: recall'.

    Args:
        columns: of the table.
        limit: at most so many of each kind are named.
    """
    same = [f"{one_line(name, 24)} {hparam(value)}" for name, value in columns.constant.items()]
    parts = [f"the same in all trials: {_some(same, limit)}"] if same else []
    for what, names in (("", columns.left_out), ("metrics ", columns.metrics_left_out)):
        if names:
            parts.append(f"{what}without a column: {_some([one_line(name, 24) for name in names], limit)}")
    return "; ".join(parts)


def settings_line(view: RunView) -> str:
    """'tpe · asha · seed 7'."""
    if view.header is None:
        return ""
    pruner = view.header.pruner if view.header.pruner not in ("", "none") else ""
    sampler = view.header.sampler if view.header.kind in ("hpo", "ablate") else ""  # a single call samples nothing
    seed = f"seed {view.header.seed}" if view.header.seed is not None else "no seed"
    return " · ".join(one_line(part, NAME_LIMIT) for part in (sampler, pruner, seed) if part)


def notices(view: RunView, limit: int = 5) -> list[str]:
    """What fails, the latest notices and why the run ended, one line each."""
    texts = [one_line(text, 400) for text in view.notices[-limit:]]
    n_earlier = len(view.notices) - len(texts)
    reason = [one_line(view.state_reason, 400)] if view.state_reason else []
    earlier = [f"{count(n_earlier, 'earlier notice')} in the run folder"] if n_earlier else []
    return [*_failures(view), *earlier, *texts, *reason]


def warnings(view: RunView) -> list[str]:
    """What trials warn of, each text once: '12 trials warn, e.g. trial 3: 'value' is a DataFrame, …'."""
    found: dict[str, list[TrialView]] = {}
    for trial in [trial for trial in view.trials.values() if trial.warnings]:
        for text in dict.fromkeys(trial.warnings):
            found.setdefault(text, []).append(trial)
    told = [f"{_warners(trials)}: {one_line(text, 300)}" for text, trials in islice(found.items(), WARNING_LIMIT)]
    n_more = len(found) - len(told)
    more = [f"and {count(n_more, 'more warning')}: lagom_run.trials[i].warnings"] if n_more else []
    return [*told, *more]


def _warners(trials: list[TrialView]) -> str:
    first = f"trial {trial_label(trials[0])}"
    return f"{first} warns" if len(trials) == 1 else f"{count(len(trials), 'trial')} warn, e.g. {first}"


def _why_no_best(view: RunView) -> str:
    if not view.state.is_final:
        return "none yet"
    return "no number" if view.counts[TrialState.COMPLETE] else "no complete trial"


def _failures(view: RunView) -> list[str]:
    """While the run lives: '3 trials failed; the first, trial 0: ValueError: no data'."""
    failed = [trial for trial in view.trials.values() if trial.state is TrialState.FAILED]
    if is_ablation(view):  # a component that always fails has a row that says why
        complete = {_component(trial) for trial in view.trials.values() if trial.state is TrialState.COMPLETE}
        failed = [trial for trial in failed if _component(trial) in complete]
    if view.state.is_final or not failed:
        return []
    first = min(failed, key=lambda trial: (trial.ended_at or 0.0, trial.id))
    why = error_line(first, 300) or "no reason given"
    if len(failed) == 1:
        return [f"trial {trial_label(first)} failed: {why}"]
    return [f"{count(len(failed), 'trial')} failed; the first, trial {trial_label(first)}: {why}"]


def _component(trial: TrialView) -> str:
    return str(trial.hparams.get("component"))


def _some(texts: list[str], limit: int) -> str:
    more = [f"{len(texts) - limit} more"] if len(texts) > limit else []
    return " · ".join([*texts[:limit], *more])


def _whole(seconds: float) -> str:
    return f"{int(seconds)} s" if seconds < 60 else duration(int(seconds))


def _rough(seconds: float) -> str:
    """An estimate does not tick: five seconds' steps below a minute."""
    return _whole(5 * round(seconds / 5) or 5) if seconds < 60 else duration(60 * round(seconds / 60))
