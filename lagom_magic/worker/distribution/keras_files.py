"""Model files: rank 0 writes them, and what rank 0 finds in a file all ranks load.

So `model.save` and callbacks write once, wherever the ranks run, and a function that loads its best weights after `fit`
finds them on each rank, though the other ranks' machines do not have the file.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lagom_magic.worker.distribution.keras_patches import Patches, find_hook
from lagom_magic.worker.distribution.tensorflow_collectives import Collectives, Purpose

_LOAD_MODEL = "saving.saving_api:load_model"


class Files:
    """This rank's reading and writing of models; `patch` puts it into Keras."""

    def __init__(self, collectives: Collectives) -> None:
        self._collectives = collectives
        self._is_alone = False

    def patch(self, patches: Patches) -> None:
        patches.wrap("models.model:Model.save", "self filepath", self._write)
        patches.wrap("models.model:Model.save_weights", "self filepath", self._write)
        patches.wrap("models.model:Model.export", "self filepath", self._write)
        patches.wrap("models.model:Model.load_weights", "self filepath", self._load_weights)
        patches.wrap("callbacks.backup_and_restore:BackupAndRestore.on_train_begin", "self logs", self._alone)
        _, _, load_model = find_hook(_LOAD_MODEL, "filepath")
        patches.wrap(_LOAD_MODEL, "filepath", self._load_model)
        replacement = sys.modules["keras.src.saving.saving_api"].load_model  # type: ignore[attr-defined, unused-ignore]
        for name, module in list(sys.modules.items()):
            if name.startswith("keras.") and getattr(module, "load_model", None) is load_model:
                patches.set(module, "load_model", replacement)

    def _write(self, original: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> None:
        if self._collectives.rank == 0:
            original(model, *args, **kwargs)

    def _alone(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A callback of rank 0's reads for itself."""
        self._is_alone = True
        try:
            return original(*args, **kwargs)
        finally:
            self._is_alone = False

    def _load_weights(self, original: Callable[..., Any], model: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        with self._as_on_rank_0(filepath) as path:
            return original(model, path, *args, **kwargs)

    def _load_model(self, original: Callable[..., Any], filepath: Any, *args: Any, **kwargs: Any) -> Any:
        with self._as_on_rank_0(filepath) as path:
            return original(path, *args, **kwargs)

    @contextlib.contextmanager
    def _as_on_rank_0(self, filepath: Any) -> Iterator[Any]:
        """A path of this machine's to what rank 0 has under `filepath`; folders and URLs are left as they are."""
        if self._is_alone or not isinstance(filepath, (str, os.PathLike)):
            yield filepath
            return
        source = Path(filepath)
        mine = source.read_bytes() if self._collectives.rank == 0 and source.is_file() else b""
        data = self._collectives.broadcast_bytes(mine, Purpose.FILE)
        if self._collectives.rank == 0 or not data:
            yield filepath
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, source.name)
            copy.write_bytes(data)
            yield str(copy)
