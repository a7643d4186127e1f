"""Spans that were written are read as the same episodes: ours, and those of OpenTelemetry's own SDK."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode, Tracer

from coaches import episodes, score
from coaches.episodes import RecordedEpisode
from coaches.traces import formats
from learners.traces.lines import line
from tests.learners.traces.receiver import receiving
from tests.learners.traces.test_spans import made, row


def reread(path: Path) -> list[tuple[dict[str, Any], RecordedEpisode]]:
    format = formats.chosen(path, None)
    assert format == "otlp"
    pairs, bad = formats.read_all(path, format, roles=None, skip_bad=False)
    assert bad == []
    return pairs


def test_an_episode_is_read_back_from_its_spans(tmp_path: Path) -> None:
    written = row()
    written["turns"][0]["result"] |= {"state_lost": True, "losses": 2, "truncated": True}
    written["turns"][1]["checks"][0]["facts"] = {"rows": 7, "columns": ["a"]}
    path = tmp_path / "traces.jsonl"
    path.write_text(line(made(written)))
    one, [(found, again)] = episodes.episode(written), reread(path)
    for mine, theirs in zip(one.turns, again.turns, strict=True):
        assert theirs == mine
    assert again == one, "times and verdicts with their parts included"
    assert found["missing"] == []
    assert found["seed"] == written["seed"]


def test_a_recording_without_times_has_none_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text(line(made(row(started=None))))
    [(found, again)] = reread(path)
    assert again.times is None
    assert again.turns == episodes.episode(row()).turns, "although all its turns are at one moment"
    assert found["missing"] == ["times"]


def test_a_trace_may_be_split_over_lines_in_any_order_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    written = row()
    written["turns"][0]["files"] = [{"path": f"{n}{'x' * 200}", "size": n, "sha256": ""} for n in range(400)]
    whole = made(written)
    path = tmp_path / "traces.jsonl"
    path.write_text("".join(line([span]) for span in reversed(whole)))
    [(found, again)] = reread(path)
    assert [turn.action for turn in again.turns] == [turn["action"] for turn in written["turns"]]
    assert set(found["missing"]) == {"coachgym.files", "coachgym.files_before"}


def exported(tmp_path: Path) -> Path:
    """What a collector writes of somebody else's instrumented program: the SDK's own exporter sends it."""
    with receiving() as receiver:
        provider = TracerProvider()
        exporter = OTLPSpanExporter(f"{receiver.address}/v1/traces")
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        played(provider.get_tracer("theirs"))
        provider.shutdown()
    path = tmp_path / "theirs.jsonl"
    lines = [json.dumps(json_format.MessageToDict(request)) for request in receiver.requests]
    path.write_text("\n".join(lines))
    return path


def played(tracer: Tracer) -> None:
    """Two agents, the first of which has a tool."""

    def said(role: str, *parts: dict[str, Any]) -> str:
        return json.dumps([{"role": role, "parts": list(parts)}])

    def text(content: str) -> dict[str, Any]:
        return {"type": "text", "content": content}

    call = {"type": "tool_call", "id": "c1", "name": "search", "arguments": {"query": "penguins"}}
    ask, call_of = {"gen_ai.operation.name": "chat"}, {"gen_ai.operation.name": "execute_tool"}
    with tracer.start_as_current_span("POST /ask"):
        agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "searcher"}
        with tracer.start_as_current_span("invoke_agent searcher", attributes=agent):
            asked = {"gen_ai.input.messages": said("user", text("How many?"))}
            wrote = {"gen_ai.output.messages": said("assistant", text("I search."), call)}
            with tracer.start_as_current_span("chat m", attributes={**ask, **asked, **wrote}):
                pass
            with tracer.start_as_current_span("execute_tool search", attributes=call_of) as tool:
                tool.set_status(Status(StatusCode.ERROR, "no network"))
            wrote = {"gen_ai.output.messages": said("assistant", text("344."))}
            with tracer.start_as_current_span("chat m", attributes=ask | wrote):
                pass
        with tracer.start_as_current_span("chat m", attributes=ask | wrote):
            pass


def test_spans_of_the_sdk_are_turns_and_what_they_lack_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = exported(tmp_path)
    [(found, episode)] = reread(path)
    first, second, third = episode.turns
    assert [turn.agent for turn in episode.turns] == ["searcher", "searcher", "unnamed"]
    assert first.action.startswith("I search.\n<tool_call>")
    assert first.observation[0].content == "How many?"
    assert first.result is not None
    assert (first.result.status, first.result.stderr) == ("error", "no network")
    assert second.result is None
    assert (second.action, third.action) == ("344.", "344.")
    assert episode.outcome is None
    assert episode.times is not None
    assert found["missing"] == [
        "outcome",
        "files and checks",
        "instructions of roles",
        "names of agents (called 'unnamed')",
    ]
    score.main([str(path), "coach=rules"])
    told = capsys.readouterr().out
    assert told.startswith("read as format=otlp\nmissing in 1 of 1 episode: outcome\n")
    [written] = (tmp_path / "theirs.scored.jsonl").read_text().splitlines()
    assert [turn["verdict"]["source"] for turn in json.loads(written)["turns"]] == ["rules"] * 3


def test_verdicts_on_spans_of_ours_and_of_the_sdk_go_back_into_the_trace(tmp_path: Path) -> None:
    ours = tmp_path / "ours.jsonl"
    ours.write_text(line(made()))
    for path in (ours, exported(tmp_path)):
        out = path.with_suffix(".judged.jsonl")
        score.main([str(path), "coach=rules", "--otlp", str(out)])
        [row] = map(json.loads, path.with_suffix(".scored.jsonl").read_text().splitlines())
        [(_, again)] = reread(out)
        scores = [None if one is None else (one.source, one.score, one.blame) for one in again.verdicts]
        wanted = [turn["verdict"] for turn in row["turns"]]
        assert scores == [(one["source"], one["score"], one["blame"]) for one in wanted]


def test_an_episode_played_again_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    changed = row()
    changed["turns"][2]["action"] = "Again."
    path.write_text(line(made()) + line(made(changed)))
    [(_, again)] = reread(path)
    assert again.turns[2] == replace(episodes.episode(row()).turns[2], action="Again.")
