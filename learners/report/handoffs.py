"""What the agents of an episode handed over: which artifacts, in what state, and where it broke."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from coaches.evidence import checks, lineage
from coaches.evidence.lineage import Culprit
from envs.episode.provenance import last_writer
from envs.types import Outcome, Turn


@dataclass(frozen=True)
class Broken:
    """An artifact that was not in order when the part of its agent ended.

    ``Broken("data_engineer", "X_test.pkl", "columns", 2)``
    """

    agent: str
    artifact: str
    code: str
    turn: int
    """Index of the turn that wrote or removed it last; of the agent's last turn if none did."""


@dataclass(frozen=True)
class Handoff:
    """One version of an artifact on its way from the turn that wrote it to the first turn of a reader.

    ``Handoff("X_train.pkl", 1, 3, "5f1c…", "ok")``
    """

    artifact: str
    writer: int | None
    """Index of a turn; None: nobody has written it."""
    reader: int
    """Index of the first turn of the reader's part; of its last one if it never arrived."""
    sha256: str | None
    """None: there is no such file, or no files are recorded."""
    code: str
    """``missing``, or as the reader's checks have it (``coaches.evidence.checks.codes``); ``unknown`` where
    nothing is recorded about it."""


@dataclass(frozen=True)
class Diagnosis:
    """What a failed episode shows."""

    culprit: Culprit
    artifact: str
    """The first artifact that the culprit broke; "" where the team hands over none."""
    chain: str
    """From a broken artifact to the outcome, through every agent that ended badly after it:
    ``X_test.pkl columns → analyst error → missing``."""


def broken(turns: Sequence[Turn]) -> list[Broken]:
    """Returns the products that are not in order at the end of their agent's part, in the order of parts."""
    found = list[Broken]()
    for end in _ends(turns):
        for artifact, code in checks.product_codes(end).items():
            if code != "ok":
                writer = last_writer(turns[: end.index + 1], artifact)
                own = writer is not None and turns[writer].agent == end.agent
                found.append(
                    Broken(end.agent, artifact, code, writer if own and writer is not None else end.index)
                )
    return found


def handoffs(turns: Sequence[Turn]) -> list[Handoff]:
    """Returns which version of its inputs each agent read first, by reader and artifact."""
    made, recorded = list[Handoff](), any(turn.files_before or turn.files_after for turn in turns)
    first: dict[str, Turn] = {}
    for turn in turns:
        first.setdefault(turn.agent, turn)
    for turn in first.values():
        before = {file.path: file.sha256 for file in turn.files_before}
        codes = checks.input_codes(turn)
        for spec in turn.role.requires:
            writer = last_writer(turns[: turn.index], spec.name) if turn.index else None
            sha, code = before.get(spec.name), codes.get(spec.name, "unknown")
            if sha is None and recorded:
                code = "missing"
            made.append(Handoff(spec.name, writer, turn.index, sha, code))
    return made


def diagnose(turns: Sequence[Turn], outcome: Outcome | None) -> Diagnosis | None:
    """Returns who broke what first in a failed episode, and what followed; None unless it failed."""
    culprit = lineage.culprit(turns, outcome) if outcome is not None else None
    if culprit is None or outcome is None:
        return None
    ends = _ends(turns)
    guilty = [one for one in broken(turns) if one.agent == culprit.agent]
    states = {one.artifact: one.code for one in guilty}
    later = [end for end in ends if end.index > culprit.turn and end.agent != culprit.agent]
    harmed = [(end, how) for end in later if (how := _how_it_ended(end)) != "ok"]
    read = {spec.name for end, _ in harmed[:1] for spec in end.role.requires}
    steps = [_states(states, read) if states else f"{culprit.agent} {_end(ends, culprit.agent)}"]
    steps += [f"{end.agent} {how}" for end, how in harmed]
    steps.append(outcome.failure_code)
    return Diagnosis(culprit, guilty[0].artifact if guilty else "", " → ".join(steps))


def _states(states: Mapping[str, str], read: Set[str]) -> str:
    """Names one artifact, if there is one of those that the next agent of the chain has ``read``, and how
    many others share its fate."""
    name, others = next((name for name in states if name in read), next(iter(states))), len(states) - 1
    return f"{name} {states[name]}" + (f" (and {others} more)" if others else "")


def _how_it_ended(end: Turn) -> str:
    """Says briefly how an agent's part ended: the status of its last program, or its first bad product."""
    if end.result is not None and end.result.status != "ok":
        return end.result.status
    bad = ((name, code) for name, code in checks.product_codes(end).items() if code != "ok")
    name, code = next(bad, ("", "ok"))
    return f"without {name}" if code == "missing" else f"{name} {code}".strip()


def _end(ends: Sequence[Turn], agent: str) -> str:
    end = next(end for end in ends if end.agent == agent)
    how = _how_it_ended(end)
    return "answer" if how == "ok" else how


def _ends(turns: Sequence[Turn]) -> list[Turn]:
    """Returns every agent's last turn, in order."""
    return sorted({turn.agent: turn for turn in turns}.values(), key=lambda turn: turn.index)
