"""The ladder that ASHA and Hyperband share: at which steps trials are compared, and who is in the top."""

from __future__ import annotations

from bisect import bisect_left, insort
from heapq import heapify, heappop, heappush

from lagom_magic.errors import ConfigError


def rung_steps(min_step: int, reduction_factor: int, max_step: int) -> list[int]:
    """Steps at which ASHA compares trials.

    Args:
        min_step: first rung, in reporter steps (not seconds), >= 1.
        reduction_factor: keep the best 1/reduction_factor at a rung (η in the paper), >= 2.
        max_step: no rung beyond this step, >= min_step.

    Returns:
        Increasing steps, shape (n_rungs,); the first is `min_step`.

    Raises:
        ConfigError: if the three numbers make no ladder.

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, Alg. 2.
    """
    if min_step < 1 or reduction_factor < 2 or max_step < min_step:
        raise ConfigError(
            f"rungs from {min_step} to {max_step} by {reduction_factor}: needs 1 <= first <= last and a reduction "
            "factor >= 2."
        )
    steps = [min_step]
    while steps[-1] * reduction_factor <= max_step:
        steps.append(steps[-1] * reduction_factor)
    return steps


def bracket_schedule(n_brackets: int, reduction_factor: int) -> list[int]:
    """Which bracket the i-th new trial joins, repeated for ever: shares as in Hyperband, evenly mixed.

    Bracket s begins s rungs up the ladder; bracket 0 prunes most and takes most trials.

    Source: Li et al., "Hyperband", JMLR 2018, Alg. 1: n = ⌈(s_max + 1) / (s + 1) · η^s⌉ counted from the top.
    """
    shares = [-(-n_brackets * reduction_factor**s // (s + 1)) for s in reversed(range(n_brackets))]
    credit = [0] * n_brackets
    schedule = []
    for _ in range(sum(shares)):
        credit = [have + share for have, share in zip(credit, shares, strict=True)]
        chosen = credit.index(max(credit))
        credit[chosen] -= sum(shares)
        schedule.append(chosen)
    return schedule


class Rung:
    """The scores with which trials reached a rung. Finding is O(log n); an insert moves n/2 pointers, ~1 µs."""

    def __init__(self) -> None:
        #: Ascending; more is better.
        self._scores: list[float] = []

    def __len__(self) -> int:
        return len(self._scores)

    def add(self, score: float) -> None:
        insort(self._scores, score)

    def remove(self, score: float) -> None:
        """Forget one trial that came with this score."""
        del self._scores[bisect_left(self._scores, score)]

    def is_in_top(self, score: float, reduction_factor: int) -> bool:
        """Whether a score that was added is in the best 1/reduction_factor; the first few: whether it is the best."""
        n_top = max(1, len(self._scores) // reduction_factor)
        return score >= self._scores[-n_top]


class PromotionRung:
    """Configurations that finished a rung's budget, and which of them to run with the next one."""

    def __init__(self) -> None:
        #: (-score, config id), best first: a total order, so ties cannot promote more than the share.
        self._finished: list[tuple[float, int]] = []
        #: The part of `_finished` that was not promoted, as a heap.
        self._waiting: list[tuple[float, int]] = []

    def add(self, config_id: int, score: float) -> None:
        entry = (-score, config_id)
        insort(self._finished, entry)
        heappush(self._waiting, entry)

    def pop_promotable(self, reduction_factor: int) -> int | None:
        """The best configuration that is in the top share and was not promoted yet; it now is."""
        if not self._waiting:
            return None
        if bisect_left(self._finished, self._waiting[0]) >= len(self._finished) // reduction_factor:
            return None
        return heappop(self._waiting)[1]

    def take(self, config_id: int) -> bool:
        """Promote this configuration, whoever else is better; whether it waited here."""
        left = [entry for entry in self._waiting if entry[1] != config_id]
        is_here = len(left) < len(self._waiting)
        self._waiting = left
        heapify(self._waiting)
        return is_here
