"""A whole worker over a real channel: the ordinary life of trials."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from one_worker import one_worker


def run(scenario: Any) -> Any:
    return asyncio.run(scenario)


def test_a_trial_runs_reports_prints_and_ends() -> None:
    def train(lr, reporter):
        print(f"lr is {lr}")
        reporter.broadcast(0.5)
        reporter.broadcast({"loss": float("nan"), "accuracy": 2}, step=7)
        return {"loss": lr * 2}

    async def scenario() -> None:
        async with one_worker(train, wants=("reporter",), names=("lr",)) as worker:
            ended = await worker.run(3, lr=0.25)
        assert ended.state == "COMPLETE"
        assert ended.record["metrics"] == {"loss": 0.5}
        assert [(r["step"], r["metrics"]) for r in ended.reports] == [
            (0, {"metric": 0.5}),
            (7, {"loss": "nan", "accuracy": 2.0}),
        ]
        assert ended.output == b"lr is 0.25\n"
        assert worker.failure is None

    run(scenario())
