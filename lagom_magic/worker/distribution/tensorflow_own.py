"""Functions that create a tf.distribute strategy themselves: they are left alone, and given what it asks for.

A `MultiWorkerMirroredStrategy` reads TF_CONFIG and serves gRPC on a port that must be known before it starts. Ports of
this rank's are taken outside of the range that the system hands out to others, and held until the function begins.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType
from typing import Any

from lagom_magic.errors import ConfigError
from lagom_magic.worker.distribution.base import Place

_VARIABLE = "TF_CONFIG"
_WITH_OTHERS = "MultiWorkerMirroredStrategy"
_ALONE = ("MirroredStrategy", "OneDeviceStrategy", "CentralStorageStrategy", "TPUStrategy", "ParameterServerStrategy")
#: Below what Linux gives to outgoing connections (32768 and up), above well-known services.
_PORTS = range(20_000, 32_000)
_MAX_TRIES = 100


class OwnStrategy:
    """A port for a strategy of the user's own, and the TF_CONFIG that names all ranks' ports."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._held: socket.socket | None = None
        self._workers: list[str] = []
        # Not Python's global generator: all ranks' are alike, and the user's results must not depend on this.
        order = random.SystemRandom()
        for _ in range(_MAX_TRIES):
            self.port = order.choice(_PORTS)
            held = socket.socket()
            try:
                held.bind(("", self.port))
            except OSError:
                held.close()
            else:
                self._held = held
                return
        raise ConfigError(f"No free port was found between {_PORTS.start} and {_PORTS.stop} in {_MAX_TRIES} tries.")

    def learn(self, workers: Sequence[str]) -> None:
        """Keeps "host:port" of all ranks."""
        self._workers = list(workers)

    def is_used_by(self, train_fn: Callable[..., Any], given: Mapping[str, Any]) -> bool:
        """Whether the function, or one that it or `given` brings, makes ranks one training by itself.

        Raises:
            ConfigError: when it makes a strategy that knows nothing of the other ranks.
        """
        names = {name for function in (train_fn, *given.values()) for name in names_in(function)}
        if _WITH_OTHERS in names:
            return True
        alone = [name for name in _ALONE if name in names]
        if alone and self._place.world_size > 1:
            raise ConfigError(
                f"The function creates tf.distribute.{alone[0]} itself, which knows nothing of the other "
                f"{self._place.world_size - 1} ranks: each would train a model of its own. Leave the strategy out: "
                f"`%%lagom train` shares each batch among the ranks; or create tf.distribute.{_WITH_OTHERS}."
            )
        return False

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """TF_CONFIG for this rank; the port is free from here on."""
        before = os.environ.get(_VARIABLE)
        task = {"type": "worker", "index": self._place.rank}
        os.environ[_VARIABLE] = json.dumps({"cluster": {"worker": self._workers}, "task": task})
        self.close()
        try:
            yield
        finally:
            if before is None:
                del os.environ[_VARIABLE]
            else:
                os.environ[_VARIABLE] = before

    def close(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


def names_in(thing: Any) -> set[str]:
    """Names that a function's code uses, and those of functions of its own module that it calls."""
    names: set[str] = set()
    seen: set[int] = set()
    waiting = [thing]
    while waiting:
        function = waiting.pop()
        code = getattr(function, "__code__", None)
        if not isinstance(code, CodeType) or id(code) in seen:
            continue
        seen.add(id(code))
        found = _names_of(code)
        names |= found
        near = getattr(function, "__globals__", {})
        waiting.extend(
            near[name] for name in found if getattr(near.get(name), "__module__", None) == function.__module__
        )
    return names


def _names_of(code: CodeType) -> set[str]:
    nested = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_names_of, nested))
