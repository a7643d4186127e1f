"""Who made what, and whose turn explains a failure: read from files, checks and printed values alone.

An artifact's history is that of its hash: the turn after which it is there for the first time wrote it. A
failure is walked back from the end: where the inputs of a stage came broken, the search goes on at the stage
that they came from; where they were in order, it stops. What no check can see (features that leak, a plan
that is wrong) ends at the last turn that could have known: a guess, and said to be one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coaches.evidence import checks
from envs.mathchat.answers import boxed
from envs.parsing import strip_thinking
from envs.provenance import last_writer
from envs.types import Outcome, Turn
from sandbox.base import FileInfo


@dataclass(frozen=True)
class Fault:
    """Why an episode failed.

    ``Fault("engineer", 1, (2, 3), "X_train.pkl nan, written in turn 1")``
    """

    agent: str
    turn: int
    """Index of the turn that made it so."""
    harmed: tuple[int, ...]
    """Indices of later turns that had to work with what was broken."""
    reason: str


def fault(turns: Sequence[Turn], outcome: Outcome) -> Fault | None:
    """What explains the failure of the episode; None for a success."""
    if outcome.success or not turns:
        return None
    if any(turn.role.produces for turn in turns):
        return _broken_artifact(turns, outcome)
    return _wrong_words(turns)


def contributors(turns: Sequence[Turn]) -> frozenset[int]:
    """Indices of the turns whose work is in what the episode ended with.

    They wrote the last version of a stage's product, printed the value that was answered, or are what an
    agent without code had to say.
    """
    found = {turn.index for turn in turns if not turn.role.can_run_code}
    for last in _stage_ends(turns):
        for spec in last.role.produces:
            if (place := last_writer(turns[: last.index + 1], spec.name)) is not None:
                found.add(place)
    if not any(turn.role.produces for turn in turns):
        found |= {turn.index for turn in _printers(turns)[-1:]}
    return frozenset(found)


def _broken_artifact(turns: Sequence[Turn], outcome: Outcome) -> Fault:
    """Stage by stage from the last one that makes anything, as long as what it got came broken."""
    ends = _stage_ends(turns)
    stage, led = next(turn for turn in reversed(ends) if turn.role.produces), list[str]()
    for _ in ends:  # no more hops than stages
        came, spoiled = checks.bad_inputs(turns[: stage.index + 1])
        source = None if spoiled else _source(turns, stage, came)
        if source is None:
            return _fault(turns, stage, spoiled or _bad_products(stage) or led, outcome)
        stage, led = source, came
    return _fault(turns, stage, led, outcome)


def _source(turns: Sequence[Turn], stage: Turn, came: Sequence[str]) -> Turn | None:
    """The last turn of the stage that the broken inputs came from: whose turn wrote them, or should have."""
    first = next(turn.index for turn in turns if turn.agent == stage.agent)
    wrote = [place for name in came if first and (place := last_writer(turns[:first], name)) is not None]
    agent = turns[wrote[0]].agent if wrote else checks.culprit(turns[: stage.index + 1], came)
    return next((turn for turn in _stage_ends(turns) if turn.agent == agent), None)


def _fault(turns: Sequence[Turn], stage: Turn, bad: Sequence[str], outcome: Outcome) -> Fault:
    if (
        not bad
    ):  # the stage got and left all in order, as far as checks go: perhaps another left what they miss
        for end in _stage_ends(turns):
            if bad := _bad_products(end):
                stage = end
                break
    names = list(bad) or [spec.name for spec in stage.role.produces]
    place = next((at for name in names if (at := _broke(turns, stage, name)) is not None), stage.index)
    state = {check.name: check.code for check in stage.checks} | checks.product_codes(stage)
    what = ", ".join(f"{name} {state.get(name, 'bad')}" for name in names)
    if not bad:
        return Fault(
            stage.agent, place, (), f"{what}, yet the episode ended with {outcome.failure_code}: a guess"
        )
    harmed = tuple(
        turn.index
        for turn in turns[place + 1 :]
        if turn.agent != stage.agent
        and (
            {spec.name for spec in turn.role.requires} & set(names)
            or checks.bad_inputs(turns[: turn.index + 1])[0]
        )
    )
    return Fault(stage.agent, place, harmed, f"{what} when {stage.agent} ended")


def _broke(turns: Sequence[Turn], stage: Turn, name: str) -> int | None:
    """The stage's turn that wrote ``name`` as it was when the stage ended, or removed it."""
    if (place := last_writer(turns[: stage.index + 1], name)) is not None:
        return place if turns[place].agent == stage.agent else None
    for turn in reversed(turns[: stage.index + 1]):
        gone = _hash(turn.files_before, name) is not None and _hash(turn.files_after, name) is None
        if gone and turn.agent == stage.agent:
            return turn.index
    return None


def _wrong_words(turns: Sequence[Turn]) -> Fault:
    """In a team that hands over words: the answer if it is not what was printed, else what was printed."""
    last = turns[-1]
    coders = [turn for turn in turns if turn.role.can_run_code]
    printers = _printers(turns)
    said = boxed(strip_thinking(last.action)) if not last.role.can_run_code else None
    value = checks.printed(printers[-1]) if printers else None
    if said is None and not last.role.can_run_code:
        return Fault(last.agent, last.index, (), "no answer was given")
    if value is None:
        guilty = coders[-1] if coders else last
        return Fault(guilty.agent, guilty.index, _others(turns, guilty), "no program printed a value")
    if said is not None and not checks.agrees(said, value):
        return Fault(last.agent, last.index, (), "the answer is not what was printed")
    guilty = printers[-1]
    reason = "the printed value was answered and is wrong; whether the plan was, no check can tell"
    return Fault(guilty.agent, guilty.index, _others(turns, guilty), reason)


def _others(turns: Sequence[Turn], guilty: Turn) -> tuple[int, ...]:
    return tuple(turn.index for turn in turns[guilty.index + 1 :] if turn.agent != guilty.agent)


def _printers(turns: Sequence[Turn]) -> list[Turn]:
    return [turn for turn in turns if turn.role.can_run_code and checks.printed(turn) is not None]


def _stage_ends(turns: Sequence[Turn]) -> list[Turn]:
    """Every agent's last turn, in the order of play."""
    return sorted({turn.agent: turn for turn in turns}.values(), key=lambda turn: turn.index)


def _bad_products(stage: Turn) -> list[str]:
    return [name for name, code in checks.product_codes(stage).items() if code != "ok"]


def _hash(files: Sequence[FileInfo], name: str) -> str | None:
    return next((file.sha256 for file in files if file.path == name), None)
