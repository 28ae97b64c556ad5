"""The public `tensorboard` module outside a trial; inside one, see tests/worker/test_supervision.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from lagom_magic import tensorboard


def test_outside_a_trial_it_is_a_folder_beside_the_notebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LAGOM_TRIAL_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    assert tensorboard.logdir() == "./tensorboard"
    assert list(tmp_path.iterdir()) == []


def test_inside_a_trial_it_is_the_trials_own_and_exists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAGOM_TRIAL_DIR", str(tmp_path))
    assert Path(tensorboard.logdir()) == tmp_path / "tensorboard"
    assert (tmp_path / "tensorboard").is_dir()


class Profiler:
    """One of PyTorch's that has seen nothing."""

    def export_chrome_trace(self, path: str) -> None:
        Path(path).write_text('{"traceEvents": []}')


def test_a_trace_outside_a_trial_is_there_too_wherever_the_function_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LAGOM_TRIAL_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    handler = tensorboard.torch_trace_handler()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    path = Path(handler(Profiler()))
    assert path.name.endswith(".xplane.pb")
    assert path.parent.parent == tmp_path / "tensorboard" / "plugins" / "profile"
    assert path.is_file()
