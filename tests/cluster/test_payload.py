"""The training function as opaque bytes, and what is said when it cannot become such."""

from __future__ import annotations

import functools
import io
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lagom_magic.cluster.payload import PICKLER, PickledPayload, pickle_payload
from lagom_magic.errors import ConfigError

FACTOR = 3


def of_this_module(x: int) -> int:
    """Travels by value, since workers cannot import a test's module."""
    return FACTOR * x


def in_notebook(source: str, **variables: Any) -> Callable[..., Any]:
    """`train` of a cell, as IPython would define it."""
    namespace: dict[str, Any] = {"__name__": "__main__", **variables}
    exec(source, namespace)
    function: Callable[..., Any] = namespace["train"]
    return function


def pickled(train_fn: Callable[..., Any], **fixed: Any) -> PickledPayload:
    return pickle_payload({"train_fn": train_fn, "fixed": fixed, "wants": [], "hparam_names": ["x"]})


def called_elsewhere(payload: PickledPayload, folder: Path, arguments: str) -> str:
    """What the function returns in a Python without site-packages and without this module."""
    (folder / f"{PICKLER}.py").write_bytes(payload.pickler_source)
    (folder / "payload").write_bytes(payload.data)
    script = f"import pickle; content = pickle.load(open('payload', 'rb')); print(content['train_fn']({arguments}))"
    environment = {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-S", "-c", script]
    answer = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def test_a_notebooks_function_runs_where_nothing_of_ours_and_no_pyspark_is(tmp_path: Path) -> None:
    train = in_notebook("def helper(x): return x + offset\ndef train(x): return helper(x)", offset=40)
    assert called_elsewhere(pickled(train), tmp_path, "x=2") == "42"


def test_a_function_of_a_module_that_workers_lack_travels_by_value(tmp_path: Path) -> None:
    assert called_elsewhere(pickled(of_this_module), tmp_path, "2") == "6"


def test_a_function_of_a_shipped_module_travels_by_name() -> None:
    module = of_this_module.__module__.partition(".")[0]
    payload = {"train_fn": of_this_module, "fixed": {}, "wants": [], "hparam_names": []}
    assert b"FACTOR" not in pickle_payload(payload, frozenset({module})).data
    assert b"FACTOR" in pickle_payload(payload).data


def test_the_rest_of_the_call_travels_too() -> None:
    content = pickle.loads(pickled(of_this_module, x=1, name="digits").data)
    assert (content["fixed"], content["wants"], content["hparam_names"]) == ({"x": 1, "name": "digits"}, [], ["x"])


class SparkSession:
    """Stands for pyspark's, which needs a JVM to exist; recognised by its name."""

    def __reduce__(self) -> str:
        raise RuntimeError("CONTEXT_ONLY_VALID_ON_DRIVER")


SparkSession.__module__ = "pyspark.sql.session"


def refusal(train_fn: Callable[..., Any], **fixed: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        pickled(train_fn, **fixed)
    return str(caught.value)


def test_a_lock_among_the_globals_is_named() -> None:
    text = refusal(in_notebook("def train(): return guard", guard=threading.Lock()))
    assert "`train` uses `guard`: a lock (_thread.lock). Create it inside the function." in text


def test_a_thing_deep_in_helpers_and_containers_is_named_with_its_way() -> None:
    train = in_notebook(
        "def helper(): return settings\ndef train(): return helper()", settings={"a": 1, "log": [threading.Lock()]}
    )
    assert "`train` uses `helper`, which uses `settings`, which uses `'log'`, which uses `item 0`: a lock" in refusal(
        train
    )


def test_an_argument_is_named() -> None:
    assert "`dataset` is a generator (generator). Make a list" in refusal(of_this_module, dataset=(i for i in "ab"))


def test_an_attribute_of_an_object_is_named() -> None:
    holder = type("Holder", (), {})()
    holder.guard = threading.RLock()
    assert "`model` uses `.guard`: a lock" in refusal(of_this_module, model=holder)


def test_a_spark_session_has_words_of_its_own() -> None:
    text = refusal(in_notebook("def train(): return spark.range(3)", spark=SparkSession()))
    assert "`spark`: a Spark session, which only the notebook has" in text


def test_an_open_file_and_a_socket_have_words_of_their_own(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w") as file, socket.socket() as connection:
        assert "an open file (_io.TextIOWrapper). Open it inside the function" in refusal(of_this_module, out=file)
        assert "a network connection (socket.socket)" in refusal(of_this_module, out=connection)


def test_partials_and_defaults_are_looked_into() -> None:
    assert "a lock" in refusal(functools.partial(of_this_module, guard=threading.Lock()))
    assert "`train` uses `default 1`: a lock" in refusal(
        in_notebook("def train(guard=guard): pass", guard=threading.Lock())
    )


def test_something_that_holds_itself_is_no_endless_search() -> None:
    ring: list[Any] = [threading.Lock()]
    ring.insert(0, ring)
    assert "cannot travel" in refusal(of_this_module, ring=ring)


def test_a_large_payload_names_what_makes_it_large() -> None:
    train = in_notebook("def train(): return images, labels", images=bytes(12_000_000), labels=b"x")
    (note,) = pickled(train).notes
    assert "12.0 MB to every worker (`images` 12.0 MB); load such data inside the function" in note
    assert pickled(of_this_module).notes == ()


def test_bytes_io_travels_as_it_is_no_open_file_of_the_system() -> None:
    assert pickled(of_this_module, buffer=io.BytesIO(b"x")).data
