"""A Jupyter server on loopback with our extension, as a hub starts one: under a base URL, behind a token."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

START_TIMEOUT_S = 60.0


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class Server:
    """One that runs.

    Attributes:
        url: ends with a slash.
        token: opens it.
        root: the folder that it shows.
        log: what it says.
    """

    url: str
    token: str
    root: Path
    log: Path

    def ask(
        self, method: str, name: str, body: Any = None, headers: dict[str, str] | None = None, **query: str
    ) -> tuple[int, Any]:
        """Status and parsed body of `lagom/<name>`; with the token, unless headers are given."""
        url = f"{self.url}lagom/{name}?{urllib.parse.urlencode(query)}"
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"token {self.token}"} if headers is None else headers
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.build_opener(_Stay).open(request, timeout=30) as answer:
                return answer.status, _parsed(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _parsed(error.read())

    def socket_url(self, folder: str, **query: str) -> str:
        query = {"dir": folder, **query}
        return f"{self.url.replace('http', 'ws', 1)}lagom/view?{urllib.parse.urlencode(query)}"


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


@pytest.fixture(scope="session")
def _session_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("jupyter")
    root = folder / "root"
    for path in (root, folder / "home", folder / "runtime"):
        path.mkdir()
    token = secrets.token_hex(16)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LAGOM_", "JUPYTER"))}
    # Without our tests' mark: it lives for many tests, and ends with the last.
    environment |= {"HOME": str(folder / "home"), "JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
    command = [
        *(sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0"),
        *(f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}", "--ServerApp.base_url=/user/x/"),
        "--ServerApp.jpserver_extensions={'lagom_magic': True}",
    ]
    log = folder / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=file, stderr=file, start_new_session=True)
    try:
        yield Server(_url_of(process, folder / "runtime", log), token, root, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _url_of(process: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    info = runtime / f"jpserver-{process.pid}.json"
    for _ in range(int(START_TIMEOUT_S / 0.1)):
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return str(json.loads(info.read_text())["url"])
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)
            break
    raise AssertionError(f"the server did not start:\n{log.read_text()[-4000:]}")


@pytest.fixture
def server(_session_server: Server) -> Iterator[Server]:
    """The server, which must not have failed inside during the test."""
    before = _session_server.log.stat().st_size
    yield _session_server
    said = _session_server.log.read_bytes()[before:].decode()
    assert "Traceback" not in said, said
