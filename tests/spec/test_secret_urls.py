import pytest

from lagom_magic.spec.secret_urls import SecretUrl, without_password, without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("databricks://profile", "databricks://profile"),
        ("./lagom_runs", "./lagom_runs"),
        ("memory://bucket/runs", "memory://bucket/runs"),
        ("http://me:s3cret@host:5000/mlflow", "http://***@host:5000/mlflow"),
        ("https://t0ken@host", "https://***@host"),
        ("s3://bucket/runs?key=s3cret#s3cret", "s3://bucket/runs?***"),
        ("http://me:p@ss@host", "http://***@host"),
        ("http://[broken", "***"),
    ],
)
def test_a_url_is_shown_without_its_credentials(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    assert repr(SecretUrl(url)) == f"SecretUrl({shown!r})"


@pytest.mark.parametrize(
    "quoted", ["http://me:s3%40cret@host:5000", "me:s3%40cret", "s3%40cret", "s3@cret", "me:s3@cret"]
)
def test_an_error_that_quotes_the_url_says_nothing_of_its_credentials(quoted: str) -> None:
    said = SecretUrl("http://me:s3%40cret@host:5000").cleaned(OSError(f"no answer of {quoted} at all\nand more"))
    assert "cret" not in said
    assert said.startswith("no answer of ")
    assert said.endswith(" at all")


def test_an_error_without_words_is_called_by_its_kind() -> None:
    assert SecretUrl("http://host").cleaned(TimeoutError()) == "TimeoutError"


def test_what_tells_places_apart_stays_without_the_password() -> None:
    assert without_password("abfs://alpha@account/x") == "abfs://alpha@account/x"
    assert without_password("s3://me:hunter2@bucket/x?sig=1") == "s3://me@bucket/x"
    assert without_password("s3://bucket/x") == "s3://bucket/x"
