import pytest

from lagom_magic.spec.duration import seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [(90, 90.0), ("90", 90.0), ("90s", 90.0), ("30m", 1800.0), ("1h30m", 5400.0), ("1.5h", 5400.0), ("1d 2H", 93600.0)],
)
def test_a_duration_is_read_as_people_write_it(text: object, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "30 minutes", "-5", "0", 0, -1, True, None, float("nan"), "inf", "m30"])
def test_what_is_no_duration_has_no_seconds(text: object) -> None:
    assert seconds(text) is None
