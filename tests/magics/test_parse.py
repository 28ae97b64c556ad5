import pytest
from IPython.core.error import UsageError

from lagom_magic.errors import LagomError
from lagom_magic.magics.options import VERBS
from lagom_magic.magics.parse import assignments, find_verb, help_of, literal, parse, split


def complaint(line: str, sign: str = "%%lagom") -> str:
    words = split(line)
    with pytest.raises((UsageError, LagomError)) as caught:
        parse(find_verb(words, is_cell=sign == "%%lagom"), words[1:], sign)
    return f"{type(caught.value).__name__}: {caught.value}"


def test_quotes_keep_words_together_and_options_may_repeat() -> None:
    words = split("hpo --description 'two words' --tag a --tag b --set lr=0.1 --seed -1")
    assert vars(parse(VERBS["hpo"], words[1:], "%%lagom")) == {
        "description": "two words",
        "tags": ["a", "b"],
        "set": ["lr=0.1"],
        "seed": "-1",
    }


def test_optimizer_is_another_name_of_sampler() -> None:
    assert parse(VERBS["hpo"], ["--optimizer", "tpe"], "%%lagom").optimizer == "tpe"


@pytest.mark.parametrize("verb", [verb for verb in VERBS.values() if verb.is_cell])
def test_every_option_of_this_version_is_in_the_help(verb: object) -> None:
    shown = help_of(verb, "%%lagom")  # type: ignore[arg-type]
    for option in verb.options:  # type: ignore[attr-defined]
        assert f"{option.flag} " in shown or f"{option.flag}\n" in shown


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "run --workerz 3",
            "UsageError: %%lagom run: unknown option --workerz. Did you mean --workers? See %%lagom run --help.",
        ),
        (
            "hpo --desc hi",
            "UsageError: %%lagom hpo: unknown option --desc. Did you mean --description? See %%lagom hpo --help.",
        ),
        (
            "run --trials 5",
            "UsageError: %%lagom run: unknown option --trials. It is one of hpo, ablate, resume. "
            "See %%lagom run --help.",
        ),
        ("hpo --trials", "UsageError: %%lagom hpo: argument --trials: expected one argument. See %%lagom hpo --help."),
        ("hpo --trials 1 --trials 2", "UsageError: %%lagom hpo: --trials is given twice. See %%lagom hpo --help."),
        (
            "hpo --maximize a --minimize b",
            "UsageError: %%lagom hpo: argument --minimize: not allowed with argument --maximize. "
            "See %%lagom hpo --help.",
        ),
        (
            "hpo --seed 1 --no-seed",
            "UsageError: %%lagom hpo: argument --no-seed: not allowed with argument --seed. See %%lagom hpo --help.",
        ),
        (
            "hpo --model A --module B",
            "UsageError: %%lagom hpo: argument --module: not allowed with argument --model. See %%lagom hpo --help.",
        ),
        ("hpo accuracy", "UsageError: %%lagom hpo: what is 'accuracy'? See %%lagom hpo --help."),
        (
            "hpo --ui card",
            "UsageError: %%lagom hpo: --ui is 'card'; allowed: auto, widget, html, text.",
        ),
        (
            "hpo --ui htm",
            "UsageError: %%lagom hpo: --ui is 'htm'; allowed: auto, widget, html, text. Did you mean html?",
        ),
        (
            "hpoo --trials 3",
            "UsageError: %%lagom: unknown verb 'hpoo'; known: hpo, ablate, train, run. Did you mean hpo?",
        ),
        ("", "UsageError: %%lagom: which verb? known: hpo, ablate, train, run."),
        (
            "status",
            "UsageError: %%lagom status: a cell runs with hpo, ablate, train or run. Use %lagom status on a line.",
        ),
        (
            "compare a b",
            "UsageError: %%lagom compare: a cell runs with hpo, ablate, train or run. Use %lagom compare on a line.",
        ),
    ],
)
def test_a_wrong_line_is_one_message_that_names_the_fix(line: str, message: str) -> None:
    assert complaint(line) == message


def test_line_verbs_complain_by_their_own_name() -> None:
    assert complaint("stop --noww", "%lagom") == (
        "UsageError: %lagom stop: unknown option --noww. Did you mean --now? See %lagom stop --help."
    )
    assert (
        complaint("status --every", "%lagom")
        == "UsageError: %lagom status: unknown option --every. It has none. See %lagom status --help."
    )
    assert complaint("prune", "%lagom") == (
        "UsageError: %lagom prune: which TRIAL? It is to give up on a running trial of the live run, or of another "
        "kernel's: %lagom prune 7. See %lagom prune --help."
    )
    assert complaint("tag", "%lagom") == (
        "UsageError: %lagom tag: which RUN? It is to give a stored run tags or a note, or say which it has: "
        "%lagom tag k3f7 pii retention=90d. See %lagom tag --help."
    )
    assert "which MODEL|FILE|RUN? " in complaint("lineage", "%lagom")


def test_an_open_quote_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        split("hpo --description 'two")
    assert str(caught.value) == "lagom: No closing quotation in: hpo --description 'two . Close the quote."


def test_values_are_python_literals_or_text() -> None:
    texts = ["lr=1e-3", "layers=[1, 2]", "act=relu", "bias=False", "note=a=b", "text='3'", "none=None"]
    assert assignments(texts, "--set") == {
        "lr": 1e-3,
        "layers": [1, 2],
        "act": "relu",
        "bias": False,
        "note": "a=b",
        "text": "3",
        "none": None,
    }
    assert literal("3 workers") == "3 workers"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["lr"], "lagom: --set 'lr' must be K=V, such as --set lr=0.1."),
        (["=3"], "lagom: --set '=3' must be K=V, such as --set lr=0.1."),
        (["lr=1", "lr=2"], "lagom: --set names 'lr' twice. Keep one."),
    ],
)
def test_a_pair_without_both_sides_or_given_twice_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        assignments(texts, "--set")
    assert str(caught.value) == message
