"""What keeps copies of a run elsewhere while it goes on: in an MLflow server, and where a URL in LAGOM_HOME says.

Planned and checked before the run starts; then each copy is a thread of its own, which follows the run's folder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from lagom_magic.spec.config import BaseConfig
from lagom_magic.spec.secret_urls import SecretUrl
from lagom_magic.store.console_file import ConsoleWriter
from lagom_magic.store.layout import RunLayout, home_url

if TYPE_CHECKING:
    from lagom_magic.store.remote import Remote

logger = logging.getLogger("lagom_magic.mirroring")

#: How long the end of a run waits for each copy, and that of a stopped one, whose cell must be back.
_END_S, _STOPPED_END_S = 30.0, 0.4


class Mirror(Protocol):
    """One copy; see `mlflow_bridge.follow` and `store.mirror`."""

    def start(self) -> None: ...

    def wake(self) -> None: ...

    def close(self, timeout_s: float, goes_on: bool = False) -> str: ...


class MirrorPlan:
    """Where a run is to be copied to."""

    def __init__(self, config: BaseConfig) -> None:
        """Check what is configured.

        Raises:
            ConfigError: when it cannot work.
        """
        self._mlflow: SecretUrl | None = None
        if config.mlflow is not None:
            from lagom_magic.mlflow_bridge.address import tracking_address

            self._mlflow = tracking_address(config.mlflow)
        self._home: Remote | None = None
        url = home_url()
        if url is not None:
            from lagom_magic.store.remote import open_remote

            self._home = open_remote(url)

    def of_run(self, layout: RunLayout, notice: Callable[[str], None]) -> Mirrors:
        """The copies of one run, not yet begun.

        Args:
            layout: of the run.
            notice: takes one line for the person who watches it, from any thread.
        """
        mirrors: list[Mirror] = []
        if self._mlflow is not None:
            from lagom_magic.mlflow_bridge.follow import MlflowMirror

            mirrors.append(MlflowMirror(layout, self._mlflow, notice))
        if self._home is not None:
            from lagom_magic.store.mirror import HomeMirror

            mirrors.append(HomeMirror(layout, self._home, notice))  # last: it has what the others said
        return Mirrors(layout, mirrors)


class Mirrors:
    """The copies of a run; used as its display is: `start`, `wake`, `close`."""

    def __init__(self, layout: RunLayout, mirrors: Sequence[Mirror]) -> None:
        self._layout, self._mirrors = layout, mirrors

    def __bool__(self) -> bool:
        return bool(self._mirrors)

    def start(self) -> None:
        for mirror in self._mirrors:
            mirror.start()

    def wake(self) -> None:
        """Say that the folder has news; cheap, from any thread."""
        for mirror in self._mirrors:
            mirror.wake()

    def close(self, is_stopped: bool) -> None:
        """Let them finish, one after the other, and put into the console what is missing elsewhere.

        Args:
            is_stopped: somebody waits for the end: what takes longer goes on behind.
        """
        for mirror in self._mirrors:
            missing = mirror.close(_STOPPED_END_S if is_stopped else _END_S, goes_on=is_stopped)
            if missing:
                self._say(missing)

    def _say(self, text: str) -> None:
        """The journal is closed by now; the console is shown until the display ends."""
        logger.info("%s", text)
        console = ConsoleWriter(self._layout)
        try:
            console.write([f"[lagom] {text}"])
        except OSError:
            logger.exception("nobody could be told: %s", text)
        finally:
            console.close()


def together(*wakes: Callable[[], None]) -> Callable[[], None]:
    """One hook for several that want to be woken."""
    if len(wakes) == 1:
        return wakes[0]

    def wake() -> None:
        for call in wakes:
            call()

    return wake
