import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ("https://host/runs#access_token=s3cret", "https://host/runs#***"),
        ("http://me:p@ss@host", "http://***@host"),
        ("HTTPS://me:s3cret@host", "HTTPS://***@host"),
        ("//me:s3cret@host/x", "//***@host/x"),
        ("http://[me:s3cret@host", "http://***@host"),
        ("http://[broken", "http://[broken"),
    ],
)
def test_a_url_is_shown_without_its_credentials(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    assert repr(SecretUrl(url)) == f"SecretUrl({shown!r})"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("simplecache::http://me:s3cret@host:9/runs", "simplecache::http://***@host:9/runs"),
        ("zip://a.csv::simplecache::s3://KEY:s3cret@bucket/x", "zip://a.csv::simplecache::s3://***@bucket/x"),
        ("zip://d/a@b.csv::https://host/x?sig=s3cret", "zip://d/a@b.csv::https://host/x?***"),
        ("https://host/x?sig=s3cret::s3://KEY:s3cret@bucket", "https://host/x?***::s3://***@bucket"),
        ("jdbc:postgresql://me:s3cret@host/db?a=s3cret", "jdbc:postgresql://***@host/db?***"),
        ("jdbc:sqlserver://host:1433;user=me;password=s3cret", "jdbc:sqlserver://host:1433;***"),
        ("https://archive/web/http://me:s3c#ret@host/x", "https://archive/web/http://***@host/x"),
        ("https://archive/web/http://host/x?sig=s3cret", "https://archive/web/http://host/x?***"),
    ],
)
def test_every_link_of_a_chain_is_shown_without_its_credentials(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@pytest.mark.parametrize("password", ["s3/cret", "s3#cret", "s3?cret", "s3@cret", "s3:cret", "s3://cret", "s3::cret"])
def test_a_password_is_hidden_whatever_signs_it_has(password: str) -> None:
    assert without_secrets(f"s3://KEY:{password}@bucket/x") == "s3://***@bucket/x"


def test_a_user_with_a_password_reaches_as_far_as_it_may() -> None:
    assert without_secrets("https://me:s3@c/ret@host/x") == "https://***@host/x"


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/a@b",
        "s3://bucket/a@b/c::d",
        "hdfs://name:8020/user/ada@corp/x.parquet",
        "http://[::1]:5000/a@b",
        "file:///home/ada@corp/x.csv",
        "/home/ada@corp/x?y#z.csv",
        "git@github.com:org/repo.git",
        "C:\\data\\a@b",
    ],
)
def test_an_at_sign_in_a_path_is_no_credential(url: str) -> None:
    assert without_secrets(url) == url


def test_a_containers_path_stays() -> None:
    assert without_secrets("abfs://box@account/ada@corp/x") == "abfs://***@account/ada@corp/x"


def test_all_urls_of_a_text_are_shown_without_their_credentials() -> None:
    text = " see https://me:s3cret@host/x?s3cret\nand  ftp://you:s3cret@host, a@b"
    assert without_secrets(text) == " see https://***@host/x?***\nand  ftp://***@host, a@b"


_SIGNS = string.ascii_letters + string.digits + "/#?@:;=&%$*+,()[]!~."


@given(password=st.text(_SIGNS, min_size=1, max_size=12), prefix=st.sampled_from(["", "simplecache::", "jdbc:"]))
def test_no_password_is_ever_shown(password: str, prefix: str) -> None:
    shown = without_secrets(f"{prefix}scheme://me:x{password}@host/x?sig={password}")
    assert shown.startswith(f"{prefix}scheme://***@")
    if not set(password) & set("@?#;"):
        assert shown == f"{prefix}scheme://***@host/x?***"


def test_many_links_are_looked_through_in_time() -> None:
    url = "a://b/" * 2_000
    assert without_secrets(url) == url


@pytest.mark.parametrize(
    "quoted", ["http://me:s3%40cret@host:5000", "me:s3%40cret", "s3%40cret", "s3@cret", "me:s3@cret"]
)
def test_an_error_that_quotes_the_url_says_nothing_of_its_credentials(quoted: str) -> None:
    said = SecretUrl("http://me:s3%40cret@host:5000").cleaned(OSError(f"no answer of {quoted} at all\nand more"))
    assert "cret" not in said
    assert said.startswith("no answer of ")
    assert said.endswith(" at all")


@pytest.mark.parametrize(
    ("url", "quoted"),
    [
        ("simplecache::http://me:s3cret@host:9/runs", "http://me:s3cret@host:9/runs/x"),
        ("simplecache::http://me:s3cret@host:9/runs", "s3cret"),
        ("zip://x::https://host/x?sig=s3cret", "sig=s3cret"),
        ("https://host/x#token=s3cret", "token=s3cret"),
        ("https://me:s3cret@host/x@y", "s3cret"),
        ("https://me:x/s3cret@host/x", "s3cret"),
        ("https://me:s3cret/x@host/x", "port 's3cret'"),
        ("https://me:s3%20cret@host", "s3 cret"),
        ("https://host/x?sig=1", "https://elsewhere/y?token=s3cret"),
    ],
)
def test_an_error_that_quotes_a_part_says_nothing_of_it(url: str, quoted: str) -> None:
    said = SecretUrl(url).cleaned(OSError(f"no answer of {quoted} at all"))
    assert "cret" not in said
    assert said.startswith("no answer of ")
    assert said.endswith(" at all")


def test_an_error_without_words_is_called_by_its_kind() -> None:
    assert SecretUrl("http://host").cleaned(TimeoutError()) == "TimeoutError"


def test_what_tells_places_apart_stays_without_the_password() -> None:
    assert without_password("abfs://alpha@account/x") == "abfs://alpha@account/x"
    assert without_password("s3://me:hunter2@bucket/x?sig=1") == "s3://me@bucket/x"
    assert without_password("s3://bucket/x") == "s3://bucket/x"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("simplecache::http://me:hunter2@host/x?sig=1", "simplecache::http://me@host/x"),
        ("zip://x::s3://KEY:hun/ter2@bucket/x", "zip://x::s3://KEY@bucket/x"),
        ("hdfs://me:hunter2@name/ada@corp/x", "hdfs://me@name/ada@corp/x"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("s3://bucket/x#y", "s3://bucket/x"),
        ("s3://bucket/x;v=1", "s3://bucket/x;v=1"),
        ("dbfs:///runs", "dbfs:///runs"),
    ],
)
def test_places_of_chained_and_odd_urls_are_told_apart_without_the_password(url: str, place: str) -> None:
    assert without_password(url) == place
