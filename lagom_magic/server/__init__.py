"""The Jupyter server extension: live views that work while a kernel is busy, after a reload, and for past runs.

Loaded by jupyter_server, which finds it by `jupyter-config/`. It reads run folders below the server's root and asks
living runs by their named pipe; it starts no run and talks to no kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def _load_jupyter_server_extension(app: ServerApp) -> None:
    """Called once by the server as it starts."""
    from lagom_magic.server.handlers import handlers

    app.web_app.add_handlers(".*$", handlers(app))  # type: ignore[no-untyped-call]
    app.log.info("lagom_magic: live views at %slagom/", app.web_app.settings["base_url"])
