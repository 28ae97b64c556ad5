"""Trainings over real supervisors and real frameworks, without Spark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from calling_home import Home, open_home

from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.errors import RunError
from lagom_magic.experiment import launch
from lagom_magic.run import Run
from lagom_magic.spec.config import BaseConfig

Launch = Callable[..., Run]


@pytest.fixture
def run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """`launch` with plain processes for workers; the run, however it ended."""
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))

    def start(train_fn: Callable[..., Any], config: BaseConfig, n_slots: int | None = None, **options: Any) -> Run:
        def make_launcher(kit: Any, _: str, n_workers: int) -> ProcessLauncher:
            return ProcessLauncher(kit, n_workers, n_slots=n_slots)

        try:
            return launch(train_fn, config, **{"ui": "none", "make_launcher": make_launcher} | options)
        except RunError as error:
            run = error.run
        assert run is not None
        return run

    return start


@pytest.fixture
def home() -> Iterator[Home]:
    with open_home() as opened:
        yield opened
