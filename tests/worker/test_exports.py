"""`model.export` in a real trial process: files and the fact that speaks of them; and what it puts into a folder."""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import torch
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from one_worker import OneWorker, one_worker
from sklearn.linear_model import LogisticRegression

from lagom_magic.errors import ConfigError
from lagom_magic.trained import load_model
from lagom_magic.worker.exports import Put, check_exportable, checked_description, checked_metrics, put

torch.set_num_threads(1)

X = np.arange(40.0).reshape(20, 2)
Y = np.tile([0, 1], 10)


def run(scenario: Any) -> Any:
    return asyncio.run(scenario)


def exported(worker: OneWorker) -> list[dict[str, Any]]:
    return [message for message in worker.messages if message["type"] == "model_exported"]


async def all_files(worker: OneWorker) -> dict[str, bytes]:
    """The exported files, when as many have come as the facts speak of."""

    def are_here() -> bool:
        n_files = sum(key[2].startswith("artifacts/models/") for key in worker.files)
        return n_files >= sum(fact["n_files"] for fact in exported(worker))

    await worker.until(are_here)
    return {path: data for (_, _, path), data in worker.files.items() if path.startswith("artifacts/models/")}


def test_an_export_is_a_fact_before_the_end_and_files_after_it() -> None:
    def train():
        import os

        from lagom_magic import model

        with open("weights.bin", "w") as file:
            file.write("w1")
        first = model.export("weights.bin", "digits", metrics={"accuracy": 0.5, "loss": float("inf")})
        with open("weights.bin", "w") as file:
            file.write("w2 longer")
        model.export(os.path.abspath("weights.bin"), "digits", description="the second")
        os.makedirs("saved/deep")
        open("saved/model.json", "w").close()
        open("saved/deep/model.json", "w").close()
        model.export("saved/", "tree")
        print(first["name"], first["version"], first["metrics"], os.path.isfile(first["path"]))
        return 1.0

    async def scenario() -> None:
        async with one_worker(train) as worker:
            ended = await worker.run(3)
            files = await all_files(worker)
        assert ended.text == "digits None {'accuracy': 0.5, 'loss': inf} True\n"
        assert files == {
            "artifacts/models/digits/weights.bin": b"w1",
            "artifacts/models/digits_2/weights.bin": b"w2 longer",
            "artifacts/models/tree/saved/model.json": b"",
            "artifacts/models/tree/saved/deep/model.json": b"",
        }
        assert set(files) <= set(ended.record["files"])
        first, second, tree = exported(worker)
        assert (first["trial_id"], first["attempt"], first["worker_id"], first["name"]) == (3, 1, 1, "digits")
        assert (first["metrics"], first["n_files"]) == ({"accuracy": 0.5, "loss": "inf"}, 1)
        assert (second["folder"], second["description"]) == ("artifacts/models/digits_2", "the second")
        assert (tree["folder"], tree["n_files"], tree["framework"]) == ("artifacts/models/tree", 2, "")
        types = [message["type"] for message in worker.messages]
        assert types.index("model_exported") < types.index("trial_ended")

    run(scenario())


def test_a_model_is_saved_with_its_framework_and_signature() -> None:
    def train():
        import numpy as np
        from sklearn.linear_model import LogisticRegression

        from lagom_magic import model

        fitted = LogisticRegression().fit(np.arange(8.0).reshape(4, 2), [0, 1, 0, 1])
        model.export(fitted, "logistic")

    async def scenario() -> None:
        async with one_worker(train) as worker:
            ended = await worker.run(0)
            assert ended.state == "COMPLETE"
            assert list(await all_files(worker)) == ["artifacts/models/logistic/model.pkl"]
        (fact,) = exported(worker)
        assert (fact["framework"], fact["signature"]) == (
            "sklearn",
            {"inputs": "2 features", "outputs": "classes: 0, 1"},
        )

    run(scenario())


def test_what_was_exported_before_a_failure_is_kept() -> None:
    def train():
        from lagom_magic import model

        open("a", "w").close()
        model.export("a", "early")
        raise ValueError("later")

    async def scenario() -> None:
        async with one_worker(train) as worker:
            ended = await worker.run(0)
            assert ended.state == "FAILED"
            assert list(await all_files(worker)) == ["artifacts/models/early/a"]

    run(scenario())


def test_a_bad_export_is_the_trials_failure_and_leaves_nothing_behind() -> None:
    def train(what):
        import os

        from lagom_magic import model

        os.mkdir("empty")
        os.mkdir("linked")
        os.symlink("/usr", "linked/usr")
        calls = {
            "missing": lambda: model.export("weights", "x"),
            "name": lambda: model.export("a", "../x"),
            "metric": lambda: model.export("a", "x", metrics={"accuracy": "high"}),
            "object": lambda: model.export({"w": 1}, "x"),
            "empty": lambda: model.export("empty", "x"),
            "linked": lambda: model.export("linked", "x"),
            "registry": lambda: model.get_model("x"),
        }
        calls[what]()

    messages = {
        "missing": "there is no file or folder 'weights' in",
        "name": "'../x' cannot be the name of a model: use 1 to 64 letters, digits, '.', '_' and '-', not dots alone.",
        "metric": "metrics has 'accuracy': 'high' (str); allowed: a name and a number.",
        "object": "{'w': 1} is a dict; allowed: a file's or folder's path, or a model of PyTorch, Keras",
        "empty": "the folder 'empty' holds no file. Save the model there first.",
        "linked": "linked/usr is a link to a folder, which is not followed.",
        "registry": "model.get_model reads the registry beside the notebook, which a worker need not see.",
    }

    async def scenario() -> None:
        async with one_worker(train, names=("what",)) as worker:
            for trial_id, (what, message) in enumerate(messages.items()):
                ended = await worker.run(trial_id, what=what)
                assert ended.record["error"]["kind"] == "ConfigError"
                assert message in ended.record["error"]["message"]
                assert [path for path in ended.record["files"] if path.startswith("artifacts")] == []
        assert exported(worker) == []

    run(scenario())


def test_a_process_that_the_trial_started_cannot_export() -> None:
    def train(how):
        import os
        import subprocess
        import sys

        from lagom_magic import model

        open("a", "w").close()
        if how == "spawn":
            import lagom_magic

            code = "from lagom_magic import model; model.export('a', 'x')"
            home = os.path.dirname(os.path.dirname(lagom_magic.__file__))
            done = subprocess.run(
                [sys.executable, "-c", code],
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                env={**os.environ, "PYTHONPATH": home},
            )
            print(done.stderr.splitlines()[-1])
            return
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                model.export("a", "x")
            except Exception as error:
                os.write(write, str(error).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        print(os.read(read, 1000).decode())

    async def scenario() -> None:
        async with one_worker(train, names=("how",)) as worker:
            forked, spawned = await worker.run(0, how="fork"), await worker.run(1, how="spawn")
        assert "model.export was called in a child process; call it in the one that runs" in forked.text
        assert "model.export was called in a process that a trial started; call it in the one" in spawned.text
        assert exported(worker) == []

    run(scenario())


def test_the_next_trial_of_a_process_exports_its_own() -> None:
    def train(text):
        from lagom_magic import model

        with open("a", "w") as file:
            file.write(text)
        model.export("a", "x")

    async def scenario() -> None:
        async with one_worker(train, names=("text",)) as worker:
            for trial_id in range(3):
                assert (await worker.run(trial_id, text=str(trial_id))).state == "COMPLETE"
            await all_files(worker)
        assert {key: data for key, data in worker.files.items() if key[2].startswith("artifacts")} == {
            (trial_id, 1, "artifacts/models/x/a"): str(trial_id).encode() for trial_id in range(3)
        }

    run(scenario())


def test_an_isolated_trial_exports_too() -> None:
    def train():
        from lagom_magic import model

        open("a", "w").close()
        model.export("a", "x")

    async def scenario() -> None:
        async with one_worker(train, isolate=True) as worker:
            assert (await worker.run(0)).state == "COMPLETE"
            assert list(await all_files(worker)) == ["artifacts/models/x/a"]

    run(scenario())


# what is put into a folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "into").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def put_here(value: Any, here: Path) -> Put:
    check_exportable(value)
    return put(value, str(here / "into"))


def test_a_torch_module_is_its_state_dict(here: Path) -> None:
    module = torch.nn.Linear(2, 1)
    done = put_here(module, here)
    assert (os.path.basename(done.path), done.framework, done.signature) == ("model.pt", "torch", {})
    again = load_model(Path(done.path), torch.nn.Linear(2, 1))
    assert torch.equal(again.weight, module.weight)


def test_boosters_say_their_features(here: Path) -> None:
    data = xgboost.DMatrix(X, Y, feature_names=["age", "fare"])
    done = put_here(xgboost.train({"nthread": 1}, data, 2), here)
    assert (os.path.basename(done.path), done.framework) == ("model.ubj", "xgboost")
    assert done.signature["inputs"].startswith("2 features: age")
    np.testing.assert_array_equal(load_model(Path(done.path)).predict(data).shape, (20,))
    booster = lightgbm.train({"num_threads": 1, "verbosity": -1, "min_data_in_leaf": 2}, lightgbm.Dataset(X, Y), 2)
    done = put_here(booster, here)
    assert (os.path.basename(done.path), done.framework) == ("model.lgb", "lightgbm")
    assert done.signature == {"inputs": "2 features: Column_0, Column_1"}
    np.testing.assert_allclose(load_model(Path(done.path)).predict(X), booster.predict(X))


def test_estimators_of_boosting_libraries_are_named_after_them(here: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame(X, columns=["age", "fare"])
    done = put_here(xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(frame, Y), here)
    assert (os.path.basename(done.path), done.framework) == ("model.pkl", "xgboost")
    assert done.signature == {"inputs": "2 features: age, fare", "outputs": "classes: 0, 1"}
    unfitted = put_here(LogisticRegression(), here)
    assert (unfitted.framework, unfitted.signature) == ("sklearn", {})


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 with NumPy 2
def test_a_keras_model_says_its_tensors(here: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(1, name="y")])
    done = put_here(model, here)
    assert (os.path.basename(done.path), done.framework) == ("model.keras", "keras")
    assert done.signature["inputs"] == "x: float32 (None, 3)"
    assert done.signature["outputs"].endswith(": float32 (None, 1)")
    with pytest.warns(UserWarning, match="has not yet been built"):
        assert put_here(keras.Sequential([keras.layers.Dense(1)]), here).signature == {}


def test_the_content_of_links_to_files_is_copied(here: Path) -> None:
    (here / "blob").write_text("weights")
    (here / "work/snapshot").mkdir()
    (here / "work/snapshot/model").symlink_to(here / "blob")
    (here / "work/direct").symlink_to(here / "work/snapshot")
    done = put_here(Path("direct"), here)
    copied = Path(done.path, "model")
    assert copied == here / "into/direct/model"
    assert (copied.read_text(), copied.is_symlink()) == ("weights", False)


def test_the_current_folder_is_named_after_itself(here: Path) -> None:
    (here / "work/a").touch()
    assert put_here(".", here).path == str(here / "into/work")
    assert put_here("../work", here).path == str(here / "into/work")


@pytest.mark.parametrize("kind", ["pipe", "circle", "nowhere", "around"])
def test_what_cannot_be_copied_is_a_clear_error(here: Path, kind: str) -> None:
    folder = here / "work/saved"
    folder.mkdir()
    if kind == "pipe":
        os.mkfifo(folder / "pipe")
    elif kind == "circle":
        (folder / "again").symlink_to(folder)
    elif kind == "nowhere":
        (folder / "gone").symlink_to("/nonexistent/x")
    message = {
        "pipe": "is a pipe, a socket or a device; allowed: files and folders",
        "circle": "is a link to a folder, which is not followed",
        "nowhere": "leads nowhere",
        "around": "holds the place that it would be copied to",
    }[kind]
    with pytest.raises(ConfigError, match=message):
        put_here("saved" if kind != "around" else str(here), here)


def test_a_missing_path_names_the_nearest(here: Path) -> None:
    (here / "work/model.xgb").touch()
    with pytest.raises(ConfigError, match=r"no file or folder 'modell.xgb' in .*work\. Did you mean model\.xgb\?"):
        check_exportable("modell.xgb")


@pytest.mark.parametrize("value", ["", "a\0b", b"bytes", 7, None, torch.zeros(2), [torch.nn.Linear(1, 1)], object()])
def test_what_is_neither_path_nor_model_is_refused(here: Path, value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^model\.export: .*(allowed|no path)"):
        check_exportable(value)


def test_metrics_become_plain_numbers() -> None:
    metrics = checked_metrics({"a": np.float32(0.5), "b": torch.tensor(2), "c": 3, "d": math.nan})
    assert {name: type(value) for name, value in metrics.items()} == dict.fromkeys("abcd", float)
    assert (metrics["a"], metrics["b"], metrics["c"]) == (0.5, 2.0, 3.0)
    assert checked_metrics(None) == {}


@pytest.mark.parametrize(
    "metrics", [0.5, ["a"], {"a": "x"}, {"a": True}, {"a": None}, {1: 2.0}, {"": 1.0}, {"a": [1, 2]}]
)
def test_what_is_no_dict_of_numbers_is_refused(metrics: Any) -> None:
    with pytest.raises(ConfigError, match=r"^model\.export: metrics.* allowed: .*Try metrics="):
        checked_metrics(metrics)


def test_descriptions_are_text_of_some_length() -> None:
    assert (checked_description(None), checked_description("x")) == ("", "x")
    for description in (7, "x" * 10_001):
        with pytest.raises(ConfigError, match="must be text of at most 10,000 characters"):
            checked_description(description)


@settings(deadline=None, max_examples=50)
@given(st.text(alphabet="./a\0\\~ ", max_size=12))
def test_whatever_path_is_given_nothing_is_put_beside_the_folder(
    tmp_path_factory: pytest.TempPathFactory, path: str
) -> None:
    root = tmp_path_factory.mktemp("put")
    into = root / "outer/into"
    into.mkdir(parents=True)
    source = root / "source"
    source.mkdir()
    (source / "a").touch()
    given_path = f"{source}/{path}"
    try:
        check_exportable(given_path)
        done = put(given_path, str(into))
    except ConfigError:
        return
    assert Path(done.path).parent == into
    assert list((root / "outer").iterdir()) == [into]


def test_the_public_module_loads_on_a_worker_with_the_standard_library_alone() -> None:
    home = Path(__file__).parents[2]
    source = f"import sys; sys.path.insert(0, {str(home)!r}); import lagom_magic.model"
    subprocess.run([sys.executable, "-I", "-S", "-c", source], check=True, timeout=60)
