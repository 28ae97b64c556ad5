"""What does `%%lagom train` cost beside torchrun of the same script? `make bench-train`; needs a quiet machine.

Both train one network on two processes of this machine over gloo, batch for batch the same, in turns. Prints a
Markdown table; with --write it also replaces the section between the markers in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch
from train_script import Net, Tower, learn, remember, train_set

from lagom_magic import TorchDistributedConfig, experiment
from lagom_magic.cluster.session import start_session

README = Path(__file__).parent / "README.md"
MARKERS = ("<!-- bench-train -->", "<!-- /bench-train -->")
N_RANKS = 2


def main() -> None:
    """Runs all and prints; some minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each takes its turn")
    parser.add_argument("--write", action="store_true", help="update benchmarks/README.md")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LAGOM_HOME"] = folder
        begun = time.perf_counter()
        start_session(f"local[{N_RANKS}]", {"spark.ui.enabled": "false"})
        session_s = time.perf_counter() - begun
        lines = [*_table(args.rounds), "", *_memory(), "", *_about(session_s, load)]
    text = "\n".join(lines)
    print(text)
    if args.write:
        before, rest = README.read_text().split(MARKERS[0])
        after = rest.split(MARKERS[1])[1]
        README.write_text(f"{before}{MARKERS[0]}\n{text}\n{MARKERS[1]}{after}")


def _table(n_rounds: int) -> Iterator[str]:
    runners = {
        "torchrun, hand-written DDP": _torchrun,
        "`%%lagom train`, ddp": lambda: _lagom("ddp"),
        "`%%lagom train`, fsdp": lambda: _lagom("fsdp"),
    }
    results: dict[str, list[dict[str, float]]] = {name: [] for name in runners}
    for _ in range(n_rounds):
        for name, run in runners.items():
            results[name].append(run())
    base = _median(results["torchrun, hand-written DDP"], "steps_per_s")
    yield "| | steps/s | of torchrun's | to the first step |"
    yield "|---|---|---|---|"
    for name, rounds in results.items():
        speed = _median(rounds, "steps_per_s")
        yield f"| {name} | {speed:.1f} | {speed / base:.2f} | {_median(rounds, 'first_step_s'):.1f} s |"


def _memory() -> Iterator[str]:
    yield "Peak growth of a rank's memory by a model of 25 million weights (100 MB) under Adam, mean of both ranks:"
    grown = {strategy: _trained(remember, Tower, strategy)["grown_mb"] for strategy in ("ddp", "fsdp")}
    yield f"ddp {grown['ddp']:.0f} MB, fsdp {grown['fsdp']:.0f} MB."


def _about(session_s: float, load: float) -> Iterator[str]:
    yield f"Aim: at least 0.98 of torchrun's steps. The Spark session was there already; it took {session_s:.1f} s."
    yield (
        f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, load {load:.1f} before, "
        f"Python {platform.python_version()}, torch {torch.__version__}."
    )


def _median(rounds: list[dict[str, float]], key: str) -> float:
    return statistics.median(round_[key] for round_ in rounds)


def _lagom(strategy: str) -> dict[str, float]:
    begun = time.time()
    metrics = _trained(learn, Net, strategy)
    return {**metrics, "first_step_s": metrics["first_step_at"] - begun}


def _trained(function: Callable[..., Any], module: type, strategy: str) -> dict[str, float]:
    config = TorchDistributedConfig(
        workers=N_RANKS, strategy=strategy, module=module, train_set=train_set(), average_metrics=True
    )
    return experiment.lagom(function, config).trials[0].metrics


def _torchrun() -> dict[str, float]:
    begun = time.time()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={N_RANKS}"]
    script = Path(__file__).with_name("train_script.py")
    done = subprocess.run([*command, str(script)], capture_output=True, text=True, check=True)
    ranks: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    mean = {key: statistics.fmean(rank[key] for rank in ranks) for key in ranks[0]}
    return {**mean, "first_step_s": mean["first_step_at"] - begun}


if __name__ == "__main__":
    main()
