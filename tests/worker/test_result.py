"""Returned values: numbers become metrics, files are kept, the rest is kept as text with a warning."""

from __future__ import annotations

import os
import pickle
import weakref
from decimal import Decimal
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from sklearn.linear_model import LogisticRegression

from lagom_magic.worker.result import Result, normalise

mpl.use("agg")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def result_of(returned: object, here: Path) -> Result:
    return normalise(returned, "metric", str(here / "trial" / "artifacts"), workdir=str(here / "work"))


def kept(here: Path) -> list[str]:
    folder = here / "trial" / "artifacts"
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    "number",
    [
        1,
        1.0,
        np.float32(1),
        np.int64(1),
        np.array(1.0),
        np.array([1.0]),
        torch.tensor(1.0),
        Decimal(1),
        np.longdouble(1),
    ],
    ids=lambda n: type(n).__name__ + str(np.shape(n)),
)
def test_a_number_is_the_metric(number: object, here: Path) -> None:
    result = result_of(number, here)
    assert result.metrics == {"metric": 1.0}
    assert type(result.metrics["metric"]) is float
    assert (result.values, result.warnings) == ({}, [])


def test_a_tensor_that_wants_gradients_is_a_number(here: Path) -> None:
    assert result_of(torch.tensor(2.0, requires_grad=True), here).metrics == {"metric": 2.0}


def test_a_list_of_numbers_is_counted(here: Path) -> None:
    assert result_of([0.5, np.float32(2)], here).metrics == {"metric_0": 0.5, "metric_1": 2.0}


def test_none_is_nothing(here: Path) -> None:
    assert result_of(None, here) == Result()


NEITHER = ["text", object(), {1, 2}, np.array([object()] * 2), True, [1, "a"], b"x", 1j, np.clongdouble(1)]
TIMES = [np.datetime64("2026-11-29", "ns"), np.timedelta64(3, "ns"), np.ma.masked]


@pytest.mark.parametrize("value", NEITHER + TIMES)
def test_anything_else_is_kept_as_its_repr_with_a_warning(value: object, here: Path) -> None:
    result = result_of(value, here)
    assert result.metrics == {}
    assert result.values == {"value": repr(value)}
    assert type(value).__name__ in result.warnings[0]


def test_the_name_of_a_file_that_is_not_there_is_kept_with_one_warning_that_says_so(here: Path) -> None:
    result = result_of({"accuracy": 1, "plot": "plot.png"}, here)
    assert result.values == {"plot": "'plot.png'"}
    assert result.warnings == ["'plot': there is no file 'plot.png'; the text was kept."]


def test_a_repr_that_raises_or_is_huge_does_no_harm(here: Path) -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    result = result_of({"rude": Rude(), "long": "x" * 1_000_000}, here)
    assert "Rude" in result.values["rude"]
    assert len(result.values["long"]) < 11_000


def test_paths_become_artifacts(here: Path) -> None:
    Path("confusion.png").write_text("own")
    Path("out").mkdir()
    Path("out/a.txt").write_text("a")
    (here / "elsewhere.txt").write_text("elsewhere")
    result = result_of(
        {"accuracy": 0.5, "confusion": "confusion.png", "folder": Path("out"), "far": str(here / "elsewhere.txt")}, here
    )
    assert result.metrics == {"accuracy": 0.5}
    assert result.warnings == []
    assert kept(here) == ["confusion.png", "elsewhere.txt", "out/a.txt"]
    assert not Path("confusion.png").exists()
    assert (here / "elsewhere.txt").exists()


def test_an_input_that_is_returned_is_copied_not_moved(here: Path) -> None:
    (here / "input.csv").write_text("rows")
    Path("input.csv").symlink_to(here / "input.csv")
    result_of({"data": "input.csv"}, here)
    assert kept(here) == ["input.csv"]
    assert Path("input.csv").is_symlink()


@pytest.mark.parametrize("folder", ["project", "work/linked"])
def test_a_file_beside_the_notebook_stays_there_wherever_the_function_went(folder: str, here: Path) -> None:
    (here / "project").mkdir()
    (here / "project" / "table.csv").write_text("precious")
    (here / "work" / "linked").symlink_to(here / "project")
    os.chdir(here / folder)
    result = result_of({"accuracy": 0.9, "table": "table.csv"}, here)
    assert (result.metrics, result.warnings) == ({"accuracy": 0.9}, [])
    assert (here / "project" / "table.csv").read_text() == "precious"
    assert kept(here) == ["table.csv"]


def test_a_file_in_a_linked_folder_becomes_an_artifact_and_stays_there(here: Path) -> None:
    (here / "project").mkdir()
    (here / "project" / "model.json").write_text("{}")
    Path("cfg").symlink_to(here / "project")
    result = result_of({"accuracy": 0.9, "config": "cfg/model.json"}, here)
    assert result.warnings == []
    assert (here / "trial" / "artifacts" / "model.json").read_text() == "{}"
    assert not (here / "trial" / "artifacts" / "model.json").is_symlink()
    assert (here / "project" / "model.json").exists()


@pytest.mark.parametrize("place", ["files", "artifacts/models/best"])
def test_of_the_trials_folder_only_what_lies_in_its_files_moves(place: str, here: Path) -> None:
    folder = here / "trial" / place
    folder.mkdir(parents=True)
    (folder / "model.bin").write_text("weights")
    os.chdir(folder)
    assert result_of({"model": "model.bin"}, here).warnings == []
    assert (here / "trial" / "artifacts" / "model.bin").read_text() == "weights"
    assert (folder / "model.bin").exists() == (place != "files")


def test_a_missing_path_is_told(here: Path) -> None:
    result = result_of({"plot": "plot.png", "name": "adam", "dot": "."}, here)
    assert set(result.values) == {"plot", "name", "dot"}
    assert "no file 'plot.png'" in result.warnings[0]
    assert kept(here) == []


def test_figures_images_and_models_are_saved(here: Path) -> None:
    figure = Figure()
    axes = figure.subplots()
    model = torch.nn.Linear(2, 1)
    forest = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    result = result_of(
        {"figure": figure, "axes": axes, "image": Image.new("L", (2, 2)), "model": model, "forest": forest}, here
    )
    assert result == Result()
    assert kept(here) == ["axes.png", "figure.png", "forest.pkl", "image.png", "model.pt"]
    artifacts = here / "trial" / "artifacts"
    assert torch.load(artifacts / "model.pt").keys() == model.state_dict().keys()
    assert pickle.loads((artifacts / "forest.pkl").read_bytes()).predict([[1.0]]) == [1]


def test_a_model_alone_is_the_model(here: Path) -> None:
    result_of(torch.nn.Linear(2, 1), here)
    assert kept(here) == ["model.pt"]


PICTURES = {
    "gray bytes": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "one colour": np.zeros((3, 4, 1), dtype=np.uint8),
    "colours": np.full((3, 4, 3), 0.5),
    "with alpha": np.ones((3, 4, 4), dtype=np.float16),
    "tensor": torch.rand(3, 4),
    "tensor, colours first": torch.rand(3, 5, 4),
    "tensor, colours last": torch.zeros(5, 4, 3, dtype=torch.uint8),
    "half precision": torch.rand(1, 5, 4, dtype=torch.bfloat16),
    "with gradients": torch.rand(3, 4, requires_grad=True),
}
NO_PICTURES = {
    "counts": np.array([[50, 2], [3, 45]]),
    "beyond one": np.array([[0.0, 1.5], [0.2, 0.3]]),
    "not a number": np.array([[0.0, np.nan], [0.2, 0.3]]),
    "negative": -np.ones((3, 4)),
    "a vector": np.zeros(3),
    "a row": np.zeros((1, 8)),
    "two colours": np.zeros((4, 4, 2)),
    "colours first": np.zeros((3, 4, 5)),
    "four dimensions": np.zeros((2, 3, 4, 4)),
    "empty": np.zeros((0, 4)),
    "truths": np.ones((3, 4), dtype=bool),
    "words": np.array(["a", "b"]),
    "complex": np.ones((3, 4), dtype=complex),
    "a tensor of counts": torch.ones(3, 4, dtype=torch.int64),
    "a sparse tensor": torch.eye(3).mul(2).to_sparse(),
}


@pytest.mark.parametrize("what", PICTURES)
def test_an_array_that_can_be_an_image_is_kept_as_both(what: str, here: Path) -> None:
    array = PICTURES[what]
    result = result_of({"picture": array, "loss": 1}, here)
    assert (result.values, result.warnings) == ({}, [])
    assert kept(here) == ["picture.npy", "picture.png"]
    stored = np.load(here / "trial" / "artifacts" / "picture.npy")
    as_numpy = array if isinstance(array, np.ndarray) else array.detach().float().numpy()
    np.testing.assert_array_equal(stored, as_numpy)
    with Image.open(here / "trial" / "artifacts" / "picture.png") as image:
        assert image.size == (4, 5 if 5 in array.shape else 3)


def test_pixels_are_those_of_the_array(here: Path) -> None:
    colours = torch.zeros(3, 2, 5)
    colours[0, 1, 4] = 1.0
    colours[2, 0, 0] = 0.5
    result_of({"picture": colours}, here)
    with Image.open(here / "trial" / "artifacts" / "picture.png") as image:
        assert (image.size, image.mode) == ((5, 2), "RGB")
        assert image.getpixel((4, 1)) == (255, 0, 0)
        assert image.getpixel((0, 0)) == (0, 0, 128)
        assert image.getpixel((1, 1)) == (0, 0, 0)


@pytest.mark.parametrize("what", NO_PICTURES)
def test_any_other_array_is_kept_as_it_is(what: str, here: Path) -> None:
    array = NO_PICTURES[what]
    result = result_of({"confusion": array, "loss": 1}, here)
    assert (result.metrics, result.values, result.warnings) == ({"loss": 1.0}, {}, [])
    assert kept(here) == ["confusion.npy"]
    stored = np.load(here / "trial" / "artifacts" / "confusion.npy")
    as_numpy = array if isinstance(array, np.ndarray) else array.to_dense().numpy()
    np.testing.assert_array_equal(stored, as_numpy)


@pytest.mark.filterwarnings("ignore:Sparse CS. tensor support is in beta")
@pytest.mark.parametrize("layout", ["to_sparse_csr", "to_sparse_csc"])
def test_a_compressed_sparse_tensor_is_kept_as_an_array(layout: str, here: Path) -> None:
    sparse = torch.sparse_coo_tensor([[0, 2], [1, 2]], [5.0, 7.0], (3, 4), check_invariants=True)
    result = result_of({"confusion": getattr(sparse, layout)()}, here)
    assert (result.values, result.warnings, kept(here)) == ({}, [], ["confusion.npy"])
    np.testing.assert_array_equal(np.load(here / "trial" / "artifacts" / "confusion.npy"), sparse.to_dense().numpy())


def test_a_sparse_tensor_that_would_be_huge_stays_sparse(here: Path) -> None:
    sparse = torch.sparse_coo_tensor([[0], [11_999]], [1.0], (12_000, 12_000), check_invariants=True)
    result = result_of({"adjacency": sparse}, here)
    assert (result.values, result.warnings, kept(here)) == ({}, [], ["adjacency.pt"])
    path = here / "trial" / "artifacts" / "adjacency.pt"
    assert path.stat().st_size < 100_000
    assert torch.load(path).coalesce().indices().tolist() == [[0], [11_999]]


def test_an_array_of_more_pixels_than_a_picture_has_is_kept_without_one(here: Path) -> None:
    result = result_of({"map": np.zeros((4_000, 5_000), dtype=np.uint8)}, here)
    assert (result.warnings, kept(here)) == ([], ["map.npy"])


@pytest.mark.parametrize("mode", ["CMYK", "F", "YCbCr", "HSV", "RGBX"])
def test_an_image_of_a_mode_that_png_lacks_is_kept_in_colours(mode: str, here: Path) -> None:
    result = result_of({"picture": Image.new("L", (3, 2), 200).convert(mode)}, here)
    assert (result.values, result.warnings, kept(here)) == ({}, [], ["picture.png"])
    with Image.open(here / "trial" / "artifacts" / "picture.png") as image:
        assert (image.mode, image.size) == ("RGB", (3, 2))
        assert max(abs(colour - 200) for colour in image.getpixel((0, 0))) <= 2


def test_an_image_of_whole_numbers_keeps_sixteen_bits(here: Path) -> None:
    result_of({"picture": Image.new("I", (3, 2), 40_000)}, here)
    with Image.open(here / "trial" / "artifacts" / "picture.png") as image:
        assert image.getpixel((0, 0)) == 40_000


def test_an_image_of_numbers_up_to_one_is_not_black(here: Path) -> None:
    result_of({"picture": Image.new("F", (3, 2), 0.5)}, here)
    with Image.open(here / "trial" / "artifacts" / "picture.png") as image:
        assert image.getpixel((0, 0)) == (127, 127, 127)


def test_an_array_alone_and_two_of_one_name_are_kept(here: Path) -> None:
    result_of(np.zeros((2, 2), dtype=np.uint8), here)
    result_of({"value": np.zeros(3)}, here)
    assert kept(here) == ["value.npy", "value.png", "value_2.npy"]


def test_an_array_that_does_not_fit_on_the_disk_leaves_no_half(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: object, array: object, **_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.save", full)
    result = result_of({"picture": np.zeros((2, 2)), "loss": 1}, here)
    assert result.metrics == {"loss": 1.0}
    assert "No space left" in result.warnings[0]
    assert "picture" in result.values
    assert kept(here) == []


def test_an_array_whose_image_cannot_be_made_is_still_kept(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("no encoder")

    monkeypatch.setattr("PIL.Image.fromarray", broken)
    result = result_of({"picture": np.zeros((2, 2))}, here)
    assert "no encoder" in result.warnings[0]
    assert (result.values, kept(here)) == ({}, ["picture.npy"])


def test_what_cannot_be_saved_is_told_and_kept_as_text(here: Path) -> None:
    class Broken(Figure):
        def savefig(self, *args: object, **kwargs: object) -> None:
            raise OSError("disk full")

    result = result_of({"figure": Broken(), "loss": 1}, here)
    assert result.metrics == {"loss": 1.0}
    assert "disk full" in result.warnings[0]
    assert "figure" in result.values


def test_a_model_that_cannot_be_saved_leaves_no_half(here: Path) -> None:
    model = LogisticRegression()
    model.rows = (row for row in ())
    result = result_of({"model": model, "loss": 1}, here)
    assert result.metrics == {"loss": 1.0}
    assert "generator" in result.warnings[0]
    assert (list(result.values), kept(here)) == (["model"], [])


class _Thing:
    """Only a weak reference leads to it."""


class _Item:
    def item(self) -> float:
        raise KeyError("nothing")


class _Closed:
    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"closed: {name}")


class _NoPath:
    def __fspath__(self) -> str:
        raise ValueError("no path")


class _Tongue(Exception):
    def __str__(self) -> str:
        raise ValueError("tied")


class _Mute:
    def item(self) -> float:
        raise _Tongue


ODD = {
    "an item that raises": _Item(),
    "attributes that raise": _Closed(),
    "a path that raises": _NoPath(),
    "a proxy of what is gone": weakref.proxy(_Thing()),
    "an error without words": _Mute(),
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_object_does_not_cost_the_numbers_beside_it(what: str, here: Path) -> None:
    result = result_of({"accuracy": 0.9, "thing": ODD[what], "loss": 0.1}, here)
    assert result.metrics == {"accuracy": 0.9, "loss": 0.1}
    assert list(result.values) == ["thing"]
    assert "'thing'" in result.warnings[0]
    assert "its repr was kept" in result.warnings[-1]


@pytest.mark.parametrize("what", ODD)
def test_an_odd_object_alone_or_in_a_list_is_kept_as_its_repr(what: str, here: Path) -> None:
    for returned in (ODD[what], [0.5, ODD[what]]):
        result = result_of(returned, here)
        assert (result.metrics, list(result.values)) == ({}, ["value"])
        assert result.warnings


def test_a_key_that_has_no_text_does_not_cost_the_numbers(here: Path) -> None:
    class Key:
        def __str__(self) -> str:
            raise ValueError("no text")

    result = result_of({"accuracy": 0.9, Key(): 0.1}, here)
    assert result.metrics == {"accuracy": 0.9, "Key": 0.1}


def test_two_files_of_one_name_are_both_kept(here: Path) -> None:
    for name in ("a", "b"):
        os.mkdir(name)
        Path(name, "x.txt").write_text(name)
    result_of({"first": "a/x.txt", "second": "b/x.txt"}, here)
    assert kept(here) == ["x.txt", "x_2.txt"]


def test_countless_values_are_cut_and_numbers_stay(here: Path) -> None:
    result = result_of({**{f"v{i}": [i] for i in range(5000)}, "loss": 1}, here)
    assert result.metrics == {"loss": 1.0}
    assert len(result.values) == 200
    assert "4,800" in result.warnings[-1]
    assert "dropped" in result.warnings[-1]
    assert len(result.warnings) == 201


def test_countless_numbers_are_cut_and_the_metric_stays(here: Path) -> None:
    result = result_of({**{f"n{i}": i for i in range(20_000)}, "metric": 7}, here)
    assert len(result.metrics) == 10_001
    assert result.metrics["metric"] == 7.0
    assert result.warnings[-1].startswith("10,000 numbers")


def test_countless_missing_paths_do_not_make_countless_warnings(here: Path) -> None:
    assert len(result_of({f"p{i}": f"no/{i}" for i in range(5000)}, here).warnings) <= 401


@pytest.mark.parametrize("kind", ["pipe", "linked pipe", "device"])
def test_what_is_no_file_is_told_and_neither_waited_for_nor_fatal(kind: str, here: Path) -> None:
    os.mkfifo("pipe")
    Path("link").symlink_to("pipe")
    path = {"pipe": "pipe", "linked pipe": "link", "device": "/dev/zero"}[kind]
    result = result_of({"file": path, "loss": 1}, here)
    assert result.metrics == {"loss": 1.0}
    assert "pipe, a socket or a device" in result.warnings[0]
    assert result.values == {"file": repr(path)}


def test_a_folder_that_cannot_be_copied_whole_is_told_and_the_rest_is_kept(here: Path) -> None:
    Path("out").mkdir()
    Path("out/a.txt").write_text("a")
    os.mkfifo("out/pipe")
    result = result_of({"out": "out", "loss": 1}, here)
    assert result.metrics == {"loss": 1.0}
    assert "could not be kept whole" in result.warnings[0]
    assert kept(here) == ["out/a.txt"]


def test_links_in_a_folder_that_lead_nowhere_or_in_a_circle_do_no_harm(here: Path) -> None:
    Path("out").mkdir()
    Path("out/a.txt").write_text("a")
    Path("out/gone").symlink_to("nowhere")
    Path("out/circle").symlink_to(".")
    result = result_of({"out": "out", "loss": 1}, here)
    assert (result.metrics, result.warnings) == ({"loss": 1.0}, [])
    assert "out/a.txt" in kept(here)


def test_a_file_that_does_not_fit_on_the_disk_leaves_no_half(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: str) -> None:
        Path(target).write_text("ha")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copy2", full)
    (here / "far.txt").write_text("half")
    result = result_of({"far": str(here / "far.txt"), "loss": 1}, here)
    assert result.metrics == {"loss": 1.0}
    assert "No space left" in result.warnings[0]
    assert kept(here) == []
