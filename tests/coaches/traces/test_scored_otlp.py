"""Verdicts go back into a trace of OpenTelemetry as evaluation events, and are read from there again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coaches import score
from coaches.base import Verdict
from coaches.traces import evaluations, scored
from coaches.traces.evaluations import EVALUATION
from coaches.traces.spans import Event
from tests.coaches.traces.test_otlp import CHAT, attribute, data, read, said, span, write

PART = Verdict(2.0, "too short", "a", cost=0.5, source="rules")
WHOLE = Verdict(7.0, "fine", None, 0.5, "mix", parts=(None, PART))
THEIRS = {
    "name": EVALUATION,
    "attributes": [
        attribute("gen_ai.evaluation.name", "relevance"),
        attribute("gen_ai.evaluation.score.value", 0.25),
    ],
}


def given(path: Path) -> list[Verdict | None]:
    [(_, one)], bad = read(path)
    assert bad == []
    return list(one.verdicts)


def test_the_attributes_of_a_verdict_are_read_as_the_same_verdict() -> None:
    events = [
        Event(EVALUATION, {key: value for key, value in one.items() if value is not None})
        for one in evaluations.attributes(WHOLE)
    ]
    found = evaluations.verdict(events)
    assert found is not None
    assert (found["score"], found["source"], found["blame"], found["cost"]) == (7.0, "mix", None, 0.5)
    assert found["parts"][0] is None
    assert found["parts"][1]["rationale"] == "too short"


def test_verdicts_written_into_a_trace_are_read_back_and_replaced(tmp_path: Path) -> None:
    second = span("chat 2", wrote=said("5"), agent="b", began=5)
    path = write(tmp_path / "in.jsonl", data(CHAT | {"events": [THEIRS]}), "", data(second))
    [(row, _)], _ = read(path)
    assert given(path) == [None, None], "an evaluation of another system is no verdict"
    out, again = tmp_path / "out.jsonl", tmp_path / "again.jsonl"
    scored.write(path, out, [(row, [WHOLE, None])])
    assert given(out) == [WHOLE, None]
    scored.write(out, again, [(row, [None, PART])])
    assert given(again) == [None, PART]
    first = json.loads(again.read_text().splitlines()[0])["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert first["events"] == [THEIRS], "theirs stays"


def test_the_command_writes_the_trace_with_its_verdicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write(tmp_path / "t.jsonl", data(CHAT), "{"), tmp_path / "judged.jsonl"
    score.main([str(path), "coach=rules", "format=otlp", "--skip-bad", "--otlp", str(out)])
    assert f"written: {out}" in capsys.readouterr().out.replace("\n", "")
    row = json.loads((tmp_path / "t.scored.jsonl").read_text())
    [verdict] = given(out)
    assert verdict is not None
    assert (verdict.score, verdict.source) == (row["turns"][0]["verdict"]["score"], "rules")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--otlp", "{path}"], "--otlp is the file that is read"),
        (["--otlp", "{path}.old"], "exists: name another place with --otlp"),
        (["--otlp", "x", "format=coachgym"], "--otlp is for traces of OpenTelemetry"),
    ],
)
def test_a_place_that_will_not_do_is_one_line(
    words: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "t.jsonl", data(CHAT) if "format=coachgym" not in words else ROW)
    path.with_name("t.jsonl.old").write_text("earlier")
    with pytest.raises(SystemExit, match="2"):
        score.main([str(path), "coach=rules", *(word.format(path=path) for word in words)])
    [line] = capsys.readouterr().err.splitlines()
    assert complaint in line


ROW: dict[str, Any] = {"turns": [{"agent": "a", "action": "4"}]}
