# my_parts/median.py
"""Two agents find a median: one writes the sorted numbers to a file, the other reads the file and answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from conf import ConfigError
from envs.actions.parsing import strip_thinking
from envs.types import Outcome, Role, Split, Task, Turn
from sandbox.artifacts import ArtifactCheck, ArtifactSpec
from sandbox.base import FileInfo, Sandbox

SORTED = ArtifactSpec("sorted.txt")
ANSWER = re.compile(r"Answer:\s*(-?\d+(?:\.\d+)?)")
SORTER = "Write the numbers of the task to sorted.txt, one per line, in ascending order."
REPORTER = "Compute the median of the numbers in sorted.txt. End with a line such as: Answer: 4.5"


class Median:
    """``sorter`` -> ``sorted.txt`` -> ``reporter``."""

    @dataclass
    class Config:
        train: list[list[int]]
        """One task per list of numbers."""
        heldout: list[list[int]]
        max_turns: int
        """Turns of each role."""
        context: str
        timeout: float
        preload: list[str]
        libraries: list[str]

    name = "median"

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` when a setting is out of range."""
        if config.context not in ("full", "previous"):
            raise ConfigError(f"env.context must be full or previous, not {config.context!r}")
        self.roles: tuple[Role, ...] = (
            Role("sorter", SORTER, config.max_turns, produces=(SORTED,)),
            Role("reporter", REPORTER, config.max_turns, requires=(SORTED,)),
        )
        self.context = config.context
        self.timeout = config.timeout
        self.preload = tuple(config.preload)
        self.libraries = tuple(config.libraries)
        self._tasks: dict[Split, list[Task]] = {
            "train": [_task(numbers) for numbers in config.train],
            "heldout": [_task(numbers) for numbers in config.heldout],
        }

    def tasks(self, split: Split) -> Sequence[Task]:
        return self._tasks[split]

    def check(
        self, task: Task, role: Role, files: Mapping[str, FileInfo], sandbox: Sandbox
    ) -> tuple[ArtifactCheck, ...]:
        """The state of ``sorted.txt``, which one role produces and the other requires."""
        if SORTED.name not in files:
            return (ArtifactCheck(SORTED.name, "missing", "there is no sorted.txt"),)
        if files[SORTED.name].size > 10_000:
            return (ArtifactCheck(SORTED.name, "size", "sorted.txt has more than 10,000 bytes"),)
        lines = sandbox.read(SORTED.name).decode("utf-8", errors="replace").split()
        if lines != [str(number) for number in sorted(task.facts["numbers"])]:
            return (ArtifactCheck(SORTED.name, "rows", "these are not the numbers of the task in order"),)
        return (ArtifactCheck(SORTED.name, "ok"),)

    def grade(self, task: Task, turns: Sequence[Turn], sandbox: Sandbox | None) -> Outcome:
        """Compares the last ``Answer:`` of the last action with the median."""
        answers = ANSWER.findall(strip_thinking(turns[-1].action))
        if not answers:
            return Outcome(False, 0.0, {"fair": 0.0}, "no_answer")
        correct = float(answers[-1]) == task.answer
        return Outcome(correct, float(correct), {"fair": float(correct)}, "ok" if correct else "wrong")


def _task(numbers: list[int]) -> Task:
    listed = ", ".join(map(str, numbers))
    return Task(
        id="median-" + "-".join(map(str, numbers)),
        prompt=f"## Task: find the median of these {len(numbers)} numbers\n{listed}",
        kind="odd" if len(numbers) % 2 else "even",
        answer=float(median(numbers)),
        facts={"numbers": tuple(numbers)},
    )
