"""What noting opened files costs a trial that opens 10,000 of them; prints a Markdown table.

The trial's work runs in a working directory of links, as a worker's does. Then the events that it raised are replayed
through the hook, and what the names are is looked up as at a trial's end: that is what is more. Of all rounds the one
with the least CPU time counts, because what else the machine does only adds to it. `make bench` does not run it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lagom_magic.worker.opened_files import OpenedFiles
from lagom_magic.worker.workdir import Workdir
from lagom_magic.worker.write_guard import WriteGuard

N_FILES = 10_000
WORK_ROUNDS = 5
HOOK_ROUNDS = 20


def read_bytes() -> None:
    for number in range(N_FILES):
        with open(f"files/{number}.csv", "rb") as file:
            file.read()


def read_rows() -> None:
    import csv

    for number in range(N_FILES):
        with open(f"files/{number}.csv") as file:
            sum(float(row[0]) for row in csv.reader(file))


def load_arrays() -> None:
    import numpy as np

    for number in range(N_FILES):
        np.load(f"arrays/{number}.npy").sum()


def decode_images() -> None:
    import numpy as np
    from PIL import Image

    for number in range(N_FILES):
        with Image.open(f"images/{number}.png") as image:
            np.asarray(image).sum()


WORK: dict[str, Callable[[], None]] = {
    "10,000 files read as bytes, 2 kB each": read_bytes,
    "10,000 CSV files parsed, 100 rows each": read_rows,
    "10,000 arrays loaded with NumPy, 8 kB each": load_arrays,
    "10,000 PNG images decoded, 64×64": decode_images,
}


def make_files(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    for name in ("files", "arrays", "images"):
        (folder / name).mkdir()
    random = np.random.default_rng(0)
    for number in range(N_FILES):
        (folder / "files" / f"{number}.csv").write_text(
            "".join(f"{value:.6f},{value:.9f}\n" for value in random.random(100))
        )
        np.save(folder / "arrays" / f"{number}.npy", random.random(1000))
        Image.fromarray(random.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / "images" / f"{number}.png")


def measure(what: str, folder: Path) -> tuple[float, float, float]:
    """CPU seconds of the work, of the hook's calls and of the look-up at the end."""
    with tempfile.TemporaryDirectory(prefix="lagom-bench-") as scratch:
        workdir = Workdir(f"{scratch}/w/work", str(folder))
        workdir.create()
        os.chdir(workdir.path)
        WriteGuard(workdir).install()
        WORK[what]()  # which imports, and fills the disk's cache
        work = min(timed(WORK[what]) for _ in range(WORK_ROUNDS))
        events: list[tuple[str, tuple[Any, ...]]] = []
        is_on = [True]
        sys.addaudithook(lambda event, args: events.append((event, args)) if is_on[0] else None)
        WORK[what]()
        is_on[0] = False
        hooks, ends = [], []
        for _ in range(HOOK_ROUNDS):
            opened = OpenedFiles(workdir, f"{scratch}/w/user-code", f"{scratch}/w")
            opened.begin()
            hooks.append(timed(lambda: replay(events, opened.on_event)))  # noqa: B023 (called at once)
            ends.append(timed(opened.end))
        os.chdir("/")
        return work, min(hooks), min(ends)


def replay(events: list[tuple[str, tuple[Any, ...]]], hook: Callable[[str, tuple[Any, ...]], None]) -> None:
    for event, args in events:
        hook(event, args)


def timed(call: Callable[[], object]) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


def main() -> None:
    """Prints the table, or is the process of one row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    child = parser.parse_args().child
    if child:
        print(json.dumps(measure(child[0], Path(child[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder))
        print("| trial | takes | hook | look-up | more |\n|---|---|---|---|---|")
        for what in WORK:
            command = [sys.executable, __file__, "--child", what, folder]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            work, hook, end = json.loads(answer)
            more = f"{100 * (hook + end) / work:.1f} %"
            print(f"| {what} | {work * 1e3:.0f} ms | {hook * 1e3:.1f} ms | {end * 1e3:.1f} ms | {more} |", flush=True)


if __name__ == "__main__":
    main()
