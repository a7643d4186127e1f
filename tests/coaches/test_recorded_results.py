"""Results that other systems record beside their turns, and what is judged where there are none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import conf
from coaches import episodes
from coaches.judging.verdicts import judge_episode

COACHES = {name: conf.build("coaches", conf.load("coach", name)) for name in ("rules", "hindsight")}
FUNCTION = {"name": "python", "arguments": json.dumps({"code": "print(1 + 2)"})}
CALL = {"id": "c1", "type": "function", "function": FUNCTION}
PLAIN = "```python\nprint(1 + 2)\n```"


def turns(raw: Sequence[Mapping[str, Any]], success: bool = True) -> Any:
    return episodes.episode({"turns": list(raw), "outcome": {"success": success}})


def judged(raw: Sequence[Mapping[str, Any]], coach: str, success: bool = True) -> list[Any]:
    one = turns(raw, success)
    assert one.outcome is not None
    return [each.verdict for each in judge_episode(COACHES[coach], one.turns, one.outcome)]


def told(action: Any, *observation: Any, said: str = "The sum is 3.") -> list[dict[str, Any]]:
    return [
        {"agent": "coder", "action": action},
        {"agent": "coder", "observation": list(observation), "action": said},
    ]


TOLD: dict[str, tuple[Any, Sequence[Any]]] = {
    "OpenAI": (
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        [{"role": "tool", "tool_call_id": "c1", "content": "3\n"}],
    ),
    "OpenAI, the whole chat": (
        {"content": None, "tool_calls": [CALL]},
        [
            {"role": "user", "content": "Add 1 and 2."},
            {"role": "tool", "tool_call_id": "c0", "content": "7"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "3"},
        ],
    ),
    "OpenAI, before": (
        {"content": "", "function_call": FUNCTION},
        [{"role": "function", "name": "python", "content": "3"}],
    ),
    "OpenAI, responses": (
        [{"type": "function_call", "call_id": "c1", **FUNCTION}],
        [{"type": "function_call_output", "call_id": "c1", "output": "3"}],
    ),
    "Anthropic": (
        [{"type": "tool_use", "id": "t", "name": "python", "input": {"code": "print(1 + 2)"}}],
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "3"}]}],
    ),
    "Gemini": (
        {"role": "model", "parts": [{"functionCall": {"name": "python", "args": {"code": "print(1 + 2)"}}}]},
        [{"role": "user", "parts": [{"functionResponse": {"name": "python", "response": {"output": "3"}}}]}],
    ),
    "LangGraph": (
        {
            "type": "ai",
            "content": "",
            "tool_calls": [{"id": "c1", "name": "python", "args": {"code": "print(1 + 2)"}}],
        },
        [{"type": "tool", "tool_call_id": "c1", "status": "success", "content": "3"}],
    ),
    "AutoGen": (
        [{"id": "1", **FUNCTION}],
        [
            {
                "source": "x",
                "type": "ToolCallExecutionEvent",
                "content": [{"call_id": "1", "content": "3", "is_error": False}],
            }
        ],
    ),
    "a block": (PLAIN, [{"role": "tool", "content": "3"}]),
}


@pytest.mark.parametrize("coach", COACHES)
@pytest.mark.parametrize("form", TOLD)
def test_the_message_of_a_tool_is_the_result_of_the_call(form: str, coach: str) -> None:
    action, observation = TOLD[form]
    [call, report] = turns(told(action, *observation)).turns
    assert (call.code, call.result.status, call.result.stdout.strip()) == ("print(1 + 2)", "ok", "3")
    assert (report.code, report.result) == (None, None)
    assert [(one.score, one.blame) for one in judged(told(action, *observation), coach)] == [(10.0, None)] * 2
    wrong = judged(told(action, *observation, said="The sum is 4."), coach, success=False)
    assert wrong[-1].blame == "coder"


FAILED: list[Any] = [
    {"role": "tool", "tool_call_id": "c1", "content": "Traceback (most recent call last):\n  …\nKeyError: 1"},
    {"role": "tool", "tool_call_id": "c1", "content": "NameError: name 'x' is not defined"},
    {"role": "tool", "tool_call_id": "c1", "status": "error", "content": "it timed out"},
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "c1", "is_error": True, "content": "no"}],
    },
]


@pytest.mark.parametrize("answer", FAILED)
def test_an_error_that_a_tool_reports_is_a_failed_program(answer: Any) -> None:
    raw = told({"content": None, "tool_calls": [CALL]}, answer)
    assert turns(raw).turns[0].result.status == "error"
    verdicts = judged(raw, "rules")
    assert verdicts[0].blame == "coder"
    assert verdicts[0].score < 1.0


def test_answers_go_to_the_calls_that_they_name() -> None:
    second = {**CALL, "id": "c2"}
    raw: list[dict[str, Any]] = [
        {"agent": "a", "action": None, "tool_calls": [CALL]},
        {"agent": "b", "action": None, "tool_calls": [second]},
        {
            "agent": "a",
            "observation": [
                {"role": "tool", "tool_call_id": "c2", "content": "2"},
                {"role": "tool", "tool_call_id": "c1", "content": "1"},
            ],
            "action": "Done.",
        },
    ]
    assert [turn.result and turn.result.stdout for turn in turns(raw).turns] == ["1", "2", None]
    raw[0]["tool_calls"] = [CALL, {**CALL, "id": "c3"}]
    assert turns(raw).turns[0].result.stdout == "1"
    raw[0]["result"] = {"status": "ok", "stdout": "own"}
    assert turns(raw).turns[0].result.stdout == "own"


@pytest.mark.parametrize("coach", COACHES)
@pytest.mark.parametrize(
    "raw",
    [
        [{"agent": "coder", "action": PLAIN}],
        told(PLAIN),
        told(PLAIN, {"role": "user", "content": "Output: 3"}),
        told({"content": None, "tool_calls": [CALL]}, {"role": "user", "content": "3"}),
        [{"agent": "coder", "action": PLAIN}, {"agent": "executor", "action": "3"}],
        [{"agent": "coder", "action": PLAIN}, {"agent": "critic", "action": f"Fine:\n{PLAIN}"}],
        [{"agent": "coder", "action": "I write it."}, *told(PLAIN)],
        [{"agent": "coder", "action": "So:", "result": {"status": "ok", "stdout": "3"}}, *told(PLAIN)],
    ],
)
def test_a_program_without_a_recorded_result_is_nobody_s_fault(raw: Any, coach: str) -> None:
    verdicts = judged(raw, coach)
    assert {one.blame for one in verdicts} == {None}
    assert not any("cannot run" in one.rationale for one in verdicts)


@pytest.mark.parametrize("coach", COACHES)
@pytest.mark.parametrize(
    ("stdout", "said"),
    [
        ("", "Written."),
        ("", "The file has 3 rows."),
        ("saved\n", "Written."),
        ("0.8532941\n", "The accuracy is 0.85."),
        ("0.25\n", "It is 25%."),
        ("a.txt\n", "There is one file."),
        ("1234567\n", "The answer is 1,234,567."),
    ],
)
def test_a_role_without_instructions_need_not_print_or_repeat(stdout: str, said: str, coach: str) -> None:
    raw = told("```python\nopen('a', 'w').write('1')\n```", said=said)
    raw[0]["result"] = {"status": "ok", "stdout": stdout}
    assert [(one.score, one.blame) for one in judged(raw, coach)] == [(10.0, None)] * 2
    raw[1]["action"] = "The sum is 99."
    if stdout[:1].isdigit():
        assert judged(raw, "rules")[1].blame == "coder"


def test_roles_that_are_given_say_who_can_run_code() -> None:
    roles = [{"name": "coder", "can_run_code": False}]
    one = episodes.episode({"roles": roles, "turns": [{"agent": "coder", "action": PLAIN}]})
    assert "cannot run" in COACHES["rules"].judge(one.turns).rationale
    roles = [{"name": "coder", "instructions": "Compute.", "can_run_code": True}]
    silent = {"agent": "coder", "action": PLAIN, "result": {"status": "ok"}}
    one = episodes.episode({"roles": roles, "turns": [silent]})
    assert COACHES["rules"].judge(one.turns).blame == "coder", "a role that must compute must print"


@pytest.mark.parametrize(
    ("result", "status"),
    [
        ({"status": "ok", "exit_code": 1}, "error"),
        ({"status": "ok", "exit_code": -9}, "error"),
        ({"status": "ok", "exit_code": 0}, "ok"),
        ({"status": "timeout", "exit_code": 0}, "timeout"),
    ],
)
def test_what_ended_with_an_exit_code_did_not_run_well(result: Any, status: str) -> None:
    assert turns([{"agent": "a", "action": "x", "result": result}]).turns[0].result.status == status


@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        ({"exit_code": "0"}, "result: exit_code must be an integer, not '0'"),
        ({"status": "ok", "exit_code": True}, "result: exit_code must be an integer, not True"),
        ({"stdout": "1"}, "result: it has neither status nor exit_code"),
        ({"status": "done"}, "result: status must be one of .* not 'done'"),
    ],
)
def test_a_result_that_cannot_be_read_says_what_is_wrong(result: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        turns([{"agent": "a", "action": "x", "result": result}])
