"""Judges an episode from its end: who made it succeed, and whose turn explains the failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coaches.base import CoachError, Verdict
from coaches.client import chat
from coaches.client.chat import ChatModel
from coaches.client.errors import UnreadableReplyError
from coaches.evidence import lineage
from coaches.evidence.lineage import Fault
from coaches.inner import build, judge_all, total_cost, total_usage
from coaches.judging import learning
from coaches.judging.learning import JudgedEpisode
from coaches.prompting import parse
from coaches.prompting.transcript import transcript
from conf import ConfigError
from envs.types import Outcome, Turn

_PROMPT = Path(__file__).parent / "prompting" / "prompts" / "episode" / "hindsight.txt"
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "verdicts": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "turn": {"type": "integer"},
                    "score": {"type": "number", "minimum": 0, "maximum": 10},
                    "why": {"type": "string"},
                },
                "required": ["turn", "score", "why"],
                "additionalProperties": False,
            },
        },
        "blame": {"type": ["string", "null"]},
    },
    "required": ["verdicts", "blame"],
    "additionalProperties": False,
}


class Hindsight:
    """Credits and blames the turns of an episode by how it ended.

    ``source: rules`` needs no model and is deterministic. Another coach's verdicts, reached as if the end
    were unknown, are revised by the episode's lineage (``coaches.evidence.lineage``): after a failure the turn that
    explains it falls to ``guilty`` at most, and turns that had to work with what it broke, and worked, rise
    to ``harmed`` at least; all of them name its agent. ``source: model`` lets a chat model walk back, in one
    call an episode.

    ``revise: path`` changes as little as can be: only the turns on the path of blame, and nothing after a
    success; every other turn keeps the other coach's verdict. With a model, a success then costs nothing.
    ``revise: all`` gives every turn its share of the end. By rules: the guilty agent's other turns are worth
    ``implicated`` of what they were, and after a success the turns whose work is in it move ``credited`` of
    the way to 10, and nobody is blamed for them.

    A turn without a verdict stays without one, unless a model gives it one.
    """

    @dataclass(frozen=True)
    class Config:
        coach: Any
        """The coach whose verdicts are revised: a coach node. Not asked where a model judges all turns."""
        source: str
        """``rules`` or ``model``."""
        chat: Any
        """The model, for ``source: model``: a node of a coach that can be asked; else null."""
        revise: str
        """``all`` or ``path``."""
        guilty: float
        """In [0, 10]: the most that the turn is worth which explains a failure."""
        harmed: float
        """In [0, 10]: the least that a turn with code is worth whose inputs the guilty one broke."""
        implicated: float
        """Factor on the guilty agent's other turns, in [0, 1]."""
        credited: float
        """Share of the way to 10 that turns move whose work is in a success, in [0, 1]."""

    def __init__(self, config: Config, model: ChatModel | None = None) -> None:
        """``model``: asked instead of the one that ``config.chat`` names.

        Raises:
            ConfigError: a coach or the model cannot be built, or a setting is out of range.
        """
        _check(config)
        self.config = config
        self.coach = build(config.coach)
        self.model = model
        if config.source == "model" and model is None:
            self.model = chat.build(config.chat)

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        """One verdict a turn; None where there is none.

        Raises:
            CoachError: the model was to judge all turns, and gave no answer that can be read.
        """
        if self.config.source == "model" and self.config.revise == "all":
            return self._asked(turns, outcome, range(len(turns)))
        verdicts = judge_all(self.coach, turns, outcome)
        fault = lineage.fault(turns, outcome)
        if self.config.source == "rules":
            return self._ruled(turns, outcome, verdicts, fault)
        if fault is None:
            return verdicts
        return self._patched(turns, outcome, verdicts, [fault.turn, *fault.harmed])

    def learn(self, episodes: Sequence[JudgedEpisode]) -> dict[str, float]:
        """Lets the inner coach learn from its own verdicts."""
        return learning.learn(self.coach, [episode.part(0) for episode in episodes])

    def state(self) -> dict[str, Any]:
        return learning.state(self.coach)

    def restore(self, state: Mapping[str, Any]) -> None:
        learning.restore(self.coach, state)

    def _ruled(
        self,
        turns: Sequence[Turn],
        outcome: Outcome,
        verdicts: Sequence[Verdict | None],
        fault: Fault | None,
    ) -> list[Verdict | None]:
        if fault is not None:
            return [
                None if verdict is None else _revised(verdict, *self._after_failure(turn, verdict, fault))
                for turn, verdict in zip(turns, verdicts, strict=True)
            ]
        credited = lineage.contributors(turns) if self.config.revise == "all" else frozenset()
        return [
            None if verdict is None else _revised(verdict, *self._after_success(turn, verdict, credited))
            for turn, verdict in zip(turns, verdicts, strict=True)
        ]

    def _after_failure(self, turn: Turn, verdict: Verdict, fault: Fault) -> tuple[float, str | None, str]:
        if turn.index == fault.turn:
            return (
                min(verdict.score, self.config.guilty),
                fault.agent,
                f"explains the failure: {fault.reason}",
            )
        if turn.index in fault.harmed:
            least = self.config.harmed if turn.code is not None else 0.0
            return max(verdict.score, least), fault.agent, f"had to work with it: {fault.reason}"
        if turn.agent == fault.agent and self.config.revise == "all":
            return verdict.score * self.config.implicated, verdict.blame, f"same stage as turn {fault.turn}"
        return verdict.score, verdict.blame, ""

    def _after_success(
        self, turn: Turn, verdict: Verdict, credited: frozenset[int]
    ) -> tuple[float, str | None, str]:
        if turn.index not in credited:
            return verdict.score, verdict.blame, ""
        score = verdict.score + self.config.credited * (10.0 - verdict.score)
        return score, None, "its work is in the success"

    def _patched(
        self,
        turns: Sequence[Turn],
        outcome: Outcome,
        verdicts: Sequence[Verdict | None],
        places: Sequence[int],
    ) -> list[Verdict | None]:
        """``verdicts`` with the model's at ``places``; where it has none there, none is left."""
        try:
            asked = self._asked(turns, outcome, places)
        except CoachError:
            asked = [None] * len(turns)
        found = list(verdicts)
        for place in places:
            new, old = asked[place], verdicts[place]
            if new is not None and old is not None:
                both = (new, old)
                new = replace(new, cost=total_cost(both), usage=total_usage(both), parts=(old,))
            found[place] = new
        return found

    def _asked(self, turns: Sequence[Turn], outcome: Outcome, places: Sequence[int]) -> list[Verdict | None]:
        """The model's verdicts on the turns at ``places``; None elsewhere, and where it left one out."""
        assert self.model is not None
        question = transcript(_PROMPT.read_text(encoding="utf-8"), turns, outcome, places)
        agents = {turn.agent for turn in turns}
        answer = self.model.ask(question, _SCHEMA, lambda reply: _read(reply, agents))
        scores, blame = answer.value
        verdicts: list[Verdict | None] = [None] * len(turns)
        for place in places:
            if place in scores:
                score, why = scores[place]
                verdicts[place] = Verdict(score, why, blame, source="hindsight")
        first = next((place for place in places if verdicts[place] is not None), None)
        if first is not None:  # the call is paid once, not once a turn
            verdicts[first] = replace(verdicts[first], cost=answer.cost, usage=answer.usage)  # type: ignore[type-var]
        return verdicts


def _revised(verdict: Verdict, score: float, blame: str | None, note: str) -> Verdict:
    changed = f"{verdict.rationale} [hindsight: {note}; {verdict.score:.1f} -> {score:.1f}]"
    return replace(
        verdict,
        score=score,
        blame=blame,
        rationale=changed if note else verdict.rationale,
        source="hindsight",
        parts=(verdict,),
    )


def _read(reply: str, agents: set[str]) -> tuple[dict[int, tuple[float, str]], str | None]:
    """Turn -> score and reason, for every entry that can be read and stands alone; and whom it blames.

    Raises:
        ReplyError: there are no entries at all.
    """
    found = parse.json_object(reply)
    entries = found.get("verdicts")
    if not isinstance(entries, list):
        raise UnreadableReplyError("the reply holds no list of verdicts")
    good: dict[int, tuple[float, str]] = {}
    rows = [entry for entry in entries if isinstance(entry, dict) and type(entry.get("turn")) is int]
    named = Counter(row["turn"] for row in rows)
    for row in rows:
        score: Any = row.get("score")
        number = type(score) in (int, float)  # True is no number, and neither is "9"
        if named[row["turn"]] == 1 and number and 0.0 <= score <= 10.0:  # two scores for one turn are none
            good[row["turn"]] = float(score), str(row.get("why", ""))[: parse.KEPT_CHARS]
    return good, _blame(found, agents)


def _blame(found: Mapping[str, Any], agents: set[str]) -> str | None:
    blame = found.get("blame")
    return blame if isinstance(blame, str) and blame in agents else None


def _check(config: Hindsight.Config) -> None:
    if config.source not in ("rules", "model") or config.revise not in ("all", "path"):
        raise ConfigError("coach hindsight: source is rules or model, revise is all or path")
    if config.source == "rules" and config.chat is not None:
        raise ConfigError("coach hindsight: a chat model is asked with source=model only")
    for name, top in (("guilty", 10.0), ("harmed", 10.0), ("implicated", 1.0), ("credited", 1.0)):
        if not 0.0 <= getattr(config, name) <= top:
            raise ConfigError(f"coach hindsight: {name} lies in [0, {top:g}]")
