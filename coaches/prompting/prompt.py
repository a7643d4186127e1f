"""The question that the coach ``llm`` asks about a turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coaches.audits.findings import Finding
from coaches.evidence import checks
from coaches.prompting import delimiters
from conf import ConfigError
from conf.ranges import Natural
from envs.episode.provenance import FileChange, last_changes
from envs.observations import summarize
from envs.types import Message, Outcome, Turn

FOLDER = Path(__file__).with_name("prompts")
PROGRAM = "[the program, shown below]"
COMMON = "common"
"""The file that is appended to every prompt: the scale, the rules on data and the form of the reply."""


@dataclass
class Sizes:
    """The most characters of each part that the model sees (head and tail)."""

    seen: Natural
    """Of the agent's observation, and of its duty."""
    action: Natural
    """Of the action without its program."""
    code: Natural
    """Of its program."""
    output: Natural
    """Of stdout and of stderr, each."""
    files: Natural
    """Of the list of files, and of the checks."""
    earlier: Natural
    """Of the summary of earlier turns."""
    answer: Natural
    """Of the true answer, or of what the grader says."""
    audits: Natural
    """Of what audits found."""


@dataclass(frozen=True)
class Question:
    """A question about one turn or episode. Data is kept apart, so that each call can use new delimiters."""

    rules: str
    """The system message: the same for every turn of a role, so that endpoints can cache it."""
    facts: str
    """Trusted statements, not written by an agent."""
    blocks: tuple[tuple[str, str], ...]
    """Name and harmless text of each block of data."""

    def messages(self, nonce: str) -> tuple[Message, Message]:
        """Returns the chat to send; the same for the same question and nonce."""
        data = "\n\n".join(delimiters.block(name, text, nonce) for name, text in self.blocks)
        closing = f"The record ends here. {self.facts} Answer with the JSON object only."
        opening = f"{self.facts} The record follows, between delimiters with the number {nonce}."
        return Message("system", self.rules), Message("user", f"{opening}\n\n{data}\n\n{closing}")


class Prompts:
    """The text files that tell the coach what to look for, one per environment.

    The first line of a file names the roles that it is for: ``roles: data_engineer modeler``, or ``roles:
    *``.
    """

    def __init__(self, name: str) -> None:
        """``name``: a file in ``coaches/prompting/prompts``, the path of another file, or ``auto``: for each
        turn the file that names its role, or ``generic``.

        Raises:
            ConfigError: there is no such file, or its first line names no roles.
        """
        self._by_role: dict[str, str] = {}
        common = (FOLDER / f"{COMMON}.txt").read_text(encoding="utf-8")
        for path in sorted(FOLDER.glob("*.txt")) if name == "auto" else [_find(name)]:
            if path.stem != COMMON or name != "auto":
                roles, text = _parse(path)
                rules = f"{text}\n\n{common.strip()}"
                self._by_role |= dict.fromkeys(roles if name == "auto" else ["*"], rules)

    def rules(self, role: str) -> str:
        """Returns the system message for turns of ``role``."""
        return self._by_role.get(role) or self._by_role["*"]


def question(
    rules: str,
    history: Sequence[Turn],
    sizes: Sizes,
    answer: str | None = None,
    outcome: Outcome | None = None,
    audits: tuple[Sequence[Finding], str] | None = None,
) -> Question:
    """Returns the question about the last turn of ``history``.

    ``answer``, the ground truth, and ``outcome``, that of an episode which ends with this turn, are shown if
    the coach may see them; so are ``audits``, what they found and what was not audited.
    """
    turn = history[-1]
    parts = [
        ("role and duty", _duty(turn), sizes.seen),
        ("what the agent read: the task, handovers, its own turns so far", _seen(turn), sizes.seen),
        ("summary of earlier turns", "\n".join(_earlier(history)) or "none", sizes.earlier),
        ("the action to score", words(turn), sizes.action),
        *_program(turn, sizes.code),
        *_result(turn, sizes.output),
        (
            "files before and after the action, and who wrote them",
            "\n".join(_files(history)) or "none",
            sizes.files,
        ),
        ("the system's checks of files after the action", "\n".join(_checks(turn)) or "none", sizes.files),
    ]
    if answer is not None:
        parts.append(("the true answer, which no agent has seen", answer, sizes.answer))
    if outcome is not None:
        name = "what the grader says of the team's result after the action, which no agent has seen"
        parts.append((name, _graded(outcome), sizes.answer))
    if audits is not None:
        name = (
            "what audits of files and programs found so far: evidence by the system, which quotes the files"
        )
        parts.append((name, "\n".join(_audited(history, *audits)) or "nothing", sizes.audits))
    return Question(
        rules, _facts(turn), tuple((name, delimiters.harmless(text, size)) for name, text, size in parts)
    )


def words(turn: Turn) -> str:
    """Returns the action without its program where that stands in it in one piece, so that a long text cannot
    crowd out the program, nor the program the text."""
    return turn.action if turn.code is None else turn.action.replace(turn.code.strip("\n"), PROGRAM, 1)


def _find(name: str) -> Path:
    for path in (FOLDER / f"{name}.txt", Path(name)):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.txt") if path.stem != COMMON))
    raise ConfigError(f"coach llm: there is no prompt {name!r}; choose auto, {known}, or the path of a file")


def _parse(path: Path) -> tuple[list[str], str]:
    first, _, text = path.read_text(encoding="utf-8").partition("\n")
    if not first.startswith("roles: "):
        raise ConfigError(f"coach llm: the first line of {path} must name roles, as in 'roles: *'")
    return first.removeprefix("roles: ").split(), text.strip()


def _facts(turn: Turn) -> str:
    ends = "; it ended this agent's part" if turn.last else ""
    return (
        f"The action to score is turn {turn.index + 1} of the episode. It is turn {turn.attempt + 1} of at "
        f"most {turn.role.max_turns} of the agent {turn.agent}{ends}."
    )


def _duty(turn: Turn) -> str:
    role = turn.role
    lines = [f"{role.name}: {role.instructions.strip()}"]
    lines.append(f"can run code: {'yes' if role.can_run_code else 'no'}")
    lines.append(f"receives: {', '.join(spec.name for spec in role.requires) or 'no files'}")
    lines.append(f"must produce: {', '.join(spec.name for spec in role.produces) or 'no files'}")
    return "\n".join(lines)


def _seen(turn: Turn) -> str:
    """Returns the agent's chat without the system message, which repeats the duty of its own block."""
    shown = [message for message in turn.observation if message.role != "system"]
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in shown) or "nothing"


def _earlier(history: Sequence[Turn]) -> Iterator[str]:
    for turn in history[:-1]:
        yield f"turn {turn.index + 1}, {turn.agent}: {summarize([turn])}"


def _program(turn: Turn, size: int) -> Iterator[tuple[str, str, int]]:
    if turn.code is not None:
        yield "the program of the action", turn.code, size


def _graded(outcome: Outcome) -> str:
    end = "success" if outcome.success else f"failure ({outcome.failure_code})"
    lines = [f"{end}; score {outcome.score:.4g} of 1"]
    lines += [f"{name}: {value:.6g}" for name, value in outcome.metrics.items()]
    return "\n".join(lines + [f"{name}: {evidence}" for name, evidence in outcome.signals.items()])


def _result(turn: Turn, size: int) -> Iterator[tuple[str, str, int]]:
    if turn.result is None:
        reason = "it contained no program" if turn.code is None else "its program was not run"
        yield "result of the action", reason, size
        return
    end: str = turn.result.status
    if turn.result.exit_code is not None:
        end += f", exit code {turn.result.exit_code}"
    yield "result of its program", end + (", output truncated" if turn.result.truncated else ""), size
    yield "stdout", turn.result.stdout or "(empty)", size
    yield "stderr", turn.result.stderr or "(empty)", size


def _files(history: Sequence[Turn]) -> Iterator[str]:
    turn = history[-1]
    before = {file.path: file for file in turn.files_before}
    after = {file.path: file for file in turn.files_after}
    earlier, now = last_changes(history[:-1]), last_changes(history)
    for path in sorted(before.keys() | after.keys()):
        if path not in after:
            yield f"{path}: removed by this action; before, it was {_writer(earlier, path)}"
        elif path not in before:
            yield f"{path}: new, {after[path].size} bytes"
        elif before[path].sha256 != after[path].sha256:
            before_it = _writer(earlier, path)
            yield f"{path}: overwritten by this action, {after[path].size} bytes; before, it was {before_it}"
        else:
            yield f"{path}: unchanged, {after[path].size} bytes, {_writer(now, path)}"


def _writer(changes: Mapping[str, FileChange], path: str) -> str:
    """Returns who wrote the file at ``path``, in words."""
    writer = changes.get(path)
    if writer is None:
        return "given with the task"
    return f"written by {writer.agent} in turn {writer.turn + 1}" if writer.agent else "of unknown origin"


def _checks(turn: Turn) -> Iterator[str]:
    codes = checks.codes(turn)
    for check in turn.checks:
        code = codes.get(check.name, check.code)
        yield f"{check.name}: {code}" + (f" ({check.detail})" if check.detail else "")


def _audited(history: Sequence[Turn], findings: Sequence[Finding], missed: str) -> Iterator[str]:
    """Yields one line for each finding, those of the turn to score first: a long text ends in the middle."""
    last = history[-1].index
    for one in sorted(findings, key=lambda one: (one.turn != last, one.turn)):
        strength = "proven" if one.strength == "proof" else "in doubt"
        yield f"turn {one.turn + 1}, {history[one.turn].agent}, {one.audit}, {strength}: {one.text}"
    if missed:
        yield missed.removeprefix("; ")


def answer_text(answer: Any) -> str:
    """Returns a task's answer as text. Raises ``ConfigError`` if it is not text, as where files are
    graded."""
    if isinstance(answer, list | tuple) and all(isinstance(one, str | int | float) for one in answer):
        return " or ".join(map(str, answer))
    if isinstance(answer, str | int | float):
        return str(answer)
    raise ConfigError("coach llm: sees=answer needs answers that are text; for files there is sees=outcome")
