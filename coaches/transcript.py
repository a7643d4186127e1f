"""An episode as text for a model that judges it: facts in our words, everything else between markers."""

from __future__ import annotations

from collections.abc import Sequence

from coaches.chat import delimited
from coaches.lineage import writer
from envs.messages import clipped
from envs.types import Outcome, Turn

_ACTION_CHARS = 6000
_OUTPUT_CHARS = 2000
_DETAIL_CHARS = 400


def transcript(turns: Sequence[Turn], outcome: Outcome) -> str:
    """The task as the first agent read it, every turn with what it did to the files, and the outcome.

    Texts that are too long keep head and tail. Agents' actions, outputs, file names and the details of checks
    are data: each stands between two lines with a marker that none of them can hold (``chat.delimited``).
    """
    texts = [turns[0].observation[-1].content if turns[0].observation else ""]
    for place, turn in enumerate(turns):
        texts += _texts(turns[: place + 1], turn)
    marker, blocks = delimited(texts)
    lines = [f"The marker of this transcript is {marker}.", "# Task", blocks[0]]
    lines += ["# Roles, in the order of play", *_roles(turns)]
    for turn, at in zip(turns, range(1, len(blocks), 3), strict=True):
        codes = ", ".join(f"{check.code}" for check in turn.checks) or "none"
        lines += [
            f"# Turn {turn.index}: {turn.agent}, attempt {turn.attempt + 1} of {turn.role.max_turns}",
            "## Action",
            blocks[at],
            f"## Result: {_ended(turn)}",
            blocks[at + 1],
            f"## Files written in this turn, and checks (codes, in order: {codes})",
            blocks[at + 2],
        ]
    end = "success" if outcome.success else "failure"
    lines.append(f"# Outcome, by the grader: {end} ({outcome.failure_code}), score {outcome.score:.3f} of 1")
    return "\n".join(lines)


def _roles(turns: Sequence[Turn]) -> list[str]:
    """A line for each role: what it gets, what it must leave."""
    lines = []
    for role in {turn.agent: turn.role for turn in turns}.values():
        gets = ", ".join(spec.name for spec in role.requires) or "no files"
        leaves = ", ".join(spec.name for spec in role.produces) or "no files"
        code = "runs code" if role.can_run_code else "runs no code"
        lines.append(
            f"- {role.name}: gets {gets}; must leave {leaves}; {code}; at most {role.max_turns} turns"
        )
    return lines


def _texts(history: Sequence[Turn], turn: Turn) -> list[str]:
    output = "" if turn.result is None else f"{turn.result.stdout}\n{turn.result.stderr}".strip()
    files = [file.path for file in turn.files_after if writer(history, file.path) == turn.index]
    checks = [f"{check.name}: {check.code} {clipped(check.detail, _DETAIL_CHARS)}" for check in turn.checks]
    state = "\n".join(["written: " + (", ".join(files) or "nothing"), *checks])
    return [
        clipped(turn.action, _ACTION_CHARS),
        clipped(output, _OUTPUT_CHARS),
        clipped(state, _OUTPUT_CHARS),
    ]


def _ended(turn: Turn) -> str:
    if turn.result is None:
        return "no program was run"
    code = "" if turn.result.exit_code is None else f", exit code {turn.result.exit_code}"
    return f"{turn.result.status}{code}"
