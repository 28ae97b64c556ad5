"""Where one attempt's files lie on the worker until they are sent: `files/`, `artifacts/` and `tensorboard/`.

The trial process fills it and the supervisor sends and removes it, so both name it by this.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from itertools import islice

from lagom_magic.worker.workdir import Workdir, files_below

#: What the end of a trial, one message of limited size, can name.
MAX_FILES = 10_000


@dataclass(frozen=True, slots=True)
class TrialFolder:
    """The folder of one attempt; it exists only once something is put there."""

    path: str

    @classmethod
    def of(cls, scratch: str, trial_id: int, attempt: int) -> TrialFolder:
        """`trials/0007`, or `trials/0007.2` for a second attempt."""
        name = f"{trial_id:04d}" + (f".{attempt}" if attempt > 1 else "")
        return cls(f"{scratch}/trials/{name}")

    @property
    def files(self) -> str:
        """What the trial wrote: `trial.dir` and the leavings of its working directory."""
        return self.path + "/files"

    @property
    def artifacts(self) -> str:
        """What the function returned."""
        return self.path + "/artifacts"

    @property
    def tensorboard(self) -> str:
        """What the function writes for TensorBoard; its event files are sent while they grow."""
        return self.path + "/tensorboard"

    @property
    def checkpoint(self) -> str:
        """What a later attempt can go on from; each file is sent as soon as it is whole."""
        return self.path + "/checkpoint"

    def files_of(self, rank: int) -> str:
        """`trial.dir` of a rank; all but the first have a folder of their own in `files/`."""
        return self.files if rank == 0 else f"{self.files}/rank{rank}"

    def gather(self, workdir: Workdir, rank: int = 0, *, keeps_all: bool = True) -> tuple[list[str], str]:
        """Takes over what lies in the working directory.

        All ranks of an oblivious function write the same, so the first one's is kept; of the others what is in
        `trial.dir`.

        Args:
            workdir: of the worker.
            rank: of this process.
            keeps_all: what the other ranks wrote to the working directory too, in folders of their own.

        Returns:
            The files to send, relative to this folder, sorted; and a warning if there are too many of them, or some
            could not be kept, else "".
        """
        top = self.path if rank == 0 else self.files_of(rank)
        is_kept = rank == 0 or keeps_all
        into = self.files_of(rank) if is_kept else f"{self.path}/unkept"
        try:
            lost = workdir.collect(into)
        except OSError as error:  # what lies here already is kept all the same
            lost = f"what the trial wrote to its working directory was lost: {error}"
        if not is_kept:
            shutil.rmtree(into, ignore_errors=True)
            lost = ""
        below = files_below(top) if os.path.isdir(top) else iter(())
        paths = (os.path.relpath(f"{top}/{path}", self.path) for path in below)
        found = (path for path in paths if not path.startswith("checkpoint/"))
        files = list(islice(found, MAX_FILES))
        n_left_out = sum(1 for _ in found)
        if not n_left_out:
            return files, lost
        too_many = (
            f"the trial wrote {len(files) + n_left_out:,} files: the first {MAX_FILES:,} were kept and {n_left_out:,} "
            "left out. Pack them into one archive (shutil.make_archive)."
        )
        return files, f"{lost} And {too_many}" if lost else too_many
