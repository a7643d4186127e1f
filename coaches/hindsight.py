"""Judges an episode by how it ended: who made it succeed, and which turn explains the failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coaches.base import CoachError, Verdict
from coaches.client.errors import UnreadableReplyError
from coaches.evidence import checks, lineage
from coaches.evidence.lineage import Culprit
from coaches.judging.inner import LearningInside, build_coach, check_ready
from coaches.judging.verdicts import THREADS, judge_episode, total_cost, total_usage
from coaches.prompting import chat, parse
from coaches.prompting.chat import ChatModel
from coaches.prompting.transcript import transcript
from conf import ConfigError
from conf.ranges import Score, Share
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


class Hindsight(LearningInside):
    """Credits and blames the turns of an episode by how it ended.

    ``source: rules`` needs no model and is deterministic. It revises the verdicts that another coach reached
    without knowing the outcome, by the episode's lineage (``coaches.evidence.lineage``). After a failure, the
    turn that explains it scores at most ``guilty``, and later turns that ran code on what it broke score at
    least ``harmed``; all of them blame its agent. ``source: model`` asks a chat model to trace the outcome
    back, in one call per episode.

    ``revise: path`` changes as little as possible: after a failure only the turns on the path of blame, and
    nothing after a success; every other turn keeps the other coach's verdict. With a model, a success then
    costs nothing. ``revise: all`` gives every turn its share of the outcome. With rules: the scores of the
    culprit's other turns are multiplied by ``implicated``; after a success, turns that contributed to it move
    the fraction ``credited`` of the way to 10, and nobody is blamed for them.

    A turn without a verdict stays without one, unless the model gives it one.
    """

    @dataclass(frozen=True)
    class Config:
        coach: Any
        """The coach whose verdicts are revised: a coach node. Not asked if a model judges all turns."""
        source: str
        """``rules`` or ``model``."""
        chat: Any
        """The model, for ``source: model``: the node of a coach with a chat model, such as ``llm``; otherwise
        null."""
        revise: str
        """``all`` or ``path``."""
        guilty: Score
        """In [0, 10]: the highest score of the turn that explains a failure."""
        harmed: Score
        """In [0, 10]: the lowest score of a later turn with code whose inputs the culprit broke."""
        implicated: Share
        """Factor on the culprit's other turns, in [0, 1]."""
        credited: Share
        """Fraction of the way to 10 that a turn moves if it contributed to a success, in [0, 1]."""

    def __init__(self, config: Config, model: ChatModel | None = None) -> None:
        """``model``: used instead of the one that ``config.chat`` names.

        Raises:
            ConfigError: a coach or the model cannot be built, or a setting is out of range.
        """
        _check(config)
        self.config = config
        self.coach = build_coach(config.coach)
        self.model = model
        if config.source == "model" and model is None:
            self.model = chat.build(config.chat)

    def check_ready(self) -> None:
        """Lets the coach and the model that are asked check what they need; raises as
        ``DependentPart.check_ready``."""
        if self.config.source == "rules" or self.config.revise == "path":
            check_ready(self.coach)
        check_ready(self.model)

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        """Returns one verdict per turn; None where there is none.

        Raises:
            CoachError: the model was asked about all turns and its reply cannot be read.
        """
        if self.config.source == "model" and self.config.revise == "all":
            return self._asked(turns, outcome, range(len(turns)))
        judged = judge_episode(self.coach, turns, outcome, threads=THREADS)
        verdicts = [one.verdict for one in judged]
        culprit = lineage.culprit(turns, outcome)
        if self.config.source == "rules":
            return self._by_rules(turns, verdicts, culprit)
        if culprit is None:
            return verdicts
        return self._by_model(turns, outcome, verdicts, [culprit.turn, *culprit.harmed])

    def _by_rules(
        self, turns: Sequence[Turn], verdicts: Sequence[Verdict | None], culprit: Culprit | None
    ) -> list[Verdict | None]:
        if culprit is not None:
            return [
                None if verdict is None else self._after_failure(turn, verdict, culprit)
                for turn, verdict in zip(turns, verdicts, strict=True)
            ]
        credited = lineage.contributors(turns) if self.config.revise == "all" else frozenset()
        return [
            None if verdict is None else self._after_success(turn, verdict, credited)
            for turn, verdict in zip(turns, verdicts, strict=True)
        ]

    def _after_failure(self, turn: Turn, verdict: Verdict, culprit: Culprit) -> Verdict:
        if turn.index == culprit.turn:
            guilty = replace(verdict, score=min(verdict.score, self.config.guilty), blame=culprit.agent)
            note = f"this turn explains the failure: {culprit.reason}"
            return _noted(verdict, replace(guilty, blocked=False), note)
        if turn.index in culprit.harmed:
            least = self.config.harmed if turn.code is not None else 0.0
            harmed = replace(verdict, score=max(verdict.score, least), blame=culprit.agent)
            note = f"worked with what turn {culprit.turn} broke: {culprit.reason}"
            return _noted(verdict, replace(harmed, blocked=checks.valid_program(turn)), note)
        if turn.agent == culprit.agent and self.config.revise == "all":
            implicated = replace(verdict, score=verdict.score * self.config.implicated)
            return _noted(
                verdict, implicated, f"same agent as turn {culprit.turn}, which explains the failure"
            )
        return _noted(verdict, verdict)

    def _after_success(self, turn: Turn, verdict: Verdict, credited: frozenset[int]) -> Verdict:
        if turn.index not in credited:
            return _noted(verdict, verdict)
        score = verdict.score + self.config.credited * (10.0 - verdict.score)
        return _noted(
            verdict, replace(verdict, score=score, blame=None, blocked=False), "contributed to the success"
        )

    def _by_model(
        self,
        turns: Sequence[Turn],
        outcome: Outcome,
        verdicts: Sequence[Verdict | None],
        places: Sequence[int],
    ) -> list[Verdict | None]:
        """Returns ``verdicts`` with the model's verdicts at ``places``, None where the model gave none."""
        try:
            asked = self._asked(turns, outcome, places)
        except CoachError:
            asked = [None] * len(turns)
        revised = list(verdicts)
        for place in places:
            new, old = asked[place], verdicts[place]
            if new is not None and old is not None:
                both = (new, old)
                new = replace(new, cost=total_cost(both), usage=total_usage(both), parts=(old,))
            revised[place] = new
        return revised

    def _asked(self, turns: Sequence[Turn], outcome: Outcome, places: Sequence[int]) -> list[Verdict | None]:
        """Returns the model's verdicts on the turns at ``places``; None elsewhere, and where it omitted
        one."""
        assert self.model is not None
        question = transcript(_PROMPT.read_text(encoding="utf-8"), turns, outcome, places)
        agents = {turn.agent for turn in turns}
        parsed = self.model.ask(question, _SCHEMA, lambda reply: _read(reply, agents))
        scores, blame = parsed.value
        verdicts: list[Verdict | None] = [None] * len(turns)
        for place in places:
            if place in scores:
                score, why = scores[place]
                verdicts[place] = Verdict(score, why, blame, source="hindsight")
        first = next((place for place in places if verdicts[place] is not None), None)
        if first is not None:  # the call is paid once, not once per turn
            verdicts[first] = replace(verdicts[first], cost=parsed.cost, usage=parsed.usage)  # type: ignore[type-var]
        return verdicts


def _noted(verdict: Verdict, revised: Verdict, note: str = "") -> Verdict:
    """Returns ``revised`` as a verdict of this coach. ``note``: why it changed; empty if it did not."""
    change = f" [hindsight: {note}; {verdict.score:.1f} -> {revised.score:.1f}]" if note else ""
    rationale = verdict.rationale + change
    return replace(revised, rationale=rationale, source="hindsight", parts=(verdict,))


def _read(reply: str, agents: set[str]) -> tuple[dict[int, tuple[float, str]], str | None]:
    """Returns turn -> (score, reason) for every readable entry, and whom the reply blames.

    An entry is ignored if its turn has another one, or if its score is not a number in [0, 10].

    Raises:
        ReplyError: the reply has no list of entries.
    """
    values = parse.json_object(reply)
    entries = values.get("verdicts")
    if not isinstance(entries, list):
        raise UnreadableReplyError("the reply has no list of verdicts")
    readable: dict[int, tuple[float, str]] = {}
    rows = [entry for entry in entries if isinstance(entry, dict) and type(entry.get("turn")) is int]
    named = Counter(row["turn"] for row in rows)
    for row in rows:
        score: Any = row.get("score")
        number = type(score) in (int, float)  # neither True nor "9" is a number
        if named[row["turn"]] == 1 and number and 0.0 <= score <= 10.0:
            readable[row["turn"]] = float(score), str(row.get("why", ""))[: parse.KEPT_CHARS]
    return readable, _blame(values, agents)


def _blame(values: Mapping[str, Any], agents: set[str]) -> str | None:
    blame = values.get("blame")
    return blame if isinstance(blame, str) and blame in agents else None


def _check(config: Hindsight.Config) -> None:
    if config.source not in ("rules", "model") or config.revise not in ("all", "path"):
        raise ConfigError("coach hindsight: source must be rules or model, revise must be all or path")
    if config.source == "rules" and config.chat is not None:
        raise ConfigError("coach hindsight: chat needs source=model")
    for name, top in (("guilty", 10.0), ("harmed", 10.0), ("implicated", 1.0), ("credited", 1.0)):
        if not 0.0 <= getattr(config, name) <= top:
            raise ConfigError(f"coach hindsight: {name} must be in [0, {top:g}]")
