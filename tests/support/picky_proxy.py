"""A proxy in front of a server on loopback that answers some requests itself, as those of companies do."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_TIMEOUT_S = 60.0
#: Headers that belong to one connection.
_OF_CONNECTION = ("host", "connection", "transfer-encoding", "content-length")


@contextmanager
def picky_proxy(port: int, answers: Mapping[str, int]) -> Iterator[str]:
    """The proxy's URL while it is open.

    Args:
        port: of the server behind it.
        answers: part of a URL → the status with which such uploads are answered; it may change meanwhile.
    """

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status = next((number for part, number in answers.items() if part in self.path), None)
            if status is not None and self.command == "PUT":
                self.reply(status, b"")
                return
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_CONNECTION}
                connection.request(self.command, self.path, body, headers)
                theirs = connection.getresponse()
                self.reply(theirs.status, theirs.read(), theirs.getheader("Content-Type") or "")
            finally:
                connection.close()

        def reply(self, status: int, body: bytes, kind: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False  # so that closing waits for them
        thread = threading.Thread(target=server.serve_forever, name="test-proxy")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(_TIMEOUT_S)
