"""What comes out of the sandbox of the audits is read without trust."""

from __future__ import annotations

import json

import pytest

from coaches.audits import artifacts, heard
from coaches.audits.guest.complaint import Complaint, listed, quote, rows
from coaches.audits.guest.tables import Names
from sandbox.base import Status
from tests.coaches.turns import ran

END = '{"step": "end"}'
LINE = Complaint("leakage", "X_train.pkl", "proof", "text")._asdict()


def whole(*lines: object, status: Status = "ok", timeout: float = 20.0) -> tuple[list[Complaint], list[str]]:
    stdout = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return heard.read(ran(status, stdout), Names(), timeout)


def read(*lines: object) -> list[Complaint]:
    return whole(*lines, END)[0]


def test_a_complaint_is_read_and_anything_else_is_not() -> None:
    assert read("noise", LINE, '"done"') == [Complaint("leakage", "X_train.pkl", "proof", "text")]
    assert read(LINE | {"artifact": "of another"}) == []
    assert read(LINE | {"strength": "praise"}) == []
    assert read(LINE | {"text": 3}) == []
    assert read("{", '{"audit": "leakage"}', "{}" * 10_000) == []


def test_a_loaded_model_can_blame_neither_the_engineer_s_features_nor_take_anything_back() -> None:
    model = LINE | {"artifact": "model.pkl"}
    assert [one.artifact for one in read(LINE, '"loading"', LINE, model)] == ["X_train.pkl", "model.pkl"]


def test_a_loaded_model_can_blame_a_target_only_if_that_was_suspect_before() -> None:
    target = LINE | {"artifact": "y_train.pkl"}
    assert read('"loading"', target) == []
    assert [one.artifact for one in read('"unannounced"', '"loading"', target)] == ["y_train.pkl"]
    assert read('"loading"', '"unannounced"', '"loading"', target) == [], "the model could say so itself"
    assert read(LINE | {"artifact": "train.csv"}) == [], "the task's own tables are nobody's fault"


def test_an_audit_that_fails_or_does_not_end_is_missed_by_name() -> None:
    failed = {"failed": "leakage", "error": "ValueError: \x1bno"}
    assert whole({"step": "leakage"}, failed, LINE, END)[1] == ["leakage: ValueError: ?no"]
    assert whole({"step": "leakage"}, status="timeout") == ([], ["leakage: took too long"])
    assert whole(status="killed") == ([], ["the first step: was killed"])
    assert whole({"failed": 3}, {"step": []}, [], END) == ([], [])


@pytest.mark.parametrize(("status", "strength"), [("ok", "proof"), ("error", "proof"), ("timeout", "doubt")])
def test_a_model_that_ends_the_audits_is_complained_of(status: Status, strength: str) -> None:
    [complaint], [missed] = whole('"loading"', {"step": "model"}, status=status)
    assert (complaint.artifact, complaint.strength) == ("model.pkl", strength)
    assert missed.startswith("model: ")
    [complaint], _ = whole('"loading"', {"step": "model"}, status=status, timeout=0.2)
    assert complaint.strength == "proof", "it took half of the time itself"
    own = LINE | {"artifact": "model.pkl", "text": "on half of the rows"}
    [complaint], _ = whole('"loading"', own, status=status)
    assert complaint.text == "on half of the rows", "what it was complained of before is enough"


def test_a_complaint_is_short_and_printable() -> None:
    [complaint] = read(LINE | {"text": "a\x1b[31m\u202e" + "b" * 10_000})
    assert len(complaint.text) == heard.MAX_TEXT
    assert complaint.text.startswith("a?[31m?b")


def test_names_from_files_are_quoted_short_and_printable() -> None:
    assert quote("x" * 100) == "'" + "x" * 40 + "…'"
    assert quote("a\nb") == "'a?b'"
    assert listed(["a", "b", "c", "d"]) == "'a', 'b', 'c' and 1 more"
    assert rows([4]) == "row 4"


def test_audits_run_together_at_the_last_moment_at_which_their_files_are_the_same() -> None:
    tables = {"X_train.pkl": b"1", "y_train.pkl": b"1", "X_test.pkl": b"1"}
    model = tables | {"model.pkl": b"1"}
    done = model | {"submission.csv": b"1"}

    def runs(*moments: dict[str, bytes]) -> list[tuple[int, list[str]]]:
        return list(artifacts._runs(Names(), moments, range(1, len(moments))))

    assert runs({}, {}, tables, tables, model, done, done) == [(6, ["tables", "model", "submission"])]
    again = done | {"model.pkl": b"2"}
    assert runs({}, tables, model, done, again) == [
        (3, ["tables", "model", "submission"]),
        (4, ["model", "submission"]),
    ]
    assert runs({}, {"X_train.pkl": b"1"}, tables) == [(2, ["tables"])]
    gone = {name: data for name, data in tables.items() if name != "X_test.pkl"}
    assert runs({}, tables, gone) == [(1, ["tables"])]


def test_what_was_repaired_within_a_stage_is_not_audited() -> None:
    tables = {"X_train.pkl": b"1", "y_train.pkl": b"1", "X_test.pkl": b"1"}
    moments = [{}, tables | {"X_test.pkl": b"0"}, tables, tables]
    assert list(artifacts._runs(Names(), moments, [3])) == [(3, ["tables"])]
