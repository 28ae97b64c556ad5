"""Output under the right cell of a notebook, from a thread, while that cell or a later one runs.

ipykernel files what is printed or displayed under a parent: the request that ran the cell. How a thread comes by
one differs between its versions: 6.29 has one parent for all threads, 7.0 none outside of the cell's thread, later
ones the latest cell's. So messages are made here with the parent of the cell that began the run, and sent on the
kernel's output channel, which is open to every thread; nobody else's parent is touched.
"""

from __future__ import annotations

import sys
import uuid
from typing import Any, ClassVar, Protocol

from lagom_magic.display.publisher import Bundle, Publisher


class KernelOutput(Protocol):
    """A kernel's `display_pub`, or what a capturing user put in its place, which has `publish` alone."""

    session: Any
    pub_socket: Any

    def publish(self, data: Bundle, metadata: dict[str, Any], *, transient: dict[str, str], update: bool) -> None: ...


class KernelShell(Protocol):
    """What we use of ipykernel's `ZMQInteractiveShell`."""

    display_pub: KernelOutput

    def get_parent(self) -> dict[str, Any]: ...


def kernel_shell() -> KernelShell | None:
    """The shell of the Jupyter kernel that we are in; None in a terminal or script."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    return shell if getattr(shell, "kernel", None) is not None else None


def has_person(shell: KernelShell) -> bool:
    """Whether a person's front end ran the cell and shows what it shows.

    Tools that execute notebooks (nbclient, and with it nbconvert and papermill) say that nobody answers `input()`;
    `%%capture` and a redirected stdout take the output away.
    """
    request = shell.get_parent().get("content", {})
    return bool(request.get("allow_stdin")) and not _is_captured(shell) and hasattr(sys.stdout, "pub_thread")


def _is_captured(shell: KernelShell) -> bool:
    return not hasattr(shell.display_pub, "pub_socket")


class NotebookPublisher(Publisher):
    """One display output, updated in place, and stdout text, both under the cell that is running now."""

    #: The prints of a long run must not make the notebook too large to open.
    line_budget_bytes: ClassVar[int | None] = 8 * 1024 * 1024

    def __init__(
        self, shell: KernelShell, mime_types: tuple[str, ...], is_live: bool, wants_widget: bool = False
    ) -> None:
        """Bind to the running cell; call it on that cell's thread."""
        self.mime_types, self.is_live, self.wants_widget = mime_types, is_live, wants_widget
        self._channel: _Captured | CellChannel = _Captured(shell) if _is_captured(shell) else CellChannel(shell)
        self._display_id = f"lagom-{uuid.uuid4().hex}"
        self._is_shown = False

    def show(self, bundle: Bundle, is_final: bool) -> None:
        if is_final or self.is_live:
            self._channel.display(bundle, self._display_id, is_update=self._is_shown)
            self._is_shown = True

    def write(self, text: str) -> None:
        self._channel.print(text)

    @property
    def channel(self) -> CellChannel:
        """What sends messages on behalf of the cell.

        Raises:
            AssertionError: where the cell's output is captured, so that there is none.
        """
        assert isinstance(self._channel, CellChannel)
        return self._channel


class CellChannel:
    """Sends output messages with one cell's parent header."""

    def __init__(self, shell: KernelShell) -> None:
        self._parent = shell.get_parent()
        self._session, self._socket = shell.display_pub.session, shell.display_pub.pub_socket
        #: Set when somebody redirected stdout: then the lines are theirs.
        self._stream = None if hasattr(sys.stdout, "pub_thread") else sys.stdout
        self._flush = sys.stdout.flush
        self._flush()

    def display(self, bundle: Bundle, display_id: str, is_update: bool) -> None:
        if not is_update:
            self._flush()  # what the cell printed so far belongs above
        content = {"data": bundle, "metadata": {}, "transient": {"display_id": display_id}}
        self.send("update_display_data" if is_update else "display_data", content)

    def print(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            return
        self.send("stream", {"name": "stdout", "text": text})

    def send(self, kind: str, content: dict[str, Any]) -> None:
        """Send any output message; its content is JSON-able."""
        message = self._session.msg(kind, content, parent=self._parent)
        self._session.send(self._socket, message, ident=kind.encode())


class _Captured:
    """Where somebody captures the cell's output (`%%capture`, `capture_output`): what they put in place of it."""

    def __init__(self, shell: KernelShell) -> None:
        self._display_pub, self._stream = shell.display_pub, sys.stdout

    def display(self, bundle: Bundle, display_id: str, is_update: bool) -> None:
        self._display_pub.publish(bundle, {}, transient={"display_id": display_id}, update=is_update)

    def print(self, text: str) -> None:
        self._stream.write(text)
