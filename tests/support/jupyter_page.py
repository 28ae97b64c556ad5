"""A real Jupyter server and a real browser, as a person has them: notebooks are opened, cells run, things clicked."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import BrowserContext, Locator, Page, Playwright

START_TIMEOUT_S = 60.0
WAIT_MS = 60_000

#: Debian's browser without what it wants to tell its maker.
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    """The browser on this machine; None without one."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass(frozen=True)
class JupyterServer:
    """A server on loopback.

    Attributes:
        url: with its base URL, ending in a slash.
        token: what opens it.
        root: the folder that it shows.
        pid: of its process.
    """

    url: str
    token: str
    root: Path
    pid: int

    def get(self, path: str, with_token: bool = True) -> tuple[int, bytes]:
        """Status and body of a plain request."""
        headers = {"Authorization": f"token {self.token}"} if with_token else {}
        try:
            with _no_redirects().open(urllib.request.Request(self.url + path, headers=headers), timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def end_kernels(self) -> None:
        """Shut every kernel down."""
        for kernel in self.kernels():
            headers = {"Authorization": f"token {self.token}"}
            address = f"{self.url}api/kernels/{kernel['id']}"
            urllib.request.urlopen(
                urllib.request.Request(address, headers=headers, method="DELETE"), timeout=20
            ).close()

    def kernels(self) -> list[dict[str, Any]]:
        """The kernels that run."""
        return list(json.loads(self.get("api/kernels")[1]))


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _no_redirects() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Stay)


@contextmanager
def open_server(
    folder: Path,
    app: str = "jupyterlab",
    variables: dict[str, str] | None = None,
    settings: dict[str, dict[str, Any]] | None = None,
) -> Iterator[JupyterServer]:
    """A JupyterLab ("jupyterlab") or Notebook 7 ("notebook") under a base URL, for as long as the block runs.

    Args:
        folder: where it keeps everything.
        app: the module that starts it.
        variables: further environment variables.
        settings: of plugins, by their ids, in place of the defaults.
    """
    root = folder / "notebooks"
    settings_folder = folder / "settings"
    for path in (root, settings_folder, folder / "home", folder / "runtime"):
        path.mkdir(parents=True, exist_ok=True)
    quiet = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
    (settings_folder / "overrides.json").write_text(json.dumps(quiet | (settings or {})))
    token = secrets.token_hex(16)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAGOM_")}
    environment |= {
        "LAGOM_TEST_SESSION": os.environ["LAGOM_TEST_SESSION"],
        "HOME": str(folder / "home"),
        "IPYTHONDIR": str(folder / "home" / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "user-settings"),
        **(variables or {}),
    }
    command = [
        sys.executable, "-m", app, "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}", "--ServerApp.base_url=/user/x/",
        "--LabApp.expose_app_in_browser=True", "--JupyterNotebookApp.expose_app_in_browser=True",
        f"--LabServerApp.app_settings_dir={settings_folder}", f"--LabApp.app_settings_dir={settings_folder}",
    ]  # fmt: skip
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield JupyterServer(_address_of(process, folder), token, root, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)


def _address_of(process: subprocess.Popen[bytes], folder: Path) -> str:
    """The server's URL, from the file that it writes once it listens."""
    info = folder / "runtime" / f"jpserver-{process.pid}.json"
    for _ in range(int(START_TIMEOUT_S / 0.1)):
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return str(json.loads(info.read_text())["url"])
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)
            break
    raise AssertionError(f"the Jupyter server did not start:\n{(folder / 'server.log').read_text()[-4000:]}")


@contextmanager
def open_browser(playwright: Playwright, folder: Path, **options: Any) -> Iterator[BrowserContext]:
    """A browser with a profile of its own."""
    context = playwright.chromium.launch_persistent_context(
        folder / "profile",
        executable_path=chromium(),
        headless=True,
        args=list(CHROMIUM_FLAGS),
        viewport={"width": 1400, "height": 1000},
        **options,
    )
    context.set_default_timeout(WAIT_MS)
    try:
        yield context
    finally:
        context.close()


class NotebookPage:
    """A notebook that is open in a browser."""

    def __init__(self, server: JupyterServer, page: Page) -> None:
        self.server, self.page = server, page
        #: What the page's own code complained of.
        self.errors: list[str] = []
        #: Dialogs of the browser (alert, confirm …): none may ever open.
        self.dialogs: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(f"{error}\n{error.stack}"))
        page.on("dialog", self._on_dialog)

    def _on_dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def open(self, name: str, in_lab: bool = True) -> NotebookPage:
        """Open a notebook and wait for its kernel."""
        # A workspace of its own: else Lab opens what was open before as well.
        place = f"lab/workspaces/{Path(name).stem}/tree/{name}" if in_lab else f"notebooks/{name}"
        self.page.goto(f"{self.server.url}{place}?token={self.server.token}")
        return self.ready()

    def ready(self) -> NotebookPage:
        """Wait until the notebook is drawn and its kernel is idle."""
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        self.until("panel => panel.sessionContext.session?.kernel?.status === 'idle'")
        return self

    def until(self, condition: str, timeout_ms: int = WAIT_MS) -> None:
        """Wait until a JavaScript function of the notebook's panel is true."""
        self.page.wait_for_function(
            f"() => {{ const panel = {_PANEL}; return !!panel && ({condition})(panel); }}", timeout=timeout_ms
        )

    def run(self, index: int) -> None:
        """Begin to run a cell; returns at once."""
        self.page.evaluate(
            f"index => {{ const panel = {_PANEL}; panel.content.deselectAll(); panel.content.activeCellIndex = index;"
            " void window.jupyterapp.commands.execute('notebook:run-cell'); }",
            index,
        )

    def run_to_end(self, index: int, timeout_ms: int = 120_000) -> None:
        """Run a cell and wait for its end."""
        self.run(index)
        self.until_ended(index, timeout_ms)

    def until_ended(self, index: int, timeout_ms: int = 120_000) -> None:
        """Wait until a cell has run."""
        self.until(
            f"panel => panel.content.widgets[{index}].model.executionCount !== null"
            f" && !panel.content.widgets[{index}].node.classList.contains('jp-mod-running')"
            " && panel.sessionContext.session?.kernel?.status === 'idle'",
            timeout_ms,
        )

    def is_running(self, index: int) -> bool:
        """Whether a cell runs; the kernel may call itself idle while it answers on a subshell."""
        prompt = self.page.locator(".jp-Notebook .jp-Cell").nth(index).locator(".jp-InputPrompt")
        return prompt.inner_text().strip() == "[*]:"

    def change_kernel(self, method: str) -> None:
        """Call a method of the notebook's session, such as 'restartKernel', and wait for its end."""
        self.page.evaluate(f"method => {_PANEL}.sessionContext[method]()", method)

    def command(self, name: str) -> None:
        """Begin a command of the application, such as 'notebook:interrupt-kernel'."""
        self.page.evaluate("name => { void window.jupyterapp.commands.execute(name); }", name)

    def set_theme(self, is_light: bool) -> None:
        """Change to JupyterLab's light or dark theme and wait until it is drawn."""
        theme = f"JupyterLab {'Light' if is_light else 'Dark'}"
        self.page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
        self.page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=str(is_light).lower())
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")  # it lies over the page meanwhile

    def save(self) -> None:
        """Save the notebook and wait for it."""
        self.page.evaluate(f"() => {_PANEL}.context.save()")

    def reload(self) -> None:
        """What F5 does; the kernel goes on."""
        self.page.reload()
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell")

    def output(self, index: int) -> Locator:
        """The output area of a cell."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index).locator(".jp-Cell-outputArea")


_PANEL = (
    "(window.jupyterapp.shell.currentWidget?.content?.widgets ? window.jupyterapp.shell.currentWidget"
    " : [...window.jupyterapp.shell.widgets('main')].find(widget => widget.content?.widgets))"
)


def write_notebook(path: Path, *sources: str, kernel_name: str = "python3") -> Path:
    """A notebook of code cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kernel = {"name": kernel_name, "display_name": kernel_name, "language": "python"}
    cells = [new_code_cell(source) for source in sources]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path
