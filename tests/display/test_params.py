from __future__ import annotations

import math

from lagom_magic.display.params import split_params


def test_what_is_not_set_is_put_aside() -> None:
    told, rest = split_params({"XGB.max_depth": 3, "XGB.gamma": None, "XGB.missing": math.nan, "XGB.verbose": False})
    assert list(told) == ["XGB.max_depth", "XGB.missing", "XGB.verbose"]
    assert rest == {"XGB.gamma": None}


def test_of_further_fits_only_what_differs_from_the_first_is_told() -> None:
    first = {"Forest.n": 5, "Forest.depth": 9, "Forest.nan": math.nan, "Forest.seed": None, "Forest.flag": 1}
    second = {"Forest 2.n": 10, "Forest 2.depth": 9, "Forest 2.nan": math.nan, "Forest 2.seed": None}
    third = {"Forest 13.depth": None, "Forest 13.flag": True, "Forest 13.seed": 7, "SVC 2.C": 1.0, "SVC 2.tol": None}
    told, rest = split_params(first | second | third)
    assert [*told][4:] == ["Forest 2.n", "Forest 13.depth", "Forest 13.flag", "Forest 13.seed", "SVC 2.C"]
    assert [*rest] == ["Forest.seed", "Forest 2.depth", "Forest 2.nan", "Forest 2.seed", "SVC 2.tol"]


def test_names_of_any_form_are_names() -> None:
    names = ["", ".", " 2.", "X 2", "X 2.", "a b 2.c", "X two.c", "X 2.a\nb"]
    assert [*split_params(dict.fromkeys(names, 1))[0]] == names
