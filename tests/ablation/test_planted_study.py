"""A study whose truth is known by construction: what matters is found, and what does not matter is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lagom_magic import AblationConfig, AblationStudy, Run, Switch
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.experiment import launch

Ablate = Callable[..., Run]


@pytest.fixture
def ablate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ablate:
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))

    def start(train_fn: Callable[..., Any], study: AblationStudy, **options: Any) -> Run:
        config = AblationConfig(ablation_study=study, workers=2, optimization_key="accuracy", **options)
        return launch(
            train_fn, config, ui="none", make_launcher=lambda kit, _, n_workers: ProcessLauncher(kit, n_workers)
        )

    return start


def make_frame(n_rows: int = 4000, seed: int = 0) -> pd.DataFrame:
    """`strong` and `weak` decide the label.

    `noise` says nothing of it, but a network fits it, so its absence can help a little; of `constant` there is nothing
    to fit.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    strong, weak, noise = rng.standard_normal((3, n_rows))
    y = (2 * strong + weak + 0.3 * rng.standard_normal(n_rows) > 0).astype("float32")
    return pd.DataFrame({"strong": strong, "weak": weak, "noise": noise, "constant": 0.0, "y": y})


def make_net(n_features: int = 4) -> Any:
    """All that is known passes through `vital`; what `useless` says is multiplied by zero."""
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vital = nn.Linear(n_features, 8)
            nn.init.normal_(self.vital.weight, std=0.5)  # whatever the number of features
            self.useless = nn.Linear(8, 8)
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            h = self.vital(x).tanh()
            return self.head(h + 0 * self.useless(h)).squeeze(1)

    return Net()


def fit(model, dataset, clean_labels: Switch() = True):
    """A split of its own for each seed; without clean labels 45 % of the zeros are called one."""
    import torch

    torch.set_num_threads(1)  # beside another worker on as few cores as this
    x = torch.tensor(dataset.drop(columns="y").to_numpy(), dtype=torch.float32)
    y = torch.tensor(dataset["y"].to_numpy())
    order = torch.randperm(len(x))
    train, test = order[:400], order[400:2400]
    labels = y[train]
    if not clean_labels:
        labels = torch.where(torch.rand(len(labels)) < 0.45, 1.0, labels)
    net = model(x.shape[1])
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(net(x[train]), labels).backward()
        optimizer.step()
    with torch.no_grad():
        accuracy = ((net(x[test]) > 0) == (y[test] > 0)).float().mean()
    return {"accuracy": accuracy}


def make_study() -> AblationStudy:
    study = AblationStudy(dataset=make_frame(), label_name="y", model=make_net)
    study.features.include()
    study.model.layers.include("vital", "useless")
    return study


def evidence(ablate: Ablate, seed: int) -> dict[str, str]:
    """Component → what a study with this seed says of it, worst loss first."""
    table = ablate(fit, make_study(), repeats=6, seed=seed).ablation
    return dict(zip(table["component"], table["evidence"], strict=True))


PLANTED, USELESS = {"strong", "weak", "vital", "clean_labels"}, {"constant", "useless"}


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_study_is_recovered(ablate: Ablate, seed: int) -> None:
    found = evidence(ablate, seed)
    assert {name for name, says in found.items() if says == "worse"} == PLANTED
    assert all(found[name] == "none" for name in USELESS)
    ranking = [name for name in found if name in PLANTED]
    assert ranking[0] == "vital"
    assert ranking.index("strong") < ranking.index("weak")


@pytest.mark.soak
def test_a_planted_study_is_recovered_in_nearly_all_of_20_seeds(ablate: Ablate) -> None:
    n_right = dict.fromkeys(PLANTED | USELESS, 0)
    for seed in range(100, 120):
        found = evidence(ablate, seed)
        for name in PLANTED:
            n_right[name] += found[name] == "worse"
        for name in USELESS:
            n_right[name] += found[name] == "none"
        assert found["noise"] != "worse"
    assert all(n_right[name] >= 18 for name in PLANTED), n_right
    assert all(n_right[name] >= 19 for name in USELESS), n_right


def fit_twins(model, dataset):
    """As `fit`, without a switch."""
    import torch

    torch.set_num_threads(1)  # beside another worker on as few cores as this
    x = torch.tensor(dataset.drop(columns="y").to_numpy(), dtype=torch.float32)
    y = torch.tensor(dataset["y"].to_numpy())
    order = torch.randperm(len(x))
    train, test = order[:400], order[400:2400]
    net = model(x.shape[1])
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(net(x[train]), y[train]).backward()
        optimizer.step()
    with torch.no_grad():
        return {"accuracy": ((net(x[test]) > 0) == (y[test] > 0)).float().mean()}


def test_pairs_find_a_planted_interaction(ablate: Ablate) -> None:
    """Either of two copies can be done without, both cannot."""
    frame = make_frame().assign(twin=lambda data: data["strong"])
    study = AblationStudy(dataset=frame, label_name="y", model=make_net)
    study.features.include("strong", "twin", "noise")
    table = ablate(fit_twins, study, repeats=5, order=2).ablation.set_index("component")
    both = table.loc["strong + twin"]
    assert both["delta"] < -0.2
    assert both["evidence"] == "worse"
    assert both["interaction_p_holm"] < 0.01
    assert both["interaction_high"] < -0.1
    for other in ("strong + noise", "noise + twin" if "noise + twin" in table.index else "twin + noise"):
        assert table.loc[other, "interaction_p_holm"] > 0.05


def test_repeats_go_on_until_the_intervals_are_narrow_or_the_budget_is_spent(ablate: Ablate) -> None:
    study = AblationStudy(dataset=make_frame(), label_name="y", model=make_net)
    study.features.include("weak", "noise")
    wide = ablate(fit_twins, study, repeats=3)
    widest = float((wide.ablation["ci_high"] - wide.ablation["ci_low"]).max())
    narrow = ablate(fit_twins, study, repeats=3, until_width=widest / 3, num_trials=200)
    table = narrow.ablation.set_index("component").drop("baseline")
    assert (table["ci_high"] - table["ci_low"]).max() <= widest / 3
    assert len(narrow.trials) < 200
    assert table["n"].max() > 3
    spent = ablate(fit_twins, study, repeats=3, until_width=1e-9, num_trials=20)
    assert len(spent.trials) == 20
