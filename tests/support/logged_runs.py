"""Real trial processes, whose training functions say nothing themselves: what libraries log is in the journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lagom_magic import OptimizationConfig, Run
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.events.facts import MetricReported
from lagom_magic.events.views import TrialView
from lagom_magic.experiment import launch
from lagom_magic.spec.config import BaseConfig
from lagom_magic.store.journal import JournalReader


@dataclass(frozen=True)
class Logged:
    """What a run has in its journal."""

    run: Run
    reports: list[MetricReported]

    @property
    def trial(self) -> TrialView:
        return self.run.view.trials[0]

    def curve(self, name: str, trial_id: int = 0) -> list[tuple[int, float]]:
        """(step, value) of each report of a metric."""
        return [
            (fact.step, fact.metrics[name])
            for fact in self.reports
            if fact.trial_id == trial_id and name in fact.metrics
        ]


Track = Callable[..., Logged]


@pytest.fixture
def track(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Track:
    """`track(train_fn, **fields)`: one run, on one worker; a search where `searchspace` is among the fields."""
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(tmp_path)

    def start(train_fn: Callable[..., Any], **fields: Any) -> Logged:
        kind = fields.pop("kind", OptimizationConfig if "searchspace" in fields else BaseConfig)
        config = kind(**{"workers": 1} | fields)
        run = launch(
            train_fn, config, ui="none", make_launcher=lambda kit, _, n_workers: ProcessLauncher(kit, n_workers)
        )
        facts = [line.fact for line in JournalReader(run.dir).read_new()]
        return Logged(run, [fact for fact in facts if isinstance(fact, MetricReported)])

    return start
