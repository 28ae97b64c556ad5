"""What the extension answers over HTTP: lists of runs and models, deleting and steering one, ending its TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from lagom_magic.display.answers import promise
from lagom_magic.display.board import stop_board
from lagom_magic.errors import ConfigError, LagomError
from lagom_magic.server.listing import list_runs
from lagom_magic.server.models import list_models
from lagom_magic.server.places import NotAPlaceError, Places
from lagom_magic.server.threads import Threads, TooBusyError
from lagom_magic.store.deleting import check_deletable, delete_run
from lagom_magic.store.requests import send_request

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


class Extension:
    """What the handlers of one server share.

    Attributes:
        places: the folders that pages may name.
        threads: where disks are read.
        n_sockets: those open.
    """

    def __init__(self, root: Path) -> None:
        self.places = Places(root)
        self.threads = Threads()
        self.n_sockets = 0


def handlers(app: ServerApp) -> list[tuple[str, type[web.RequestHandler], dict[str, Any]]]:
    """(URL pattern, handler, its arguments) of everything that the extension answers."""
    from lagom_magic.server.socket import ViewSocket

    root = getattr(app.contents_manager, "root_dir", None) or app.root_dir
    shared = {"extension": Extension(Path(root))}
    base_url = app.web_app.settings["base_url"]
    return [
        (url_path_join(base_url, "lagom", name), handler, shared)
        for name, handler in (
            ("runs", RunsHandler),
            ("models", ModelsHandler),
            ("control", ControlHandler),
            ("board", BoardHandler),
            ("view", ViewSocket),
        )
    ]


class _Handler(APIHandler):
    """Turns our errors into HTTP's."""

    auth_resource: ClassVar[str] = "contents"

    def initialize(self, extension: Extension) -> None:
        self.extension = extension

    async def off_loop(self, call: Any, *args: Any) -> Any:
        """The result of a call on one of the extension's threads."""
        try:
            return await self.extension.threads.run(call, *args)
        except NotAPlaceError as error:
            raise web.HTTPError(404, str(error)) from error
        except ConfigError as error:
            raise web.HTTPError(400, str(error)) from error
        except LagomError as error:
            raise web.HTTPError(409, str(error)) from error
        except TooBusyError as error:
            raise web.HTTPError(503, "The server is busy with other runs; try again.") from error
        except OSError as error:
            raise web.HTTPError(500, f"The folder cannot be read or changed: {error.strerror}.") from error


class RunsHandler(_Handler):
    """`lagom/runs`"""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The runs below a folder."""
        under = self.get_query_argument("under", "")
        self.finish({"runs": await self.off_loop(_runs_under, self.extension.places, under)})

    @web.authenticated
    @authorized
    async def delete(self) -> None:
        """Deletes the folder of a run that is over."""
        await self.off_loop(_delete, self.extension.places, self.get_query_argument("dir"))
        self.set_status(204)
        self.finish()


class ModelsHandler(_Handler):
    """`lagom/models`"""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The versions in the model registries below a folder."""
        under = self.get_query_argument("under", "")
        self.finish({"models": await self.off_loop(_models_under, self.extension.places, under)})


class ControlHandler(_Handler):
    """`lagom/control`"""

    @web.authenticated
    @authorized("execute", resource="kernels")  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """Asks something of a living run."""
        record = self.get_json_body()
        text = await self.off_loop(_control, self.extension.places, self.get_query_argument("dir"), record)
        self.finish({"text": text})


class BoardHandler(_Handler):
    """`lagom/board`"""

    @web.authenticated
    @authorized("execute", resource="kernels")  # type: ignore[untyped-decorator]
    async def delete(self) -> None:
        """Ends the TensorBoard that this server has started for a run."""
        await self.off_loop(_stop_board, self.extension.places, self.get_query_argument("dir"))
        self.set_status(204)
        self.finish()


def _runs_under(places: Places, under: str) -> list[dict[str, Any]]:
    return list_runs(places, places.folder(under))


def _models_under(places: Places, under: str) -> list[dict[str, Any]]:
    return list_models(places, places.folder(under))


def _delete(places: Places, text: str) -> None:
    folder = places.deletable_run_folder(text)
    check_deletable(places.root / text)  # as it was named: the other is what links lead to
    delete_run(folder, stop_board)


def _stop_board(places: Places, text: str) -> None:
    stop_board(places.run_folder(text))


def _control(places: Places, text: str, record: Any) -> str:
    if not isinstance(record, dict):
        raise ConfigError('The body is no JSON object {"action": …, "trial_id": …}.')
    folder = places.run_folder(text)
    send_request(folder, record)
    return promise(record)
