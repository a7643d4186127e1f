"""Trajectories in ATIF, written by hand from its specification, are read as episodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coaches import score
from coaches.traces import formats

Json = dict[str, Any]


def call(name: str, key: str = "c1", **arguments: Any) -> Json:
    return {"tool_call_id": key, "function_name": name, "arguments": arguments}


def trajectory(*steps: Json, name: str = "lead", **given: Any) -> Json:
    numbered = [{"step_id": place + 1, **step} for place, step in enumerate(steps)]
    agent = {"name": name, "version": "1"}
    return {"schema_version": "ATIF-v1.7", "session_id": "s", "agent": agent, "steps": numbered} | given


ASKED = {"source": "user", "message": "How many penguins are there?"}
COUNTED = {
    "source": "agent",
    "message": "I count the rows.",
    "reasoning_content": "The table has one row each.",
    "tool_calls": [call("python", code="print(344)")],
    "observation": {"results": [{"source_call_id": "c1", "content": "344"}]},
    "metrics": {"prompt_tokens": 50, "completion_tokens": 9, "cost_usd": 0.01},
}
ANSWERED = {"source": "agent", "message": "There are 344."}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(path: Path) -> formats.Pair:
    assert formats.chosen(path, None) == "atif"
    [pair], bad = formats.read_all(path, "atif", roles=None, skip_bad=False)
    assert bad == []
    return pair


def test_steps_of_the_agent_are_turns_with_their_results(tmp_path: Path) -> None:
    row, one = read(write(tmp_path / "t.json", trajectory(ASKED, COUNTED, ANSWERED, trajectory_id="t7")))
    first, second = one.turns
    assert one.id == "t7"
    assert (first.agent, first.code) == ("lead", "print(344)")
    assert first.action.startswith(
        "<think>\nThe table has one row each.\n</think>\nI count the rows.\n<tool_call>"
    )
    assert [message.content for message in first.observation] == ["How many penguins are there?"]
    assert first.result is not None
    assert (first.result.status, first.result.stdout) == ("ok", "344")
    assert (second.action, second.result) == ("There are 344.", None)
    assert [message.role for message in second.observation] == ["user", "assistant", "user"]
    assert (row["turns"][0]["tokens"], row["turns"][0]["cost"]) == (9, 0.01)
    assert one.outcome is None
    assert row["missing"] == []


def test_results_of_several_calls_are_joined_and_one_that_reports_an_error_failed(tmp_path: Path) -> None:
    both = COUNTED | {
        "tool_calls": [call("search", "c1"), call("search", "c2")],
        "observation": {
            "results": [{"content": "found"}, {"content": [{"type": "text", "text": "KeyError: 'x'"}]}]
        },
    }
    _, one = read(write(tmp_path / "t.json", trajectory(both)))
    result = one.turns[0].result
    assert result is not None
    assert (result.status, result.stderr) == ("error", "found\nKeyError: 'x'")


def test_subagents_play_where_they_were_called(tmp_path: Path) -> None:
    inner = trajectory(ASKED, COUNTED, name="counter", trajectory_id="sub")
    hidden = trajectory(ANSWERED, name="nobody", trajectory_id="never called")
    asks = {
        "source": "agent",
        "message": "Count!",
        "tool_calls": [call("delegate")],
        "observation": {
            "results": [{"subagent_trajectory_ref": [{"trajectory_id": one} for one in ("sub", "x")]}]
        },
    }
    whole = trajectory(ASKED, asks, ANSWERED, subagent_trajectories=[inner, hidden])
    row, one = read(write(tmp_path / "t.json", whole))
    assert [turn.agent for turn in one.turns] == ["lead", "counter", "lead"]
    assert row["missing"] == [
        "trajectories of subagents in other files",
        "the place of subagents that no step refers to",
    ]


def test_copied_context_is_read_and_not_played_again(tmp_path: Path) -> None:
    _, one = read(write(tmp_path / "t.json", trajectory(COUNTED | {"is_copied_context": True}, ANSWERED)))
    [turn] = one.turns
    assert turn.action == "There are 344."
    assert "344" in turn.observation[-1].content


def test_a_folder_of_a_job_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "job" / "agent").mkdir(parents=True)
    write(tmp_path / "job" / "agent" / "trajectory.json", trajectory(ASKED, COUNTED, ANSWERED))
    write(tmp_path / "job" / "result.json", {"reward": 1.0})
    score.main([str(tmp_path / "job"), "coach=rules", "format=atif"])
    told = capsys.readouterr().out
    assert told.startswith(
        "read as format=atif, which has no outcome, files, checks, times and status of results"
    )
    row = json.loads((tmp_path / "job.scored.jsonl").read_text())
    assert [turn["verdict"]["source"] for turn in row["turns"]] == ["rules", "rules"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "not valid JSON"),
        ('{"schema_version": "ATIF-v1.4"', "not valid JSON"),
        (
            trajectory(ASKED) | {"schema_version": "ATIF-v2.0"},
            "schema_version must be ATIF-v1.x, not 'ATIF-v2.0'",
        ),
        (trajectory(ASKED), "steps has no step of an agent"),
        (trajectory(COUNTED) | {"agent": {}}, "name is missing"),
        (trajectory(COUNTED) | {"steps": 7}, "steps must be list, not int"),
        (trajectory(COUNTED) | {"steps": [7]}, "steps[0]: it is not an object"),
        (
            trajectory(COUNTED | {"source": "tool"}),
            "steps[0]: source must be one of system, user, agent, not 'tool'",
        ),
        (trajectory(COUNTED | {"message": 7}), "steps[0]: content must be text or a list of parts, not int"),
        (trajectory(COUNTED | {"tool_calls": [{}]}), "steps[0]: tool_call_id is missing"),
        (
            trajectory(COUNTED | {"observation": {"results": [7]}}),
            "steps[0]: a result of observation is not an object",
        ),
        (trajectory(COUNTED | {"observation": []}), "steps[0]: observation must be dict, not list"),
        (trajectory(COUNTED, subagent_trajectories=[7]), "a trajectory of a subagent, or a reference to it"),
    ],
)
def test_what_is_malformed_is_one_line(
    content: Any, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "t.json", content)
    with pytest.raises(SystemExit, match="2"):
        score.main([str(path), "coach=rules", "format=atif"])
    [line] = capsys.readouterr().err.splitlines()
    assert f"{path}: " in line
    assert complaint in line


def test_subagents_of_subagents_without_end_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = {"results": [{"subagent_trajectory_ref": [{"trajectory_id": "in"}]}]}
    deep = trajectory(ANSWERED, trajectory_id="in")
    for _ in range(30):
        deep = trajectory(
            ANSWERED | {"observation": reference}, trajectory_id="in", subagent_trajectories=[deep]
        )
    with pytest.raises(SystemExit, match="2"):
        score.main([str(write(tmp_path / "t.json", deep)), "coach=rules"])
    assert "subagent_trajectories are nested too deeply" in capsys.readouterr().err
