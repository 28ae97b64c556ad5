"""GPUs of workers that share a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from lagom_magic.errors import ConfigError
from lagom_magic.worker.devices import gpu_environment, gpus_of_slot, visible_gpus


@pytest.mark.parametrize(
    ("gpus_per_worker", "expected"),
    [
        (1, [["0"], ["1"], ["2"], ["3"]]),
        (2, [["0", "1"], ["2", "3"]]),
        (0.5, [["0"], ["0"], ["1"], ["1"], ["2"], ["2"], ["3"], ["3"]]),
        (0.25, [["0"]] * 4 + [["1"]] * 4),
        (0.3, [["0"]] * 3 + [["1"]]),
        (0, [[], []]),
        (None, [["0"], ["1"], ["2"], ["3"], ["0"]]),
    ],
)
def test_slots_share_the_visible_gpus(gpus_per_worker: float | None, expected: list[list[str]]) -> None:
    visible = ["0", "1", "2", "3"]
    assert [gpus_of_slot(visible, i, gpus_per_worker) for i in range(len(expected))] == expected


def test_no_gpu_is_no_gpu() -> None:
    assert gpus_of_slot([], 3, None) == []


@pytest.mark.parametrize(("index", "gpus_per_worker"), [(4, 1), (2, 2), (8, 0.5), (0, 1.5), (0, -1)])
def test_more_than_there_is_or_an_odd_share_is_an_error(index: int, gpus_per_worker: float) -> None:
    with pytest.raises(ConfigError, match="gpus-per-worker"):
        gpus_of_slot(["0", "1", "2", "3"], index, gpus_per_worker)


def test_visible_gpus_follow_the_environment_then_the_devices(tmp_path: Path) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "2, GPU-8f"}) == ["2", "GPU-8f"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}) == []
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == []
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert visible_gpus({}, str(tmp_path)) == ["0", "2", "10"]


def test_the_environment_hides_gpus_unless_nothing_is_known() -> None:
    assert gpu_environment(["0", "1"]) == {"CUDA_VISIBLE_DEVICES": "0,1"}
    assert gpu_environment([]) == {"CUDA_VISIBLE_DEVICES": ""}
    assert gpu_environment(None) == {}
