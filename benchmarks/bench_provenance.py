"""What noting opened files costs a trial that opens 10,000 of them; prints a Markdown table.

The trial's work runs in a working directory of links, as a worker's does, in processes by turns: in one with the
write guard as the audit hook, which is what a trial process had before files were noted; in one with the least that the
guard needs of a hook; and in one with what a trial process has, where both share a hook. Of each fifty files that
round counts, of all rounds of all such processes, which took the least CPU time, because what else the machine does
only adds to it; likewise of what is done at a trial's begin and end. `make bench` does not run it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lagom_magic.worker import audit_hook
from lagom_magic.worker.opened_files import OpenedFiles
from lagom_magic.worker.workdir import Workdir
from lagom_magic.worker.write_guard import EVENTS, WRITES, WriteGuard

N_FILES = 10_000
N_IN_PIECE = 50
N_PROCESSES = 8
N_ROUNDS = 8


def read_bytes(number: int) -> None:
    with open(f"files/{number}.csv", "rb") as file:
        file.read()


def read_rows(number: int) -> None:
    import csv

    with open(f"files/{number}.csv") as file:
        sum(float(row[0]) for row in csv.reader(file))


def load_array(number: int) -> None:
    import numpy as np

    np.load(f"arrays/{number}.npy").sum()


def decode_image(number: int) -> None:
    import numpy as np
    from PIL import Image

    with Image.open(f"images/{number}.png") as image:
        np.asarray(image).sum()


WORK: dict[str, Callable[[int], None]] = {
    "10,000 files read as bytes, 2 kB each": read_bytes,
    "10,000 CSV files parsed, 100 rows each": read_rows,
    "10,000 arrays loaded with NumPy, 8 kB each": load_array,
    "10,000 PNG images decoded, 64×64": decode_image,
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


#: What the audit hook of a process is for.
GUARDING, GUARDING_LEAST, NOTING = range(3)


def measure(what: str, folder: Path) -> list[float]:
    """CPU seconds of the trial with each of the three hooks; and, of the last, those of its begin and end."""
    with tempfile.TemporaryDirectory(prefix="lagom-bench-") as scratch:
        workdir = Workdir(f"{scratch}/w/work", str(folder))
        workdir.create()
        os.chdir(workdir.path)
        for number in range(N_FILES):  # which imports, and fills the disk's cache
            WORK[what](number)
        best: dict[int, list[float]] = {}
        for _ in range(N_PROCESSES):
            for hook in (GUARDING, GUARDING_LEAST, NOTING):
                opened = OpenedFiles(workdir, f"{scratch}/w/user-code", f"{scratch}/w") if hook == NOTING else None
                taken = in_fork(partial(rounds, WORK[what], WriteGuard(workdir), hook, opened))
                best[hook] = list(map(min, taken, best.get(hook, taken)))
        os.chdir("/")
        return [*map(sum, best.values()), best[NOTING][-1]]


def rounds(work: Callable[[int], None], guard: WriteGuard, hook: int, opened: OpenedFiles | None) -> list[float]:
    """The least CPU seconds that each piece of the work took, and at the end those of a trial's begin and end."""
    if opened is None:
        sys.addaudithook(guard.on_event if hook == GUARDING else least_hook(guard))
    else:
        audit_hook.install(guard, opened)
    best = [math.inf] * (N_FILES // N_IN_PIECE + 1)
    for number_of_round in range(N_ROUNDS):
        taken = [timed(opened.begin) if opened else 0.0]
        for first in range(0, N_FILES, N_IN_PIECE):
            begin = time.process_time()
            for number in range(first, first + N_IN_PIECE):
                work(number)
            taken.append(time.process_time() - begin)
        taken.append(taken.pop(0) + (timed(opened.end) if opened else 0.0))
        if number_of_round > 0:  # the first trial of a process has nothing to forget when it begins
            best = list(map(min, best, taken))
    return best


def least_hook(guard: WriteGuard) -> audit_hook.Hook:
    """A hook that guards, and does no more than that for a file that is opened for reading."""
    guarded = guard.on_event

    def on_event(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            if args[2] & WRITES:
                guarded(event, args)
        elif event in EVENTS:
            guarded(event, args)

    return on_event


def in_fork(call: Callable[[], list[float]]) -> list[float]:
    """What a call returns in a fork of this process, which it ends."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with open(writing, "w") as file:
            json.dump(call(), file)
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        answer = file.read()
    os.waitpid(pid, 0)
    return list(json.loads(answer))


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
        print("| trial | guarded only | the least hook | with | of it at begin and end | more | more than the least |")
        print("|---|---|---|---|---|---|---|")
        for what in WORK:
            command = [sys.executable, __file__, "--child", what, folder]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            without, least, noting, ends = json.loads(answer)
            times = " | ".join(f"{1e3 * seconds:.1f} ms" for seconds in (without, least, noting, ends))
            more = " | ".join(f"{100 * (noting / other - 1):.1f} %" for other in (without, least))
            print(f"| {what} | {times} | {more} |", flush=True)


if __name__ == "__main__":
    main()
