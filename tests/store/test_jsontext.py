from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from lagom_magic.store.jsontext import json_line, json_text

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@given(anything)
def test_anything_becomes_one_line_of_strict_json(value: object) -> None:
    line = json_line(value)
    assert "\n" not in line
    json.loads(line, parse_constant=lambda name: (_ for _ in ()).throw(AssertionError(name)))


def test_what_json_lacks_becomes_text() -> None:
    value = {"a": math.nan, "b": [math.inf, -math.inf], "c": b"x", 4: {1}}
    assert json.loads(json_line(value)) == {"a": "nan", "b": ["inf", "-inf"], "c": "b'x'", "4": [1]}


def test_text_for_people_has_a_line_for_each_key() -> None:
    assert json_text({"a": 1, "b": {"c": [1, 2]}}) == '{\n  "a": 1,\n  "b": {"c":[1,2]}\n}\n'
