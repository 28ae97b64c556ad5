"""TensorFlow's side of one training on many workers: plain `compile`, `fit`, `evaluate`, `predict` on each rank.

Each rank runs Keras as one process would, on its rows of each global batch; before an optimizer applies gradients they
are averaged over the ranks, weighted by rows, and metrics are added up before anybody reads them. The other way would
have been `tf.distribute.MultiWorkerMirroredStrategy`. Keras 3.15 fails under it without patches; with them, tried out,
it still weighs an uneven last batch wrongly, must be created before any operation of the user's, and lets TensorFlow
bind a port that was chosen before (somebody may take it in between). This way needs none of that and equals a single
process; its price is that gradients pass through the host's memory and NumPy, also from GPUs.

Where the rows of a batch are seen together, they are seen per rank: BatchNormalization normalises with its rank's rows,
as with PyTorch's DDP, and its moving statistics are the mean over the ranks;
`BatchNormalization(synchronized=True)` sees all rows, and equals one process.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lagom_magic.errors import ConfigError
from lagom_magic.worker.distribution import keras_checkpoint, tensorflow_given, tensorflow_random
from lagom_magic.worker.distribution.base import Distribution, Place
from lagom_magic.worker.distribution.keras_batches import Cutter
from lagom_magic.worker.distribution.keras_files import Files
from lagom_magic.worker.distribution.keras_legacy import explain_legacy
from lagom_magic.worker.distribution.keras_loops import Loops
from lagom_magic.worker.distribution.keras_patches import Patches
from lagom_magic.worker.distribution.keras_steps import Steps
from lagom_magic.worker.distribution.tensorflow_collectives import CollectiveError, Collectives, Purpose
from lagom_magic.worker.distribution.tensorflow_own import OwnStrategy

_TIMEOUT_S = 600.0
_POLICIES = {"bf16": "mixed_bfloat16", "fp16": "mixed_float16"}
_MODEL_FILE = "model.keras"
#: Set before TensorFlow is imported, where the user has not: ranks may share a GPU; fewer lines that help nobody.
_ENVIRONMENT = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "TF_CPP_MIN_LOG_LEVEL": "2"}


class TensorFlowRanks(Distribution):
    """One rank of a training with Keras."""

    def __init__(self, place: Place, settings: Mapping[str, Any]) -> None:
        """Keep what is needed.

        Args:
            place: this rank.
            settings: `mixed_precision` ("bf16", "fp16", a policy of Keras', or None), `collective_timeout_s`,
                `train_batch_size` and `test_batch_size` (rows per worker, from the user's hparams, or None).
        """
        super().__init__(place, settings)
        self._collectives: Collectives | None = None
        self._own_strategy: OwnStrategy | None = None
        self._loops: Loops | None = None

    def prepare(self) -> str:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        timeout_s = float(self.settings.get("collective_timeout_s") or _TIMEOUT_S)
        self._collectives = Collectives(self.place, timeout_s)
        self._own_strategy = OwnStrategy(self.place)
        return f"{self._collectives.mesh.address}/{self._own_strategy.port}"

    def join(self, addresses: Sequence[str]) -> None:
        assert self._own_strategy is not None
        self._own_strategy.learn([_host_of(address) + ":" + address.rpartition("/")[2] for address in addresses])
        self._together.mesh.connect(addresses)

    @property
    def _together(self) -> Collectives:
        assert self._collectives is not None, "prepare first"
        return self._collectives

    @contextlib.contextmanager
    def applied(self, train_fn: Callable[..., Any], given: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        assert self._own_strategy is not None
        if self._own_strategy.is_used_by(train_fn, given):
            self.leave_alone("tf.distribute.MultiWorkerMirroredStrategy")
            with self._own_strategy.applied():
                yield self.shared_out(given, has_all_rows=True)
            return
        given = self.shared_out(given)
        self._own_strategy.close()
        _check_backend()
        patches = Patches()
        try:
            self._agree_on_random_states()
            self._patch(patches)
            self._set_precision(patches)
            yield tensorflow_given.batched(given, self.settings, self.place.world_size)
            self._warn_if_alone()
        finally:
            patches.close()

    def _patch(self, patches: Patches) -> None:
        from keras.src.trainers.data_adapters import py_dataset_adapter

        cutter = Cutter(self.place.rank, self.place.world_size)
        steps = Steps(self._together, cutter)
        self._loops = Loops(self._together, cutter, steps)
        for part in (steps, self._loops, Files(self._together)):
            part.patch(patches)
        # It shuffles in a thread of its own, which would draw from the same generator as this one, in any order.
        patches.set(py_dataset_adapter, "random", random.Random(repr(random.getstate())))

    def _agree_on_random_states(self) -> None:
        mine = json.dumps(tensorflow_random.seeded()).encode()
        tensorflow_random.put(json.loads(self._together.broadcast_bytes(mine, Purpose.RANDOM)))

    def _set_precision(self, patches: Patches) -> None:
        import keras

        wanted = self.settings.get("mixed_precision")
        if wanted in (None, "no", "fp32"):
            return
        before = keras.config.dtype_policy()
        try:
            keras.config.set_dtype_policy(_POLICIES.get(wanted, wanted))
        except ValueError as error:
            known = ", ".join([*_POLICIES, *_POLICIES.values()])
            raise ConfigError(f"mixed_precision {wanted!r} is unknown to Keras. Known: {known}.") from error
        patches.on_close(lambda: keras.config.set_dtype_policy(before))

    def _warn_if_alone(self) -> None:
        if self._together.n_gradients or self.place.world_size == 1:
            return
        reason = ""
        if "tf_keras" in sys.modules:
            reason = " It uses tf_keras, which is not distributed: write `import keras`."
        elif "torch" in sys.modules:
            reason = " If it trains with PyTorch, leave --strategy mirrored out."
        self.warn(
            f"Nothing was trained together: no optimizer of Keras' was applied on the {self.place.world_size} ranks, "
            f"so each has done all the work alone.{reason}"
        )

    def save_model(self, folder: str) -> bool:
        model = self._loops.model if self._loops is not None else None
        if model is None or not model.built:
            return False
        if self.place.rank == 0:
            os.makedirs(folder, exist_ok=True)
            model.save(os.path.join(folder, _MODEL_FILE))
        return True

    def save_checkpoint(self, path: str, objects: Mapping[str, Any]) -> None:
        loops = self._needed_loops("reporter.checkpoint")
        mine = json.dumps(tensorflow_random.take()).encode()
        states = [json.loads(state) for state in self._together.gather_bytes(mine, Purpose.CHECKPOINT)]
        if self.place.rank == 0:
            progress = {"random_states": states, "n_epochs": loops.n_epochs}
            keras_checkpoint.write(path, objects, progress)

    def load_checkpoint(self, path: str, objects: Mapping[str, Any]) -> Mapping[str, Any]:
        loops = self._needed_loops("reporter.restore")
        data = b""
        if self.place.rank == 0:
            with open(path, "rb") as file:
                data = file.read()
        data = self._together.broadcast_bytes(data, Purpose.CHECKPOINT)
        values, progress = keras_checkpoint.read(data, objects)
        states = progress["random_states"]
        tensorflow_random.put(states[self.place.rank if self.place.rank < len(states) else 0])
        loops.n_epochs_to_skip = progress["n_epochs"]
        return values

    def _needed_loops(self, what: str) -> Loops:
        if self._loops is None:
            raise ConfigError(f"{what} works in functions that do not distribute by themselves; this one saves its own")
        return self._loops

    def hint(self, error: BaseException) -> str:
        return explain_legacy(error) or ""

    def is_consequence(self, error: BaseException) -> bool:
        if isinstance(error, CollectiveError):
            return True
        failure = self._collectives.mesh.failure if self._collectives is not None else None
        return failure is not None and str(failure) in str(error)

    def leave(self) -> None:
        if self._own_strategy is not None:
            self._own_strategy.close()
        if self._collectives is not None:
            self._collectives.mesh.close()


def _host_of(address: str) -> str:
    return address.partition("/")[0].rpartition(":")[0]


def _check_backend() -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            f"Keras runs on {keras.backend.backend()} here, and this is a TensorFlow training: unset KERAS_BACKEND "
            '(and "backend" in ~/.keras/keras.json) on the workers.'
        )
