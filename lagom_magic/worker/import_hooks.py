"""Actions that follow the import of a module, whoever imports it and when.

The trial process uses them to seed NumPy or torch that a training function imports itself, and to guard
writers in C; so neither has to be imported just in case.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class AfterImport:  # a MetaPathFinder in all but name: importing that base class takes longer than all else here
    """Runs an action after each named module's first import; put first into `sys.meta_path` by `install`."""

    def __init__(self, actions: Mapping[str, Callable[[ModuleType], None]]) -> None:
        self._actions = dict(actions)

    def install(self) -> None:
        """Begins to watch; modules that are already there get their action now."""
        for name in self._actions:
            if name in sys.modules:
                self._actions[name](sys.modules[name])
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Stops watching."""
        sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        action = self._actions.get(fullname)
        if action is None:
            return None
        after_this = sys.meta_path.index(self) + 1
        for finder in sys.meta_path[after_this:]:
            if not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = cast("Loader", _Followed(spec.loader, action))
                return spec
        return None


class _Followed:
    """A loader that runs an action after the module's own code, and then steps aside."""

    def __init__(self, loader: Loader, action: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._action = action

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)  # resource readers, get_source …

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._action(module)
