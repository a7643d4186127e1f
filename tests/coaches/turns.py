"""Hand-written turns for coaches to judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from envs.actions.parsing import extract_program
from envs.types import Role, Turn
from sandbox.artifacts import ArtifactCheck, ArtifactSpec
from sandbox.base import FileInfo, Result, Status

TABLES = ("X_train.pkl", "y_train.pkl", "X_test.pkl")
ENGINEER = Role("engineer", "", 3, produces=tuple(ArtifactSpec(name, "table") for name in TABLES))
MODELER = Role(
    "modeler",
    "",
    3,
    requires=tuple(ArtifactSpec(name, "table") for name in TABLES),
    produces=(ArtifactSpec("model.pkl", "estimator"),),
)
ANALYST = Role(
    "analyst",
    "",
    3,
    requires=(ArtifactSpec("model.pkl", "estimator"), ArtifactSpec("X_test.pkl", "table")),
    produces=(ArtifactSpec("submission.csv", "csv"),),
)
SOLVER = Role("solver", "Plan.", 1, can_run_code=False)
EXECUTOR = Role("executor", "Compute.", 3)
VERIFIER = Role("verifier", "Answer with \\boxed{}.", 1, can_run_code=False)

CODE = "```python\npass\n```"


def ran(status: Status = "ok", stdout: str = "", stderr: str = "") -> Result:
    return Result(status, 0 if status == "ok" else 1, stdout, stderr, False, 0.1, 0.1)


class Story:
    """Builds an episode turn by turn; files and artifact states persist until a turn changes them."""

    def __init__(self, kind: str = "classification", **facts: Any) -> None:
        self.kind, self.facts = kind, facts
        self.turns: list[Turn] = []
        self.state: dict[str, ArtifactCheck] = {}
        self.files: dict[str, FileInfo] = {}

    def act(
        self,
        role: Role,
        action: str = CODE,
        result: Result | None = None,
        codes: Mapping[str, str] | None = None,
        facts: Mapping[str, Any] | None = None,
        copies: Mapping[str, str] | None = None,
    ) -> Story:
        """Adds one turn. ``codes``: the artifacts that it writes and their check codes; ``facts``: facts of
        all these checks; ``copies``: files that it then overwrites with others."""
        before = tuple(self.files.values())
        for name, state in (codes or {}).items():
            self.state[name] = ArtifactCheck(name, state, facts=facts or {})
            self.files[name] = FileInfo(name, 1, f"{name} {len(self.turns)}")
        for name, source in (copies or {}).items():
            self.files[name] = replace(self.files[source], path=name)
        attempt = sum(turn.agent == role.name for turn in self.turns)
        code = extract_program(action) if role.can_run_code else None
        self.turns.append(
            Turn(
                task_id="t",
                kind=self.kind,
                agent=role.name,
                role=role,
                index=len(self.turns),
                attempt=attempt,
                observation=(),
                action=action,
                code=code,
                result=None if code is None else result or ran(),
                files_before=before,
                files_after=tuple(self.files.values()),
                checks=tuple(self._check(spec.name) for spec in (*role.requires, *role.produces)),
                last=code is None or attempt + 1 == role.max_turns,
                facts=self.facts,
            )
        )
        return self

    def _check(self, name: str) -> ArtifactCheck:
        return self.state.get(name, ArtifactCheck(name, "missing"))


def ok(names: Sequence[str]) -> dict[str, str]:
    return dict.fromkeys(names, "ok")


def fitted(action: str = "```python\nfit()\n```") -> list[Turn]:
    """Returns a good turn of the engineer and one of the modeler that leaves a good model."""
    return Story().act(ENGINEER, codes=ok(TABLES)).act(MODELER, action, codes=ok(["model.pkl"])).turns


def numbered(number: int) -> list[Turn]:
    """Returns ``fitted`` with a number that distinguishes one such history from another."""
    return fitted(f"```python\nfit({number})\n```")
