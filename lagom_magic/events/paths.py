"""Where a trial's file may lie, as a worker or a journal names it; pure, used by whoever makes a path of such a name.

Neither is trusted further than that: a journal may be somebody else's.
"""

from __future__ import annotations

import os

#: The run keeps a trial's files for TensorBoard beside those of the other trials: `tensorboard/0007/…`.
TENSORBOARD = "tensorboard"
#: First parts of a path; the other two are below the trial's own folder.
ROOTS = ("artifacts", "files", "checkpoint", TENSORBOARD)
#: Ends the names of the event files that the driver writes there itself; refused to workers.
OWN_SUFFIX = ".lagom"


def safe_parts(path: str) -> tuple[str, ...]:
    """The parts of a file's path.

    Raises:
        ValueError: when it does not begin with one of `ROOTS`, or could lead elsewhere or collide with our own names.
    """
    parts = tuple(path.split("/"))
    is_safe = (
        len(parts) >= 2
        and parts[0] in ROOTS
        and all(part not in ("", ".", "..") and len(os.fsencode(part)) <= 240 for part in parts)
        and len(parts) <= 64
        and "\0" not in path
        and "\\" not in path
        and not (parts[0] == TENSORBOARD and parts[-1].lower().endswith(OWN_SUFFIX))
    )
    if not is_safe:
        raise ValueError(
            f"The path {path[:200]!r} is refused: a trial's file lies below {', '.join(ROOTS[:-1])} or {ROOTS[-1]}."
        )
    return parts
