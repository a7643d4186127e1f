"""Episodes as other systems record them: read as they are meant, and judged by what happened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import conf
from coaches import episodes, score
from conf import ConfigError

RULES = conf.build("coaches", conf.load("coach", "rules"))
RAN = {"status": "ok", "stdout": "1\n"}
EPISODE = {"turns": [{"agent": "coder", "action": "Compute 1.", "result": RAN}]}


def turn(**changes: Any) -> Any:
    raw = {"agent": "coder", "action": "Compute.", **changes}
    return episodes.episode({"turns": [raw]}).turns[0]


def test_a_result_without_a_program_means_that_the_action_ran() -> None:
    one = turn(result=RAN)
    assert one.code == "Compute."
    verdict = RULES.judge([one])
    assert (verdict.score, verdict.blame) == (10.0, None)
    assert turn(result=RAN, code=None).code == "Compute."
    assert turn(result=RAN, code="calc(1)").code == "calc(1)"
    assert turn(result=RAN, action="So:\n```python\nprint(1)\n```").code == "print(1)"
    assert turn().code is None
    roles = [{"name": "coder", "can_run_code": False}]
    [of_role] = episodes.episode({**EPISODE, "roles": roles}).turns
    assert of_role.code == "Compute 1."


def test_a_failed_result_without_a_program_is_a_failure() -> None:
    verdict = RULES.judge([turn(result={"status": "error", "stderr": "KeyError: 'a'"})])
    assert verdict.blame == "coder"
    assert "KeyError" in verdict.rationale


@pytest.mark.parametrize(("code", "status"), [(0, "ok"), (1, "error"), (-9, "error")])
def test_without_a_status_the_exit_code_says_how_a_program_ended(code: int, status: str) -> None:
    assert turn(result={"exit_code": code}).result.status == status


def test_null_stands_for_a_default() -> None:
    result = {"status": "ok", "exit_code": None, "stdout": None, "stderr": None, "truncated": None}
    one = turn(result=result, files=None, checks=None, observation=None, last=None, verdict=None, seen=None)
    assert (one.result.stdout, one.files_after, one.checks, one.observation) == ("", (), (), ())
    row = {**EPISODE, "id": None, "task": None, "kind": None, "roles": None, "facts": None, "outcome": None}
    assert episodes.episode(row | {"phase": None, "step": None}, number=4).id == "4"


def test_ids_and_names_may_be_integers() -> None:
    row = {
        "id": 7,
        "task": 3,
        "turns": [
            {"agent": 1, "action": "a", "verdict": {"score": 3, "blame": 1}},
            {"agent": 2, "action": "b"},
        ],
    }
    one = episodes.episode(row)
    assert (one.id, one.task_id, [turn.agent for turn in one.turns]) == ("7", "3", ["1", "2"])
    assert one.verdicts[0] is not None
    assert one.verdicts[0].blame == "1"


CALL = {"id": "c1", "type": "function", "function": {"name": "python", "arguments": '{"code": "print(1)"}'}}
CALLED = '<tool_call>\n{"name": "python", "arguments": {"code": "print(1)"}}\n</tool_call>'
ACTIONS: list[tuple[Any, str]] = [
    (None, ""),
    ([{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}], "One.\nTwo."),
    (["One.", {"type": "image_url", "image_url": {"url": "x"}}], "One."),
    ({"role": "assistant", "content": "Yes."}, "Yes."),
    ({"role": "assistant", "content": None, "tool_calls": [CALL]}, CALLED),
    ({"role": "model", "parts": [{"text": "Gemini."}]}, "Gemini."),
    ({"type": "ai", "content": "", "tool_calls": [{"name": "python", "args": {"code": "print(1)"}}]}, CALLED),
    ([{"type": "tool_use", "id": "t", "name": "python", "input": {"code": "print(1)"}}], CALLED),
    ({"content": "", "function_call": {"name": "python", "arguments": '{"code": "print(1)"}'}}, CALLED),
    ({"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{not JSON"}}]}, "{not JSON"),
]


@pytest.mark.parametrize(("action", "text"), ACTIONS)
def test_an_action_may_be_a_message_of_another_system(action: Any, text: str) -> None:
    assert text in turn(action=action).action
    assert turn(action=action).action != "" or text == ""


def test_calls_beside_an_action_are_part_of_it() -> None:
    assert turn(action=None, tool_calls=[CALL], result=RAN).action == CALLED


MESSAGES: list[tuple[Any, str, str]] = [
    ({"role": "tool", "tool_call_id": "c1", "content": "3"}, "user", "3"),
    ({"role": "function", "name": "f", "content": "3"}, "user", "3"),
    ({"role": "developer", "content": "Be brief."}, "system", "Be brief."),
    ({"role": "assistant", "content": None, "tool_calls": [CALL]}, "assistant", CALLED),
    ({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "3"}]}, "user", "3"),
    (
        {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "3"}]}]},
        "user",
        "3",
    ),
    ({"type": "human", "content": "Hello."}, "user", "Hello."),
    ({"type": "tool", "content": "3"}, "user", "3"),
    ({"source": "planner", "type": "TextMessage", "content": "Plan."}, "user", "Plan."),
    ({"source": "coder", "type": "TextMessage", "content": "Mine."}, "assistant", "Mine."),
    (
        {"source": "x", "type": "ToolCallExecutionEvent", "content": [{"call_id": "1", "content": "3"}]},
        "user",
        "3",
    ),
]


@pytest.mark.parametrize(("message", "role", "content"), MESSAGES)
def test_an_observation_may_hold_messages_of_another_system(message: Any, role: str, content: str) -> None:
    for observation in ([message], message):
        [read] = turn(observation=observation).observation
        assert (read.role, read.content) == (role, content)


ENCODINGS = {
    "plain": lambda text: text.encode(),
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "two byte order marks": lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\n\ufeff").encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, big end first": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "lines of Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "blank lines": lambda text: ("\n \n" + text.replace("\n", "\n\n\t\n")).encode(),
    "no last line break": lambda text: text.strip().encode(),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_usual_encoding_of_lines_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "e.jsonl"
    line = json.dumps({**EPISODE, "id": "数 \u2028 é"}, ensure_ascii=False)
    path.write_bytes(ENCODINGS[encoding](f"{line}\n{line}\n"))
    assert [one.id for _, one in episodes.read(path)] == ["数 \u2028 é"] * 2, "ids may also repeat"


BAD = [
    b"{",
    b"[]",
    b'"text"',
    b"\xff\xfe",
    b'{"turns": [{"agent": "a"}]}',
    b'{"turns": [{"agent": "a", "action": "x", "result": {"status": "ok", "stdout": 3}}]}',
    b'{"turns": [{"agent": "a", "action": "x", "files": [{"path": 1, "size": 1, "sha256": ""}]}]}',
    b'{"turns": [{"agent": "a", "action": "x", "verdict": {"score": ' + b"9" * 400 + b"}}]}",
    b'{"turns": [{"agent": "a", "action": "x", "verdict": {"score": NaN}}]}',
    b'{"turns": [{"agent": "a", "action": "x"}], "outcome": {"success": true, "metrics": {"f": "x"}}}',
    b'{"turns": [{"agent": "a", "action": {"a": 1, "content": 3}}]}',
    b'{"turns": [{"agent": "a", "action": "x", "observation": [{"role": "tool", "content": 3}]}]}',
    b'{"turns": [{"agent": "a", "action": "x", "seen": -1, "observation": []}]}',
    b'{"turns": [{"agent": "a", "action": "x", "tool_calls": [3]}]}',
    b'{"turns": [{"agent": [], "action": "x"}]}',
    b'{"turns": [{"agent": "a", "action": "x", "result": "done"}]}',
    b'{"roles": [{"name": "a", "produces": [{"name": "f", "kind": "x"}]}], "turns": [{"agent": "a"}]}',
]


@pytest.mark.parametrize("line", BAD)
def test_a_bad_line_is_named_or_skipped(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "e.jsonl"
    good = json.dumps(EPISODE).encode()
    path.write_bytes(good + b"\n" + line + b"\n" + good + b"\n")
    with pytest.raises(ConfigError, match=r"line 2: ") as caught:
        list(episodes.read(path))
    assert "\n" not in str(caught.value)
    skipped: list[str] = []
    assert [one.id for _, one in episodes.read(path, skipped=skipped)] == ["1", "3"]
    assert skipped == [str(caught.value)]


def run(path: Path, *words: str) -> None:
    score.main([str(path), *words])


def written(path: Path, lines: Sequence[bytes]) -> Path:
    path.write_bytes(b"\n".join(lines))
    return path


def test_skipped_lines_are_counted_and_the_first_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "e.jsonl", [b"{", json.dumps(EPISODE).encode(), b"[]"])
    with pytest.raises(SystemExit):
        run(path, "coach=rules")
    assert "--skip-bad" in capsys.readouterr().err
    run(path, "coach=rules", "--skip-bad")
    shown = capsys.readouterr().out
    assert "rules on 1 episode of" in shown
    assert f"skipped: 2 lines; the first: {path}, line 1: not valid JSON" in shown
    assert len((tmp_path / "e.scored.jsonl").read_text().splitlines()) == 1


def test_an_episode_without_the_outcome_that_a_coach_needs_counts_as_bad(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = {**EPISODE, "outcome": {"success": True}}
    path = written(tmp_path / "e.jsonl", [json.dumps(EPISODE).encode(), json.dumps(ended).encode()])
    run(path, "coach=hindsight", "--skip-bad")
    assert "skipped: 1 line; the first: episode 1 has no outcome" in capsys.readouterr().out


def test_only_bad_lines_are_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "e.jsonl", [b"{", b"{"])
    with pytest.raises(SystemExit) as caught:
        run(path, "coach=rules", "--skip-bad")
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "line 1: not valid JSON" in said
    assert not (tmp_path / "e.scored.jsonl").exists()
