"""What a run calls, kept in its folder so that it can be resumed and repeated without its notebook: `call/`.

`call.json` says how the function is called; `payload.pkl` and `code.zip` are, byte for byte, what the workers got.
Nothing here opens the pickle: that happens in trial processes only.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lagom_magic.errors import StoreError
from lagom_magic.store.jsontext import json_text
from lagom_magic.store.layout import FORMAT, RunLayout, write_whole

#: Bytes of a payload beyond which it is not kept: whoever ships so much has data in it.
MAX_PAYLOAD_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A function and how each trial calls it.

    Attributes:
        payload: the pickled call.
        user_code_zip: the user's own modules and files.
        fixed_hparams: hyperparameter → value, the same for every trial.
        hparam_names: as in `RunStarted`.
        components: labels of what an ablation leaves out; None = this is no ablation.
        takes_budget: the function names `budget`.
        preload_modules: what a process can import before it runs the function.
    """

    payload: bytes
    user_code_zip: bytes
    fixed_hparams: dict[str, Any]
    components: list[str] | None
    takes_budget: bool
    preload_modules: list[str]


def write_call(layout: RunLayout, call: StoredCall) -> bool:
    """Keep the call, in place of an earlier one; False when it is too big to be kept.

    A call that is not kept takes the earlier one away all the same: nobody is to go on with a function that the run
    does not call any more.

    Raises:
        OSError: as the file system reports it.
    """
    if len(call.payload) > MAX_PAYLOAD_BYTES:
        _remove(layout)
        return False
    try:
        _put_in_place(_written_beside(layout, call), layout)
    except OSError:
        _remove(layout)
        raise
    return True


def _written_beside(layout: RunLayout, call: StoredCall) -> Path:
    folder = layout.call.with_name(f".{layout.call.name}.part")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    document = {name: value for name, value in asdict(call).items() if not isinstance(value, bytes)}
    (folder / "payload.pkl").write_bytes(call.payload)
    (folder / "code.zip").write_bytes(call.user_code_zip)
    write_whole(folder / "call.json", json_text({"format": FORMAT, **document}).encode())
    return folder


def _put_in_place(folder: Path, layout: RunLayout) -> None:
    """Rename the folder, so that whoever is killed meanwhile leaves this call or the earlier one."""
    aside = _set_aside(layout)
    if layout.call.exists():
        shutil.rmtree(aside, ignore_errors=True)
        layout.call.rename(aside)
    folder.rename(layout.call)
    shutil.rmtree(aside, ignore_errors=True)


def _set_aside(layout: RunLayout) -> Path:
    """Where the earlier call is while another one takes its place."""
    return layout.call.with_name(f".{layout.call.name}.old")


def _remove(layout: RunLayout) -> None:
    for folder in (_set_aside(layout), layout.call):
        if folder.exists():
            shutil.rmtree(folder)


def read_call(layout: RunLayout) -> StoredCall:
    """The call of a run.

    Raises:
        StoreError: when it is not there, cannot be read, or belongs to somebody else: it would run their code.
    """
    folder = layout.call
    if not folder.exists() and _set_aside(layout).exists():  # its driver was killed between two renames
        folder = _set_aside(layout)
    try:
        if folder.stat().st_uid != os.geteuid():
            raise StoreError(
                f"run {layout.root.name} belongs to somebody else, and going on with it would run their code as you. "
                "Copy the folder if you trust it."
            )
        document = json.loads((folder / "call.json").read_bytes())
        names = [item.name for item in fields(StoredCall) if item.name not in ("payload", "user_code_zip")]
        return StoredCall(
            payload=(folder / "payload.pkl").read_bytes(),
            user_code_zip=(folder / "code.zip").read_bytes(),
            **{name: document[name] for name in names},
        )
    except FileNotFoundError as error:
        raise StoreError(
            f"run {layout.root.name} does not keep its function (there is no {error.filename}). Run the function's "
            f"cell with --resume {layout.root.name} instead."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"what run {layout.root.name} calls cannot be read from {folder}: {error!r}.") from error


def read_document(layout: RunLayout) -> dict[str, Any]:
    """Content of run.json.

    Raises:
        StoreError: when it cannot be read.
    """
    try:
        document = json.loads(layout.run_json.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{layout.run_json} cannot be read: {error}.") from error
    if not isinstance(document, dict):
        raise StoreError(f"{layout.run_json} holds no JSON object.")
    return document
