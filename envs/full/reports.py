"""What an agent reads of a turn: of its own, and of those of the agents before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from conf.counts import plural
from envs.actions.parsing import Reading, read_action, strip_thinking
from envs.full.advice import advised, produced
from envs.full.files import listing
from envs.full.terms import Terms
from envs.observations import escape_headings, truncate_middle
from envs.types import Turn
from sandbox.base import Result

ACTION_CHARS = 8000
"""Characters of an action that are shown again, to its own agent and to later ones."""
HANDED_CHARS = 1500
"""Characters of each output of an earlier agent's last program."""
EARLIER_CHARS = 500
"""Characters of the actions and of the outputs before it, whose effect is in the files."""
_ENDS = {
    "timeout": "was stopped because it reached the time limit of {timeout:g} seconds",
    "killed": "was killed: it used more than the memory, processes or disk that it may use",
    "output_limit": "was stopped because it printed far too much",
}


def own_action(turn: Turn) -> str:
    """Returns the action of ``turn`` as its agent reads it again: without its thinking."""
    said = strip_thinking(turn.action)
    return truncate_middle(said, ACTION_CHARS) if said else "(nothing)"


def handover(turns: Sequence[Turn], terms: Terms) -> str:
    """Returns what ``turns``, all turns of one agent, tell later agents."""
    agent = turns[0].agent
    latest = max((turn.attempt for turn in turns if turn.code is not None), default=len(turns) - 1)
    lines = [f"## From {agent}", f"{agent} used {len(turns)} of {plural(turns[0].role.max_turns, 'turn')}."]
    if outcome := produced(turns[-1]):
        lines += ["Its files, according to the checks:", escape_headings("\n".join(outcome))]
    for turn in turns:
        over = turn.attempt < latest
        said = truncate_middle(strip_thinking(turn.action), EARLIER_CHARS if over else ACTION_CHARS)
        lines += [f"### Turn {turn.attempt + 1} of {agent}", escape_headings(said) or "(nothing)"]
        if turn.result is not None:
            most = min(terms.output_chars, EARLIER_CHARS if over else HANDED_CHARS)
            lines += _output(turn.result, most, terms, "Its program")
        elif read_action(turn.action, runs_code=turn.role.can_run_code).problem:
            lines.append("This reply could not be read, and nothing ran.")
    return "\n".join(lines)


def report(turns: Sequence[Turn], terms: Terms) -> str:
    """Returns the result of the last of ``turns``, an episode so far, for the agent that acted."""
    turn = turns[-1]
    lines = [f"## Result of turn {turn.attempt + 1} of {turn.role.max_turns}"]
    read = read_action(turn.action, runs_code=turn.role.can_run_code)
    if turn.result is not None:
        lines += _output(turn.result, terms.output_chars, terms, "Your program")
        if read.form == "unclosed":
            lines.append("Your last Python block had no closing ```; it ran as far as it was written.")
    elif read.problem:
        lines.append(f"Your reply could not be read: {read.problem}")
    if outcome := advised(turn):
        lines += ["### Checks of your files", escape_headings("\n".join(outcome))]
    if turn.role.can_run_code and turn.files_after:
        lines += ["### Working folder", listing(turns, turn.agent)]
    return "\n".join([*lines, _next(turn, read)])


def _next(turn: Turn, read: Reading) -> str:
    """Returns what the agent can do now."""
    if turn.last:
        return "Your part is over."
    left = turn.role.max_turns - turn.attempt - 1
    own = {spec.name for spec in turn.role.produces}
    wrong = any(check.code != "ok" and check.name in own for check in turn.checks)
    clean = turn.result is not None and turn.result.status == "ok"
    if read.problem or wrong or not clean:
        return f"You have {plural(left, 'turn')} left: send a corrected program."
    return (
        f"You have {plural(left, 'turn')} left. If nothing is left to do, reply with a short note and no "
        "program, which ends your part."
    )


def _output(result: Result, limit: int, terms: Terms, whose: str) -> Iterator[str]:
    how = _ENDS.get(result.status, f"ended with exit code {result.exit_code}")
    if result.status == "ok":
        how = "ran without an error"
    if result.state_lost:
        how += ", and the variables of its interpreter are lost"
    silent = not (result.stdout.strip() or result.stderr.strip())
    yield f"{whose} {how.format(timeout=terms.timeout)}{' and printed nothing' if silent else ''}."
    for name, text in (("stdout", result.stdout), ("stderr", result.stderr)):
        if text.strip():
            cut = ", shortened" if len(text) > limit or result.truncated else ""
            yield f"### {name}{cut}\n{escape_headings(truncate_middle(text, limit))}"
