"""What comes out of the sandbox of the audits is read without trust."""

from __future__ import annotations

import json

from coaches.audits import box
from coaches.audits.guest.complaint import Complaint, listed, quote, rows

LINE = Complaint("leakage", "X_train.pkl", "proof", "text")._asdict()


def read(*lines: object) -> list[Complaint]:
    stdout = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return list(box._read(stdout, {"X_train.pkl"}))


def test_a_complaint_is_read_and_anything_else_is_not() -> None:
    assert read("noise", LINE, '"done"') == [Complaint("leakage", "X_train.pkl", "proof", "text")]
    assert read(LINE | {"artifact": "of another"}) == []
    assert read(LINE | {"strength": "praise"}) == []
    assert read(LINE | {"text": 3}) == []
    assert read("{", '{"audit": "leakage"}', "{}" * 10_000) == []


def test_a_complaint_is_short_and_printable_and_there_are_not_many() -> None:
    [complaint] = read(LINE | {"text": "a\x1b[31m\u202e" + "b" * 10_000})
    assert len(complaint.text) == box.MAX_TEXT
    assert complaint.text.startswith("a?[31m?b")
    assert len(read(*[LINE] * 100)) == box.MAX_LINES


def test_names_from_files_are_quoted_short_and_printable() -> None:
    assert quote("x" * 100) == "'" + "x" * 40 + "…'"
    assert quote("a\nb") == "'a?b'"
    assert listed(["a", "b", "c", "d"]) == "'a', 'b', 'c' and 1 more"
    assert rows([4]) == "row 4"
