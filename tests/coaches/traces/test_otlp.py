"""OTLP JSON that no SDK of ours wrote: malformed, hostile, or without what the conventions leave optional."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coaches.traces import formats
from conf import ConfigError


def attribute(key: str, value: Any) -> dict[str, Any]:
    kind = {str: "stringValue", int: "intValue", bool: "boolValue", float: "doubleValue"}[type(value)]
    return {"key": key, "value": {kind: str(value) if kind == "intValue" else value}}


def span(name: str, parent: str = "", trace: str = "t", began: int = 1, **given: Any) -> dict[str, Any]:
    operation = attribute("gen_ai.operation.name", name.split()[0])
    keys = {"agent": "gen_ai.agent.name", "wrote": "gen_ai.output.messages", "read": "gen_ai.input.messages"}
    keys |= {"result": "gen_ai.tool.call.result", "arguments": "gen_ai.tool.call.arguments"}
    attributes = [operation, *(attribute(keys[key], value) for key, value in given.items())]
    return {
        "traceId": trace,
        "spanId": name,
        "parentSpanId": parent,
        "name": name,
        "startTimeUnixNano": str(began),
        "endTimeUnixNano": str(began + 1),
        "attributes": attributes,
    }


def said(text: str) -> str:
    return json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": text}]}])


def data(*spans: Any) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def write(path: Path, *rows: Any) -> Path:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def read(path: Path, **options: bool) -> tuple[list[formats.Pair], list[str]]:
    return formats.read_all(path, "otlp", roles=None, skip_bad=options.get("skip_bad", False))


CHAT = span("chat", wrote=said("4"), agent="a")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not valid JSON"),
        ("[1]", "it is not a JSON object"),
        ({"turns": []}, "resourceSpans is missing: it is not OTLP JSON"),
        ({"resourceSpans": 7}, "resourceSpans must be list, not int"),
        ({"resourceSpans": [7]}, "resourceSpans[0] is not an object"),
        (data(7), "resourceSpans[0].scopeSpans[0].spans[0] is not an object"),
        (data({"spanId": "1"}), "spans[0]: traceId is missing"),
        (data(CHAT | {"startTimeUnixNano": "soon"}), "startTimeUnixNano must be an integer, not 'soon'"),
        (data(CHAT | {"attributes": [{"key": "a", "value": {"stringValue": 3}}]}), "stringValue must be str"),
        (data(CHAT | {"status": "bad"}), "spans[0]: status must be dict, not str"),
        (
            data(span("chat", trace="u", agent="a")),
            "trace u: span chat (chat): gen_ai.output.messages is missing",
        ),
        (data(span("invoke_agent a", trace="u")), "gen_ai.output.messages is missing"),
        (data(span("chat", trace="u", wrote="[")), "gen_ai.output.messages is not valid JSON"),
        (
            data(span("chat", trace="u", wrote="7")),
            "gen_ai.output.messages must be a list of messages, not int",
        ),
        (data(span("chat", trace="u", wrote="[]")), "gen_ai.output.messages is empty"),
        (data(span("chat", trace="u", wrote="[7]")), "gen_ai.output.messages[0] is not an object"),
        (
            data(span("chat", trace="u", wrote='[{"role": "assistant", "parts": [7]}]')),
            "gen_ai.output.messages[0].parts[0] is not an object",
        ),
    ],
)
def test_what_is_malformed_is_one_line_and_can_be_left_out(tmp_path: Path, line: Any, complaint: str) -> None:
    path = write(tmp_path / "t.jsonl", data(CHAT), line)
    with pytest.raises(ConfigError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert complaint in message
    assert message.endswith("(--skip-bad leaves out such records: 1)")
    assert "\n" not in message
    pairs, bad = read(path, skip_bad=True)
    assert [one.turns[0].action for _, one in pairs] == ["4"]
    assert len(bad) == 1


def test_hostile_shapes_end(tmp_path: Path) -> None:
    circle = [span("chat 1", "chat 2", wrote=said("1")), span("chat 2", "chat 1", wrote=said("2"), began=2)]
    levels = 280
    deep = '{"arrayValue":{"values":[' * levels + "]}}" * levels
    nested = json.dumps(data(CHAT | {"attributes": [{"key": "a", "value": "deep"}]})).replace('"deep"', deep)
    pairs, bad = read(write(tmp_path / "t.jsonl", nested, data(*circle)), skip_bad=True)
    assert [turn.action for turn in pairs[-1][1].turns] == ["1", "2"]
    assert all("nested too deeply" in one for one in bad)


def test_answers_of_tools_are_results_wherever_they_stand(tmp_path: Path) -> None:
    call = {"type": "tool_call", "id": "7", "name": "python", "arguments": '{"code": "print(2)"}'}
    answer = {"type": "tool_call_response", "id": "7", "response": "2"}
    wrote = json.dumps([{"role": "assistant", "parts": [call]}])
    heard = json.dumps([{"role": "tool", "parts": [answer]}])
    inner = [
        span("invoke_agent a", agent="a"),
        span("chat 1", "invoke_agent a", began=2, wrote=wrote),
        span("chat 2", "invoke_agent a", began=4, wrote=said("two"), read=heard),
    ]
    for tools in ([], [span("execute_tool python", "invoke_agent a", began=3)]):
        [(row, episode)], _ = read(write(tmp_path / "t.jsonl", data(*inner, *tools)))
        first = episode.turns[0]
        assert first.result is not None
        assert first.result.stdout == "2"
        assert ("what tools returned" in row["missing"]) is bool(tools)
    told = span("execute_tool python", "invoke_agent a", began=3, result="3", arguments='{"code": "x"}')
    [(_, episode)], _ = read(write(tmp_path / "t.jsonl", data(*inner, told)))
    first = episode.turns[0]
    assert first.result is not None
    assert (first.code, first.result.stdout) == ("x", "3")


def test_several_workflows_of_a_trace_are_several_episodes(tmp_path: Path) -> None:
    whole = [
        span("app"),
        *(span(f"invoke_workflow {n}", "app") for n in "xy"),
        *(span(f"chat {n}", f"invoke_workflow {n}", agent="a", wrote=said(n)) for n in "xy"),
    ]
    pairs, _ = read(write(tmp_path / "t.jsonl", data(*whole)))
    assert [one.id for _, one in pairs] == ["t/invoke_workflow x", "t/invoke_workflow y"]
    assert [one.turns[0].action for _, one in pairs] == ["x", "y"]
