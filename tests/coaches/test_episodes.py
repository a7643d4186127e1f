from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coaches import episodes
from conf import ConfigError
from tests.coaches.turns import ENGINEER, TABLES

MINIMAL: dict[str, Any] = {
    "turns": [{"agent": "solver", "action": "Add."}, {"agent": "coder", "action": "3"}]
}


def one(**changes: Any) -> dict[str, Any]:
    """Returns a minimal episode whose first turn has ``changes``."""
    return {"turns": [{"agent": "solver", "action": "Add.", **changes}]}


def test_agent_and_action_are_the_only_required_keys_of_a_turn() -> None:
    result = episodes.episode(MINIMAL, number=7)
    assert (result.id, result.task_id, result.outcome, result.phase) == ("7", "7", None, "train")
    assert [(turn.agent, turn.index, turn.attempt, turn.last) for turn in result.turns] == [
        ("solver", 0, 0, True),
        ("coder", 1, 0, True),
    ]
    assert result.verdicts == (None, None)
    assert result.judged() is None


def test_missing_keys_of_a_turn_follow_from_the_other_turns() -> None:
    result = {"status": "ok", "stdout": "3"}
    files = [{"path": "a.csv", "size": 1, "sha256": "x"}]
    row = {
        "turns": [
            {"agent": "coder", "action": "```python\nprint(3)\n```", "result": result, "files": files},
            {"agent": "coder", "action": "Done.", "observation": "It printed 3."},
        ]
    }
    first, second = episodes.episode(row).turns
    assert (first.code, first.last, first.files_before) == ("print(3)", False, ())
    assert (second.attempt, second.last, second.code) == (1, True, None)
    assert second.files_before == second.files_after == first.files_after
    assert first.role.can_run_code
    assert [message.content for message in second.observation] == ["It printed 3."]


def test_messages_that_an_earlier_turn_listed_are_restored() -> None:
    def said(*words: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": word} for word in words]

    row = {
        "turns": [
            {"agent": "a", "action": "1", "observation": said("x", "y")},
            {"agent": "b", "action": "2", "observation": said("z")},
            {"agent": "a", "action": "3", "observation": said("w"), "seen": 2},
        ]
    }
    turns = episodes.episode(row).turns
    assert [message.content for message in turns[2].observation] == ["x", "y", "w"]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({}, "turns is missing"),
        ({"turns": []}, "turns is empty"),
        ({"turns": ["x"]}, "turns[0] is not an object"),
        ({"turns": [{"action": "x"}]}, "turns[0]: agent is missing|agent is missing"),
        ({"turns": [{"agent": "a"}]}, "turns[0]: action is missing"),
        (one(action=3), "turns[0]: action must be text, null, a list of parts or a message, not int"),
        (one(result={"status": "fine"}), "turns[0]: result: status must be one of ok, error"),
        (one(result="ok"), "turns[0]: result must be dict or null, not str"),
        (one(files=[{"path": "x"}]), "turns[0]: files: size is missing"),
        (one(checks=[{"name": "x", "code": "ok"}]), "checks, which need roles"),
        (one(seen=1, observation=[]), "seen is 1, but"),
        (one(observation=[{"role": "god", "content": ""}]), "'god' is not a message role"),
        (one(verdict={"score": 11}), "turns[0]: verdict: a score must be in [0, 10], not 11"),
        (one(verdict={"score": True}), "turns[0]: verdict: score must be int or float, not bool"),
        (one() | {"outcome": {"score": 1}}, "outcome: success is missing"),
        (one() | {"outcome": {"success": True, "score": 2}}, "outcome: score must be in [0, 1], not 2.0"),
        (one() | {"roles": [{"name": "coder"}]}, "turns[0]: agent 'solver' has no role; the roles are coder"),
        (one() | {"roles": [{}]}, "roles[0]: name is missing"),
        (one() | {"roles": [{"name": "a", "produces": [{"kind": "csv"}]}]}, "roles[0]: name is missing"),
        (one() | {"step": "3"}, "step must be int, not str"),
    ],
)
def test_every_error_is_one_line_that_names_file_line_and_key(
    tmp_path: Path, row: dict[str, Any], complaint: str
) -> None:
    path = tmp_path / "e.jsonl"
    path.write_text(json.dumps(MINIMAL) + "\n\n" + json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        list(episodes.read(path))
    assert str(caught.value).startswith(f"{path}, line 3: ")
    assert any(part in str(caught.value) for part in complaint.split("|"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["{", "3", "[" * 100_000])
def test_a_line_that_is_not_a_json_object_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "e.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"line 1: "):
        list(episodes.read(path))


def test_a_file_that_is_missing_or_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\x00")
    for name in ("nowhere", "bytes"):
        with pytest.raises(ConfigError, match=name):
            list(episodes.read(tmp_path / name))


def test_roles_of_an_environment_are_used_for_lines_without_roles() -> None:
    checks = [{"name": name, "code": "ok"} for name in TABLES]
    row = {"turns": [{"agent": "engineer", "action": "x", "checks": checks}]}
    [turn] = episodes.episode(row, roles=[ENGINEER]).turns
    assert turn.role == ENGINEER
    assert [check.code for check in turn.checks] == ["ok"] * 3
