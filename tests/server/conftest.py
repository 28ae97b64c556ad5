"""The server that these tests share."""

from lagom_server import _session_server, server

__all__ = ["_session_server", "server"]
