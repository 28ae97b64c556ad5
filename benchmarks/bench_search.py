"""Does the search help? TPE, GP, CMA-ES and Sobol against random, and pruners against none; `make bench-search`.

No Spark: the samplers and pruners of a run, fed by an event queue with simulated workers. Prints Markdown tables;
with --write they also replace the section between the markers in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import optuna
import torch
from search_problems import Problem, crossing_curves, digits, functions, late_risers
from search_simulation import Outcome, simulate

from lagom_magic.search import make_search
from lagom_magic.search.asha_pruner import AshaPruner

README = Path(__file__).parent / "README.md"
MARKERS = ("<!-- bench-search -->", "<!-- /bench-search -->")
N_WORKERS = 2
SAMPLERS = ("random", "qmc", "cmaes", "tpe", "gp")
PRUNERS = ("median", "asha", "hyperband")
BUDGET = "asha with budget"
LATE = "asha, first rung at step 25"


def main() -> None:
    """Run all and print; a few minutes on one core."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12, help="runs a row; pruners get twice as many")
    parser.add_argument("--write", action="store_true", help="update benchmarks/README.md")
    args = parser.parse_args()
    torch.set_num_threads(1)  # the GP's matrices are small: more threads only wait for each other
    began = time.process_time()
    lines = []
    for table in (sampler_table(args.seeds), pruner_table(2 * args.seeds), combined_table(args.seeds)):
        for line in table:
            print(line, flush=True)
            lines.append(line)
        print()
        lines.append("")
    lines.append(
        f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python "
        f"{platform.python_version()}, Optuna {optuna.__version__}; {time.process_time() - began:.0f} s of CPU in all."
    )
    print(lines[-1])
    text = "\n".join(lines)
    if args.write:
        before, rest = README.read_text().split(MARKERS[0])
        after = rest.split(MARKERS[1])[1]
        README.write_text(f"{before}{MARKERS[0]}\n{text}\n{MARKERS[1]}{after}")


def sampler_table(n_seeds: int, n_trials: int = 40) -> Iterator[str]:
    """Regret of each sampler at equal trials."""
    yield f"**Samplers**: regret after {n_trials} trials on {N_WORKERS} workers, median of {n_seeds} seeds [95 %"
    yield "bootstrap interval]; below it in how many seeds it beats random. Regret is judged without the noise.\n"
    yield "| problem | " + " | ".join(SAMPLERS) + " |"
    yield "|---|" + "---|" * len(SAMPLERS)
    for problem in [*functions(), digits()]:
        regrets = {
            sampler: [_regret(problem, _run(problem, sampler, "none", n_trials, seed)) for seed in range(n_seeds)]
            for sampler in SAMPLERS
        }
        cells = [_interval(values, np.median) + _wins(values, regrets["random"]) for values in regrets.values()]
        yield f"| {problem.name} | " + " | ".join(cells) + " |"


def pruner_table(n_seeds: int, n_trials: int = 30) -> Iterator[str]:
    """Steps that each pruner saves, at equal trials and at equal best score."""
    yield f"**Pruners** under random search on {N_WORKERS} workers, {n_seeds} seeds, the same hyperparameters in every"
    yield f"row. *Saved at equal trials*: steps not run in {n_trials} trials; *best kept*: seeds whose best trial"
    yield "is the one found without pruning. *Saved at equal best*: steps not run until a complete trial is as good as"
    yield f"the best of {n_trials} unpruned ones, against the unpruned search up to that same trial (1 − geometric mean"
    yield "of the ratios; the pruned search may use more trials). *With budget*: the function takes `budget`, so good"
    yield f"trials are run again with more of it; {2 * n_trials} evaluations. [95 % bootstrap interval]\n"
    yield "| problem | pruner | saved at equal trials | best kept | regret, pruned (unpruned) | saved at equal best |"
    yield "|---|---|---|---|---|---|"
    for problem in (digits(), crossing_curves(), late_risers()):
        plain = [_run(problem, "random", "none", n_trials, seed) for seed in range(n_seeds)]
        late = (LATE,) if problem.name.startswith("late") else ()
        for pruner in (*PRUNERS, BUDGET, *late):
            yield _pruner_row(problem, pruner, plain, n_trials)


def _pruner_row(problem: Problem, pruner: str, plain: Sequence[Outcome], n_trials: int) -> str:
    pruned = [_run(problem, "random", pruner, n_trials, seed) for seed in range(len(plain))]
    saved = [1 - a.n_steps / b.n_steps for a, b in zip(pruned, plain, strict=True)]
    kept = sum(_best(problem, a)[2] == _best(problem, b)[2] for a, b in zip(pruned, plain, strict=True))
    ratios = []
    for seed, outcome in enumerate(plain):
        n_steps, target, _ = _best(problem, outcome)
        ratios.append(_run(problem, "random", pruner, 10 * n_trials, seed, until=target).n_steps / n_steps)
    regrets = [statistics.median(_regret(problem, outcome) for outcome in runs) for runs in (pruned, plain)]
    return (
        f"| {problem.name} | {pruner} | {_interval(saved, np.mean, percent=True)} | {kept}/{len(plain)} "
        f"| {regrets[0]:.4f} ({regrets[1]:.4f}) | {_interval(ratios, _saved_by_ratios, percent=True)} |"
    )


def combined_table(n_seeds: int, n_trials: int = 40) -> Iterator[str]:
    """What is left of a sampler's advantage when trials are pruned."""
    pairs = [(s, p) for s in ("random", "tpe", "gp") for p in ("none", "median", "asha")]
    problem = digits()
    yield f"**Both**, on the digits network: {n_trials} trials, {N_WORKERS} workers, {n_seeds} seeds.\n"
    yield "| sampler | pruner | regret, median | epochs run |"
    yield "|---|---|---|---|"
    for sampler, pruner in pairs:
        runs = [_run(problem, sampler, pruner, n_trials, seed) for seed in range(n_seeds)]
        regret = _interval([_regret(problem, run) for run in runs], np.median)
        yield f"| {sampler} | {pruner} | {regret} | {statistics.mean(run.n_steps for run in runs):.0f} |"


def _run(
    problem: Problem, sampler: str, pruner: str, n_trials: int, seed: int, *, until: float | None = None
) -> Outcome:
    with_budget = pruner == BUDGET
    objects = {
        BUDGET: AshaPruner(problem.direction, max_step=problem.n_steps),
        LATE: AshaPruner(problem.direction, min_step=25),
    }
    search = make_search(
        problem.space,
        sampler,
        objects.get(pruner, pruner),
        direction=problem.direction,
        n_trials=n_trials,
        seed=seed,
        wants_budget=with_budget,
    )
    # A promotion is a trial of its own, and of n configurations about n in all are promoted.
    scale = 2 if with_budget else 1
    return simulate(problem, search, n_trials=scale * n_trials, n_workers=N_WORKERS, seed=seed, until=until)


def _best(problem: Problem, outcome: Outcome) -> tuple[int, float, float]:
    choose = max if problem.direction == "max" else min
    return choose(outcome.complete, key=lambda ended: ended[1])


def _regret(problem: Problem, outcome: Outcome) -> float:
    return abs(_best(problem, outcome)[2] - problem.optimum)


def _saved_by_ratios(ratios: Sequence[float]) -> float:
    return 1 - math.exp(statistics.mean(math.log(ratio) for ratio in ratios))


def _wins(values: Sequence[float], baseline: Sequence[float]) -> str:
    if values is baseline:
        return ""
    n_wins = sum(a < b for a, b in zip(values, baseline, strict=True))
    return f"<br>{n_wins}/{len(values)}"


def _interval(values: Sequence[float], of: Callable[[Sequence[float]], float], *, percent: bool = False) -> str:
    """The statistic with its 95 % percentile bootstrap interval."""
    rng = np.random.default_rng(0)
    samples = [of(rng.choice(values, len(values)).tolist()) for _ in range(2000)]
    numbers = (of(list(values)), *np.quantile(samples, (0.025, 0.975)))
    centre, low, high = (f"{100 * x:.0f}" if percent else f"{x:.3g}" for x in numbers)
    return f"{centre} % [{low}, {high}]" if percent else f"{centre} [{low}, {high}]"


if __name__ == "__main__":
    main()
