"""The records of an episode. Standard library and ``sandbox`` only; every one is frozen.

One step makes one ``Turn``; coach, trace and learner read the same one.
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
    """One problem for a team. ``answer`` is the grader's alone."""

    id: str
    prompt: str
    """The first message every agent reads. Its ``## `` headings carry the facts in brief (see ``base``)."""
    kind: str
    """What results are stratified by, e.g. ``classification``, ``regression``, ``math``."""
    answer: Any = field(repr=False)
    """Whatever the scenario's grader needs; it never enters a sandbox, an observation or a prompt."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Files put into the sandbox at reset: name there -> path here."""
    metric: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Public facts on the task, for checks and for coaches; nothing derived from the answer."""


@dataclass(frozen=True)
class Role:
    """One stage of a pipeline and the agent that plays it."""

    name: str
    instructions: str
    """The system message."""
    max_turns: int
    can_run_code: bool = True
    requires: tuple[ArtifactSpec, ...] = ()
    produces: tuple[ArtifactSpec, ...] = ()


@dataclass(frozen=True)
class Turn:
    """One action of one agent, with all it was based on and all it caused."""

    task_id: str
    kind: str
    agent: str
    role: Role
    index: int
    """0-based position in the episode, over all agents."""
    attempt: int
    """0-based position among this agent's own turns."""
    observation: tuple[Message, ...]
    action: str
    code: str | None
    """The program taken from the action; None when it held none (which ends the stage)."""
    result: Result | None
    files_before: tuple[FileInfo, ...]
    files_after: tuple[FileInfo, ...]
    checks: tuple[ArtifactCheck, ...]
    """State of this role's required and produced artifacts after the turn."""
    last: bool
    """The stage ended with this turn."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The task's public facts."""


@dataclass(frozen=True)
class Outcome:
    """How an episode ended, by the scenario's grader and nobody else.

    ``Outcome(True, 0.83, {"roc_auc": 0.83, "quality": 0.83, "fair": 0.83}, "ok")``
    """

    success: bool
    score: float
    """In [0, 1], higher is better; 0 where ``success`` is false."""
    metrics: Mapping[str, float]
    """``fair`` is always there: the score, or the fallback a failure is worth (``envs.dsbench.metrics``)."""
    failure_code: str
    """``ok``, or what was wrong in one word."""


@dataclass(frozen=True)
class Episode:
    """A whole play of one task."""

    id: str
    task_id: str
    kind: str
    seed: int
    turns: tuple[Turn, ...]
    outcome: Outcome
