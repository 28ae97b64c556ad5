import pytest
from IPython.core.error import UsageError

from lagom_magic.magics.settings import Settings


def complaint(settings: Settings, *pairs: str) -> str:
    with pytest.raises(UsageError) as caught:
        settings.set(pairs)
    return str(caught.value)


def test_settings_are_the_environments() -> None:
    environment = {"LAGOM_HOME": "/runs"}
    settings = Settings(environment)
    settings.set(["ui=text", "workers=2"])
    assert environment == {"LAGOM_HOME": "/runs", "LAGOM_UI": "text", "LAGOM_WORKERS": "2"}
    assert (settings.get("home"), settings.get("ui"), settings.get("log")) == ("/runs", "text", None)


def test_an_empty_value_is_the_default_again_and_restore_brings_back_what_was() -> None:
    environment = {"LAGOM_HOME": "/runs"}
    settings = Settings(environment)
    settings.set(["home=", "ui=html"])
    assert environment == {"LAGOM_UI": "html"}
    settings.restore()
    assert environment == {"LAGOM_HOME": "/runs"}


def test_one_wrong_pair_changes_nothing() -> None:
    environment: dict[str, str] = {}
    complaint(Settings(environment), "workers=2", "ui=foo")
    assert environment == {}


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (
            "wokers=2",
            "%lagom config: unknown setting 'wokers'; known: home, ui, workers, noninteractive, start_timeout, log. "
            "Did you mean workers?",
        ),
        ("workers", "%lagom config: 'workers' must be K=V, such as workers=2."),
        (
            "workers=0",
            "%lagom config: workers is '0'; allowed: a whole number >= 1. Mend it: %lagom config workers=2",
        ),
        ("ui=card", "%lagom config: ui is 'card'; allowed: auto, widget, html, text. Mend it: %lagom config ui=text"),
    ],
)
def test_a_wrong_setting_is_one_message(pair: str, message: str) -> None:
    assert complaint(Settings({}), pair) == message


def test_a_wrong_variable_of_the_environment_is_named_when_it_is_needed() -> None:
    with pytest.raises(UsageError) as caught:
        Settings({"LAGOM_WORKERS": "all"}).get("workers")
    assert str(caught.value) == (
        "%lagom config: LAGOM_WORKERS is 'all'; allowed: a whole number >= 1. Mend it: %lagom config workers=2"
    )


def test_nobody_watches_when_the_environment_says_so() -> None:
    assert Settings({"LAGOM_NONINTERACTIVE": "1"}).is_noninteractive
    assert not Settings({"LAGOM_NONINTERACTIVE": "0"}).is_noninteractive
    assert not Settings({}).is_noninteractive
