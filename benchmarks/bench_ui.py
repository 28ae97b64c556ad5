"""What the live view costs and how late it is, in a real JupyterLab with a real browser; `make bench-ui` runs it.

Three runs of one notebook: one to warm up; a calm one, whose lines carry their time, for the way from a worker's print
to the page; and a flood of short trials that print, for the page's frames, the kernel's memory and for whether
everything arrives. Prints Markdown; `--write` puts it into benchmarks/README.md, with machine, load and date.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil
from bench_speed import load, markdown

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from jupyter_page import NotebookPage, chromium, open_browser, open_server, write_notebook
from playwright.sync_api import Locator, sync_playwright

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- bench-ui -->", "<!-- /bench-ui -->"
WORKERS = 2
LINES_A_TRIAL = 20
RUN_TIMEOUT_MS = 600_000
#: What a Jupyter server or kernel says when messages did not come through.
_LOSS = re.compile(r"IOPub (message|data) rate|rate exceeded|\bdropp(ed|ing)\b", re.IGNORECASE)

LOAD = "%load_ext lagom_magic"

RUN = """\
%%lagom hpo --trials {trials} --workers {workers} --sampler random --pruner none --maximize score --name {name} --seed 1
from lagom_magic import Float

def train(x: Float(0, 1) = 0.5, trial=None):
    {body}
    return {{"score": x}}
"""

CALM_BODY = """\
import time
    for n in range({lines}):
        print(f"line {{trial.id}}-{{n}} at={{time.time():.4f}}")
        time.sleep({pause_s})"""

FLOOD_BODY = """\
for n in range({lines}):
        print(f"trial {{trial.id}} line {{n}} of a no-op that only prints")"""

#: Times of all frames, and for each new line of the log its age when it came into the document.
PROBE = """\
() => {
  const probe = window.lagomProbe = { frames: [], ages: new Map(), isOn: true };
  let last = null;
  const frame = now => {
    if (last !== null) probe.frames.push(now - last);
    last = now;
    if (probe.isOn) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  const look = () => {
    const now = Date.now() / 1000;
    for (const line of document.querySelectorAll('.lagom-Log-line')) {
      const found = /line (\\d+-\\d+) at=([\\d.]+)/.exec(line.textContent);
      if (found !== null && !probe.ages.has(found[1])) probe.ages.set(found[1], (now - Number(found[2])) * 1000);
    }
  };
  if (%s) {
    const observer = new MutationObserver(look);
    observer.observe(document.querySelector('.jp-Notebook'), { subtree: true, childList: true, characterData: true });
  }
}
"""

STOP_PROBE = """\
() => { window.lagomProbe.isOn = false; return [window.lagomProbe.frames, [...window.lagomProbe.ages.values()]]; }
"""


@dataclass(frozen=True)
class Watched:
    """What a page saw of one run.

    Attributes:
        frames_ms: between two of its frames.
        ages_ms: of its lines when they came into the document; only where lines carry their time.
    """

    frames_ms: list[float]
    ages_ms: list[float]


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def watch(notebook: NotebookPage, cell: int, has_times: bool) -> Watched:
    """Run a cell with a `%%lagom` run and sample the page until its view shows the end."""
    notebook.page.evaluate(PROBE % ("true" if has_times else "false"))
    notebook.run(cell)
    pill = f"document.querySelectorAll('.jp-Notebook .jp-Cell')[{cell}].querySelector('.lagom-Pill')"
    notebook.page.wait_for_function(
        f"() => {pill}?.textContent.includes('complete')", timeout=RUN_TIMEOUT_MS, polling=250
    )
    frames, ages = notebook.page.evaluate(STOP_PROBE)
    notebook.until_ended(cell, RUN_TIMEOUT_MS)
    return Watched(frames, ages)


def kernel_of(server_pid: int) -> psutil.Process:
    """The one kernel of a Jupyter server."""
    children = psutil.Process(server_pid).children()
    (kernel,) = [child for child in children if "ipykernel_launcher" in child.cmdline()]
    return kernel


def counts_in_table(view: Locator) -> str:
    """What the table's note says when only complete trials are asked for: all rows of the model are looked at."""
    view.get_by_label("Filter trials").fill("state:complete")
    return view.locator(".lagom-Trials .lagom-Toolbar-note").inner_text()


def n_whole_logs(run_dir: Path) -> int:
    """Trials whose output.log has all lines."""
    logs = run_dir.glob("trials/*/output.log")
    return sum(log.read_bytes().count(b"\n") == LINES_A_TRIAL for log in logs)


def measure(n_trials: int, calm_s: float, lines_per_s: float) -> str:
    """The section's text: three runs in a fresh server and browser."""
    n_lines = int(calm_s * lines_per_s / WORKERS)
    calm_body = CALM_BODY.format(lines=n_lines, pause_s=WORKERS / lines_per_s)
    flood_body = FLOOD_BODY.format(lines=LINES_A_TRIAL)
    cells = [
        LOAD,
        RUN.format(trials=20, workers=WORKERS, name="warm", body=flood_body),
        RUN.format(trials=WORKERS, workers=WORKERS, name="calm", body=calm_body),
        RUN.format(trials=n_trials, workers=WORKERS, name="flood", body=flood_body),
    ]
    with tempfile.TemporaryDirectory(prefix="lagom-bench-") as name, sync_playwright() as playwright:
        folder = Path(name)
        with open_server(folder) as server, open_browser(playwright, folder) as browser:
            write_notebook(server.root / "bench.ipynb", *cells)
            notebook = NotebookPage(server, browser.new_page()).open("bench.ipynb")
            notebook.run_to_end(0)
            notebook.run_to_end(1)
            calm = watch(notebook, 2, has_times=True)
            kernel = kernel_of(server.pid)
            rss_before = kernel.memory_info().rss
            flood = watch(notebook, 3, has_times=False)
            growth_mb = (kernel.memory_info().rss - rss_before) / 1e6
            counted = counts_in_table(notebook.output(3).locator(".lagom-View"))
            (run_dir,) = server.root.glob("lagom_runs/flood/*-*-*")
            n_whole = n_whole_logs(run_dir)
            losses = [line for line in (folder / "server.log").read_text().splitlines() if _LOSS.search(line)]
            complaints = notebook.errors + notebook.dialogs
            server.end_kernels()
    flood_s = sum(flood.frames_ms) / 1000
    rows = [
        ["frame time in the flood, p95", "≤ 50 ms", frame_words(flood.frames_ms)],
        ["the same in the calm run", "", frame_words(calm.frames_ms)],
        [
            "a worker's print until it is in the page",
            "p50 ≤ 150 ms, p99 ≤ 400 ms",
            f"p50 {quantile(calm.ages_ms, 0.5):.0f} ms, p99 {quantile(calm.ages_ms, 0.99):.0f} ms, longest "
            f"{max(calm.ages_ms):.0f} ms; {len(calm.ages_ms)} of {n_lines * WORKERS} lines seen",
        ],
        ["growth of the kernel's memory (RSS)", "≤ 100 MB", f"{growth_mb:.0f} MB"],
        ["complaints of the server about messages", "0", str(len(losses))],
        ["errors of the page", "0", str(len(complaints))],
        ["complete trials in the page's table", f"{n_trials:,}", counted],
        [f"output.log files with all {LINES_A_TRIAL} lines", f"{n_trials:,}", f"{n_whole:,}"],
    ]
    for line in losses + complaints:
        print(line, file=sys.stderr)
    return (
        f"{markdown(['what', 'aim', 'measured'], rows)}\n\n"
        f"Flood: {n_trials:,} no-op trials that print {LINES_A_TRIAL} lines each, {n_trials * LINES_A_TRIAL:,} in all, "
        f"{WORKERS} workers, {flood_s:.0f} s from the cell's start to the page's end of the run. Prints are limited on "
        "their way to the page (200 lines/s a worker, and what is skipped is counted there), so the way of a print is "
        f"taken from the calm run: {lines_per_s:.0f} lines/s for {calm_s:.0f} s, by the machine's one clock, until the "
        "line is in the document, which is drawn with the same frame."
    )


def frame_words(frames_ms: list[float]) -> str:
    n_slow = sum(frame > 50 for frame in frames_ms)
    return (
        f"{quantile(frames_ms, 0.95):.0f} ms (p50 {quantile(frames_ms, 0.5):.0f}, p99 {quantile(frames_ms, 0.99):.0f}, "
        f"longest {max(frames_ms):.0f}; {n_slow} of {len(frames_ms)} above 50)"
    )


def machine() -> str:
    """Processor, cores, versions: what a reader needs to compare."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("jupyterlab", "ipykernel", "pyspark"))
    browser = subprocess.run([str(chromium()), "--version"], capture_output=True, text=True, check=True, timeout=30)
    return (
        f"{cpu[1] if cpu else platform.processor()}, {os.cpu_count()} cores, "
        f"{int(memory[1]) // 2**20 if memory else '?'} GiB, Python {platform.python_version()}, {versions}, "
        f"headless {' '.join(browser.stdout.split()[:2])} without a GPU"
    )


def write(text: str) -> None:
    """Replace our marked section of benchmarks/README.md, or add it."""
    section = f"{BEGIN}\n{text}\n{END}"
    old = README.read_text()
    if BEGIN in old:
        new = re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: section, old, flags=re.DOTALL)
    else:
        new = f"{old.rstrip()}\n\n## The live view\n\n`make bench-ui ARGS=--write` makes this section.\n\n{section}\n"
    README.write_text(new)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000, help="of the flood")
    parser.add_argument("--calm-s", type=float, default=60.0, help="how long the calm run prints")
    parser.add_argument("--lines-per-s", type=float, default=20.0, help="of the calm run, all workers together")
    parser.add_argument("--write", action="store_true", help="update benchmarks/README.md")
    args = parser.parse_args()
    if chromium() is None:
        parser.error("there is no chromium on this machine; `apt-get install chromium` brings it")
    os.environ.setdefault("LAGOM_TEST_SESSION", uuid.uuid4().hex)
    load_before = load()
    table = measure(args.trials, args.calm_s, args.lines_per_s)
    text = f"{datetime.date.today()} · {machine()} · load {load_before} before, {load()} after\n\n{table}"
    print(text)
    if args.write:
        write(text)


if __name__ == "__main__":
    main()
