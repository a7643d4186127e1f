"""What makes a pipeline environment: a scenario is data and a grader; ``PipelineEnv`` plays it.

How observations read (``pipeline.py`` writes them, for LLMs of any size): every system and user message opens
with ``## `` headings that carry its facts in one line each, and text follows for who reads more.

    system   ## Role: modeler (2 of 3)
             <the role's instructions>
    user     ## Task: binary; metric roc_auc; submit proba; missing yes; text yes; dates no
             <the task's prompt goes on>
             ## From data_engineer: ok; X_train.pkl ok, y_train.pkl ok, X_test.pkl ok
             <what it wrote and what its code printed>
    assistant  <this agent's own earlier action>
    user     ## Result of turn 1 of 4: error; model.pkl missing; printed done
             <exit code, stdout, stderr>
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from envs.types import Outcome, Role, Split, Task, Turn
from sandbox.artifacts import ArtifactCheck
from sandbox.base import FileInfo, Sandbox


class Scenario(Protocol):
    """What one environment is: who plays, on what, and how it is graded.

    The class that a module of ``envs`` exports; its nested ``Config`` holds its settings.
    """

    name: str
    roles: tuple[Role, ...]
    """In the order in which they play."""
    context: str
    """``full``: an agent reads all earlier agents' messages; ``previous``: only its predecessor's."""
    preload: tuple[str, ...]
    """Modules that the sandbox imports, and programs that it runs, before any code of an agent."""
    libraries: tuple[str, ...]
    """What programs need beyond the libraries of every sandbox (``SandboxSpec.libraries``)."""
    timeout: float
    """Seconds for one execution."""

    def tasks(self, split: Split) -> Sequence[Task]:
        """The tasks of a split, in a fixed order."""
        ...

    def check(
        self, task: Task, role: Role, files: Mapping[str, FileInfo], sandbox: Sandbox
    ) -> tuple[ArtifactCheck, ...]:
        """State of ``role``'s required and produced artifacts. Raises ``SandboxError``."""
        ...

    def grade(self, task: Task, turns: Sequence[Turn], sandbox: Sandbox | None) -> Outcome:
        """The outcome, against ``task.answer``. ``sandbox`` is None when no code ever ran.

        Raises:
            SandboxError: the sandbox is lost, so that there is nothing to grade.
        """
        ...
