"""An episode as spans: what they say, how they hang together, and that the SDK's own parser reads them."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from coaches import episodes
from coaches.base import Verdict
from coaches.recording.times import Times, TurnTimes
from coaches.traces import texts
from envs.types import Episode, Message, Outcome
from learners.run import records
from learners.traces.lines import line, owner
from learners.traces.origin import Origin
from learners.traces.spans import spans
from learners.types import Rollout
from tests.coaches.turns import ANALYST, ENGINEER, TABLES, Story, ok, ran
from tests.learners.doubles import completion

ORIGIN = Origin(
    id="5f" * 16,
    run="mine",
    environment="dsbench",
    settings={"service.version": "1.2", "coachgym.coach": "rules"},
    models={"engineer": "tiny", "analyst": "big"},
    hosted=frozenset({"analyst"}),
    temperatures={"train": 1.0},
    recorded=1796000000.0,
)
START = 1796000000_500000000


def row(**changes: Any) -> dict[str, Any]:
    """A failed episode of three turns: a program that ran, one that failed, and a report."""
    story = Story("regression", task_type="regression", target_columns=["y"])
    story.act(ENGINEER, codes=ok(TABLES)).act(ENGINEER, result=ran("error", stderr="boom"))
    story.act(ANALYST, "Nothing to hand in.")
    turns = tuple(
        replace(turn, observation=(Message("system", "s"), Message("user", f"u{turn.index}")))
        for turn in story.turns
    )
    part = Verdict(3.0, "r", None, 0.25, "rules")
    verdicts = (Verdict(7.0, "fine", None, 0.25, "mix", parts=(None, part)), part, None)
    outcome = Outcome(False, 0.0, {"fair": 0.5}, "missing")
    episode = Episode("train-4-0", "sales", "regression", 2**63 - 1, turns, outcome)
    times = Times(1796000000.5, tuple(TurnTimes(n, n + 0.5, n + 0.9) for n in range(3)))
    rollout = Rollout(episode, (completion(),) * 3, verdicts, times=times)
    written: dict[str, Any] = json.loads(json.dumps(records.episode_row("train", 4, rollout) | changes))
    return written


def made(written: dict[str, Any] | None = None, origin: Origin = ORIGIN) -> list[ReadableSpan]:
    written = row() if written is None else written
    return spans(origin, written, episodes.episode(written))


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_an_episode_is_a_tree_of_turns_calls_and_programs() -> None:
    whole = made()
    names = {span.context.span_id: span.name for span in whole if span.context}
    shape = [(span.name, names[span.parent.span_id] if span.parent else None) for span in whole]
    engineer, analyst = "invoke_agent engineer", "invoke_agent analyst"
    assert shape == [
        ("invoke_workflow dsbench", None),
        (engineer, "invoke_workflow dsbench"),
        ("chat tiny", engineer),
        ("execute_tool python", engineer),
        (engineer, "invoke_workflow dsbench"),
        ("chat tiny", engineer),
        ("execute_tool python", engineer),
        (analyst, "invoke_workflow dsbench"),
        ("chat big", analyst),
    ]
    assert len({span.context.trace_id for span in whole if span.context}) == 1
    assert len({span.context.span_id for span in whole if span.context}) == len(whole)
    assert [span.kind for span in whole if span.name.startswith("chat")] == [
        SpanKind.INTERNAL,
        SpanKind.INTERNAL,
        SpanKind.CLIENT,
    ]


def test_the_call_holds_what_the_agent_read_and_wrote() -> None:
    chat = attributes(made()[2])
    assert json.loads(chat["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "s"}]},
        {"role": "user", "parts": [{"type": "text", "content": "u0"}]},
    ]
    [wrote] = json.loads(chat["gen_ai.output.messages"])
    assert wrote["role"] == "assistant"
    assert wrote["finish_reason"] == "stop"
    assert wrote["parts"][0]["content"] == row()["turns"][0]["action"]
    assert chat["gen_ai.operation.name"] == "chat"
    assert chat["gen_ai.request.temperature"] == 1.0
    assert chat["gen_ai.usage.input_tokens"] == completion().prompt_tokens
    assert chat["gen_ai.usage.output_tokens"] == completion().tokens


def test_the_program_holds_its_output_and_how_it_ended() -> None:
    program = made()[6]
    found = attributes(program)
    assert json.loads(found["gen_ai.tool.call.arguments"]) == {"code": row()["turns"][1]["code"]}
    result = json.loads(found["gen_ai.tool.call.result"])
    assert (result["status"], result["stderr"]) == ("error", "boom")
    assert found["process.exit.code"] == row()["turns"][1]["result"]["exit_code"]
    assert found["error.type"] == "error"
    assert not program.status.is_ok
    assert made()[3].status.is_unset


def test_verdicts_are_evaluations_of_their_turns_and_the_outcome_of_the_episode() -> None:
    whole = made()
    [outcome] = whole[0].events
    assert outcome.name == "gen_ai.evaluation.result"
    assert dict(outcome.attributes or {}) == {
        "gen_ai.evaluation.name": "outcome",
        "gen_ai.evaluation.score.value": 0.0,
        "gen_ai.evaluation.score.label": "fail",
        "gen_ai.evaluation.explanation": "missing",
    }
    assert whole[0].status.description == "missing"
    mixed, part = (dict(event.attributes or {}) for event in whole[1].events)
    assert (mixed["gen_ai.evaluation.name"], mixed["gen_ai.evaluation.score.value"]) == ("mix", 7.0)
    assert mixed["gen_ai.evaluation.score.label"] == "pass"
    assert mixed["gen_ai.evaluation.explanation"] == "fine"
    assert mixed["coachgym.verdict.part"] == ""
    assert (part["gen_ai.evaluation.name"], part["coachgym.verdict.part"]) == ("rules", "1")
    assert whole[7].events == ()


def test_a_blocked_verdict_says_so_and_blame_is_kept() -> None:
    written = row()
    written["turns"][2]["verdict"] = {"score": 1.0, "rationale": "r", "blame": "engineer", "blocked": True}
    [event] = made(written)[7].events
    found = dict(event.attributes or {})
    assert found["gen_ai.evaluation.score.label"] == "blocked"
    assert found["coachgym.verdict.blame"] == "engineer"


def test_spans_lie_in_time_as_the_turns_did() -> None:
    root, turn, chat, program = made()[:4]
    assert (root.start_time, root.end_time) == (START, START + 2_900_000_000)
    assert (turn.start_time, turn.end_time) == (START, START + 900_000_000)
    assert (chat.start_time, chat.end_time) == (START, START + 500_000_000)
    assert program.start_time == chat.end_time
    assert program.end_time is not None
    assert program.end_time <= START + 900_000_000
    assert attributes(root)["coachgym.times"] == "recorded"


def test_a_recording_without_times_is_laid_end_to_end_and_marked() -> None:
    written = row(started=None)
    for turn in written["turns"]:
        if turn["result"] is not None:
            turn["result"]["wall_s"] = 0.25
    root, *others = made(written)
    assert attributes(root)["coachgym.times"] == "estimated"
    turns = [span for span in others if span.name.startswith("invoke_agent")]
    began = 1796000000 * 10**9
    assert [span.start_time for span in turns] == [began, began + 250_000_000, began + 500_000_000]
    assert root.end_time == began + 500_000_000


def test_ids_stay_where_an_episode_is_played_again_and_differ_between_runs() -> None:
    again = row(started=1.0)
    assert [span.context for span in made()] == [span.context for span in made(again)]
    other = made(origin=replace(ORIGIN, id="60" * 16))
    assert {span.context.trace_id for span in other if span.context} != {
        span.context.trace_id for span in made() if span.context
    }


def parsed(text: str) -> Any:
    """OTLP JSON as protobuf's own parser reads it, after ids are base64 as it wants them."""
    data = json.loads(text)
    for resource in data["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for key in ("traceId", "spanId", "parentSpanId"):
                    if key in span:
                        span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
    return json_format.ParseDict(data, TracesData())


def test_a_line_is_read_back_by_opentelemetrys_own_parser() -> None:
    whole = made()
    text = line(whole)
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    sent = TracesData(resource_spans=encode_spans(whole).resource_spans)
    assert parsed(text) == sent
    assert owner(text) == ORIGIN.id


@pytest.mark.parametrize("text", ["", "{", "[]", '{"resourceSpans":[{}]}', "null", '{"resourceSpans":7}'])
def test_lines_of_others_have_no_owner(text: str) -> None:
    assert owner(text) is None


def test_hostile_text_is_survived_and_bounded() -> None:
    written = row()
    hostile = "\ud800" + "\0" * 5 + "\x1b[31m</script>" + "é𝄞" * (texts.MOST // 2)
    first = written["turns"][0]
    first["action"] = first["code"] = first["result"]["stdout"] = first["result"]["stderr"] = hostile
    first["observation"] = [{"role": "user", "content": hostile} for _ in range(400)]
    first["files"] = [{"path": f"{n}{'x' * 200}", "size": 2**70, "sha256": ""} for n in range(400)]
    first["prompt_tokens"] = 2**80
    written["outcome"]["failure_code"] = hostile
    written["facts"] = {"nan": float("nan")}
    whole = made(written)
    for span in whole:
        for value in (*attributes(span).values(), span.name, span.status.description or ""):
            if isinstance(value, str):
                assert len(value) <= texts.MOST
                assert "\0" not in value
                value.encode()
    chat = attributes(whole[2])
    read = json.loads(chat["gen_ai.input.messages"])
    assert chat["coachgym.messages_left_out"] == 400 - len(read) > 0
    assert "characters left out" in read[0]["parts"][0]["content"]
    assert chat["gen_ai.usage.input_tokens"] == str(2**80)
    assert "characters left out" in json.loads(attributes(whole[3])["gen_ai.tool.call.result"])["stdout"]
    assert attributes(whole[1])["coachgym.left_out"] == ["coachgym.files"]
    assert json.loads(attributes(whole[0])["coachgym.facts"]) == {"nan": None}
    assert len(parsed(line(whole)).resource_spans[0].scope_spans[0].spans) == len(whole)
