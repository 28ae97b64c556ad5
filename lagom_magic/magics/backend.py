"""The rest of the package as the magics see it; imported when first used, so that loading them costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lagom_magic.errors import StoreError
from lagom_magic.spec.config import BaseConfig

if TYPE_CHECKING:
    from lagom_magic.cluster.session import SessionInfo
    from lagom_magic.resuming import RepeatedCall
    from lagom_magic.run import Run
    from lagom_magic.store.index import RunSummary
    from lagom_magic.store.registry import Listing


class Backend(Protocol):
    """What the magics need from the package."""

    def launch(
        self,
        train_fn: Callable[..., Any] | RepeatedCall,
        config: BaseConfig,
        *,
        detach: bool,
        ui: str,
        source: str | None,
        resumed: Run | None,
    ) -> Run:
        """As `experiment.launch`."""

    def current_run(self) -> Run | None:
        """The live run of this kernel."""

    def runs(self) -> Sequence[RunSummary]:
        """All stored runs, the newest first."""

    def run_ids(self) -> Sequence[str]:
        """Their ids; cheap."""

    def find_run(self, text: str) -> Run:
        """The stored run that a person means by a part of its id, or by its experiment's name.

        Raises:
            StoreError: when there is none, or more than one.
        """

    def models(self, name: str) -> Listing:
        """The versions of a model, or of all models without a name.

        Raises:
            ConfigError: for a name that cannot be.
            StoreError: when there is no such model, or the registry cannot be read.
        """

    def describe_session(self) -> SessionInfo | None:
        """The Spark session of this process."""

    def start_session(self, master: str, conf: Mapping[str, str]) -> SessionInfo:
        """A new Spark session."""


class PackageBackend:
    """The package itself."""

    def launch(
        self,
        train_fn: Callable[..., Any] | RepeatedCall,
        config: BaseConfig,
        *,
        detach: bool,
        ui: str,
        source: str | None,
        resumed: Run | None,
    ) -> Run:
        from lagom_magic.experiment import launch

        return launch(train_fn, config, detach=detach, ui=ui, source=source, resumed=resumed)

    def current_run(self) -> Run | None:
        from lagom_magic.experiment import current_run

        return current_run()

    def runs(self) -> Sequence[RunSummary]:
        from lagom_magic.magics.home import refreshed_home
        from lagom_magic.store.index import runs

        return runs(refreshed_home())

    def run_ids(self) -> Sequence[str]:
        from lagom_magic.store.index import run_ids
        from lagom_magic.store.layout import default_home

        return run_ids(default_home())

    def find_run(self, text: str) -> Run:
        from lagom_magic.magics.home import refreshed_home
        from lagom_magic.run import Run
        from lagom_magic.store.index import find_run
        from lagom_magic.store.layout import default_home, home_url

        try:
            return Run(find_run(default_home(), text))
        except StoreError:
            if home_url() is None:
                raise
        return Run(find_run(refreshed_home(), text))  # it may have been made elsewhere

    def models(self, name: str) -> Listing:
        from lagom_magic.magics.home import refreshed_home
        from lagom_magic.store.registry import versions

        return versions(refreshed_home(), name or None)

    def describe_session(self) -> SessionInfo | None:
        from lagom_magic.cluster.session import describe_session

        return describe_session()

    def start_session(self, master: str, conf: Mapping[str, str]) -> SessionInfo:
        from lagom_magic.cluster.session import start_session

        return start_session(master, conf)
