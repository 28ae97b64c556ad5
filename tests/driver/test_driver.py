"""The shell over the real channel and a real folder; only the workers are scripts."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedLauncher, ScriptedWorker, diligent

from lagom_magic.driver import driver as driver_module
from lagom_magic.driver.driver import Driver
from lagom_magic.driver.plan import RunPlan
from lagom_magic.events import facts
from lagom_magic.events.facts import RunState, TrialState
from lagom_magic.search.base import EXHAUSTED, Answer, Pruner, Sampler, Suggestion
from lagom_magic.search.none_pruner import NonePruner
from lagom_magic.store.journal import JournalReader
from lagom_magic.store.store import RunStore


class Counting(Sampler):
    """Suggests x = trial id."""

    is_cheap = True

    def __init__(self) -> None:
        self.told: list[tuple[int, TrialState, float | None]] = []
        self.threads: set[str] = set()

    def ask(self, trial_id: int) -> Suggestion | Answer:
        self.threads.add(threading.current_thread().name)
        return Suggestion({"x": float(trial_id)})

    def tell(self, trial_id: int, state: TrialState, value: float | None) -> None:
        self.told.append((trial_id, state, value))


class Slow(Counting):
    """As costly samplers are: asked in a thread of their own."""

    is_cheap = False


class Bench:
    """Makes drivers and takes them down."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.errors: list[str] = []

    def run(
        self,
        launcher: ScriptedLauncher,
        *,
        sampler: Sampler | None = None,
        pruner: Pruner | None = None,
        wait: bool = True,
        timeout_s: float | None = None,
        start_timeout_s: float = 20.0,
        on_progress: Callable[[], None] = lambda: None,
        **plan: Any,
    ) -> Driver:
        self.store = RunStore.create(self.home, "exp", {"kind": "hpo"}, "source", self.errors.append)
        values = {"run_id": self.store.run_id, "experiment": "exp", "kind": "hpo", "n_trials": 6, "n_workers": 2}
        driver = Driver(
            RunPlan(**(values | plan)),
            {"metric": None},
            sampler or Counting(),
            pruner or NonePruner(),
            launcher,
            self.store,
            timeout_s=timeout_s,
            start_timeout_s=start_timeout_s,
        )
        driver.on_progress = on_progress
        self.driver = driver
        driver.start()
        if wait:
            assert driver.wait(20)
        return driver

    @property
    def facts(self) -> list[facts.Fact]:
        return [line.fact for line in JournalReader(self.store.layout.root).read_new()]

    def of(self, kind: type[facts.Fact]) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    if not bench.driver.wait(0):
        bench.driver.abandon()
        assert bench.driver.wait(20)
    assert bench.errors == []


def outcome(driver: Driver) -> tuple[RunState, str]:
    assert driver.outcome is not None
    return driver.outcome.state, driver.outcome.reason


def test_a_run_over_real_sockets_completes_every_trial_and_leaves_a_journal(bench: Bench) -> None:
    sampler = Counting()
    driver = bench.run(ScriptedLauncher(), sampler=sampler)
    assert outcome(driver) == (RunState.COMPLETE, "")
    assert sorted((t.trial_id, t.metric) for t in bench.of(facts.TrialEnded)) == [(i, float(i)) for i in range(6)]
    assert sorted(told[0] for told in sampler.told) == list(range(6))
    assert isinstance(bench.facts[0], facts.RunStarted)
    assert isinstance(bench.facts[-1], facts.RunEnded)
    assert json.loads(bench.store.layout.result.read_text())["state"] == "COMPLETE"


def test_a_costly_sampler_is_asked_outside_of_the_loop(bench: Bench) -> None:
    sampler = Slow()
    bench.run(ScriptedLauncher(), sampler=sampler)
    assert all(name.startswith("lagom-sampler") for name in sampler.threads)
    assert len(bench.of(facts.TrialEnded)) == 6


@pytest.mark.parametrize("sampler_class", [Counting, Slow])
def test_a_sampler_that_raises_ends_the_run_with_its_message(bench: Bench, sampler_class: type[Counting]) -> None:
    class Broken(sampler_class):  # type: ignore[valid-type,misc]
        def ask(self, trial_id: int) -> Suggestion | Answer:
            if trial_id == 2:
                raise KeyError("lr")
            return super().ask(trial_id)

    driver = bench.run(ScriptedLauncher(), sampler=Broken())
    assert outcome(driver) == (RunState.FAILED, "the sampler failed: KeyError: 'lr'")


@pytest.mark.parametrize("answer", [{"x": 1.0}, Suggestion({"x": object()}), Suggestion({"x": float("inf")})])
def test_an_answer_that_no_trial_can_have_ends_the_run(bench: Bench, answer: Any) -> None:
    class Wrong(Counting):
        def ask(self, trial_id: int) -> Suggestion | Answer:
            return answer  # type: ignore[no-any-return]

    state, reason = outcome(bench.run(ScriptedLauncher(), sampler=Wrong()))
    assert state is RunState.FAILED
    assert reason.startswith("the sampler failed: ")


def test_a_trial_pruned_with_nan_is_told_without_a_value(bench: Bench) -> None:
    async def nan(worker: ScriptedWorker) -> None:
        await worker.join()
        worker.end_trial(await worker.next("start_trial"), {"metric": "nan"}, state="PRUNED")
        await worker.next("shut_down")
        await worker.leave()

    sampler = Counting()
    bench.run(ScriptedLauncher(nan), sampler=sampler, n_trials=1, n_workers=1)
    assert sampler.told == [(0, TrialState.PRUNED, None)]


def test_a_cluster_that_cannot_say_what_it_has_does_not_keep_the_message_back(bench: Bench) -> None:
    class Mute(ScriptedLauncher):
        def start(self, ticket: Any, on_exit: Any) -> None:
            self.tickets.append(ticket)

        def describe_shortage(self) -> str:
            raise OSError("the JVM is gone")

    driver = bench.run(Mute(), start_timeout_s=0.2)
    assert outcome(driver) == (RunState.FAILED, "no worker came within 0.2 s.")


def test_an_exhausted_sampler_ends_the_run(bench: Bench) -> None:
    class Two(Counting):
        def ask(self, trial_id: int) -> Suggestion | Answer:
            return super().ask(trial_id) if trial_id < 2 else EXHAUSTED

    driver = bench.run(ScriptedLauncher(), sampler=Two())
    assert outcome(driver)[0] is RunState.COMPLETE
    assert len(bench.of(facts.TrialEnded)) == 2


def test_a_worker_that_vanishes_loses_no_trial(bench: Bench) -> None:
    async def vanish(worker: ScriptedWorker) -> None:
        await worker.join()
        await worker.next("start_trial")
        assert worker.channel is not None
        await worker.channel.close()

    driver = bench.run(ScriptedLauncher(scripts={1: [vanish]}), n_workers=1)
    assert outcome(driver)[0] is RunState.COMPLETE
    assert [lost.worker_id for lost in bench.of(facts.WorkerLost)] == [1]
    assert len(bench.of(facts.TrialRequeued)) == 1
    assert sorted(t.trial_id for t in bench.of(facts.TrialEnded)) == list(range(6))


def test_a_speculative_copy_waits_and_takes_over_when_the_first_is_lost(bench: Bench) -> None:
    copy_is_parked = threading.Event()

    async def first(worker: ScriptedWorker) -> None:
        await worker.join()
        await worker.next("start_trial")
        launcher.run(worker.ticket, copy, lambda *_: None)
        await asyncio.to_thread(copy_is_parked.wait, 10)
        assert worker.channel is not None
        await worker.channel.close()
        await copy_ended.wait()

    async def copy(worker: ScriptedWorker) -> None:
        await worker.join()
        assert (await worker.next("park", "welcome"))["type"] == "park"
        copy_is_parked.set()
        while (order := await worker.next("start_trial", "shut_down"))["type"] == "start_trial":
            worker.end_trial(order, {"metric": 1.0})
        await worker.leave()
        loop.call_soon_threadsafe(copy_ended.set)

    async def first_with_loop(worker: ScriptedWorker) -> None:
        nonlocal loop, copy_ended
        loop, copy_ended = asyncio.get_running_loop(), asyncio.Event()
        await first(worker)

    loop: asyncio.AbstractEventLoop
    copy_ended: asyncio.Event
    launcher = ScriptedLauncher(scripts={1: [first_with_loop]})
    driver = bench.run(launcher, n_workers=1, n_trials=3)
    assert outcome(driver)[0] is RunState.COMPLETE
    assert [(t.trial_id, t.attempt) for t in bench.of(facts.TrialEnded)] == [(0, 2), (1, 1), (2, 1)]


def test_a_copy_that_is_still_parked_at_the_end_is_sent_home(bench: Bench) -> None:
    async def with_copy(worker: ScriptedWorker) -> None:
        ended = threading.Event()
        launcher.run(worker.ticket, parked, lambda *_: ended.set())
        await diligent(worker)
        assert await asyncio.to_thread(ended.wait, 10)

    async def parked(worker: ScriptedWorker) -> None:
        await worker.join()
        if (await worker.next("park", "welcome"))["type"] == "park":
            assert (await worker.next("shut_down"))["type"] in ("shut_down", "closed")
        else:  # it was faster than the original, which is parked then
            while (order := await worker.next("start_trial", "shut_down"))["type"] == "start_trial":
                worker.end_trial(order, {"metric": 1.0})
            await worker.leave()

    launcher = ScriptedLauncher(scripts={1: [with_copy]})
    assert outcome(bench.run(launcher, n_workers=1))[0] is RunState.COMPLETE


def test_a_worker_with_another_python_is_refused_by_name(bench: Bench) -> None:
    async def old(worker: ScriptedWorker) -> None:
        await worker.join(python="2.7.18")
        assert (await worker.next("refused"))["type"] == "refused"

    driver = bench.run(ScriptedLauncher(old), n_workers=1)
    state, reason = outcome(driver)
    assert state is RunState.FAILED
    assert "runs Python 2.7.18" in reason
    assert "PYSPARK_PYTHON" in reason


MISBEHAVIOUR: dict[str, dict[str, Any]] = {
    "an unknown event": {"type": "launch_rockets"},
    "a fact of the driver's": {"type": "run_ended", "state": "COMPLETE"},
    "a trial end without its state": {"type": "trial_ended", "trial_id": 0, "attempt": 1},
    "metrics that are no numbers": {
        "type": "metric_reported",
        "trial_id": 0,
        "attempt": 1,
        "step": 1,
        "metrics": {"accuracy": "high"},
    },
}


@pytest.mark.parametrize("name", MISBEHAVIOUR)
def test_a_worker_that_says_nonsense_is_lost_and_the_run_goes_on(bench: Bench, name: str) -> None:
    async def nonsense(worker: ScriptedWorker) -> None:
        await worker.join()
        await worker.next("start_trial")
        worker.send(MISBEHAVIOUR[name])
        assert (await worker.next())["type"] == "closed"

    driver = bench.run(ScriptedLauncher(scripts={1: [nonsense]}), n_workers=1)
    assert outcome(driver)[0] is RunState.COMPLETE
    assert "malformed" in bench.of(facts.WorkerLost)[0].reason


def test_a_worker_cannot_speak_for_another(bench: Bench) -> None:
    async def liar(worker: ScriptedWorker) -> None:
        await worker.join()
        order = await worker.next("start_trial")
        worker.send(
            {
                "type": "metric_reported",
                "trial_id": order["trial_id"],
                "attempt": 1,
                "worker_id": 99,
                "step": 1,
                "metrics": {"metric": 1},
            }
        )
        worker.end_trial(order, {"metric": 1.0})
        await worker.next("shut_down")
        await worker.leave()

    bench.run(ScriptedLauncher(liar), n_trials=1, n_workers=1)
    assert [report.worker_id for report in bench.of(facts.MetricReported)] == [1]


def test_a_silent_worker_is_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "SILENCE_S", 0.3)

    async def silent(worker: ScriptedWorker) -> None:
        await worker.join()
        assert (await worker.next())["type"] == "closed"

    driver = bench.run(ScriptedLauncher(scripts={1: [silent]}), n_workers=1)
    assert outcome(driver)[0] is RunState.COMPLETE
    assert "silent" in bench.of(facts.WorkerLost)[0].reason


async def _stubborn(worker: ScriptedWorker) -> None:
    await worker.join()
    while (await worker.next("stop_trial", "shut_down"))["type"] != "closed":
        pass


def test_a_stop_does_not_wait_for_workers_that_do_not_answer(bench: Bench) -> None:
    progress = threading.Event()
    driver = bench.run(ScriptedLauncher(_stubborn), wait=False, on_progress=progress.set)
    while not bench.of(facts.TrialStarted):
        assert progress.wait(10)
        progress.clear()
    begin = time.monotonic()
    driver.stop("stopped with ■")
    assert driver.wait(10)
    assert time.monotonic() - begin < 1.9
    assert outcome(driver) == (RunState.STOPPED, "stopped with ■")
    assert {t.state for t in bench.of(facts.TrialEnded)} == {TrialState.STOPPED}


def test_an_abandoned_run_ends_at_once(bench: Bench) -> None:
    progress = threading.Event()
    driver = bench.run(ScriptedLauncher(_stubborn), wait=False, on_progress=progress.set)
    while not bench.of(facts.TrialStarted):
        assert progress.wait(10)
        progress.clear()
    begin = time.monotonic()
    driver.abandon()
    assert driver.wait(10)
    assert time.monotonic() - begin < 1.0


def test_a_run_without_workers_ends_with_the_numbers(bench: Bench) -> None:
    async def never(worker: ScriptedWorker) -> None:
        await asyncio.sleep(0)

    class Nobody(ScriptedLauncher):
        def start(self, ticket: Any, on_exit: Any) -> None:
            self.tickets.append(ticket)

    driver = bench.run(Nobody(never), start_timeout_s=0.2)
    assert outcome(driver) == (RunState.FAILED, "no worker came within 0.2 s. Asked for scripts, have none.")


def test_fewer_workers_than_asked_for_are_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "SHORTAGE_NOTICE_S", 0.1)

    async def patient(worker: ScriptedWorker) -> None:
        await worker.join()
        order = await worker.next("start_trial")
        await asyncio.to_thread(was_noticed.wait, 10)
        while order["type"] == "start_trial":
            worker.end_trial(order, {"metric": 1.0})
            order = await worker.next("start_trial", "shut_down")
        await worker.leave()

    class OneOfTwo(ScriptedLauncher):
        def start(self, ticket: Any, on_exit: Any) -> None:
            if ticket.worker_id == 1:
                super().start(ticket, on_exit)

    was_noticed = threading.Event()

    def look() -> None:
        if bench.of(facts.Noticed):
            was_noticed.set()

    driver = bench.run(OneOfTwo(patient), on_progress=look)
    assert outcome(driver)[0] is RunState.COMPLETE
    assert bench.of(facts.Noticed)[0].text == "running on 1 of 2 workers. Asked for scripts, have none."


def test_a_timeout_keeps_what_is_complete(bench: Bench) -> None:
    async def once(worker: ScriptedWorker) -> None:
        await worker.join()
        worker.end_trial(await worker.next("start_trial"), {"metric": 1.0})
        order = await worker.next("start_trial")
        await worker.next("stop_trial")
        worker.end_trial(order, {}, state="STOPPED")
        await worker.next("shut_down")
        await worker.leave()

    driver = bench.run(ScriptedLauncher(once), n_workers=1, timeout_s=0.4)
    assert outcome(driver) == (RunState.COMPLETE, "the run's timeout of 0.4 s has passed")
    assert [t.state for t in bench.of(facts.TrialEnded)] == [TrialState.COMPLETE, TrialState.STOPPED]


def test_output_and_files_reach_the_trials_folder(bench: Bench) -> None:
    async def writer(worker: ScriptedWorker) -> None:
        await worker.join()
        order = await worker.next("start_trial")
        assert worker.channel is not None
        worker.channel.send_blob({"type": "output", "trial_id": 0, "attempt": 1}, b"epoch 0\n")
        worker.end_trial(order, {"metric": 1.0})
        header = {"type": "file", "trial_id": 0, "attempt": 1, "path": "artifacts/a.txt", "offset": 0, "size_bytes": 2}
        digest = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"
        worker.channel.send_blob(header | {"is_last": True, "sha256": digest}, b"hi")
        kinds = {(await worker.next("chunk_stored", "shut_down"))["type"] for _ in range(2)}
        assert kinds == {"chunk_stored", "shut_down"}
        await worker.leave()

    bench.run(ScriptedLauncher(writer), n_trials=1, n_workers=1)
    folder = bench.store.layout.trial_dir(0, 1)
    assert (folder / "output.log").read_bytes() == b"epoch 0\n"
    assert (folder / "artifacts" / "a.txt").read_bytes() == b"hi"
    assert bench.store.layout.console.read_text() == "[w1 t0] epoch 0\n"
    assert [stored.path for stored in bench.of(facts.FileStored)] == ["artifacts/a.txt"]


def test_the_token_is_in_no_file_of_the_run(bench: Bench) -> None:
    launcher = ScriptedLauncher()
    bench.run(launcher)
    token = bytes(launcher.tickets[0].token)
    assert "***" in repr(launcher.tickets[0])
    for path in bench.home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert token not in content, path
            assert token.hex().encode() not in content, path


def test_an_old_incarnation_cannot_come_back(bench: Bench) -> None:
    async def ghost(worker: ScriptedWorker) -> None:
        await worker.join()
        assert (await worker.next("welcome"))["type"] == "closed"

    async def crash(worker: ScriptedWorker) -> None:
        raise OSError("crashed")

    async def second(worker: ScriptedWorker) -> None:
        launcher.run(replace(worker.ticket, incarnation=1), ghost, lambda *_: None)
        await diligent(worker)

    launcher = ScriptedLauncher(scripts={1: [crash, second]})
    driver = bench.run(launcher, n_workers=1)
    assert outcome(driver)[0] is RunState.COMPLETE
    assert {worker.incarnation for worker in bench.of(facts.WorkerRegistered)} == {2}
