"""What is said of a JSON file."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.guest.json_facts import json_facts


def facts(text: str | bytes) -> dict[str, Any]:
    return json_facts(text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", {"type": "number"}),
        ("null", {"type": "null"}),
        ('"a"', {"type": "text"}),
        ("true", {"type": "boolean"}),
        ("{}", {"type": "object", "n_columns": 0, "names": []}),
        ('{"a": 1, "b": null}', {"type": "object", "names": ["a", "b"], "missing": 1, "n_text": 0}),
        ("[]", {"type": "array", "dimensions": 1, "rows": 0, "n_columns": 1}),
        ('[1, "x", null]', {"rows": 3, "dimensions": 1, "missing": 1, "missing_rows": 1, "n_text": 1}),
        (
            '[{"a": 1, "b": "x"}, {"b": "y", "c": null}]',
            {"rows": 2, "dimensions": 2, "names": ["a", "b", "c"], "text": ["b"], "missing": 3},
        ),
        ('[{"a": 1}, 2]', {"rows": 2, "dimensions": 1, "n_text": 1}),
        ("[[1, 2], [3, 4]]", {"rows": 2, "dimensions": 1, "n_text": 1}),
        ("[1e999, -1e999, 2]", {"rows": 3, "infinite": 2, "n_text": 0}),
        (" \n[1]\n ", {"rows": 1}),
    ],
)
def test_a_document_has_these_facts(text: str, expected: dict[str, Any]) -> None:
    found = facts(text)
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("{'a': 1}", "Expecting property name"),
        ("[1] [2]", "Extra data"),
        ('{"a": 1}\n{"a": 2}', "Extra data"),  # JSON Lines is another format
        ("[NaN]", "NaN is not JSON: write null"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ('[{"a": 1, "a": 2}]', "the key 'a' occurs twice"),
        (b"\xef\xbb\xbf[1]", "BOM"),
        (b'["\xff"]', "utf-8"),
        ("[" * 1_000 + "9" * 5_000 + "]" * 1_000, "."),
        ("[" * 100_000, "recursion"),
    ],
)
def test_what_is_not_json_is_an_error(text: str | bytes, reason: str) -> None:
    with pytest.raises((ValueError, RecursionError), match=reason):
        facts(text)
