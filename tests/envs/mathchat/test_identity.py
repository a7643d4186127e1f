"""When two records are the same problem."""

from __future__ import annotations

from typing import Any

import pytest

from envs.mathchat.identity import Contest, contest, contest_year, fingerprint


@pytest.mark.parametrize(
    ("record", "place"),
    [
        ({"id": "1983-1", "year": 1983, "number": 1, "part": None}, Contest(1983, "", 1)),
        ({"id": "2021-II-15"}, Contest(2021, "II", 15)),
        ({"year": "2021", "number": "15", "part": "AIME II"}, Contest(2021, "II", 15)),
        ({"year": 2021.0, "number": 15.0, "part": 2}, Contest(2021, "II", 15)),
        (
            {"year": 2024, "id": 60, "url": "https://x.org/2024_AIME_I_Problems/Problem_3"},
            Contest(2024, "I", 3),
        ),
        ({"url": "https://x.org/1990_AIME_Problems/Problem_3"}, Contest(1990, "", 3)),
        ({"url": "https://x.org/2022_AMC_12A_Problems/Problem_1"}, Contest(2022, "AMC12A", 1)),
        ({"year": 2022, "contest": "AMC 12", "part": "A", "number": 1}, Contest(2022, "AMC12A", 1)),
        ({"year": 1998, "contest": "HMMT", "number": 3}, Contest(1998, "HMMT", 3)),
        ({"year": 2024, "number": 3}, None),  # of which AIME?
        ({"id": "2024-3"}, None),
        ({"url": "https://x.org/2022_AMC_12_Problems/Problem_1"}, None),
        ({"id": "2024-10-3"}, None),  # a date
        ({"id": "12021-II-15"}, None),
        ({"year": True, "number": 1, "part": "I"}, None),
        ({"year": 2021, "number": [15], "part": "I"}, None),
        ({"year": "9" * 5000, "number": 1, "part": "I"}, None),
        ({"id": 24}, None),
        ({}, None),
    ],
)
def test_the_place_in_a_contest_is_read_from_fields_id_or_url(
    record: dict[str, Any], place: Contest | None
) -> None:
    assert contest(record.get) == place


@pytest.mark.parametrize(
    ("record", "source", "year"),
    [
        ({"year": "2024"}, "aime_1983_2024", 2024),
        ({"id": "2021-I-2"}, "x", 2021),
        ({}, "aime_2025", 2025),
        ({}, "aime25", 2025),
        ({}, "AIME2026", 2026),
        ({}, "aime_1983_2024", None),
        ({}, "problems", None),
        ({}, "amc_eval_32", None),
        ({}, "aime_eval_32", None),
    ],
)
def test_a_year_is_the_record_s_own_or_that_of_the_source(
    record: dict[str, Any], source: str, year: int | None
) -> None:
    assert contest_year(record.get, contest(record.get), source) == year


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"Find $\dfrac{1}{2}x$.", r"find \( \frac{1}{2} x \)"),
        ("Let $x$ , $y$ exceed 1", "Let $x$, $y$ exceed $1$."),
        (r"\left(1,\,2\right)", "(1, 2)"),
        ("1 − x", "1-x"),
        ("Bob's “prize”", 'Bob’s "prize"'),
        (r"\[x=2\]", "$$x = 2$$"),
    ],
)
def test_texts_that_differ_in_layout_only_are_the_same(one: str, other: str) -> None:
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("begins 1, 12", "begins 11, 2"),
        ("x + 1", "x - 1"),
        ("a ≤ b", "a ≥ b"),
        (r"a \le b", r"a \ge b"),
        ("1.5", "15"),
        ("5!", "5"),
        ("f'(1)", "f(1)"),
        ("x²", "x2"),
        ("?", "!"),
        ("求和", "求积"),
    ],
)
def test_texts_that_ask_something_else_are_not(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)
