"""Random generators of a rank: Python's, NumPy's, TensorFlow's and Keras'.

All ranks have the same: they shuffle alike and build alike. What must differ between ranks (Dropout) differs where it
is drawn, in `keras_steps`.
"""

from __future__ import annotations

import random
from typing import Any

from lagom_magic.worker.distribution.keras_patches import UnsupportedKerasError

_STATE = dict[str, Any]


def take() -> _STATE:
    """The states, as JSON knows them; draws nothing."""
    import numpy as np

    numpy_state = np.random.get_state(legacy=False)
    words = numpy_state["state"]  # type: ignore[call-overload, unused-ignore]
    seed = _context().global_seed()
    keras_generator = _keras_generator()
    return {
        "python": random.getstate(),
        "numpy": {**numpy_state, "state": {"key": words["key"].tolist(), "pos": int(words["pos"])}},
        "tensorflow_seed": None if seed is None else int(seed),
        "tensorflow": None if seed is None else _operation_seeds().getstate(),
        "keras": None if keras_generator is None else keras_generator.state.numpy().tolist(),
    }


def put(state: _STATE) -> None:
    """Brings back states that `take` gave."""
    import numpy as np
    import tensorflow as tf

    if state["keras"] is not None:
        from keras.src.random.seed_generator import global_seed_generator

        global_seed_generator().state.assign(state["keras"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    numpy_state = state["numpy"]
    key = np.array(numpy_state["state"]["key"], np.uint32)
    np.random.set_state({**numpy_state, "state": {"key": key, "pos": numpy_state["state"]["pos"]}})
    if state["tensorflow_seed"] is not None:
        tf.random.set_seed(state["tensorflow_seed"])
        version, words, gauss = state["tensorflow"]
        _operation_seeds().setstate((version, tuple(words), gauss))


def seeded() -> _STATE:
    """This rank's states; TensorFlow gets a seed where it has none, as an unseeded one repeats nothing."""
    import tensorflow as tf

    if _context().global_seed() is None:
        tf.random.set_seed(random.Random(repr(random.getstate())).randrange(2**31))
    return take()


def _keras_generator() -> Any:
    """Keras' generator for those who have none of their own; None until somebody needed it."""
    from keras.src.backend.common import global_state
    from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

    return global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)


def _context() -> Any:
    from tensorflow.python.eager import context

    return context


def _operation_seeds() -> random.Random:
    """What TensorFlow draws the seeds of eager operations from, once there is a global seed."""
    generator = getattr(_context().context(), "_rng", None)
    if not isinstance(generator, random.Random):
        import tensorflow as tf

        raise UnsupportedKerasError(
            f"TensorFlow {tf.__version__} does not keep the seeds of operations where `%%lagom train` looks for them. "
            'It is tested with TensorFlow 2.21.0: `pip install "tensorflow==2.21.0"` on the workers.'
        )
    return generator
