"""What a trial sees of a dataset without some features: all but those, for every kind of data."""

from __future__ import annotations

import multiprocessing
import pickle
from collections import namedtuple
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse
import torch
from fingerprints import fingerprint
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from lagom_magic.errors import ConfigError
from lagom_magic.spec.datasets import features_of
from lagom_magic.worker.ablation.features import without_features

NAMES = ["age", "fare", "class", "deck"]
N_ROWS = 7
VALUES = np.random.default_rng(0).normal(size=(N_ROWS, len(NAMES)))
VALUES[2, 1] = np.nan
LABELS = np.arange(N_ROWS) % 2
FRAME = pd.DataFrame(VALUES, columns=NAMES).assign(survived=LABELS)
Split = namedtuple("Split", ["train", "test"])
Table = dict[str, list[Any]]


class Items(Dataset):
    """Map-style, of any items; `targets` is what some code reads past the items."""

    def __init__(self, items: list[Any]) -> None:
        self.items = self.targets = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Stream(IterableDataset):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


def rows(frame: pd.DataFrame = FRAME) -> list[dict[str, float]]:
    return frame.to_dict("records")


def pairs(convert: Callable[[Any], Any]) -> list[Any]:
    return [(convert(values), label) for values, label in zip(VALUES, LABELS.tolist(), strict=True)]


def parquet_file(folder: Path) -> Path:
    FRAME.to_parquet(folder / "train.parquet", row_group_size=3)
    return folder / "train.parquet"


def parquet_folder(folder: Path) -> str:
    (folder / "train" / "more").mkdir(parents=True)
    pq.write_table(pa.table(FRAME[:3]), folder / "train" / "part-0.parquet")
    pq.write_table(pa.table(FRAME[3:]), folder / "train" / "more" / "part-1.parquet")
    (folder / "train" / "_SUCCESS").touch()
    return str(folder / "train")


def csv_file(folder: Path) -> str:
    FRAME.to_csv(folder / "train.csv", index=False)
    return str(folder / "train.csv")


#: Name → data with named columns, which may need a folder.
TABLES: dict[str, Callable[[Path], Any]] = {
    "pandas": lambda _: FRAME,
    "dict of arrays": lambda _: {name: FRAME[name].to_numpy() for name in FRAME},
    "dict of lists": lambda _: {name: FRAME[name].to_list() for name in FRAME},
    "dict of tensors": lambda _: {name: torch.tensor(FRAME[name]) for name in FRAME},
    "(dict, labels)": lambda _: ({name: FRAME[name].to_numpy() for name in NAMES}, LABELS),
    "(DataFrame, Series)": lambda _: (FRAME[NAMES], FRAME["survived"]),
    "pyarrow": lambda _: pa.table(FRAME),
    "records": lambda _: FRAME.to_records(index=False),
    "torch dicts": lambda _: Items(rows()),
    "torch (dict, label)": lambda _: Items(
        [(row, label) for row, label in zip(rows(FRAME[NAMES]), LABELS, strict=True)]
    ),
    "torch stream": lambda _: Stream(rows()),
    "Parquet file": parquet_file,
    "Parquet folder": parquet_folder,
    "CSV": csv_file,
}
ARRAYS: dict[str, Any] = {
    "array": VALUES,
    "(X, y)": (VALUES, LABELS),
    "(X, y) of lists": (VALUES.tolist(), LABELS.tolist()),
    "(X, y) of tensors": (torch.tensor(VALUES), torch.tensor(LABELS)),
    "[X, y]": [VALUES, LABELS],
    "[X, y] of lists": [VALUES.tolist(), LABELS.tolist()],
    "sparse": (scipy.sparse.csr_array(VALUES), LABELS),
    "Keras' order": (VALUES, LABELS, VALUES[:2], LABELS[:2]),
    "scikit-learn's order": (VALUES, VALUES[:2], LABELS, LABELS[:2]),
    "series of rows": (np.stack([VALUES, VALUES + 1], axis=1), LABELS),
    "TensorDataset": TensorDataset(torch.tensor(VALUES), torch.tensor(LABELS)),
    "torch (tensor, label)": Items(pairs(torch.tensor)),
    "torch (array, label)": Items(pairs(np.array)),
    "torch [list, label]": Items([list(pair) for pair in pairs(list)]),
    "torch Subset": Subset(Items(pairs(torch.tensor)), range(N_ROWS)),
    "torch stream": Stream(pairs(torch.tensor)),
}


def table_of(data: Any) -> Table:
    """The columns that a user's code finds, and the labels that lie apart."""
    if isinstance(data, tuple):
        return {**table_of(data[0]), "survived": list(data[1])}
    if isinstance(data, (str, Path)):
        data = pd.read_csv(data) if str(data).endswith(".csv") else pd.read_parquet(data)
    if isinstance(data, pa.Table):
        return data.to_pydict()
    if isinstance(data, (Dataset, IterableDataset)):
        items = list(data if isinstance(data, IterableDataset) else DataLoader(data, batch_size=None))
        dicts = [{**item[0], "survived": item[1]} if isinstance(item, (tuple, list)) else item for item in items]
        return {name: [row[name] for row in dicts] for name in dicts[0]}
    names = data.dtype.names if isinstance(data, np.ndarray) else list(data)
    return {name: [float(value) for value in data[name]] for name in names}


def parts_of(data: Any) -> list[Any]:
    """Values and labels of all rows, and what more there is; of torch's datasets by their items."""
    if isinstance(data, (Dataset, IterableDataset)):
        items = data if isinstance(data, IterableDataset) else map(data.__getitem__, range(N_ROWS))
        values, labels = zip(*items, strict=True)
        return [np.stack([np.asarray(row) for row in values]), [int(label) for label in labels]]
    parts = [data] if isinstance(data, np.ndarray) else data
    return [part.toarray() if scipy.sparse.issparse(part) else np.asarray(part) for part in parts]


def leave_out(data: Any, names: list[str], folder: Path, **more: Any) -> Any:
    arguments: dict[str, Any] = {"label_name": None, "feature_names": None, "folder": folder / "copies", **more}
    return without_features(data, names, **arguments)


def assert_all_differ(variants: list[Any]) -> None:
    prints = [fingerprint(variant) for variant in variants]
    assert len(set(prints)) == len(prints), prints


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_a_table_lacks_what_is_left_out_and_nothing_else(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    data = make(tmp_path)
    whole, before = table_of(data), fingerprint(data)
    variants = {
        names: leave_out(data, list(names), tmp_path, label_name="survived")
        for names in [*((name,) for name in NAMES), ("age", "deck")]
    }
    for names, variant in variants.items():
        assert type(variant) is type(data) or isinstance(data, (Dataset, Path))
        expected = {name: values for name, values in whole.items() if name not in names}
        seen = table_of(variant)
        assert list(seen) == list(expected)
        for name, values in expected.items():
            np.testing.assert_array_equal(seen[name], values)
        assert features_of(variant, "survived", None) == [name for name in NAMES if name not in names]
    assert_all_differ([data, *variants.values()])
    assert fingerprint(data) == before
    assert leave_out(data, [], tmp_path) is data


@pytest.mark.parametrize("data", ARRAYS.values(), ids=ARRAYS)
def test_arrays_lack_the_column_of_that_name_and_nothing_else(tmp_path: Path, data: Any) -> None:
    before = fingerprint(data)
    variants = {name: leave_out(data, [name], tmp_path, feature_names=NAMES) for name in NAMES}
    for name, variant in variants.items():
        left = [other for other in NAMES if other != name]
        kept = [NAMES.index(other) for other in left]
        for part, whole in zip(parts_of(variant), parts_of(data), strict=True):
            np.testing.assert_array_equal(part, whole if np.ndim(whole) == 1 else whole[..., kept])
        assert features_of(variant, None, left) == left
    assert_all_differ([data, *variants.values()])
    assert fingerprint(data) == before


def test_all_parts_that_hold_features_lack_it(tmp_path: Path) -> None:
    keras = leave_out((VALUES, LABELS, VALUES[:2], LABELS[:2]), ["age"], tmp_path, feature_names=NAMES)
    assert [np.shape(part) for part in keras] == [(N_ROWS, 3), (N_ROWS,), (2, 3), (2,)]
    split = leave_out((VALUES, VALUES[:2], LABELS, LABELS[:2]), ["age"], tmp_path, feature_names=NAMES)
    assert [np.shape(part) for part in split] == [(N_ROWS, 3), (2, 3), (N_ROWS,), (2,)]
    assert split[2] is LABELS
    nested = leave_out([(FRAME[NAMES], LABELS), (FRAME[NAMES][:2], LABELS[:2])], ["age"], tmp_path)
    assert [list(part[0]) for part in nested] == [NAMES[1:], NAMES[1:]]
    named = leave_out(Split(FRAME, FRAME.drop(columns="survived")), ["age"], tmp_path, label_name="survived")
    assert list(named.train) == [*NAMES[1:], "survived"]
    assert list(named.test) == NAMES[1:]
    apart = leave_out((FRAME[NAMES], FRAME[["survived"]]), ["age"], tmp_path, label_name="survived")
    assert [list(part) for part in apart] == [NAMES[1:], ["survived"]]


def test_two_paths_of_the_same_name_stay_apart(tmp_path: Path) -> None:
    for name, part in {"train": FRAME, "test": FRAME[:2]}.items():
        (tmp_path / name).mkdir()
        part.to_parquet(tmp_path / name / "data.parquet")
    given = (tmp_path / "train" / "data.parquet", str(tmp_path / "test" / "data.parquet"))
    train, test = leave_out(given, ["age"], tmp_path, label_name="survived")
    assert isinstance(train, Path)
    assert isinstance(test, str)
    assert [len(pd.read_parquet(path)) for path in (train, test)] == [N_ROWS, 2]


def test_what_the_user_does_to_a_variant_does_not_reach_the_original(tmp_path: Path) -> None:
    before = fingerprint(FRAME)
    for name in NAMES:
        variant = leave_out(FRAME, [name], tmp_path, label_name="survived")
        variant.iloc[:, :] = 0
        variant["new"] = 1  # no SettingWithCopyWarning: warnings are errors here
    records = FRAME.to_records(index=False)
    leave_out(records, ["age"], tmp_path)["fare"] = 0
    x = VALUES.copy()
    leave_out(x, ["deck"], tmp_path, feature_names=NAMES)[:] = 0
    assert fingerprint(FRAME) == before
    np.testing.assert_array_equal(records["fare"], FRAME["fare"])
    np.testing.assert_array_equal(x, VALUES)


def test_columns_that_are_called_by_numbers_can_be_left_out(tmp_path: Path) -> None:
    frame = pd.DataFrame({0: [1], ("a", "b"): [2], float("nan"): [3]})
    assert list(leave_out(frame, ["nan"], tmp_path)) == [0, ("a", "b")]
    assert list(leave_out(frame, ["0", "('a', 'b')"], tmp_path).iloc[0]) == [3]


def test_an_index_stays(tmp_path: Path) -> None:
    frame = FRAME.set_index("deck")
    assert leave_out(frame, ["age"], tmp_path, label_name="survived").index.equals(frame.index)
    frame.to_parquet(tmp_path / "data.parquet")
    copied = leave_out(tmp_path / "data.parquet", ["age"], tmp_path, label_name="survived")
    pd.testing.assert_frame_equal(pd.read_parquet(copied), frame.drop(columns="age"))


def test_a_parquet_copy_keeps_types_and_row_groups_and_drops_a_column_whose_name_begins_like_anothers(
    tmp_path: Path,
) -> None:
    table = pa.table(
        {
            "a": pa.array([1, None, 3], pa.int8()),
            "a.b": [1.0, 2.0, float("nan")],
            "deck": pa.array(["x", "y", "x"]).dictionary_encode(),
            "path": pa.array([{"a": 1}, {"a": 2}, None]),
            "embedding": pa.array([[1.0], [], [2.0, 3.0]], pa.list_(pa.float32())),
        }
    )
    pq.write_table(table, tmp_path / "data.parquet", row_group_size=2)
    whole = pq.read_table(tmp_path / "data.parquet")
    for name in table.column_names:
        copied = leave_out(tmp_path / "data.parquet", [name], tmp_path)
        assert str(pq.read_table(copied)) == str(whole.drop_columns([name]))
        assert pq.read_metadata(copied).num_row_groups == 2
        assert copied.name == "data.parquet"


def test_empty_parquet_files_are_copied_too(tmp_path: Path) -> None:
    FRAME[:0].to_parquet(tmp_path / "data.parquet")
    assert list(pd.read_parquet(leave_out(tmp_path / "data.parquet", ["age"], tmp_path))) == [*NAMES[1:], "survived"]


def test_a_csv_copy_keeps_every_other_character_that_counts(tmp_path: Path) -> None:
    lines = [
        '\ufeff"id";name;note;y',
        '01;"a;b";"said ""yes""\n and left";0',
        "",
        "02;Zoë;NA;",
        ";;;1.50",
    ]
    (tmp_path / "data.csv").write_bytes("\r\n".join([*lines, ""]).encode())
    copied = leave_out(tmp_path / "data.csv", ["note"], tmp_path, label_name="y")
    assert copied.read_bytes().decode() == "\r\n".join(["\ufeffid;name;y", '01;"a;b";0', "", "02;Zoë;", ";;1.50", ""])
    (tmp_path / "data.csv").write_bytes("id,name,y\n1,Zoë,0\n".encode("latin-1"))
    copied = leave_out(tmp_path / "data.csv", ["id"], tmp_path, label_name="y")
    assert copied.read_bytes().decode("latin-1") == "name,y\nZoë,0\n"


def test_a_csv_file_whose_lines_do_not_fit_its_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b,y\n1,2,0\n1,2,3,0\n")
    with pytest.raises(ConfigError, match="line 3 has 4 fields, and the header has 3"):
        leave_out(tmp_path / "data.csv", ["a"], tmp_path, label_name="y")


def test_relative_paths_count_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    csv_file(tmp_path)
    monkeypatch.chdir(tmp_path)
    copied = leave_out("train.csv", ["age"], tmp_path, label_name="survived")
    assert list(pd.read_csv(copied)) == [*NAMES[1:], "survived"]


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        ("./data/train.csv", "--files data`.* 'data'"),
        ("../data/train.csv", "--files ../data/train.csv`.* 'train.csv'"),
        (Path("train.parquet"), "--files train.parquet`"),
        (("/nowhere/train", "/nowhere/test"), "--files /nowhere/train`.* 'train'.* all workers see"),
    ],
)
def test_a_missing_file_is_an_error_that_says_how_to_ship_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Any, advice: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=advice):
        leave_out(data, ["age"], tmp_path)


def test_features_that_cannot_be_left_out_are_refused(tmp_path: Path) -> None:
    for names, words in {
        ("aeg",): r"'aeg' is no feature .* Did you mean age\?",
        ("survived",): "the label, which every variant keeps",
        tuple(NAMES): "no feature left",
    }.items():
        with pytest.raises(ConfigError, match=words):
            leave_out(FRAME, list(names), tmp_path, label_name="survived")
    with pytest.raises(ConfigError, match=r"type set.*set_dataset_generator"):
        leave_out({1, 2}, ["age"], tmp_path)


TORCH = {"items": Items(pairs(torch.tensor)), "stream": Stream(pairs(torch.tensor))}


@pytest.mark.parametrize("data", TORCH.values(), ids=TORCH)
def test_a_torch_dataset_can_be_pickled(tmp_path: Path, data: Any) -> None:
    variant = leave_out(data, ["fare"], tmp_path, feature_names=NAMES)
    assert isinstance(variant, IterableDataset) == isinstance(data, IterableDataset)
    assert fingerprint(pickle.loads(pickle.dumps(variant))) == fingerprint(variant)


class Drawing(Dataset):
    """Items with noise of their own, and of a generator of its own."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return N_ROWS

    def __getitem__(self, index: int) -> Any:
        return torch.randn(4) + torch.randn(4, generator=self.generator), index


def test_a_trial_reads_the_same_items_in_the_same_order_with_and_without_a_feature(tmp_path: Path) -> None:
    def seen(names: list[str]) -> tuple[torch.Tensor, list[int]]:
        torch.manual_seed(0)
        loader = DataLoader(leave_out(Drawing(), names, tmp_path, feature_names=NAMES), batch_size=2, shuffle=True)
        values, labels = zip(*loader, strict=True)
        return torch.cat(values), torch.cat(labels).tolist()

    whole, order = seen([])
    without_fare, order_without = seen(["fare"])
    assert order_without == order
    assert torch.equal(without_fare, whole[:, [0, 2, 3]])


def test_a_stream_that_is_there_only_once_is_read_from_its_beginning(tmp_path: Path) -> None:
    class Once(IterableDataset):
        def __init__(self) -> None:
            self.rows = iter(pairs(torch.tensor))

        def __iter__(self) -> Iterator[Any]:
            return self.rows

    variant = leave_out(Once(), ["fare"], tmp_path, feature_names=NAMES)
    np.testing.assert_array_equal(np.stack([values for values, _ in variant]), VALUES[:, [0, 2, 3]])


def test_a_torch_dataset_that_lacks_the_feature_is_refused_at_its_first_item(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'aeg' is no feature .* Did you mean age\?"):
        leave_out(Items(rows()), ["aeg"], tmp_path)[0]
    with pytest.raises(ConfigError, match="feature_names has 2 names"):
        next(iter(leave_out(Stream(pairs(torch.tensor)), ["a"], tmp_path, feature_names=["a", "b"])))


def load_by_workers() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    loaded = {}
    for kind, data in TORCH.items():
        variant = leave_out(data, ["fare"], Path("unused"), feature_names=NAMES)
        [(values, labels)] = DataLoader(variant, batch_size=N_ROWS, num_workers=1)
        loaded[kind] = values.numpy(), labels.numpy()
    return loaded


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """What a process of its own finds: torch leaves a signal handler in it, and pytest's stays without TensorFlow."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return {look.__name__: pool.submit(look).result(timeout=140) for look in (load_by_workers, look_at_tensorflow)}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_dataloaders_workers_read_a_torch_dataset(alone: dict[str, Any]) -> None:
    for values, labels in alone["load_by_workers"].values():
        np.testing.assert_array_equal(values, VALUES[:, [0, 2, 3]])
        assert labels.tolist() == LABELS.tolist()


def test_a_torch_dataset_does_not_hand_out_all_features_by_an_attribute(tmp_path: Path) -> None:
    variant = leave_out(Items(pairs(torch.tensor)), ["fare"], tmp_path, feature_names=NAMES)
    assert len(variant) == N_ROWS
    with pytest.raises(AttributeError, match=r"Items.targets may hold the features .*\(fare\).*set_dataset_generator"):
        _ = variant.targets
    with pytest.raises(AttributeError, match="'Items' object has no attribute 'nothing'"):
        _ = variant.nothing
    with pytest.raises(TypeError, match="len"):
        len(leave_out(Stream(rows()), ["fare"], tmp_path))


def look_at_tensorflow() -> dict[str, Any]:
    """Every kind of tf.data.Dataset, whole and without each feature."""
    import tensorflow as tf

    columns = {name: tf.constant(FRAME[name]) for name in FRAME}
    features = {name: columns[name] for name in NAMES}
    slices = tf.data.Dataset.from_tensor_slices
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "dicts": (slices(columns), {"label_name": "survived"}),
        "batches of dicts": (slices(columns).batch(3).prefetch(1), {"label_name": "survived"}),
        "(dict, label)": (slices((features, LABELS)), {}),
        "(dict, label, weight)": (slices((features, LABELS, LABELS)), {"label_name": "survived"}),
        "values": (slices(VALUES), {"feature_names": NAMES}),
        "(values, label)": (slices((VALUES, LABELS)), {"feature_names": NAMES}),
        "batches of (values, label)": (slices((VALUES, LABELS)).batch(3), {"feature_names": NAMES}),
        "train and test": ((slices(columns), slices(columns).take(2)), {"label_name": "survived"}),
        "tensors": ((tf.constant(VALUES), tf.constant(LABELS)), {"feature_names": NAMES}),
    }
    return {kind: _tensorflow_variants(data, more) for kind, (data, more) in kinds.items()}


def _tensorflow_variants(data: Any, more: dict[str, Any]) -> dict[str, Any]:
    given = {"label_name": None, "feature_names": None, **more}
    before = fingerprint(data)
    variants = {name: without_features(data, [name], **given, folder=Path("unused")) for name in NAMES}
    return {
        "features": features_of(data, **given),
        "whole": _numbers(data),
        "without": {name: _numbers(variant) for name, variant in variants.items()},
        "prints": [before, *map(fingerprint, variants.values())],
        "is unchanged": fingerprint(data) == before,
        "sizes": [_sizes(whole) for whole in (data, *variants.values())],
    }


def _sizes(data: Any) -> list[int]:
    return [len(part) for part in (data if isinstance(data, tuple) else (data,))]


def _numbers(data: Any) -> Any:
    """Everything in NumPy arrays."""
    if isinstance(data, dict):
        return {name: _numbers(value) for name, value in data.items()}
    if isinstance(data, tuple):
        return tuple(map(_numbers, data))
    return data.numpy() if hasattr(data, "numpy") else [_numbers(element) for element in data]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_tensorflow_dataset_lacks_what_is_left_out_and_nothing_else(alone: dict[str, Any]) -> None:
    for kind, seen in alone["look_at_tensorflow"].items():
        assert seen["features"] == NAMES, kind
        assert len(set(seen["prints"])) == 1 + len(NAMES), kind
        assert seen["is unchanged"], kind
        assert seen["sizes"] == [seen["sizes"][0]] * (1 + len(NAMES)), kind
        for name, variant in seen["without"].items():
            assert_equal_without(name, variant, seen["whole"], kind)


def assert_equal_without(name: str, variant: Any, whole: Any, kind: str) -> None:
    assert type(variant) is type(whole), kind
    if isinstance(whole, dict):
        assert list(variant) == [other for other in whole if other != name], kind
        for other, value in variant.items():
            np.testing.assert_array_equal(value, whole[other])
    elif isinstance(whole, (tuple, list)):
        for part, whole_part in zip(variant, whole, strict=True):
            assert_equal_without(name, part, whole_part, kind)
    elif whole.dtype == np.float64 and whole.ndim and whole.shape[-1] == len(NAMES):
        np.testing.assert_array_equal(variant, np.delete(whole, NAMES.index(name), axis=-1))
    else:
        np.testing.assert_array_equal(variant, whole)
