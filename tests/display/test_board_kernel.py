"""`%lagom board` in a real kernel."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import psutil
import pytest
from kernels import jupyter_loop, open_kernel

from lagom_magic.display.board import MIME_TYPE

__all__ = ["jupyter_loop"]

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("jupyter_loop")]

WAIT_S = 30.0


def serves(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/environment", timeout=WAIT_S) as reply:
        return bool(reply.status == 200)


@pytest.mark.parametrize("end", ["killed", "restarted"])
def test_a_cell_shows_it_an_interrupt_spares_it_and_it_goes_with_the_kernel(tmp_path: Path, end: str) -> None:
    run_dir = tmp_path / "runs" / "digits" / "20261122-093000-k3f7"
    run_dir.mkdir(parents=True)
    (run_dir / "run.json").write_text("{}")
    with open_kernel(tmp_path, {"LAGOM_HOME": str(tmp_path / "runs")}) as kernel:
        cell = kernel.run("%lagom board k3f7")
        assert not cell.error, str(cell)
        assert cell.text == ""
        ((bundle),) = cell.displays.values()
        port = bundle[MIME_TYPE]["port"]
        assert bundle[MIME_TYPE]["dir"] == str(run_dir)
        assert serves(port)
        pid = int(kernel.value("__import__('os').getpid()"))
        processes = psutil.Process(pid).children(recursive=True)
        assert processes
        waiting = kernel.start("print('begun', flush=True)\nimport time\ntime.sleep(60)")
        waiting.until(lambda cell: "begun" in cell.text)
        kernel.interrupt()
        assert waiting.end().error == "KeyboardInterrupt"
        assert serves(port)
        if end == "killed":
            psutil.Process(pid).kill()
        else:
            kernel.manager.restart_kernel(now=False)
        assert psutil.wait_procs(processes, timeout=WAIT_S)[1] == []
