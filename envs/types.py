"""The records of an episode, all frozen. Imports only the standard library and ``sandbox``.

Every step creates one ``Turn``, which coach, trace report and learner all read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sandbox.artifacts import ArtifactCheck, ArtifactSpec
from sandbox.base import FileInfo, Result

Split = Literal["train", "heldout"]


@dataclass(frozen=True)
class Message:
    """One chat message: ``Message("user", "## Task: …")``."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Task:
    """One problem for a team. Only the grader may read ``answer``."""

    id: str
    prompt: str
    """The first user message of every agent. Its ``## `` heading states the facts in brief (see ``base``)."""
    kind: str
    """Group for stratified results, e.g. ``classification``, ``regression``, ``math``."""
    answer: Any = field(repr=False)
    """What the scenario's grader needs. It never enters a sandbox, an observation or a prompt."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Files in the sandbox at the start: path there -> path on the host."""
    metric: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Public facts about the task, for checks and coaches; nothing derived from the answer."""


@dataclass(frozen=True)
class Role:
    """One agent of a pipeline and its duties.

    All turns of an agent in an episode are its *stage*. A stage is *delivered* if it ends with all artifacts
    of ``produces`` in order and without an error in its last program.
    """

    name: str
    instructions: str
    """The system message."""
    max_turns: int
    can_run_code: bool = True
    requires: tuple[ArtifactSpec, ...] = ()
    produces: tuple[ArtifactSpec, ...] = ()
    example: str = ""
    """A good first reply of this role to another task, which observations in style ``full`` show."""


@dataclass(frozen=True)
class Turn:
    """One action of one agent, with everything that it was based on and that it caused.

    The first turn of the modeler in ``dsbench``, after two turns of the data engineer (texts are shortened)::

        Turn(
            task_id="penguin_sex",
            kind="classification",
            agent="modeler",
            role=Role("modeler", "You are the modeler …", max_turns=4),
            index=2,  # the third turn of the episode …
            attempt=0,  # … and the modeler's first
            observation=(
                Message("system", "## Role: modeler (2 of 3) …"),
                Message("user", "## Task: binary; metric roc_auc; … ## From data_engineer: ok; …"),
            ),
            action="I fit a forest.\\n```python\\nimport joblib …\\n```",
            code="import joblib …",
            result=Result("ok", 0, "fitted\\n", "", truncated=False, wall_s=0.8, cpu_s=0.7),
            files_before=(FileInfo("X_train.pkl", 18211, "5f1c…"),),
            files_after=(FileInfo("X_train.pkl", 18211, "5f1c…"), FileInfo("model.pkl", 90112, "a07e…")),
            checks=(ArtifactCheck("X_train.pkl", "ok"), ArtifactCheck("model.pkl", "ok")),
            last=False,  # it ran a program, and three turns are left
        )
    """

    task_id: str
    kind: str
    agent: str
    role: Role
    index: int
    """0-based position among all turns of the episode."""
    attempt: int
    """0-based position among the turns of this agent."""
    observation: tuple[Message, ...]
    action: str
    code: str | None
    """The program in the action; None if there is none, which ends the stage if the action is prose."""
    result: Result | None
    files_before: tuple[FileInfo, ...]
    files_after: tuple[FileInfo, ...]
    checks: tuple[ArtifactCheck, ...]
    """State of this role's required and produced artifacts after the turn."""
    last: bool
    """Whether the stage ended with this turn."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The task's public facts."""


@dataclass(frozen=True)
class Outcome:
    """The grader's result of an episode.

    ``Outcome(True, 0.83, {"roc_auc": 0.83, "quality": 0.83, "fair": 0.83}, "ok")``
    """

    success: bool
    score: float
    """In [0, 1], higher is better; 0 if ``success`` is false."""
    metrics: Mapping[str, float]
    """Always has ``fair``: the score, or what a failure counts (``envs.dsbench.metrics``)."""
    failure_code: str
    """``ok``, or the reason of the failure in one word."""
    signals: Mapping[str, str] = field(default_factory=dict)
    """Reasons to doubt that the team solved the task itself: code -> evidence. They never change a score."""


@dataclass(frozen=True)
class Episode:
    """A complete episode of one task."""

    id: str
    task_id: str
    kind: str
    seed: int
    turns: tuple[Turn, ...]
    outcome: Outcome
