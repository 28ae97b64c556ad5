"""All that the workers of a run get beside their tickets; put together once, before the first worker starts."""

from __future__ import annotations

import io
import site
import sys
import sysconfig
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lagom_magic.driver.launcher import Ticket

_PACKAGE = Path(__file__).parents[1]

#: The time in every archive of ours, so that equal content gives equal bytes.
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class WorkerKit:
    """What every worker of a run gets.

    Attributes:
        bootstrap_source: text of a stand-alone module with `run_worker(launch)`.
        package_zip: our package's source.
        payload: the pickled call, opened only in the trial process.
        user_code_zip: the user's own modules, and files for the working directory.
        notebook_dir: the notebook's folder, absolute.
        notebook_python: the notebook's interpreter, "host:path".
        session_path: what workers add to the end of sys.path.
        distribution: settings of a training on several workers at once; None = each works alone.
    """

    bootstrap_source: str
    package_zip: bytes
    payload: bytes
    user_code_zip: bytes
    notebook_dir: str
    session_path: tuple[str, ...] = ()
    notebook_python: str = ""
    distribution: dict[str, Any] | None = None

    def shared(self) -> dict[str, Any]:
        """The part of `run_worker`'s argument that is the same for all workers, and the bootstrap itself."""
        return {**asdict(self), "session_path": list(self.session_path)}

    @property
    def size_bytes(self) -> int:
        """Roughly what travels."""
        return len(self.package_zip) + len(self.payload) + len(self.user_code_zip) + len(self.bootstrap_source)


def own_launch(ticket: Ticket, gpus: list[str] | None) -> dict[str, Any]:
    """The part of `run_worker`'s argument that is one worker's own, without secrets' disguise."""
    return {
        "ticket": {
            "host": ticket.host,
            "port": ticket.port,
            "certificate": ticket.certificate,
            "token_hex": ticket.token.hex(),
            "run_id": ticket.run_id,
            "worker_id": ticket.worker_id,
            "incarnation": ticket.incarnation,
        },
        "gpus": gpus,
    }


def bootstrap_source() -> str:
    """The worker's first code."""
    return (_PACKAGE / "worker" / "bootstrap.py").read_text(encoding="utf-8")


@cache
def package_zip() -> bytes:
    """Our package's source files; equal files give equal bytes."""
    files = {path.relative_to(_PACKAGE.parent).as_posix(): path.read_bytes() for path in _PACKAGE.rglob("*.py")}
    return zip_bytes(files)


def zip_bytes(files: dict[str, bytes]) -> bytes:
    """A zip archive of {path inside: content}; equal content gives equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name, _FIXED_TIME)
            member.external_attr = 0o600 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, files[name])
    return buffer.getvalue()


def path_additions(entries: Iterable[str], notebook_dir: Path) -> tuple[str, ...]:
    """Folders and archives that the notebook added to sys.path; workers on the same machine get them too.

    Not the interpreter's own, not the notebook's folder (its modules are shipped), not our package's.
    """
    own = {Path(path).resolve() for path in sysconfig.get_paths().values()}
    own |= {Path(path).resolve() for path in [*site.getsitepackages(), site.getusersitepackages()]}
    own |= {notebook_dir.resolve(), _PACKAGE.parent, Path(sys.base_prefix, "lib").resolve()}
    added = {entry: Path(entry).resolve() for entry in entries if entry}
    return tuple(
        str(path)
        for path in dict.fromkeys(added.values())
        if path not in own and path.exists() and path.suffix != ".zip" and path.name != "lib-dynload"
    )
