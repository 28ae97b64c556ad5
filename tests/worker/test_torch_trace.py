"""A trace of PyTorch's profiler as XSpace: read back with TensorFlow's own classes."""

from __future__ import annotations

import importlib.util
import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from lagom_magic.worker.torch_trace import write_trace, xspace

BASE_NS = 1_790_857_026_000_000_000


def said(what: str, key: str, value: str, pid: int, tid: int = 0) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "ts": 0.0, "args": {key: value}}


def span(name: str, pid: Any, tid: Any, ts: float, dur: float, **args: Any) -> dict[str, Any]:
    return {"ph": "X", "name": name, "pid": pid, "tid": tid, "ts": ts, "dur": dur, "args": args}


TRACE = {
    "baseTimeNanoseconds": BASE_NS,
    "traceEvents": [
        said("process_labels", "labels", "CPU", 900),
        said("thread_name", "name", "thread 901 (python)", 900, 901),
        said("process_labels", "labels", "GPU 1", 1),
        said("thread_name", "name", "stream 7 ", 1, 7),
        span("aten::mm", 900, 901, 2000.5, 30.25, **{"External id": 4, "Input Dims": [[2, 3], [3, 2]]}),
        span("aten::linear", 900, 901, 2000.0, 40.0),
        span("aten::mm", 900, 902, 2100.0, 1.0),
        span("gemm", 1, 7, 2010.0, 12.5, stream=7),
        span("CUPTI overhead", -1, 0, 2050.0, 1.0),
        span("PyTorch Profiler (0)", "Spans", "PyTorch Profiler", 1000.0, 9000.0),
        {"ph": "s", "id": 3, "pid": 900, "tid": 901, "ts": 2000.0, "name": "fwdbwd"},
    ],
}


class Exported:
    """A profiler that has finished a cycle."""

    def export_chrome_trace(self, path: str) -> None:
        Path(path).write_text(json.dumps(TRACE))


@cache
def generated() -> Any:
    """TensorFlow's classes for the format, without TensorFlow, which starts threads."""
    package = importlib.util.find_spec("tensorflow")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "tsl" / "profiler" / "protobuf" / "xplane_pb2.py"
    spec = importlib.util.spec_from_file_location("xplane_pb2_alone", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings(action="ignore"):  # it was generated for an older protobuf
        spec.loader.exec_module(module)
    return module


def planes_of(data: bytes) -> dict[str, dict[str, list[tuple[str, int, int, dict[str, str]]]]]:
    """Plane → line → (event, nanoseconds since the epoch, picoseconds that it took, details)."""
    planes: dict[str, Any] = {}
    for plane in generated().XSpace.FromString(data).planes:
        assert plane.name not in planes
        lines = planes[plane.name] = {}
        for line in plane.lines:
            lines[line.name] = [
                (
                    plane.event_metadata[event.metadata_id].name,
                    line.timestamp_ns + event.offset_ps // 1000,
                    event.duration_ps,
                    {plane.stat_metadata[stat.metadata_id].name: stat.str_value for stat in event.stats},
                )
                for event in line.events
            ]
    return planes


def test_processor_and_devices_are_planes_and_threads_and_streams_lines() -> None:
    assert planes_of(xspace(TRACE)) == {
        "/host:CPU": {
            "thread 901 (python)": [
                ("aten::linear", BASE_NS + 2_000_000, 40_000_000, {}),
                ("aten::mm", BASE_NS + 2_000_500, 30_250_000, {"Input Dims": "[[2, 3], [3, 2]]"}),
            ],
            "902": [("aten::mm", BASE_NS + 2_100_000, 1_000_000, {})],
            "0": [("CUPTI overhead", BASE_NS + 2_050_000, 1_000_000, {})],
        },
        "/device:GPU:1": {"stream 7 ": [("gemm", BASE_NS + 2_010_000, 12_500_000, {"stream": "7"})]},
    }


def test_a_trace_without_events_is_an_empty_space() -> None:
    assert xspace({"traceEvents": []}) == b""


def test_each_cycle_has_a_folder_of_its_own(tmp_path: Path) -> None:
    paths = [Path(write_trace(Exported(), str(tmp_path))) for _ in range(3)]
    assert len({path.parent for path in paths}) == 3
    assert {path.parent.parent for path in paths} == {tmp_path / "plugins" / "profile"}
    assert [path.read_bytes() for path in paths] == [xspace(TRACE)] * 3
    assert sorted(path.parent for path in paths) == sorted((tmp_path / "plugins" / "profile").iterdir())
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(paths)
