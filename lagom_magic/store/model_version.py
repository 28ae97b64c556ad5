"""One version of a model as it lies in the registry: what is known of it, and where its files are.

Read by `registry.py` and shown by whoever lists models; a folder that is damaged, or could lead elsewhere, is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import Metrics, number_from_json
from lagom_magic.store.layout import read_file

#: {path below `files/`: SHA-256 as hex}
Hashes = Mapping[str, str]

#: The version of everything below a version's folder, `model.json["format"]`.
FORMAT = 1
DOCUMENT = "model.json"
FILES = "files"

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def fingerprint_of(run_id: str, trial_id: int | None, attempt: int | None, folder: str | None, files: Hashes) -> str:
    """What tells an export of a run from all others, on every machine.

    Its files are part of it: two machines that both went on with a run may have made others in one attempt.
    """
    content = [run_id, trial_id, attempt, folder, sorted(files.items())]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def is_fingerprint(text: str) -> bool:
    """Whether a text has the form of a fingerprint, with which it is a safe name for a file."""
    return _FINGERPRINT.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What is known of a model beside its files.

    Attributes:
        metrics: to compare versions by.
        framework: torch, keras, sklearn, xgboost, lightgbm; "" for a path.
        signature: {"inputs": …, "outputs": …} in words; {} where it is not known.
        run: {"id", "experiment", "dir"}; None for a model that was exported outside of a run.
        trial_id, attempt, state: of the trial that exported it, and how that ended; None outside of a run.
        folder: where the trial's folder has it, too; None outside of a run.
        inputs: files that the trial had read, {"path", "size_bytes", "mtime", "sha256"} each.
    """

    metrics: Metrics = field(default_factory=dict)
    description: str = ""
    framework: str = ""
    signature: dict[str, str] = field(default_factory=dict)
    run: dict[str, str] | None = None
    trial_id: int | None = None
    attempt: int | None = None
    state: str | None = None
    folder: str | None = None
    inputs: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion(Details):
    """One version of a model.

    Attributes:
        version: from 1.
        dir: its folder.
        created_at: ISO 8601 with its time zone.
        user: who exported it; "" when the machine does not say.
        files: {"path" below `files/`, "size_bytes", "sha256"} each; all in the one file or folder that is the model.
    """

    name: str
    version: int
    dir: Path
    created_at: str
    user: str
    files: tuple[dict[str, Any], ...]

    @property
    def path(self) -> Path:
        """The model: the file or the folder that was exported."""
        return self.dir / FILES / str(self.files[0]["path"]).partition("/")[0]

    @property
    def size_bytes(self) -> int:
        return sum(file["size_bytes"] for file in self.files)

    @property
    def fingerprint(self) -> str:
        """See `fingerprint_of`; "" outside of a run."""
        if self.run is None:
            return ""
        files = {file["path"]: file["sha256"] for file in self.files}
        return fingerprint_of(self.run["id"], self.trial_id, self.attempt, self.folder, files)

    def check_files(self) -> None:
        """Compare the files with what was exported.

        Raises:
            StoreError: when one is missing or has changed since.
        """
        for file in self.files:
            path = self.dir / FILES / file["path"]
            try:
                is_same = sha256_of(path) == file["sha256"]
            except OSError as error:
                raise StoreError(f"{self.name} version {self.version} is not whole: {error}.") from error
            if not is_same:
                raise StoreError(f"{self.name} version {self.version} has changed since its export: {path}.")


#: Of a model.json; one with 1,000 inputs has some hundred thousand.
_MAX_DOCUMENT_BYTES = 16 << 20


def read_version(folder: Path) -> ModelVersion:
    """The version in a folder.

    Raises:
        StoreError: when it cannot be read, or could lead elsewhere.
    """
    what = f"{folder.parent.name} version {folder.name}"
    try:
        if any(path.is_symlink() for path in (folder.parent, folder, folder / DOCUMENT, folder / FILES)):
            raise ValueError("it is a link")
        document = json.loads(read_file(folder / DOCUMENT, _MAX_DOCUMENT_BYTES))
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']!r:.80} is of another version of lagom_magic")
        version = _version_of(folder, document)
        if not version.files or version.path.is_symlink():
            raise ValueError("it is a link or has no files")
        return version
    except OSError as error:
        raise StoreError(f"{what} cannot be read: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        reason = f"{DOCUMENT} is damaged ({type(error).__name__}: {error})"
        raise StoreError(f"{what} cannot be read: {reason}") from error


def _version_of(folder: Path, document: dict[str, Any]) -> ModelVersion:
    datetime.fromisoformat(document["created_at"])
    run = document["run"]
    return ModelVersion(
        name=folder.parent.name,
        version=int(folder.name),
        dir=folder.absolute(),
        created_at=document["created_at"],
        user=str(document["user"]),
        description=str(document["description"]),
        metrics={str(key): float(number_from_json(value)) for key, value in document["metrics"].items()},
        framework=str(document["framework"]),
        signature={str(key): str(value) for key, value in document["signature"].items()},
        run=None if run is None else {key: str(run[key]) for key in ("id", "experiment", "dir")},
        trial_id=_number_or_none(document["trial_id"]),
        attempt=_number_or_none(document["attempt"]),
        state=_text_or_none(document["state"]),
        folder=_text_or_none(document["folder"]),
        inputs=tuple(dict(item) for item in document["inputs"]),
        files=tuple(_checked_file(item) for item in document["files"]),
    )


def _number_or_none(value: Any) -> int | None:
    return None if value is None else int(value)


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def _checked_file(item: Mapping[str, Any]) -> dict[str, Any]:
    path = item["path"]
    if any(part in ("", ".", "..") or "\0" in part for part in path.split("/")):
        raise ValueError(f"the path {path!r:.200} leads elsewhere")
    return {"path": path, "size_bytes": int(item["size_bytes"]), "sha256": str(item["sha256"])}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
