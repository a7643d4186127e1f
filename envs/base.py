"""The protocol of a scenario: the roles, tasks and grader that ``PipelineEnv`` turns into an environment.

Format of observations (``observations.py`` writes them): each part of a system or user message begins with a
``## `` heading that states its facts in one line, so that a very small model can read headings only. Text for
larger models follows.

    system   ## Role: modeler (2 of 3)
             <the role's instructions>
    user     ## Task: binary; metric roc_auc; submit proba; missing yes; text yes; dates no
             <the rest of the task's prompt>
             ## From data_engineer: ok; X_train.pkl ok, y_train.pkl ok, X_test.pkl ok
             <its messages and the output of its code>
    assistant  <this agent's earlier action>
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
    """Defines one environment: its roles, tasks and grader.

    Each environment module of ``envs`` exports one class of this kind, with its settings in a nested
    ``Config``.
    """

    name: str
    roles: tuple[Role, ...]
    """In the order in which they act."""
    context: str
    """``full``: an agent reads the messages of all earlier agents; ``previous``: only of its predecessor."""
    preload: tuple[str, ...]
    """Modules that the sandbox imports, and programs that it runs, before any code of agents: what programs
    use, so that they need not wait for it. Libraries that check the roles' artifacts are added."""
    libraries: tuple[str, ...]
    """Libraries that programs need besides those of every sandbox (``SandboxSpec.libraries``)."""
    timeout: float
    """Time limit of one execution, in seconds."""

    # Optional: ``limits`` (``sandbox.base.LimitChanges``), limits of the sandboxes that differ from the
    # backend's; ``output_chars``, how many characters of a program's output agents see; ``style``, how
    # observations are written (``envs.styles``); ``reply_tokens``, how many tokens a reply may have, maybe by
    # agent, which agents are told; ``session``: ``role`` if the programs of one agent share an interpreter
    # (``envs.episode.sessions``), ``fresh`` (the default) if not. A method ``close()`` frees what the
    # scenario holds; an environment of ``envs.make`` calls it. A method ``grade_so_far`` takes the place of
    # ``grade`` while the episode goes on, for a scenario whose ``grade`` changes files.

    def tasks(self, split: Split) -> Sequence[Task]:
        """Returns the tasks of a split, in a fixed order."""
        ...

    def check(
        self, task: Task, role: Role, files: Mapping[str, FileInfo], sandbox: Sandbox
    ) -> tuple[ArtifactCheck, ...]:
        """Checks the artifacts that ``role`` requires and produces. Raises ``SandboxError``."""
        ...

    def grade(self, task: Task, turns: Sequence[Turn], sandbox: Sandbox | None) -> Outcome:
        """Grades an episode against ``task.answer``. ``sandbox`` is None if it was never opened.

        Raises:
            SandboxError: the sandbox was lost, so that the episode cannot be graded.
        """
        ...
