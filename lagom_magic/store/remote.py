"""A home folder elsewhere, as an fsspec file system holds it; the only module that imports `fsspec`.

What the foreign file systems raise is of any kind; here it becomes `RemoteError`, without the URL's credentials.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.spec.secret_urls import SecretUrl

_MD5_HEX = re.compile(r"[0-9a-f]{32}")


class RemoteError(StoreError):
    """The file system did not do what it was asked; it may do so later."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file there; `md5` as hex where the file system tells it, else ''."""

    size_bytes: int
    md5: str


class Remote:
    """One home folder in a file system; paths are relative to it, with '/' between their parts."""

    def __init__(self, address: SecretUrl, filesystem: Any, root: str) -> None:
        self.address = address
        self._filesystem, self._root = filesystem, root.rstrip("/")

    @property
    def shown(self) -> str:
        """The URL without credentials."""
        return self.address.shown

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root or "/"

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Any]:
        try:
            yield self._filesystem
        except Exception as error:  # a foreign driver's edge: botocore, aiohttp, google.auth … share no base class
            raise RemoteError(self.address.cleaned(error)) from None

    def folders(self, path: str) -> list[str]:
        """Names of the folders in a folder; none when it is missing."""
        with self._asking() as filesystem:
            filesystem.invalidate_cache()
            try:
                entries = filesystem.ls(self._path(path), detail=True)
            except FileNotFoundError:
                return []
            return sorted(entry["name"].rstrip("/").rpartition("/")[2] for entry in entries if _is_folder(entry))

    def files(self, path: str) -> dict[str, RemoteFile]:
        """All files below a folder, by their paths in it; none when it is missing."""
        folder = self._path(path)
        with self._asking() as filesystem:
            filesystem.invalidate_cache()
            try:
                found = filesystem.find(folder, detail=True)
            except FileNotFoundError:
                return {}
            start = len(filesystem._strip_protocol(folder).rstrip("/")) + 1
            return {name[start:]: _file_of(entry) for name, entry in found.items()}

    def size_of(self, path: str) -> int | None:
        """Bytes of a file; None when there is none."""
        with self._asking() as filesystem:
            filesystem.invalidate_cache()
            try:
                return int(filesystem.info(self._path(path))["size"] or 0)
            except FileNotFoundError:
                return None

    def put(self, source: Path, path: str) -> None:
        """Write a file whole.

        Raises:
            RemoteError: so do all of these; an `OSError` of the source itself is one too.
        """
        with self._asking() as filesystem:
            whole = self._path(path)
            filesystem.makedirs(whole.rpartition("/")[0], exist_ok=True)
            filesystem.put_file(str(source), whole)

    def get(self, path: str, target: Path) -> None:
        """Read a file whole, into a folder that is there."""
        with self._asking() as filesystem:
            filesystem.get_file(self._path(path), str(target))

    def chunks(self, path: str) -> Iterator[bytes]:
        """The file's content, a piece at a time."""
        with self._asking() as filesystem, filesystem.open(self._path(path), "rb") as file:
            while data := file.read(1 << 20):
                yield data

    def md5_of(self, path: str) -> str:
        """Reads the file back."""
        digest = hashlib.md5(usedforsecurity=False)
        for data in self.chunks(path):
            digest.update(data)
        return digest.hexdigest()

    def remove(self, path: str) -> None:
        """Delete a file, or a folder with all in it; one that is not there is no error."""
        with self._asking() as filesystem, contextlib.suppress(FileNotFoundError):
            filesystem.rm(self._path(path), recursive=True)


def open_remote(url: str) -> Remote:
    """The home folder that a URL names; nothing is asked of it yet.

    Raises:
        ConfigError: for a scheme that nobody knows, or that a missing package serves.
    """
    address = SecretUrl(url)
    scheme = url.partition("://")[0].rpartition("::")[2]
    if importlib.util.find_spec("fsspec") is None:
        raise ConfigError(
            f"LAGOM_HOME={address.shown} is a URL, which needs fsspec: pip install 'lagom-magic[fsspec]', "
            "or name a folder."
        )
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ConfigError(f"LAGOM_HOME={address.shown} needs a package that is missing: {error}.") from None
    except ValueError as error:
        known = ", ".join(("file", "memory", "s3", "gs", "abfs", "hdfs", "sftp"))
        raise ConfigError(
            f"LAGOM_HOME={address.shown} has the scheme {scheme!r}, with which fsspec can do nothing "
            f"({address.cleaned(error)}). Such as: {known}; or name a folder."
        ) from None
    except Exception as error:  # as above: what a driver raises when it is made
        raise ConfigError(f"LAGOM_HOME={address.shown} cannot be opened: {address.cleaned(error)}.") from None
    return Remote(address, filesystem, str(root))


def _is_folder(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("type") == "directory")


def _file_of(entry: Mapping[str, Any]) -> RemoteFile:
    return RemoteFile(int(entry.get("size") or 0), _md5_of(entry))


def _md5_of(entry: Mapping[str, Any]) -> str:
    """As S3 (where a file came in one part), Google and Azure tell it."""
    tag = str(entry.get("ETag", "")).strip('"')
    if _MD5_HEX.fullmatch(tag):
        return tag
    encoded = entry.get("md5Hash") or (entry.get("content_settings") or {}).get("content_md5")
    if isinstance(encoded, (bytes, bytearray)):
        return encoded.hex()
    if isinstance(encoded, str):
        with contextlib.suppress(ValueError):
            return base64.b64decode(encoded).hex()
    return ""
