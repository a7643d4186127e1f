"""An episode as OpenTelemetry spans.

    invoke_workflow ENV                 the episode, with its outcome as an evaluation
      invoke_agent AGENT                a turn, with its verdict as an evaluation
        chat MODEL                      what the agent read and wrote
        execute_tool python             its program, with output and exit code

``gen_ai.*``, ``process.exit.code`` and ``error.type`` are those of the conventions. ``coachgym.*`` is what
these have no name for; values that are no plain text or number are JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from coaches.base import Verdict
from coaches.episodes import RecordedEpisode
from coaches.traces import evaluations, texts
from envs.types import Message, Outcome, Turn
from learners.report.reading import Row
from learners.traces.moments import Moments, schedule
from learners.traces.origin import Origin, span_id

TOOL = "python"
SCHEMA = Schemas.V1_44_0.value
Attributes = dict[str, Any]


def spans(origin: Origin, row: Row, episode: RecordedEpisode) -> list[ReadableSpan]:
    """Returns the spans of an episode, the root first.

    ``row``: its line of JSON without short forms, as ``coaches.episodes.read`` yields it.
    """
    return list(_Episode(origin, row, episode).spans())


class _Episode:
    """The spans of one episode, and what they share."""

    def __init__(self, origin: Origin, row: Row, episode: RecordedEpisode) -> None:
        self._origin, self._row, self._episode = origin, row, episode
        self._trace = origin.trace_id(episode.id, episode.task_id, row.get("seed"))
        self._schedule = schedule(episode, origin.recorded)
        named = {"service.name": "coachgym", "service.instance.id": origin.id, "coachgym.run": origin.run}
        self._resource = Resource.create(_valid({**named, **origin.settings}), SCHEMA)
        self._scope = InstrumentationScope("coachgym", schema_url=SCHEMA)

    def spans(self) -> Iterator[ReadableSpan]:
        """Yields every span, a parent before its children."""
        yield self._root()
        rows = self._row["turns"]
        played = zip(self._episode.turns, self._episode.verdicts, self._schedule.turns, strict=True)
        for place, (turn, verdict, moments) in enumerate(played):
            yield self._turn(turn, verdict, moments, rows[place])
            yield self._chat(turn, moments, rows[place])
            if turn.result is not None:
                yield self._program(turn, moments)

    def _root(self) -> ReadableSpan:
        episode, outcome = self._episode, self._episode.outcome
        name = self._origin.environment or episode.kind
        attributes = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": texts.plain(name),
            "gen_ai.conversation.id": texts.plain(f"{self._origin.run}/{episode.id}"),
            "coachgym.episode": texts.plain(episode.id),
            "coachgym.task": texts.plain(episode.task_id),
            "coachgym.kind": texts.plain(episode.kind),
            "coachgym.phase": texts.plain(episode.phase),
            "coachgym.step": episode.step,
            "coachgym.seed": self._row.get("seed"),
            "coachgym.times": "estimated" if self._schedule.estimated else "recorded",
            "coachgym.roles": [_role(role) for role in self._row.get("roles") or []],
            "coachgym.facts": self._row.get("facts"),
        }
        events = []
        if outcome is not None:
            attributes["coachgym.outcome"] = dict(vars(outcome))
            attributes["error.type"] = None if outcome.success else texts.plain(outcome.failure_code)
            events.append(self._event(self._schedule.ended, _outcome(outcome)))
        error = "" if outcome is None or outcome.success else texts.plain(outcome.failure_code)
        began, ended = self._schedule.started, self._schedule.ended
        return self._span(f"invoke_workflow {name}", "", attributes, began, ended, events=events, error=error)

    def _turn(self, turn: Turn, verdict: Verdict | None, moments: Moments, row: Row) -> ReadableSpan:
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            **self._agent(turn),
            "coachgym.turn": turn.index,
            "coachgym.attempt": turn.attempt,
            "coachgym.last": turn.last,
            "coachgym.files_before": [vars(file) for file in turn.files_before],
            "coachgym.files": [vars(file) for file in turn.files_after],
            "coachgym.checks": [vars(check) for check in turn.checks],
            "coachgym.weight_version": row.get("weight_version"),
            "coachgym.code": turn.code if turn.result is None else None,
        }
        told = [] if verdict is None else evaluations.attributes(verdict)
        events = [self._event(moments.ended, one) for one in told]
        name = f"invoke_agent {turn.agent}"
        return self._span(name, f"{turn.index}", attributes, moments.began, moments.ended, events=events)

    def _chat(self, turn: Turn, moments: Moments, row: Row) -> ReadableSpan:
        model, reason = self._origin.models.get(turn.agent), row.get("finish_reason")
        read, left_out = texts.messages(turn.observation)
        wrote, _ = texts.messages(
            [Message("assistant", turn.action)], **({"finish_reason": reason} if reason else {})
        )
        attributes = {
            "gen_ai.operation.name": "chat",
            **self._agent(turn),
            "gen_ai.request.temperature": self._origin.temperatures.get(self._episode.phase),
            "gen_ai.input.messages": read,
            "gen_ai.output.messages": wrote,
            "gen_ai.response.finish_reasons": (reason,) if isinstance(reason, str) else None,
            "gen_ai.usage.input_tokens": row.get("prompt_tokens"),
            "gen_ai.usage.output_tokens": row.get("tokens"),
            "coachgym.messages_left_out": left_out or None,
            "coachgym.cost": row.get("cost"),
        }
        kind = SpanKind.CLIENT if turn.agent in self._origin.hosted else SpanKind.INTERNAL
        name = f"chat {model}" if model else "chat"
        place = f"{turn.index}/chat"
        return self._span(name, place, attributes, moments.began, moments.acted, kind=kind)

    def _program(self, turn: Turn, moments: Moments) -> ReadableSpan:
        result = turn.result
        assert result is not None
        printed = {key: value for key, value in vars(result).items() if key not in ("wall_s", "cpu_s")}
        error = "" if result.status == "ok" else result.status
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": TOOL,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": f"call-{turn.index}",
            "gen_ai.tool.call.arguments": texts.fields({"code": turn.code or ""}),
            "gen_ai.tool.call.result": texts.fields(printed),
            "gen_ai.agent.name": texts.plain(turn.agent),
            "process.exit.code": result.exit_code,
            "error.type": error or None,
            "coachgym.wall_s": result.wall_s or None,
            "coachgym.cpu_s": result.cpu_s or None,
        }
        place = f"{turn.index}/{TOOL}"
        return self._span(f"execute_tool {TOOL}", place, attributes, moments.acted, moments.ran, error=error)

    def _agent(self, turn: Turn) -> Attributes:
        model = self._origin.models.get(turn.agent)
        known = {"gen_ai.request.model": model} if model else {}
        return {"gen_ai.provider.name": "coachgym", "gen_ai.agent.name": texts.plain(turn.agent)} | known

    def _event(self, moment: int, attributes: Mapping[str, Any]) -> Event:
        return Event(evaluations.EVALUATION, _valid(attributes), moment)

    def _span(
        self,
        name: str,
        place: str,
        attributes: Mapping[str, Any],
        began: int,
        ended: int,
        *,
        events: list[Event] | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        error: str = "",
    ) -> ReadableSpan:
        parent = place.rpartition("/")[0] if place else None
        return ReadableSpan(
            name=texts.plain(name),
            context=self._context(place),
            parent=None if parent is None else self._context(parent),
            resource=self._resource,
            attributes=_valid(attributes),
            events=events or [],
            kind=kind,
            status=Status(StatusCode.ERROR, error) if error else Status(StatusCode.UNSET),
            start_time=began,
            end_time=ended,
            instrumentation_scope=self._scope,
        )

    def _context(self, place: str) -> SpanContext:
        return SpanContext(self._trace, span_id(self._trace, place), False, TraceFlags(TraceFlags.SAMPLED))


def _role(role: Row) -> dict[str, Any]:
    """Returns a role without its example, which is of another task and long."""
    return {key: value for key, value in role.items() if key != "example"}


def _outcome(outcome: Outcome) -> Attributes:
    return {
        "gen_ai.evaluation.name": "outcome",
        "gen_ai.evaluation.score.value": outcome.score,
        "gen_ai.evaluation.score.label": "pass" if outcome.success else "fail",
        "gen_ai.evaluation.explanation": texts.plain(outcome.failure_code),
    }


def _valid(attributes: Mapping[str, Any]) -> Attributes:
    """Returns the attributes that have a value: objects and lists as JSON, integers beyond 64 bits as text.

    What is too long for an attribute is named in ``coachgym.left_out`` instead.
    """
    made: Attributes = {}
    left_out = []
    for key, value in attributes.items():
        if isinstance(value, dict | list):
            if not value:
                continue
            if (value := texts.whole(value)) is None:
                left_out.append(key)
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            value = texts.plain(str(value))
        elif isinstance(value, str):
            value = texts.plain(value)
        if value is not None:
            made[key] = value
    return made | ({"coachgym.left_out": left_out} if left_out else {})
