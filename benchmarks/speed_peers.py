"""Other ways to run trials on two workers, for `bench_speed.py`: what each takes between the ends of its trials.

Each peer runs the same three kinds of trial with random search over one number, and returns the times (seconds since
the epoch) at which its trials ended: the speed of the steady state, without any start-up.
"""

from __future__ import annotations

import importlib.util
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from pyspark import SparkContext

WORKERS = 2


@dataclass(frozen=True)
class Work:
    """What a trial does: sleep for `sleep_s`, then report `n_reports` times, each report better than all before."""

    name: str
    n_trials: int
    sleep_s: float = 0.0
    n_reports: int = 0


Peer = Callable[[Work], list[float]]


def tcp_loop(context: SparkContext) -> Peer:
    """Two long Spark tasks that pull trials over a bare TCP connection: JSON lines, each report acknowledged."""

    def peer(work: Work) -> list[float]:
        ends: list[float] = []
        todo, lock = iter(range(work.n_trials)), threading.Lock()

        def serve(lines: TextIO) -> None:
            while True:
                with lock:
                    trial_id = next(todo, None)
                lines.write(json.dumps({"trial_id": trial_id, "x": random.random()}) + "\n")
                lines.flush()
                if trial_id is None:
                    return
                while "value" not in json.loads(lines.readline()):
                    lines.write("{}\n")
                    lines.flush()
                ends.append(time.time())

        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(60)
            port = server.getsockname()[1]

            def task(_: Any) -> list[int]:
                with socket.create_connection(("127.0.0.1", port)) as connection:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    with connection.makefile("rw") as lines:
                        _pull(lines, work)
                return []

            def accept() -> None:
                connection, _ = server.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with connection, connection.makefile("rw") as lines:
                    serve(lines)

            threads = [threading.Thread(target=accept, name=f"tcp-loop-{number}") for number in range(WORKERS)]
            for thread in threads:
                thread.start()
            context.parallelize(range(WORKERS), WORKERS).mapPartitions(task).collect()
            for thread in threads:
                thread.join()
        return ends

    return peer


def _pull(lines: TextIO, work: Work) -> None:
    """The worker's half of `tcp_loop`."""
    while True:
        trial = json.loads(lines.readline())
        if trial["trial_id"] is None:
            return
        if work.sleep_s:
            time.sleep(work.sleep_s)
        for step in range(work.n_reports):
            lines.write(json.dumps({"trial_id": trial["trial_id"], "step": step, "metric": time.time()}) + "\n")
            lines.flush()
            lines.readline()
        lines.write(json.dumps({"trial_id": trial["trial_id"], "value": trial["x"]}) + "\n")
        lines.flush()


def task_a_trial(context: SparkContext) -> Peer:
    """One Spark job of as many tasks as trials, two at a time; it has no way to report."""

    def peer(work: Work) -> list[float]:
        sleep_s = work.sleep_s

        def task(_: int) -> float:
            if sleep_s:
                time.sleep(sleep_s)
            return time.time()

        with _slots_left(context, WORKERS):
            started = time.time()
            ends = context.parallelize(range(work.n_trials), work.n_trials).map(task).collect()
        return [started, *ends]

    return peer


@contextmanager
def _slots_left(context: SparkContext, n_slots: int) -> Iterator[None]:
    """Keep all but `n_slots` of a local session's slots busy with tasks that wait on a connection."""
    n_busy = context.defaultParallelism - n_slots
    if n_busy <= 0:
        yield
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        port = server.getsockname()[1]

        def wait(_: int) -> None:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.recv(1)

        job = threading.Thread(
            target=lambda: context.parallelize(range(n_busy), n_busy).foreach(wait), name="busy-slots"
        )
        job.start()
        connections = [server.accept()[0] for _ in range(n_busy)]
        yield
        for connection in connections:
            connection.close()
        job.join()


def optuna_threads(work: Work) -> list[float]:
    """Two threads of `Study.optimize`: no isolation, no Spark."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.SuccessiveHalvingPruner() if work.n_reports else optuna.pruners.NopPruner()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), pruner=pruner, direction="maximize")

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        if work.sleep_s:
            time.sleep(work.sleep_s)
        for step in range(work.n_reports):
            trial.report(time.time(), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x

    ends: list[float] = []
    study.optimize(objective, work.n_trials, n_jobs=WORKERS, callbacks=[lambda *_: ends.append(time.time())])
    return ends


def has_ray() -> bool:
    """Whether Ray Tune is installed."""
    return importlib.util.find_spec("ray") is not None


def ray_tune(work: Work) -> list[float]:
    """Ray Tune with reused actors, its quickest mode."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    def trainable(config: dict[str, float]) -> None:
        if work.sleep_s:
            time.sleep(work.sleep_s)
        for _ in range(work.n_reports):
            tune.report({"metric": time.time()})
        tune.report({"metric": time.time(), "ended": time.time()})

    scheduler = ASHAScheduler(max_t=work.n_reports + 1) if work.n_reports else None
    tuner = tune.Tuner(
        trainable,
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            num_samples=work.n_trials,
            max_concurrent_trials=WORKERS,
            reuse_actors=True,
            scheduler=scheduler,
            metric="metric",
            mode="max",
        ),
        run_config=tune.RunConfig(verbose=0),
    )
    results = tuner.fit()
    return [result.metrics["ended"] for result in results if result.metrics and "ended" in result.metrics]
