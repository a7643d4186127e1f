"""Which turn made what, and which one explains a failure: from files, checks and printed values alone.

A file version is known by its hash: the turn after which the hash first appears wrote it. A failure is traced
back from the end: if the inputs of a stage (all turns of one agent) arrived broken, the search continues at
the stage that produced them; if they were intact, it stops. What no check can see (leaking features, a wrong
plan) is attributed to the last turn that could have noticed: a guess, and labelled as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coaches.evidence import checks
from envs.actions.parsing import strip_thinking
from envs.episode.provenance import FileChange, last_changes, last_writer
from envs.mathchat.answers import boxed
from envs.types import Outcome, Turn
from sandbox.base import FileInfo


@dataclass(frozen=True)
class Culprit:
    """The turn that explains why an episode failed.

    ``Culprit("engineer", 1, (2, 3), "X_train.pkl nan when engineer ended")``
    """

    agent: str
    turn: int
    """Index of the turn."""
    harmed: tuple[int, ...]
    """Indices of later turns that worked with what it broke."""
    reason: str


def culprit(turns: Sequence[Turn], outcome: Outcome) -> Culprit | None:
    """Returns the turn that explains the failure of the episode; None for a success."""
    if outcome.success or not turns:
        return None
    if any(turn.role.produces for turn in turns):
        return _broken_artifact(turns, outcome)
    return _wrong_answer(turns)


def contributors(turns: Sequence[Turn]) -> frozenset[int]:
    """Returns the indices of the turns that contributed to the final result.

    They wrote the last version of a stage's product, printed the value that was answered, or belong to an
    agent that runs no code.
    """
    indices = {turn.index for turn in turns if not turn.role.can_run_code}
    for last in _stage_ends(turns):
        changes = last_changes(turns[: last.index + 1]) if last.role.produces else {}
        made = [change for spec in last.role.produces if (change := changes.get(spec.name)) is not None]
        indices |= {change.turn for change in made if change.agent is not None and change.sha256 is not None}
    if not any(turn.role.produces for turn in turns):
        indices |= {turn.index for turn in _printers(turns)[-1:]}
    return frozenset(indices)


def source(history: Sequence[Turn], names: Sequence[str]) -> Turn | None:
    """Returns the turn that broke the artifacts ``names``, which the agent of the last turn received broken.

    That is the turn that wrote or removed the file last; if its maker left it in order, the last one that
    changed the file or what it is compared with; if nobody wrote it, the last turn of the agent whose duty it
    was. Of several turns the first one, because later artifacts may be broken only because of it. None if an
    artifact was nobody's duty and nobody wrote it.
    """
    turn = history[-1]
    start = next(place for place, earlier in enumerate(history) if earlier.agent == turn.agent)
    earlier = history[:start]
    changes = last_changes(earlier) if names else {}
    broke = [_breaker(earlier, changes, name, checks.references(turn, name)) for name in names]
    return min((one for one in broke if one is not None), key=lambda one: one.index, default=None)


def _breaker(
    earlier: Sequence[Turn], changes: Mapping[str, FileChange], name: str, references: set[str]
) -> Turn | None:
    maker = next((one for one in reversed(earlier) if name in checks.product_codes(one)), None)
    paths, since = {name}, -1
    if maker is not None and checks.product_codes(maker)[name] == "ok":
        paths, since = {name, *references}, maker.index
    places = [changes[path].turn for path in paths if path in changes and changes[path].agent is not None]
    return next((one for one in reversed(earlier) if since < one.index in places), maker)


def _broken_artifact(turns: Sequence[Turn], outcome: Outcome) -> Culprit:
    """Traces back, from the last stage with products, for as long as a stage's inputs arrived broken."""
    ends = {turn.agent: turn for turn in _stage_ends(turns)}
    stage, place = next(turn for turn in reversed(ends.values()) if turn.role.produces), -1
    traced: dict[str, str] = {}
    for _ in ends:  # at most one hop per stage
        inherited, spoiled = checks.bad_inputs(turns[: stage.index + 1])
        codes = checks.codes(stage)
        if outcome.failure_code == "copied" and not (inherited or spoiled or _bad_products(stage)):
            inherited = checks.constant_models(stage)
            codes |= dict.fromkeys(inherited, "constant")
        guilty = None if spoiled else source(turns[: stage.index + 1], inherited)
        if guilty is None:
            bad = {name: codes[name] for name in spoiled} or _bad_products(stage) or traced
            return _culprit(turns, stage, bad, place, outcome)
        traced = {name: codes[name] for name in inherited}
        stage, place = ends[guilty.agent], guilty.index
    return _culprit(turns, stage, traced, place, outcome)


def _culprit(
    turns: Sequence[Turn], stage: Turn, bad: Mapping[str, str], place: int, outcome: Outcome
) -> Culprit:
    """``place``: the turn of the stage that broke an artifact of another stage; -1 if there is none."""
    if not bad:  # the checks find nothing wrong with this stage: perhaps another left a broken product
        for end in _stage_ends(turns):
            if bad := _bad_products(end):
                stage = end
                break
    states = bad or dict.fromkeys((spec.name for spec in stage.role.produces), "ok")
    last = stage.index if place < 0 else place
    at = next((at for name in states if (at := _broke(turns, stage, name)) is not None), last)
    what = ", ".join(f"{name} {code}" for name, code in states.items())
    if not bad:
        if (failed := _failed_program(turns, stage.index)) is not None and failed.result is not None:
            return Culprit(
                failed.agent, failed.index, (), f"its last program ended in {failed.result.status}"
            )
        reason = f"{what}, but the outcome is {outcome.failure_code}; no check explains it, this is a guess"
        return Culprit(stage.agent, at, (), reason)
    harmed = tuple(
        turn.index
        for turn in turns[at + 1 :]
        if turn.agent != stage.agent
        and (
            {spec.name for spec in turn.role.requires} & states.keys()
            or checks.bad_inputs(turns[: turn.index + 1])[0]
        )
    )
    return Culprit(stage.agent, at, harmed, f"{what} when {stage.agent} ended")


def _broke(turns: Sequence[Turn], stage: Turn, name: str) -> int | None:
    """Returns the index of the stage's turn that wrote or removed the last version of ``name``."""
    if (place := last_writer(turns[: stage.index + 1], name)) is not None:
        return (
            _bad_since(turns[: stage.index + 1], place, name) if turns[place].agent == stage.agent else None
        )
    for turn in reversed(turns[: stage.index + 1]):
        removed = _hash(turn.files_before, name) is not None and _hash(turn.files_after, name) is None
        if removed and turn.agent == stage.agent:
            return turn.index
    return None


def _bad_since(turns: Sequence[Turn], place: int, name: str) -> int:
    """Returns the index of the turn from which on the product that turn ``place`` wrote was bad: a later one
    if the checks found it in order until its agent changed what it is compared with."""
    own = (turn for turn in turns[place:] if turn.agent == turns[place].agent)
    return next((turn.index for turn in own if checks.product_codes(turn).get(name) != "ok"), place)


def _failed_program(turns: Sequence[Turn], after: int) -> Turn | None:
    """Returns the last program after turn ``after`` of an agent that hands over nothing, if it failed."""
    later = (turn for turn in reversed(turns[after + 1 :]) if turn.result is not None)
    last = next((turn for turn in later if not turn.role.produces), None)
    return None if last is None or last.result is None or last.result.status == "ok" else last


def _wrong_answer(turns: Sequence[Turn]) -> Culprit:
    """Returns the culprit in a team without products: the answer if it differs from the printed value, else
    the value."""
    last = turns[-1]
    coders = [turn for turn in turns if turn.role.can_run_code]
    printers = _printers(turns)
    answer = boxed(strip_thinking(last.action)) if not last.role.can_run_code else None
    value = checks.printed(printers[-1]) if printers else None
    if answer is None and "\\boxed" in last.role.instructions:
        return Culprit(last.agent, last.index, (), "gave no answer")
    if value is None:
        guilty = coders[-1] if coders else last
        return Culprit(guilty.agent, guilty.index, _others(turns, guilty), "no program printed a value")
    if answer is not None and not checks.agrees(answer, value):
        return Culprit(last.agent, last.index, (), "the answer is not the printed value")
    guilty = printers[-1]
    reason = (
        "the printed value was given as the answer and is wrong; no check can tell whether the plan was wrong"
    )
    return Culprit(guilty.agent, guilty.index, _others(turns, guilty), reason)


def _others(turns: Sequence[Turn], guilty: Turn) -> tuple[int, ...]:
    return tuple(turn.index for turn in turns[guilty.index + 1 :] if turn.agent != guilty.agent)


def _printers(turns: Sequence[Turn]) -> list[Turn]:
    return [turn for turn in turns if turn.role.can_run_code and checks.printed(turn) is not None]


def _stage_ends(turns: Sequence[Turn]) -> list[Turn]:
    """Returns every agent's last turn, in order."""
    return sorted({turn.agent: turn for turn in turns}.values(), key=lambda turn: turn.index)


def _bad_products(stage: Turn) -> dict[str, str]:
    return {name: code for name, code in checks.product_codes(stage).items() if code != "ok"}


def _hash(files: Sequence[FileInfo], name: str) -> str | None:
    return next((file.sha256 for file in files if file.path == name), None)
