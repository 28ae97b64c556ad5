"""How fast trials follow each other, ours and other ways side by side; `make bench` runs it.

Everything happens in one run on one warm Spark session with two workers, ours with all that it does (TLS, supervised
processes, journal, TensorBoard files). Prints Markdown; `--write` puts it into benchmarks/README.md, with the machine,
its load and the date.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import speed_peers
from speed_peers import WORKERS, Work

from lagom_magic import AblationConfig, Float, OptimizationConfig, Run, Searchspace, Switch, experiment
from lagom_magic.cluster.session import ensure_session

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- bench-speed -->", "<!-- /bench-speed -->"
SPACE = Searchspace(x=Float(0, 1))

torch: Any = None  # a global of this module on purpose: `--isolate` imports what the function's globals name


def no_op(x):
    return x


def twenty_reports(x, reporter):
    for step in range(20):
        reporter.broadcast(time.time(), step=step)
    return time.time()


def fifty_ms(x):
    time.sleep(0.05)
    return x


def with_torch(x):
    return float(torch.__version__ > "") + x


def waits(x, seconds):
    time.sleep(seconds)
    return x


def two_seconds(a: Switch() = True, b: Switch() = True, c: Switch() = True):
    time.sleep(2)
    return 1.0


def ours(train_fn: Callable[..., Any], n_trials: int, **options: Any) -> Run:
    """A finished run of `experiment.lagom` on the session that is there."""
    settings = {"optimizer": "random", "pruner": "none", "searchspace": SPACE, "workers": WORKERS, "seed": 0}
    with contextlib.redirect_stdout(io.StringIO()):
        return experiment.lagom(train_fn, OptimizationConfig(num_trials=n_trials, **(settings | options)))


def facts(run: Run, kind: str) -> Iterator[dict[str, Any]]:
    """The journal's lines of one type."""
    with (Path(run.dir) / "events.jsonl").open() as file:
        for line in file:
            record = json.loads(line)
            if record["type"] == kind:
                yield record


def ends_of(run: Run) -> list[float]:
    return [record["time"] for record in facts(run, "trial_ended")]


def ms_between(ends: list[float]) -> float:
    """Milliseconds a trial, from the first end to the last."""
    return (max(ends) - min(ends)) / (len(ends) - 1) * 1000


def idle_ms(run: Run) -> list[float]:
    """For each trial but a worker's first: milliseconds since the worker's trial before ended."""
    last_end: dict[int, float] = {}
    gaps = []
    with (Path(run.dir) / "events.jsonl").open() as file:
        for record in map(json.loads, file):
            if record["type"] == "trial_ended":
                last_end[record["worker_id"]] = record["time"]
            elif record["type"] == "trial_started" and record["worker_id"] in last_end:
                gaps.append((record["time"] - last_end[record["worker_id"]]) * 1000)
    return gaps


def load_ext_ms() -> float:
    """`%load_ext lagom_magic` in a fresh IPython."""
    source = (
        "import time; from IPython.core.interactiveshell import InteractiveShell as Shell; shell = Shell.instance();"
        "start = time.perf_counter(); shell.run_line_magic('load_ext', 'lagom_magic');"
        "print((time.perf_counter() - start) * 1000)"
    )
    result = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, timeout=60)
    return float(result.stdout.split()[-1])


def driver_cpu_percent(seconds: float) -> float:
    """Share of one core that this process uses while two trials wait; measured in the middle of their wait."""
    samples: list[tuple[float, float]] = []
    ended = threading.Event()

    def sample() -> None:
        for wait_s in (seconds * 0.4, seconds * 0.4):
            if ended.wait(wait_s):
                return
            samples.append((time.perf_counter(), time.process_time()))

    thread = threading.Thread(target=sample, name="cpu-sample")
    thread.start()
    ours(waits, WORKERS, hparams={"seconds": seconds})
    ended.set()
    thread.join()
    (wall, cpu), (wall_later, cpu_later) = samples
    return (cpu_later - cpu) / (wall_later - wall) * 100


class Table:
    """Rows of measurements; each cell a median and its range over the repeats."""

    def __init__(self, repeats: int) -> None:
        self.repeats = repeats
        self.rows: list[list[str]] = []

    def measure(self, function: Callable[[], float], repeats: int | None = None) -> str:
        values = [function() for _ in range(repeats or self.repeats)]
        if len(values) == 1:
            return _number(values[0])
        return f"{_number(statistics.median(values))} ({_number(min(values))}–{_number(max(values))})"

    def add(self, *cells: str) -> None:
        self.rows.append(list(cells))
        print(" | ".join(cells), file=sys.stderr, flush=True)


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def side_by_side(context: Any, n_trials: int, repeats: int) -> str:
    """Milliseconds a trial for three kinds of trial, ours and the peers."""
    works = [
        Work("no-op", n_trials),
        Work("20 reports under ASHA", n_trials, n_reports=20),
        Work("50 ms", max(n_trials // 5, 20), sleep_s=0.05),
    ]
    functions = {
        "no-op": (no_op, {}),
        "20 reports under ASHA": (twenty_reports, {"pruner": "asha"}),
        "50 ms": (fifty_ms, {}),
    }
    peers: dict[str, tuple[speed_peers.Peer, float]] = {
        "two long Spark tasks, bare TCP loop": (speed_peers.tcp_loop(context), 1),
        "a Spark task a trial (no reports)": (speed_peers.task_a_trial(context), 1),
        "Optuna, two threads": (speed_peers.optuna_threads, 1),
    }
    if speed_peers.has_ray():
        peers["Ray Tune, reused actors"] = (speed_peers.ray_tune, 0.2)
    table = Table(repeats)
    cells = []
    for work in works:
        function, options = functions[work.name]
        cells.append(table.measure(lambda f=function, w=work, o=options: ms_between(ends_of(ours(f, w.n_trials, **o)))))
    table.add("**lagom_magic**", *cells)
    for name, (peer, share) in peers.items():
        cells = []
        for work in works:
            if work.n_reports and "no reports" in name:
                cells.append("–")
                continue
            smaller = Work(work.name, max(int(work.n_trials * share), 20), work.sleep_s, work.n_reports)
            cells.append(table.measure(lambda p=peer, w=smaller: ms_between(p(w))))
        table.add(name, *cells)
    return markdown(["ms a trial, 2 workers", *(f"{work.name} (n={work.n_trials})" for work in works)], table.rows)


def alone(first_ms: float, tpe_trials: int, tpe_trial_s: float, repeats: int) -> str:
    """What only we have, or what has no counterpart."""
    global torch  # noqa: PLW0603 - see where it is defined
    table = Table(repeats)
    table.add("first trial ended, after the call on a session that is up", "≤ 1500 ms", f"{first_ms:.0f} ms")
    table.add("the same, in a later run", "", table.measure(first_trial_ms) + " ms")
    isolated = table.measure(lambda: ms_between(ends_of(ours(no_op, 200, isolate=True))))
    table.add("no-op trial with `--isolate`", "≤ 10 ms", isolated + " ms")
    import torch as imported

    torch = imported
    isolated = table.measure(lambda: ms_between(ends_of(ours(with_torch, 200, isolate=True))))
    table.add("the same, the function uses torch", "≤ 10 ms", isolated + " ms")
    run = ours(waits, tpe_trials, optimizer="tpe", hparams={"seconds": tpe_trial_s})
    gaps = idle_ms(run)
    last = gaps[-len(gaps) // 10 :]
    table.add(
        f"TPE, {tpe_trials} trials of {tpe_trial_s * 1000:.0f} ms: a worker's idle time between trials",
        "≤ 2 ms",
        f"mean {_number(statistics.mean(gaps))} ms; last tenth {_number(statistics.mean(last))} ms; "
        f"longest {_number(max(gaps))} ms",
    )
    table.add(
        "ablation, 24 trials of 2 s: the whole call beside ideal packing",
        "≤ 1.10",
        table.measure(ablation_of_ideal, 1),
    )
    table.add("`%load_ext lagom_magic`", "≤ 150 ms", table.measure(load_ext_ms, max(repeats, 5)) + " ms")
    table.add(
        "driver's CPU while trials run", "~0 %", table.measure(lambda: driver_cpu_percent(10.0), 1) + " % of a core"
    )
    return markdown(["what", "aim", "measured"], table.rows)


def first_trial_ms() -> float:
    called = time.time()
    return (min(ends_of(ours(no_op, 4))) - called) * 1000


def ablation_of_ideal() -> float:
    """24 trials of an ablation, from the call to its return, beside what perfect packing on the workers would take."""
    called = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        run = experiment.lagom(two_seconds, AblationConfig(repeats=6, workers=WORKERS))
    took_s = time.perf_counter() - called
    return took_s / (2 * len(run.trials) / WORKERS)


def machine() -> str:
    """Processor, cores, versions: what a reader needs to compare."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    packages = ["pyspark", "optuna", "torch"] + (["ray"] if speed_peers.has_ray() else [])
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return (
        f"{cpu[1] if cpu else platform.processor()}, {os.cpu_count()} cores, "
        f"{int(memory[1]) // 2**20 if memory else '?'} GiB, Python {platform.python_version()}, {versions}"
    )


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def write(text: str) -> None:
    """Replace our marked section of benchmarks/README.md, or add it."""
    section = f"{BEGIN}\n{text}\n{END}"
    old = README.read_text() if README.exists() else "# Benchmarks\n"
    if BEGIN in old:
        new = re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: section, old, flags=re.DOTALL)
    else:
        new = f"{old.rstrip()}\n\n## Speed\n\n`make bench ARGS=--write` makes this section.\n\n{section}\n"
    README.write_text(new)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="no-op trials in each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tpe-trials", type=int, default=5000)
    parser.add_argument("--tpe-trial-ms", type=float, default=100.0, help="each TPE trial waits so long")
    parser.add_argument("--write", action="store_true", help="update benchmarks/README.md")
    args = parser.parse_args()

    load_before = load()
    with tempfile.TemporaryDirectory(prefix="lagom-bench-") as home:
        os.environ["LAGOM_HOME"] = home
        context = ensure_session(WORKERS).context
        from pyspark import cloudpickle

        cloudpickle.register_pickle_by_value(speed_peers)
        first_ms = first_trial_ms()
        table = side_by_side(context, args.trials, args.repeats)
        rest = alone(first_ms, args.tpe_trials, args.tpe_trial_ms / 1000, args.repeats)
        context.stop()
    text = (
        f"{datetime.date.today()} · {machine()} · load {load_before} before, {load()} after · "
        f"median (range) of {args.repeats}\n\n{table}\n\n"
        "ms a trial = time from the first trial's end to the last one's, over the trials; no start-up is in it. Ideal "
        "for 50 ms trials: 25. Every report is better than all before, so ASHA prunes none and all 20 are made.\n\n"
        f"{rest}"
    )
    print(text)
    if args.write:
        write(text)


if __name__ == "__main__":
    main()
