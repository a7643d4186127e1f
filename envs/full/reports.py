"""What an agent reads of a turn: of its own, and of those of the agents before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envs.full.terms import Terms
from envs.observations import escape_headings, how_it_ended, summarize, truncate_middle
from envs.parsing import read_action, strip_thinking
from envs.types import Turn
from sandbox.base import Result


def handover(turns: Sequence[Turn], terms: Terms) -> str:
    """Returns what ``turns``, all turns of one agent, hand over to later agents."""
    lines = [f"## From {turns[0].agent}: {summarize(turns)}"]
    for turn in turns:
        lines += [f"### Turn {turn.attempt + 1}", escape_headings(strip_thinking(turn.action))]
        if turn.result is not None:
            lines += _output(turn.result, terms.output_chars)
    return "\n".join(lines)


def report(turn: Turn, terms: Terms) -> str:
    """Returns the result of ``turn``, for the agent that acted."""
    lines = [f"## Result of turn {turn.attempt + 1} of {turn.role.max_turns}: {summarize([turn])}"]
    if turn.result is not None:
        lines += _output(turn.result, terms.output_chars)
    elif not turn.last:
        lines.append(read_action(turn.action, runs_code=turn.role.can_run_code).problem)
    problems = [f"{check.name}: {check.detail}" for check in turn.checks if check.code != "ok"]
    if problems:
        lines += ["### Checks", escape_headings("\n".join(problems))]
    if not turn.last:
        left = turn.role.max_turns - turn.attempt - 1
        lines.append(f"You have {left} {'turn' if left == 1 else 'turns'} left.")
    return "\n".join(lines)


def _output(result: Result, limit: int) -> Iterator[str]:
    yield f"### {how_it_ended(result)}"
    for name, text in (("stdout", result.stdout), ("stderr", result.stderr)):
        if text.strip():
            yield f"### {name}\n{escape_headings(truncate_middle(text, limit))}"
