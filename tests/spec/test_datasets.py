"""Features are listed for every kind of data, and what cannot be listed is refused with the way out."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark.sql
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from lagom_magic.errors import ConfigError
from lagom_magic.spec.datasets import check_left_out, features_of, shape_of_features

NAMES = ["age", "fare", "class"]
FRAME = pd.DataFrame({"age": [1.0, np.nan], "fare": [3.0, 4.0], "class": ["a", "b"], "survived": [0, 1]})
X, Y = np.arange(6.0).reshape(2, 3), np.array([0, 1])
Split = namedtuple("Split", ["train", "test"])


class Rows(Dataset):
    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Stream(IterableDataset):
    def __init__(self, *items: Any) -> None:
        self.items = items

    def __iter__(self) -> Any:
        yield from self.items


def columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): list(frame[name]) for name in frame}


TABLES = {
    "pandas": FRAME,
    "dict of lists": columns(FRAME),
    "dict of arrays": {name: np.array(values) for name, values in columns(FRAME).items()},
    "dict of tensors": {name: torch.zeros(2, 5) for name in FRAME},
    "dict of pyarrow arrays": dict(zip(FRAME, pa.table(FRAME).columns, strict=True)),
    "pyarrow": pa.table(FRAME),
    "records": FRAME.to_records(index=False),
    "torch dicts": Rows(dict.fromkeys(FRAME, 1.0)),
    "torch stream of dicts": Stream(dict.fromkeys(FRAME, 1.0)),
    "train and test": (FRAME, FRAME.iloc[:1]),
    "test without a label": [FRAME, FRAME.drop(columns="survived")],
    "named pair": Split(FRAME, FRAME),
}


@pytest.mark.parametrize("data", TABLES.values(), ids=TABLES)
def test_a_tables_columns_are_features_but_for_the_label(data: object) -> None:
    assert features_of(data, "survived", None) == NAMES
    assert features_of(data, "survived", ["class", "age"]) == ["class", "age"]
    with pytest.raises(ConfigError, match=r"label_name='survivd' is no column .* Did you mean survived\?"):
        features_of(data, "survivd", None)
    with pytest.raises(ConfigError, match=r"'fair' is no column .* Did you mean fare\?"):
        features_of(data, "survived", ["fair"])


ARRAYS = {
    "an array": X,
    "lists": X.tolist(),
    "(X, y)": (X, Y),
    "(X, y) of lists": (X.tolist(), Y.tolist()),
    "[X, y] of lists": [X.tolist(), Y.tolist()],
    "(X, y) of tensors": (torch.tensor(X), torch.tensor(Y)),
    "(X, y) with y as wide as X": (X, X),
    "(X, y, weights)": (X, Y, Y),
    "(X, y) with a y that has a name": (X, pd.Series(Y, name="survived")),
    "Keras' order": (X, Y, X[:1], Y[:1]),
    "scikit-learn's order": (X, X[:1], Y, Y[:1]),
    "Keras' pairs": ((X, Y), (X[:1], Y[:1])),
    "series of rows": (np.zeros((2, 7, 3)), Y),
    "TensorDataset": TensorDataset(torch.tensor(X), torch.tensor(Y)),
    "torch (values, label)": Rows((torch.zeros(3), 1)),
    "torch [values, label]": Rows([np.zeros(3), 1]),
    "torch values": Rows(torch.zeros(3)),
    "torch lists": Rows([1.0, 2.0, 3.0]),
    "torch tuples": Rows(((1.0, 2.0, 3.0), 1)),
    "torch stream": Stream((torch.zeros(3), 1)),
}


@pytest.mark.parametrize("data", ARRAYS.values(), ids=ARRAYS)
def test_arrays_have_the_names_that_are_given(data: object) -> None:
    assert features_of(data, None, NAMES) == NAMES
    assert features_of(data, None, np.array(NAMES)) == NAMES  # as scikit-learn's data sets have them
    assert features_of(data, "fare", pd.Index(NAMES)) == ["age", "class"]
    with pytest.raises(ConfigError, match=r"Give feature_names=\[…\], one for each of its 3 columns"):
        features_of(data, None, None)
    with pytest.raises(ConfigError, match=r"feature_names has 2 names, and .* 3 columns"):
        features_of(data, None, NAMES[:2])


LABELS_APART = {
    "(DataFrame, Series)": (FRAME[NAMES], FRAME["survived"]),
    "(DataFrame, array)": (FRAME[NAMES], Y),
    "(DataFrame, DataFrame)": (FRAME[NAMES], FRAME[["survived"]]),
    "(dict, labels)": (dict.fromkeys(NAMES, X[:, 0]), Y),
    "(dict, labels, no weights)": (dict.fromkeys(NAMES, X[:, 0]), Y, None),
    "scikit-learn's order": (FRAME[NAMES], FRAME[NAMES], FRAME["survived"], FRAME["survived"]),
    "pairs": ((FRAME[NAMES], Y), (FRAME[NAMES], Y)),
    "torch (dict, label)": Rows((dict.fromkeys(NAMES, 1.0), 1)),
    "torch stream of (dict, label)": Stream((dict.fromkeys(NAMES, 1.0), 1)),
}


@pytest.mark.parametrize("data", LABELS_APART.values(), ids=LABELS_APART)
def test_labels_that_lie_apart_are_no_features_and_need_no_name(data: object) -> None:
    assert features_of(data, None, None) == NAMES
    assert features_of(data, "survived", None) == NAMES


def test_columns_that_are_called_by_numbers_are_named_by_their_text() -> None:
    assert features_of(pd.DataFrame({0: [1], ("a", "b"): [2], float("nan"): [3]}), "0", None) == ["('a', 'b')", "nan"]


def test_a_path_of_parquet_files_has_their_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FRAME.set_index("age", drop=False).rename_axis("row").to_parquet(tmp_path / "one.parquet")
    (tmp_path / "many" / "inner").mkdir(parents=True)
    (tmp_path / "many" / "_SUCCESS").touch()
    pq.write_table(pa.table(FRAME), tmp_path / "many" / "inner" / "part-0.parquet")
    monkeypatch.chdir(tmp_path)
    for path in ("one.parquet", Path("one.parquet"), "many", "many/", f"file://{tmp_path}/many"):
        assert features_of(path, "survived", None) == NAMES, path
    assert features_of(("many", "one.parquet"), "survived", None) == NAMES
    assert features_of(["many", "one.parquet"], "survived", None) == NAMES


@pytest.mark.parametrize(
    "text",
    [
        "age,fare,class,survived\n1,2,a,0\n",
        "age;fare;class;survived\r\n1,5;2;a;0\r\n",
        '\ufeff"age"\t"fare"\t"class"\t"survived"\n1\t2\ta\t0\n',
        ",age,fare,class,survived\n0,1,2,a,0\n",
    ],
    ids=["commas", "semicolons and \\r\\n", "tabs, quotes and a byte order mark", "pandas' index"],
)
def test_a_csv_files_header_names_its_columns(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.csv").write_text(text, newline="")
    assert features_of(tmp_path / "data.csv", "survived", None) == NAMES
    assert features_of(str(tmp_path / "data.csv"), "survived", None) == NAMES


def test_files_that_have_no_columns_to_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("numbers.csv").write_text("1,2,3\n4,5,6\n")
    Path("empty.csv").touch()
    Path("folder.csv").mkdir()
    Path("notes.txt").write_text("no data")
    Path("broken.parquet").write_text("no data")
    Path("by_year/year=2024").mkdir(parents=True)
    pq.write_table(pa.table(FRAME), "by_year/year=2024/part.parquet")
    for path, words in {
        "numbers.csv": "has no header: its first line is '1,2,3'",
        "empty.csv": "has no header",
        "folder.csv": "is a folder",
        "notes.txt": "neither a Parquet file .* nor a CSV file",
        "broken.parquet": "cannot be read as Parquet",
        "by_year": r"keeps the column 'year' in the names of its folders \(year=2024\)",
        "folder.csv/..": "keeps the column 'year'",
        "mnist": "no file or folder 'mnist'",
        "https://example.org/data.csv": "read from local paths only",
    }.items():
        with pytest.raises(ConfigError, match=words):
            features_of(path, None, None)


GIVEN = (None, ["a", "b"])
OTHERS = {
    "nothing": (None, *GIVEN, r"type NoneType.*set_dataset_generator"),
    "a DataLoader": (DataLoader(Rows(1)), *GIVEN, r"type torch.DataLoader.*Known: .*a torch Dataset.*generator\(fn\)"),
    "a function": (print, *GIVEN, "builtin_function_or_method"),
    "a dict of settings": ({"age": [1], "lr": 0.1}, *GIVEN, "'lr' is float"),
    "a dict of tables": ({"train": FRAME, "test": FRAME}, *GIVEN, r"'train' is pandas.DataFrame of shape \(2, 4\)"),
    "an empty tuple": ((), *GIVEN, "empty tuple"),
    "a row": (Y, *GIVEN, r"shape \(2,\).*rows and columns"),
    "an empty torch dataset": (Rows(), *GIVEN, "empty"),
    "an empty stream": (Stream(), *GIVEN, "empty"),
    "pictures": (Rows((print, 1)), *GIVEN, r"An item of Rows is tuple.*set_dataset_generator"),
    "single values": (Rows((torch.tensor(1.0), 1)), *GIVEN, "values in a row"),
    "tables that differ": (
        (FRAME, FRAME.drop(columns="fare")),
        "survived",
        None,
        r"Parts 1 and 2 .* only one of them has fare",
    ),
    "four alike": ((X, X, X, X), None, NAMES, r"Which of the 4 arrays .*\(\(X_train, y_train\), \(X_test, y_test\)\)"),
    "double columns": (FRAME.set_axis(["age", "age", "class", "y"], axis=1), "y", None, "more than one column age"),
    "double after all": (pd.DataFrame({1: [1], "1": [2]}), None, None, "more than one column 1"),
}


@pytest.mark.parametrize(("data", "label_name", "names", "words"), OTHERS.values(), ids=OTHERS)
def test_other_data_are_refused_by_naming_them(
    data: object, label_name: str | None, names: list[str] | None, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        features_of(data, label_name, names)


class Drawing(Dataset):
    """Each item has noise of its own."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return torch.randn(3), random.random() + np.random.rand()


def drawn() -> list[float]:
    return [random.random(), np.random.rand(), float(torch.rand(()))]


def seeded() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


def test_a_look_at_the_data_draws_no_random_numbers() -> None:
    seeded()
    expected = drawn()
    seeded()
    assert features_of(Drawing(), None, NAMES) == NAMES
    assert shape_of_features(Drawing()) == (3,)
    assert drawn() == expected


class Once(IterableDataset):
    def __init__(self) -> None:
        self.rows = iter([(torch.zeros(3), 1)] * 5)

    def __iter__(self) -> Any:
        yield from self.rows


class ItsOwnIterator(IterableDataset):
    n_left = 5

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        if not self.n_left:
            raise StopIteration
        self.n_left -= 1
        return torch.zeros(3), 1


@pytest.mark.parametrize("make", [Once, ItsOwnIterator])
def test_items_that_can_be_read_only_once_are_not_used_up_by_a_look(make: Any) -> None:
    data = make()
    with pytest.raises(ConfigError, match=r"can be read only once.*Let __iter__ make a new iterator each time"):
        features_of(data, None, NAMES)
    assert shape_of_features(data) is None
    assert len(list(data)) == 5


SHAPES = {
    "(X, y)": ((X, Y), (3,)),
    "(X, y) of lists": ((X.tolist(), Y.tolist()), (3,)),
    "scikit-learn's order": ((X, X[:1], Y, Y[:1]), (3, 3)),
    "pairs": (((X, Y), (X[:1], Y[:1])), (3, 3)),
    "series of rows": ((np.zeros((2, 7, 3)), Y), (3,)),
    "pandas": (FRAME, (4,)),
    "(DataFrame, Series)": ((FRAME[NAMES], FRAME["survived"]), (3,)),
    "records": (FRAME.to_records(index=False), (4,)),
    "a dict of X and y": ({"x": X, "y": Y}, (2, 3)),
    "TensorDataset": (TensorDataset(torch.tensor(X), torch.tensor(Y)), (3,)),
    "torch (values, label)": (Rows((torch.zeros(3), 1)), (3,)),
    "torch (dict, label)": (Rows((dict.fromkeys(NAMES, 1.0), 1)), (3,)),
    "torch stream": (Stream((torch.zeros(3), 1)), (3,)),
    "train and test loaders": ((DataLoader(Rows((torch.zeros(3), 1))), DataLoader(Rows((torch.zeros(3), 1)))), (3, 3)),
    "an empty torch dataset": (Rows(), None),
    "labels alone": (Y, None),
    "something else": (print, None),
}


@pytest.mark.parametrize(("data", "shape"), SHAPES.values(), ids=SHAPES)
def test_the_shape_of_features_says_how_wide_data_are_that_have_no_names(data: object, shape: Any) -> None:
    assert shape_of_features(data) == shape


def test_a_spark_data_frame_is_named_with_the_way_to_pandas() -> None:
    frame = object.__new__(pyspark.sql.DataFrame)
    words = r"a Spark DataFrame, which no trial can read. Give frame.toPandas\(\), or .*parquet"
    for data in (frame, (frame, frame), {"train": frame}):
        with pytest.raises(ConfigError, match=words):
            features_of(data, None, None)


def test_names_with_line_breaks_and_control_characters_are_one_line_of_a_message(tmp_path: Path) -> None:
    names = ["a\nb", "c\x1b[31m", " ", "fare"]
    frame = pd.DataFrame([[1.0] * 4], columns=names)
    pq.write_table(pa.table({"a\nb": [1.0]}), tmp_path / "data.parquet")
    errors = []
    for refused in (
        lambda: features_of(frame, "a\nbb", None),
        lambda: features_of(tmp_path / "data.parquet", "y", None),
        lambda: features_of(frame.set_axis(["a\nb"] * 4, axis=1), None, None),
        lambda: features_of((frame, frame.drop(columns="c\x1b[31m")), "fare", None),
        lambda: check_left_out(["a\nb"], ["a\nb"], None),
        lambda: check_left_out(["fair"], names, None),
        lambda: check_left_out(["a\nb"], names, "a\nb"),
        lambda: features_of({"a\nb": 1.0}, None, None),
    ):
        with pytest.raises(ConfigError) as caught:
            refused()
        errors.append(str(caught.value))
    assert all(error.isprintable() for error in errors), errors
    assert r"it has: 'a\nb', 'c\x1b[31m', ' ', fare." in errors[0]
    assert errors[0].endswith(r"Did you mean 'a\nb'?")


def test_names_must_be_a_list_without_doubles() -> None:
    with pytest.raises(ConfigError, match=r"the text 'age'. Give a list: \['age'\]"):
        features_of(X, None, "age")
    with pytest.raises(ConfigError, match="more than one column age"):
        features_of(X, None, ["age", "age", "fare"])


def test_what_cannot_be_left_out_is_refused_before_anything_runs() -> None:
    check_left_out(["age", "fare"], NAMES, "survived")
    with pytest.raises(ConfigError, match=r"'aeg' is no feature of the dataset; it has: age.* Did you mean age\?"):
        check_left_out(["aeg"], NAMES, "survived")
    with pytest.raises(ConfigError, match="'survived' is the label, which every variant keeps"):
        check_left_out(["survived"], NAMES, "survived")
    with pytest.raises(ConfigError, match="no feature left"):
        check_left_out(NAMES, NAMES, "survived")


def test_a_long_list_of_columns_is_cut_in_messages() -> None:
    with pytest.raises(ConfigError, match=r"c19 … \(300 in all\)\. Did you mean c29"):
        features_of({f"c{i}": [1] for i in range(300)}, "c299x", None)


def test_no_package_is_imported_to_look_at_data() -> None:
    source = (
        "import sys; from lagom_magic.spec.datasets import features_of; "
        "assert features_of({'a': [1], 'b': [2]}, 'b', None) == ['a']; "
        "sys.exit(', '.join({'numpy', 'pandas', 'torch', 'tensorflow', 'pyarrow', 'polars'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
