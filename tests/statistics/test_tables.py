"""An ablation as a DataFrame, and as a table for a paper."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from ablation_facts import Outcome, ablate_started, ablation_facts, repeat_facts, view_of

from lagom_magic.errors import ConfigError
from lagom_magic.statistics.ablation import Ablation, ablation_of
from lagom_magic.statistics.tables import frame_of, table_of

NUMBERS: dict[str, list[Outcome]] = {
    "baseline": [0.941, 0.938, 0.944, 0.947, 0.936],
    "vital": [0.741, 0.703, 0.759, 0.722, 0.748],
    "useless": [0.943, 0.934, 0.945, 0.946, 0.938],
    "broken": ["FAILED"],
}
#: All that Markdown, HTML and LaTeX take for something else.
NASTY = r"50%_of|a*b* <b>x</b> {y} #1 & ~z^2 \cmd $m$ [l](u) `c`"


def made(outcomes: Mapping[str, list[Outcome]] = NUMBERS, **options: Any) -> Ablation:
    return ablation_of(view_of(ablation_facts(outcomes, **options)))


def markdown_rows(text: str) -> list[list[str]]:
    """Cells of the lines of a table, split at the bars that are not escaped."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_frame_has_the_agreed_columns_and_the_baseline_first() -> None:
    frame = frame_of(made())
    assert list(frame.columns[:11]) == [
        "component",
        "metric",
        "mean",
        "delta",
        "ci_low",
        "ci_high",
        "p_holm",
        "n",
        "state",
        "parameters",
        "seconds",
    ]
    assert list(frame["component"]) == ["baseline", "vital", "useless", "broken"]
    assert list(frame["n"]) == [5, 5, 5, 0]
    assert list(frame["evidence"]) == [None, "worse", "none", None]
    assert frame.loc[3, "reason"] == "ValueError: shapes differ"


def test_what_cannot_be_said_is_missing_and_numbers_stay_numbers() -> None:
    frame = frame_of(made({"baseline": [0.9], "a": ["FAILED"]}))
    assert frame["delta"].isna().all()
    assert str(frame["delta"].dtype) == "float64"
    assert frame["parameters"].isna().all()
    facts = [*ablation_facts({"baseline": [0.9]}, is_ended=False), *repeat_facts(1, "a", 0, 0.8, n_parameters=12)]
    assert frame_of(ablation_of(view_of(facts)))["parameters"].dropna().tolist() == [12]


def test_the_frame_says_what_its_seconds_are_of_and_what_to_know() -> None:
    frame = frame_of(made({"baseline": [0.9], "a": [0.8]}, n_steps=2))
    assert frame.attrs["seconds_of"] == "step"
    assert frame.attrs["notices"][0].startswith("One repeat:")
    assert len(frame_of(made({}))) == 0


def test_a_frame_without_pandas_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="pip install 'pandas<3'"):
        frame_of(made())


def test_the_markdown_table_is_this() -> None:
    assert table_of(made()) == (
        "| component | Δ accuracy | p (Holm) | n |\n"
        "| :-- | --: | --: | --: |\n"
        "| baseline | 0.941 ± 0.004 |  | 5 |\n"
        "| **vital** | **−0.207 [−0.234, −0.179]** | **< 0.001** | 5 |\n"
        "| useless | 0.000 [−0.003, +0.003] | 1.000 | 5 |\n"
        "| broken | failed |  | 0 |\n"
        "\n"
        "Ablation: each component left out, against the baseline (5 repeats). Higher is better. Δ: mean of the "
        "differences over n repeats with the same seeds, with its 95 % confidence interval; baseline: mean ± standard "
        "deviation. p: two-sided paired t-test, corrected for 2 comparisons after Holm. Bold: evidence, p < 0.05. "
        "Failed: broken (ValueError: shapes differ).\n"
    )


def test_the_latex_table_is_this() -> None:
    lines = table_of(made(), "latex").splitlines()
    caption = lines.pop(2)
    assert caption.startswith(r"  \caption{Ablation: each component left out, against the baseline (5 repeats).")
    assert r"95 \% confidence interval; baseline: mean $\pm$ standard deviation" in caption
    assert lines == [
        r"\begin{table}",
        r"  \centering",
        r"  \begin{tabular}{lrrr}",
        r"    \toprule",
        r"    component & $\Delta$ accuracy & p (Holm) & n \\",
        r"    \midrule",
        r"    baseline & $0.941 \pm 0.004$ &  & $5$ \\",
        r"    \midrule",
        r"    \textbf{\boldmath vital} & \textbf{\boldmath $-0.207$ $[-0.234, -0.179]$} & "
        r"\textbf{\boldmath $< 0.001$} & $5$ \\",
        r"    useless & $0.000$ $[-0.003, +0.003]$ & $1.000$ & $5$ \\",
        r"    broken & failed &  & $0$ \\",
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]


def test_one_repeat_has_no_interval_no_p_and_a_caption_that_says_why() -> None:
    text = table_of(made({"baseline": [0.9], "a": [0.85]}))
    assert markdown_rows(text)[2:] == [["baseline", "0.900", "", "1"], ["a", "−0.050", "", "1"]]
    assert "t-test" not in text
    assert "One repeat: differences without an interval" in text


def test_parameters_and_interactions_have_columns_where_there_are_any() -> None:
    a, b, both = [0.93, 0.92, 0.93], [0.92, 0.92, 0.93], [0.71, 0.70, 0.69]
    facts = ablation_facts({"baseline": [0.94, 0.93, 0.95], "a": a, "b": b, "a + b": both}, is_ended=False)
    facts += repeat_facts(90, "c", 0, 0.9, n_parameters=12345)
    head, _, *rows = markdown_rows(table_of(ablation_of(view_of(facts))))
    assert head == ["component", "Δ accuracy", "p (Holm)", "n", "interaction", "parameters"]
    (pair,) = [row for row in rows if "a + b" in row[0]]
    assert pair[4].startswith("**−0.21")
    assert [row[5] for row in rows if row[0] == "c"] == ["12,345"]


def test_another_metric_is_not_said_to_be_better_in_any_direction() -> None:
    outcomes: dict[str, list[Outcome]] = {
        "baseline": [{"accuracy": 0.9, "loss": 0.2}, {"accuracy": 0.91, "loss": 0.19}],
        "a": [{"accuracy": 0.8, "loss": 0.4}, {"accuracy": 0.82, "loss": 0.43}],
    }
    assert "Lower is better." in table_of(made(outcomes, direction="min"))
    loss = table_of(made(outcomes), metric="loss")
    assert "Δ loss" in loss
    assert "is better" not in loss


def test_names_are_text_in_markdown() -> None:
    text = table_of(made({"baseline": [0.9, 0.91], NASTY: [0.8, 0.85], "_x_y_": [0.8, 0.86]}))
    rows = markdown_rows(text)
    assert {len(row) for row in rows} == {4}
    assert NASTY in {re.sub(r"\\(.)", r"\1", row[0]) for row in rows}
    assert re.search(r"(?<!\\)<b", text) is None
    assert r"\_x_y\_" in text


def test_names_are_text_in_latex() -> None:
    text = table_of(made({"baseline": [0.9, 0.91], NASTY: [0.8, 0.85], "[x]": [0.8, 0.86], "*": [0.7, 0.6]}), "latex")
    (line,) = [line for line in text.splitlines() if "cmd" in line]
    assert line.startswith(
        r"    50\%\_of\textbar{}a{*}b{*} \textless{}b\textgreater{}x\textless{}/b\textgreater{} \{y\} \#1 \& "
        r"\textasciitilde{}z\textasciicircum{}2 \textbackslash{}cmd \$m\$ {[}l{]}(u) `c` & "
    )
    body = text.partition(r"\midrule")[2].splitlines()
    assert not [line for line in body if line.strip().startswith(("[", "*"))]
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert [line for line in text.splitlines() if len(re.findall(r"(?<!\\)&", line)) not in (0, 3)] == []


def test_an_unknown_format_or_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"made as markdown or latex, not as 'latec'\. Did you mean latex\?"):
        table_of(made(), "latec")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"no metric 'acuracy'; it has accuracy\. Did you mean accuracy\?"):
        table_of(made(), metric="acuracy")


def test_there_is_no_table_before_the_first_trial() -> None:
    with pytest.raises(ConfigError, match="no trial yet"):
        table_of(ablation_of(view_of([ablate_started()])))


def test_large_and_small_metrics_keep_two_digits_of_their_interval() -> None:
    small = {name: [v * 1e-6 if isinstance(v, float) else v for v in values] for name, values in NUMBERS.items()}
    assert "−0.000000207 [" in table_of(made(small))
    large = {name: [v * 1e6 if isinstance(v, float) else v for v in values] for name, values in NUMBERS.items()}
    assert "−206600 [" in table_of(made(large))
