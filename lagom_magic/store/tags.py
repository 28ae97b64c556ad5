"""Tags and the note of a stored run: what it began with stands in run.json, what people changed since in notes.json.

Used by `%lagom tag`, `Run` and the index.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.spec.checks import check_tag
from lagom_magic.store.jsontext import json_text
from lagom_magic.store.layout import FORMAT, RunLayout, read_file, write_whole
from lagom_magic.store.locks import locked
from lagom_magic.store.mirror import mark_changed

logger = logging.getLogger("lagom_magic.store")

#: Characters of a note.
NOTE_LIMIT = 20_000
#: Of a document that is read.
_LIMIT_BYTES = 64 << 20


def tags_of(run_dir: Path) -> tuple[str, ...]:
    """The run's tags as they are now: of `--tag`, changed by `%lagom tag`; () where nothing can be read."""
    document = _readable_notes(run_dir)
    return _texts(document.get("tags")) if "tags" in document else _first_tags(run_dir)


def note_of(run_dir: Path) -> str:
    """What a person noted about the run; '' without a note."""
    note = _readable_notes(run_dir).get("note")
    return note if isinstance(note, str) else ""


def change_notes(
    run_dir: Path, add: Iterable[str] = (), remove: Iterable[str] = (), note: str | None = None
) -> tuple[str, ...]:
    """Add and remove tags and replace the note, whole and after one another where several do so at once.

    Args:
        run_dir: the run's folder.
        add: tags; `k=v` takes the place of another tag of that k.
        remove: tags that it has, or the k of one.
        note: the new one; "" removes it, None leaves it.

    Returns:
        The run's tags now.

    Raises:
        ConfigError: for an impossible tag, or one to remove that the run does not have.
        StoreError: when notes.json cannot be read or written.
    """
    new, gone = [check_tag(tag) for tag in add], list(remove)
    if note is not None and len(note) > NOTE_LIMIT:
        raise ConfigError(f"The note has {len(note):,} characters; at most {NOTE_LIMIT:,} are allowed. Shorten it.")
    path = RunLayout(run_dir).notes
    try:
        with locked(run_dir / ".notes.lock", 0o644):
            document = _read_notes(path)
            tags = list(_texts(document["tags"])) if "tags" in document else list(_first_tags(run_dir))
            tags = _changed(tags, new, gone)
            kept = document.get("note", "") if note is None else note
            write_whole(path, json_text({**document, "format": FORMAT, "tags": tags, "note": kept}).encode())
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"The tags of run {run_dir.name} cannot be kept in {path}: {error.strerror}.") from error
    mark_changed(run_dir)
    return tuple(tags)


def _changed(tags: list[str], new: list[str], gone: list[str]) -> list[str]:
    for text in gone:
        found = [tag for tag in tags if text in (tag, key_of(tag))]
        if not found:
            has = f"It has: {', '.join(tags)}." if tags else "It has none."
            raise ConfigError(f"The run has no tag {text!r} to remove. {has}")
        tags = [tag for tag in tags if tag not in found]
    for tag in new:
        key = key_of(tag)
        tags = [old for old in tags if old != tag and (key is None or key_of(old) != key)] + [tag]
    return tags


def key_of(tag: str) -> str | None:
    """The k of `k=v`; None for a tag without a value."""
    key, equals, _ = tag.partition("=")
    return key if equals else None


def _first_tags(run_dir: Path) -> tuple[str, ...]:
    """The tags of `--tag`."""
    try:
        config = json.loads(read_file(RunLayout(run_dir).run_json, _LIMIT_BYTES))["config"]
        return _texts(config["tags"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # lost, or of a run without a config
        return ()


def _readable_notes(run_dir: Path) -> dict[str, Any]:
    """Content of notes.json; {} where there is none, and with a line in the log where it cannot be read."""
    path = RunLayout(run_dir).notes
    try:
        return _read_notes(path)
    except OSError as error:
        logger.warning("%s", error if isinstance(error, StoreError) else f"{path} cannot be read: {error.strerror}.")
        return {}


def _read_notes(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_file(path, _LIMIT_BYTES))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged: {error}. Mend it, or delete it: the run goes without it.") from error
    if not isinstance(document, dict):
        raise StoreError(f"{path} is damaged: it holds no JSON object. Mend it, or delete it.")
    return document


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(text) for text in value) if isinstance(value, list) else ()
