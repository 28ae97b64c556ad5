"""What a Keras training goes on from: a file with variables, plain values and random states.

The file is NumPy's .npz: arrays, and one entry of JSON that says what they are. Nothing in it is unpickled.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any

from lagom_magic.errors import ConfigError, StoreError

_CONTENTS = "contents.json"
_FORMAT = 1


def write(path: str, objects: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
    """Writes the file, whole or not at all.

    Args:
        path: of the file.
        objects: {name: a Keras model or optimizer, a NumPy array, or what JSON knows}.
        progress: further values, for whoever loads it.

    Raises:
        ConfigError: for an object that is none of these.
    """
    import numpy as np

    arrays: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name, thing in objects.items():
        if has_variables(thing):
            for position, variable in enumerate(variables_of(name, thing)):
                arrays[f"{name}/{position}"] = np.asarray(variable.numpy())
        elif isinstance(thing, np.ndarray) and thing.dtype.kind in "biufc":
            arrays[name] = thing
        else:
            values[name] = _plain(name, thing)
    contents = {"format": _FORMAT, "values": values, "progress": dict(progress)}
    arrays[_CONTENTS] = np.frombuffer(json.dumps(contents).encode(), np.uint8)
    beside = f"{path}.{os.getpid()}.part"
    try:
        with open(beside, "wb") as file:
            np.savez(file, **{name: _as_bytes(array) for name, array in arrays.items()})
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)


def read(data: bytes, objects: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Brings models and optimizers back to what the file holds, in place.

    Args:
        data: of the file.
        objects: of the names and kinds that were written.

    Returns:
        The plain values and arrays by name, and the progress.

    Raises:
        ConfigError: when objects and file do not fit.
        StoreError: when the file holds something else.
    """
    import numpy as np

    try:
        archive = np.load(io.BytesIO(data), allow_pickle=False)
        contents = json.loads(archive[_CONTENTS].tobytes())
    except (OSError, EOFError, KeyError, IndexError, ValueError, zipfile.BadZipFile) as error:
        raise StoreError(f"the checkpoint cannot be read: {error}") from error
    with archive as file:
        values = contents["values"] | {name: file[name] for name in file.files if "/" not in name and name != _CONTENTS}
        found = {}
        for name, thing in objects.items():
            if has_variables(thing):
                found[name] = _matched(name, variables_of(name, thing), file)
            elif name not in values:
                raise ConfigError(f"The checkpoint has no {name!r}; it has: {', '.join(sorted(values)) or 'none'}.")
    for pairs in found.values():
        for variable, array in pairs:
            variable.assign(array)
    return values, contents["progress"]


def _matched(name: str, variables: list[Any], file: Any) -> list[tuple[Any, Any]]:
    """Each variable with its value in the file."""
    import numpy as np

    count = sum(entry.startswith(f"{name}/") for entry in file.files)
    if count != len(variables):
        raise ConfigError(
            f"The checkpoint has {count} variables of {name!r} and the one to load it into has {len(variables)}: build "
            "and compile it as in the run that wrote the checkpoint."
        )
    pairs = []
    for position, variable in enumerate(variables):
        array = file[f"{name}/{position}"]
        if str(variable.dtype) == "bfloat16":
            array = array.view(np.asarray(variable.numpy()).dtype)
        if array.shape != tuple(variable.shape):
            raise ConfigError(
                f"{name!r}: variable {variable.path} is of shape {tuple(variable.shape)}, in the checkpoint of shape "
                f"{array.shape}."
            )
        pairs.append((variable, array))
    return pairs


def has_variables(thing: Any) -> bool:
    """Whether it is a model or optimizer of Keras'."""
    import keras

    return isinstance(thing, (keras.Model, keras.optimizers.Optimizer))


def variables_of(name: str, thing: Any) -> list[Any]:
    """All that a model or optimizer goes on with; a model's optimizer belongs to it.

    Raises:
        ConfigError: when it has no variables yet.
    """
    import keras

    if not thing.built:
        how = "give it an Input, or call it on a batch" if isinstance(thing, keras.Model) else "call its `build`"
        raise ConfigError(f"{name!r} has no variables yet: {how} before the checkpoint.")
    if not isinstance(thing, keras.Model):
        return list(thing.variables)
    optimizer = getattr(thing, "optimizer", None)
    if optimizer is None:
        return list(thing.variables)
    if not optimizer.built:
        optimizer.build(thing.trainable_variables)
    return [*thing.variables, *optimizer.variables]


def _as_bytes(array: Any) -> Any:
    """What NumPy's files know: types of others (bfloat16) as the integers that they lie in memory as."""
    import numpy as np

    return array if array.dtype.kind in "biufc" else array.view(np.dtype(f"u{array.dtype.itemsize}"))


def _plain(name: str, thing: Any) -> Any:
    import numpy as np

    value = thing.item() if isinstance(thing, np.generic) else thing
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"A checkpoint keeps Keras models and optimizers, NumPy arrays, and what JSON knows (numbers, texts, "
            f"lists and dicts of these); {name!r} is a {type(thing).__name__}: {error}"
        ) from error
    return value
