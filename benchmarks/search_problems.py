"""What `bench_search` searches: standard functions, a real network on real digits, and synthetic curves.

A problem gives the curve of reports for one set of hyperparameters, and the true value that it is judged by.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from lagom_magic import Categorical, Float, Int, Ordinal, Searchspace
from lagom_magic.search import Direction

N_EPOCHS = 20
_TABLE = Path(__file__).parent / ".cache" / "digits.json"


@dataclass(frozen=True)
class Problem:
    """A search problem.

    Attributes:
        name: for the tables.
        space: what is searched.
        direction: "max" or "min".
        curve: (hparams, random generator of those hparams) → the metric after each step; the last is the result.
        truth: hparams → the value without noise, by which a search is judged.
        optimum: the best truth there is.
        n_steps: length of a curve.
    """

    name: str
    space: Searchspace
    direction: Direction
    curve: Callable[[dict[str, Any], random.Random], list[float]]
    truth: Callable[[dict[str, Any]], float]
    optimum: float
    n_steps: int = 1


def functions() -> list[Problem]:
    """Problems of one value a trial."""
    return [_branin(), _hartmann6(), _plateau()]


def _branin() -> Problem:
    def truth(h: dict[str, Any]) -> float:
        x, y = h["x"], h["y"]
        bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
        return bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10

    space = Searchspace(x=Float(-5, 10), y=Float(0, 15))
    return Problem("Branin (min)", space, "min", lambda h, _: [truth(h)], truth, 0.39788735772973816)


_HARTMANN_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_HARTMANN_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def _hartmann6() -> Problem:
    def truth(h: dict[str, Any]) -> float:
        x = np.array([h[f"x{i}"] for i in range(6)])
        inner = (_HARTMANN_A * (x - _HARTMANN_P) ** 2).sum(axis=1)
        return float((np.array([1.0, 1.2, 3.0, 3.2]) * np.exp(-inner)).sum())

    space = Searchspace(**{f"x{i}": Float(0, 1) for i in range(6)})
    return Problem("Hartmann-6 (max)", space, "max", lambda h, _: [truth(h)], truth, 3.32236801141551)


def _plateau() -> Problem:
    """Chance level nearly everywhere, as a network with a wrong learning rate; noise of a validation set."""

    def truth(h: dict[str, Any]) -> float:
        distance = ((math.log10(h["lr"]) + 2.5) / 0.8) ** 2 + ((h["depth"] - 5) / 3) ** 2 + (h["dropout"] - 0.2) ** 2
        bonus = 0.05 if h["optimizer"] == "adam" else 0.0
        return max(0.1, 0.9 + bonus - 0.5 * distance)

    space = Searchspace(
        lr=Float(1e-6, 1.0, log=True), depth=Int(1, 12), dropout=Float(0, 0.9), optimizer=Categorical(["sgd", "adam"])
    )
    return Problem(
        "noisy plateau (max)",
        space,
        "max",
        lambda h, rng: [truth(h) + rng.gauss(0, 0.02)],
        truth,
        truth({"lr": 10**-2.5, "depth": 5, "dropout": 0.2, "optimizer": "adam"}),
    )


def crossing_curves() -> Problem:
    """Noisy power laws of a loss whose speed and end are independent, so that curves cross early on."""

    def at(h: dict[str, Any], step: int) -> float:
        end = 0.05 + 0.9 * ((h["a"] - 0.3) ** 2 + (h["b"] - 0.7) ** 2)
        return end + (1 - end) * (step + 1) ** -(0.3 + 1.2 * h["c"])

    return _curves("crossing losses (min)", "min", at, {"a": 0.3, "b": 0.7, "c": 1.0}, noise=0.01)


def late_risers() -> Problem:
    """An accuracy that stays at chance level for up to a third of the time, and then rises: hard to judge early."""

    def at(h: dict[str, Any], step: int) -> float:
        end = 0.95 - 0.8 * ((h["a"] - 0.3) ** 2 + (h["b"] - 0.7) ** 2)
        return 0.1 + (end - 0.1) / (1 + math.exp((20 * h["c"] - step) / 3))

    return _curves("late risers (max)", "max", at, {"a": 0.3, "b": 0.7, "c": 0.0}, noise=0.01)


def _curves(
    name: str, direction: Direction, at: Callable[[dict[str, Any], int], float], best: dict[str, Any], noise: float
) -> Problem:
    def curve(h: dict[str, Any], rng: random.Random) -> list[float]:
        return [at(h, step) + rng.gauss(0, noise) for step in range(60)]

    space = Searchspace(a=Float(0, 1), b=Float(0, 1), c=Float(0, 1))
    return Problem(name, space, direction, curve, lambda h: at(h, 59), at(best, 59), n_steps=60)


def digits() -> Problem:
    """A network on scikit-learn's digits: validation accuracy after each of 20 epochs, all 800 configurations."""
    table = _digits_table()

    def curve(h: dict[str, Any], _: random.Random | None = None) -> list[float]:
        return table[_key(h)]

    best = max(accuracies[-1] for accuracies in table.values())
    return Problem("digits network (max)", _DIGITS_SPACE, "max", curve, lambda h: curve(h)[-1], best, N_EPOCHS)


_DIGITS_SPACE = Searchspace(
    lr=Ordinal([round(10 ** (-3.5 + 0.5 * i), 5) for i in range(10)]),
    width=Ordinal([4, 8, 16, 32, 64]),
    momentum=Ordinal([0.0, 0.5, 0.9, 0.97]),
    batch_size=Ordinal([16, 64]),
    activation=Categorical(["relu", "tanh"]),
)


def _key(h: dict[str, Any]) -> str:
    return json.dumps(h, sort_keys=True)


def _digits_table() -> dict[str, list[float]]:
    """The accuracies of every configuration, trained once (about a minute) and kept in `.cache/`."""
    if not _TABLE.exists():
        names = list(_DIGITS_SPACE)
        choices = [_DIGITS_SPACE[name].choices for name in names]  # type: ignore[attr-defined]
        rows = {_key(h): _train(**h) for values in product(*choices) for h in [dict(zip(names, values, strict=True))]}
        _TABLE.parent.mkdir(exist_ok=True)
        _TABLE.write_text(json.dumps(rows))
    return json.loads(_TABLE.read_text())


def _train(lr: float, width: int, momentum: float, batch_size: int, activation: str) -> list[float]:
    """One hidden layer, softmax, plain SGD with momentum; 600 digits to learn from, 1,197 to judge."""
    images, labels, images_val, labels_val = _digits_data()
    rng = np.random.default_rng(0)
    params = [rng.normal(0, 1 / 8, (64, width)), np.zeros(width), rng.normal(0, width**-0.5, (width, 10)), np.zeros(10)]
    velocity = [np.zeros_like(p) for p in params]
    accuracies = []
    for _ in range(N_EPOCHS):
        order = rng.permutation(len(images))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            gradients = _gradients(params, images[rows], labels[rows], activation)
            velocity = [momentum * v - lr * np.clip(g, -10, 10) for v, g in zip(velocity, gradients, strict=True)]
            params = [p + v for p, v in zip(params, velocity, strict=True)]
        hidden = _activate(images_val @ params[0] + params[1], activation)
        accuracies.append(float(((hidden @ params[2] + params[3]).argmax(axis=1) == labels_val).mean()))
    return accuracies


def _activate(x: np.ndarray, activation: str) -> np.ndarray:
    return np.maximum(x, 0) if activation == "relu" else np.tanh(x)


def _gradients(params: list[np.ndarray], x: np.ndarray, y: np.ndarray, activation: str) -> list[np.ndarray]:
    hidden = _activate(x @ params[0] + params[1], activation)
    logits = hidden @ params[2] + params[3]
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    error = exp / exp.sum(axis=1, keepdims=True)
    error[np.arange(len(y)), y] -= 1
    error /= len(y)
    slope = (hidden > 0) if activation == "relu" else 1 - hidden**2
    back = (error @ params[2].T) * slope
    return [x.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)]


def _digits_data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    if not _DATA:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(images))
        images, labels = images[order] / 16, labels[order]
        _DATA.extend([images[:600], labels[:600], images[600:], labels[600:]])
    return tuple(_DATA)


_DATA: list[np.ndarray] = []
