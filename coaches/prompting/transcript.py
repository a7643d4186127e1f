"""A whole episode as one question to a model: trusted facts, and everything else in blocks of data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from coaches.evidence import checks
from coaches.prompting import delimiters
from coaches.prompting.prompt import Question, words
from envs.types import Outcome, Turn

_TASK_CHARS = 12000
_ACTION_CHARS = 6000
_CODE_CHARS = 6000
_OUTPUT_CHARS = 2000


def transcript(rules: str, turns: Sequence[Turn], outcome: Outcome, places: Sequence[int]) -> Question:
    """Returns the question about the turns at ``places``, with the task, every turn, its files, and the
    outcome.

    The task is shown as the first agent read it. Long texts are reduced to head and tail. Actions, outputs,
    file names and the details of checks are data (``coaches.prompting.delimiters``); the facts contain none.
    """
    end = "success" if outcome.success else "failure"
    facts = [
        "Roles, in the order in which they act:",
        *_roles(turns),
        "Turns, and how their programs ended:",
        *(_line(turn) for turn in turns),
        f"Outcome, decided by the grader: {end} ({outcome.failure_code}), score {outcome.score:.3f} of 1.",
        f"Judge these turns: {', '.join(map(str, places))}.",
    ]
    task = turns[0].observation[-1].content if turns[0].observation else ""
    blocks = [("the task", delimiters.harmless(task, _TASK_CHARS))]
    for turn in turns:
        blocks += _blocks(turn)
    return Question(rules, "\n".join(facts), tuple(blocks))


def _roles(turns: Sequence[Turn]) -> Iterator[str]:
    """Yields a line per role: what it receives and what it must produce."""
    for role in {turn.agent: turn.role for turn in turns}.values():
        receives = f"receives {', '.join(spec.name for spec in role.requires) or 'no files'}"
        produces = f"must produce {', '.join(spec.name for spec in role.produces) or 'no files'}"
        code = "can run code" if role.can_run_code else "cannot run code"
        yield f"- {role.name}: {receives}; {produces}; {code}; at most {role.max_turns} turns"


def _line(turn: Turn) -> str:
    known = checks.codes(turn)
    codes = ", ".join(known.get(check.name, check.code) for check in turn.checks) or "none"
    place = f"attempt {turn.attempt + 1} of {turn.role.max_turns}"
    return f"- turn {turn.index}: {turn.agent}, {place}; {_ended(turn)}; checks of its files: {codes}"


def _ended(turn: Turn) -> str:
    if turn.result is None:
        return "no program was run"
    code = "" if turn.result.exit_code is None else f", exit code {turn.result.exit_code}"
    return f"{turn.result.status}{code}"


def _blocks(turn: Turn) -> Iterator[tuple[str, str]]:
    name = f"turn {turn.index}"
    yield f"{name}, action", delimiters.harmless(words(turn), _ACTION_CHARS)
    if turn.code is not None:
        yield f"{name}, program of the action", delimiters.harmless(turn.code, _CODE_CHARS)
    if turn.result is not None:
        output = f"{turn.result.stdout}\n{turn.result.stderr}".strip()
        yield f"{name}, output of its program", delimiters.harmless(output or "(empty)", _OUTPUT_CHARS)
    before, known = set(turn.files_before), checks.codes(turn)
    files = [file.path for file in turn.files_after if file not in before]
    states = [
        f"{check.name}: {known.get(check.name, check.code)} {check.detail}".strip() for check in turn.checks
    ]
    state = "\n".join(["written: " + (", ".join(files) or "nothing"), *states])
    yield f"{name}, files written and checks", delimiters.harmless(state, _OUTPUT_CHARS)
