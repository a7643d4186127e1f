"""Mathematics for a team: the agents plan, compute and answer (MathChat in MAPPA, arXiv 2601.23228)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from conf import ConfigError
from conf.ranges import Count, Natural, Positive, Range, Seed
from envs.actions.parsing import strip_thinking
from envs.making import make, make_ordered, make_parallel
from envs.mathchat import answers, splits
from envs.mathchat.equivalence import Checker
from envs.styles import check_style
from envs.types import Outcome, Role, Split, Task, Turn
from sandbox.artifacts import ArtifactCheck
from sandbox.base import FileInfo, LimitChanges, Sandbox

_PROMPTS = Path(__file__).with_name("prompts")
_BUNDLED = {"compact": "bundled:basic", "full": "bundled:graded"}
"""The bundled problems for each style of observations: those that the teaching policy has learnt to translate
into programs, and those for every other model."""
_FRESH = " Each program runs in a fresh interpreter, so\nit must be complete."


@dataclass
class Fields:
    """Possible keys of each field in a problem file; the first one that a record has counts."""

    problem: list[str]
    answer: list[str]
    id: list[str]
    kind: list[str]
    year: list[str]
    part: list[str]
    number: list[str]
    contest: list[str]
    url: list[str]


@dataclass
class Years:
    """First and last year of the contests, for each part of the problems."""

    train: list[int] | None
    heldout: list[int] | None


@dataclass
class MaxTurns:
    """Turn budget of each role."""

    problem_solver: Count
    code_executor: Count
    verifier: Count


class MathChat:
    """``problem_solver`` → ``code_executor`` → ``verifier``, whose last ``\\boxed{}`` is graded.

    ``Outcome.failure_code`` is ``ok``, ``wrong``, ``no_answer``, or ``timeout`` if the answer could not be
    compared within ``grading_timeout``. ``score`` and ``metrics["fair"]`` are 1 or 0.
    """

    @dataclass
    class Config:
        tasks: Any
        heldout_tasks: Any
        heldout: Annotated[float, Range(above=0, below=1)]
        split_seed: Seed
        years: Years
        kinds: list[str] | None
        sample: Count | None
        sample_seed: Annotated[int, Range(least=0, most=2**32 - 1)]
        overlap: str
        fields: Fields
        context: str
        max_turns: MaxTurns
        timeout: Positive
        grading_timeout: Positive
        preload: list[str]
        libraries: list[str]
        limits: LimitChanges
        output_chars: Natural
        style: str
        reply_tokens: Count | None
        session: str
        """``fresh``, or ``role``: the programs of a role share an interpreter (``envs.episode.sessions``)."""

    name = "mathchat"

    def __init__(self, config: Config) -> None:
        """Reads the problems.

        Raises:
            ConfigError: a value is out of range, a source of problems is malformed, or a problem is in both
            parts.
        """
        _check(config)
        turns = config.max_turns
        self.roles: tuple[Role, ...] = (
            _role("problem_solver", turns.problem_solver, config, can_run_code=False),
            _role("code_executor", turns.code_executor, config),
            _role("verifier", turns.verifier, config, can_run_code=False),
        )
        self.context = config.context
        self.preload = tuple(config.preload)
        self.libraries = tuple(config.libraries)
        self.limits = config.limits
        self.output_chars = config.output_chars
        self.style = config.style
        self.reply_tokens = config.reply_tokens
        self.session = config.session
        self.timeout = config.timeout
        self.checker = Checker(config.grading_timeout)
        self._tasks = _read(config)

    def tasks(self, split: Split) -> Sequence[Task]:
        return self._tasks[split]

    def check(
        self, task: Task, role: Role, files: Mapping[str, FileInfo], sandbox: Sandbox
    ) -> tuple[ArtifactCheck, ...]:
        return ()  # agents hand over text, not files

    def grade(self, task: Task, turns: Sequence[Turn], sandbox: Sandbox | None) -> Outcome:
        code = answers.grade(strip_thinking(turns[-1].action), task.answer, self.checker)
        score = float(code == "ok")
        return Outcome(code == "ok", score, {"accuracy": score, "fair": score}, code)

    def close(self) -> None:
        """Ends the process that compares answers; another one starts when it is needed."""
        self.checker.close()


raw_env = partial(make, "mathchat")
env = partial(make_ordered, "mathchat")
parallel_env = partial(make_parallel, "mathchat")


def _check(config: MathChat.Config) -> None:
    check_style("style", config.style)
    if config.context not in ("full", "previous"):
        raise ConfigError(f"context must be full or previous; got {config.context!r}")
    if config.overlap not in ("error", "drop"):
        raise ConfigError(f"overlap must be error or drop; got {config.overlap!r}")


def _read(config: MathChat.Config) -> dict[Split, list[Task]]:
    choice = splits.Choice(
        tasks=_sources("tasks", config.tasks) or [_BUNDLED[config.style]],
        heldout_tasks=_sources("heldout_tasks", config.heldout_tasks),
        heldout=config.heldout,
        split_seed=config.split_seed,
        years={part: _years(part, years) for part, years in vars(config.years).items()},
        kinds=config.kinds,
        sample=config.sample,
        sample_seed=config.sample_seed,
        drop_overlap=config.overlap == "drop",
    )
    return splits.choose(choice, vars(config.fields))


def _sources(setting: str, value: Any) -> list[str] | None:
    names = [value] if isinstance(value, str) else value
    if names is None or (isinstance(names, list) and names and all(isinstance(one, str) for one in names)):
        return names
    raise ConfigError(f"env.{setting} must be a file, a data set or a list of these; got {value!r}")


def _years(part: str, years: list[int] | None) -> tuple[int, int] | None:
    if years is None:
        return None
    if len(years) != 2 or years[0] > years[1]:
        raise ConfigError(f"env.years.{part} must be [first, last]; got {years}")
    return years[0], years[1]


def _role(name: str, turns: int, config: MathChat.Config, *, can_run_code: bool = True) -> Role:
    """Returns a role, whose instructions say only what is true of the session."""
    text = _text(name, "full" if config.style == "full" else ".")
    instructions = text if config.session == "fresh" else text.replace(_FRESH, "")
    return Role(name, instructions, turns, can_run_code, example=_text(name, "examples"))


def _text(role: str, folder: str) -> str:
    """Returns what is written for ``role`` in a folder of ``prompts``."""
    return (_PROMPTS / folder / f"{role}.txt").read_text(encoding="utf-8").strip()
