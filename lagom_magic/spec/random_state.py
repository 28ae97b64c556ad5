"""Gives the random generators back as they were.

Wraps what is done to a model between building and training it, and looks at data whose items draw numbers.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any


@contextmanager
def untouched_random_state() -> Iterator[None]:
    """Whatever the body draws, afterwards the global generators continue as if it had drawn nothing.

    So an ablated model's training shuffles its data like the baseline's with the same seed. Inside, Python's generator
    is another one: weights that are made anew must not repeat the numbers that come after.
    """
    with ExitStack() as restore:
        restore.callback(random.setstate, random.getstate())
        for name, kept in _LIBRARIES.items():
            if name in sys.modules:
                restore.callback(kept(sys.modules[name]))
        random.seed(random.getrandbits(64))
        yield


def _numpy_state(numpy: Any) -> Callable[[], None]:
    state = numpy.random.get_state()
    return lambda: numpy.random.set_state(state)


def _torch_state(torch: Any) -> Callable[[], None]:
    state = torch.default_generator.get_state()
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def restore() -> None:
        torch.default_generator.set_state(state)
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)

    return restore


def _keras_state(global_state: Any) -> Callable[[], None]:
    """Of the generator that `keras.random` uses when it is given no seed."""
    name = "global_seed_generator"
    generator = global_state.get_global_attribute(name)
    value = None if generator is None else generator.state.numpy() if hasattr(generator.state, "numpy") else None

    def restore() -> None:
        global_state.set_global_attribute(name, generator)
        if value is not None:
            generator.state.assign(value)

    return restore


def _tensorflow_state(context_module: Any) -> Callable[[], None]:
    """Of the seeds that `tf.random.set_seed` makes operations draw; none before it was called."""
    generator = getattr(context_module.context(), "_rng", None)
    state = None if generator is None else generator.getstate()

    def restore() -> None:
        if generator is not None:
            generator.setstate(state)

    return restore


_LIBRARIES: dict[str, Callable[[Any], Callable[[], None]]] = {
    "numpy": _numpy_state,
    "torch": _torch_state,
    "keras.src.backend.common.global_state": _keras_state,
    "tensorflow.python.eager.context": _tensorflow_state,
}
