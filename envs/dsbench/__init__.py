"""Table tasks for a team of three: data engineer, modeler, analyst (DSBench, arXiv 2409.07703).

The roles hand over ``X_train.pkl, y_train.pkl, X_test.pkl``, then ``model.pkl``, then ``submission.csv``,
as in MAPPA (arXiv 2601.23228). Tasks are bundled real tables, DSBench's own from the user's copy, or a
folder of the user's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from conf import ConfigError
from envs.dsbench.grading import grade, inspect, prepare
from envs.dsbench.loaders import load_tables
from envs.dsbench.tasks import make_task
from envs.types import Outcome, Role, Split, Task, Turn
from sandbox.artifacts import ArtifactCheck, ArtifactSpec, check_artifacts
from sandbox.base import FileInfo, Sandbox

__all__ = ["DSBench"]

SUBMISSION = "submission.csv"

_FEATURES = (
    ArtifactSpec("X_train.pkl", "table", rows_of="train.csv", numeric=True, complete=True),
    ArtifactSpec("y_train.pkl", "vector", rows_of="train.csv", complete=True),
    ArtifactSpec(
        "X_test.pkl", "table", rows_of="test.csv", columns_of="X_train.pkl", numeric=True, complete=True
    ),
)
_MODEL = ArtifactSpec("model.pkl", "estimator")
_ANSWER = ArtifactSpec(SUBMISSION, "csv")
_DUTIES: Mapping[str, tuple[tuple[ArtifactSpec, ...], tuple[ArtifactSpec, ...]]] = {
    "data_engineer": ((), _FEATURES),
    "modeler": (_FEATURES[:2], (_MODEL,)),
    "analyst": ((_FEATURES[2], _MODEL), (_ANSWER,)),
}
"""Role -> what it requires and what it produces."""


class DSBench:
    """The DSBench scenario (``envs.base.Scenario``).

    Checks are advisory: they inform agents and coaches, and never decide. A pipeline that keeps missing
    values for a model that can take them succeeds if its submission does. The submission's check says
    whether it is well formed, by the host, and never how it scores.
    """

    @dataclass(frozen=True)
    class Config:
        source: str
        """``bundled``; ``official``: DSBench's data under ``root``; ``local``: the task folders under
        ``root``."""
        root: str | None
        context: str
        """``full`` or ``previous``."""
        max_turns: dict[str, int]
        """Role -> turns, in the roles' fixed order."""
        timeout: float
        """Seconds for one execution."""
        preload: list[str]
        libraries: list[str]
        tasks: list[str] | None
        """Ids of the tasks to load; null: all that the source has and we can score."""
        heldout: list[str] | None
        """Ids of the tasks held out of training; the others train. Null: each task's own ``split`` says."""
        fallback: dict[str, float]
        """What a failed run counts for in the fair score, by metric or else by kind of task
        (``envs.dsbench.metrics``)."""

    def __init__(self, config: Config) -> None:
        """Raises ``conf.ConfigError``, in one line, when the settings or the tasks' files are not right."""
        if config.context not in ("full", "previous"):
            raise ConfigError(f"context must be full or previous, not {config.context!r}")
        if config.max_turns.keys() != _DUTIES.keys() or min(config.max_turns.values()) < 1:
            raise ConfigError(f"max_turns must give a number of turns for each of {', '.join(_DUTIES)}")
        for kind in ("classification", "regression"):
            if kind not in config.fallback:
                raise ConfigError(f"fallback must have a value for {kind}")
        self.name = "dsbench"
        self.context = config.context
        self.timeout = config.timeout
        self.preload = tuple(config.preload)
        self.libraries = tuple(config.libraries)
        self.fallback = dict(config.fallback)
        self.roles = tuple(
            Role(name, _instructions(name), config.max_turns[name], requires=requires, produces=produces)
            for name, (requires, produces) in _DUTIES.items()
        )
        self._tables = load_tables(config.source, config.root, config.tasks, config.heldout)
        self._tasks: dict[Split, tuple[Task, ...]] = {}

    def tasks(self, split: Split) -> Sequence[Task]:
        """The tasks of a split, sorted by id.

        Raises:
            ConfigError: a task's answer is not one that a submission could be held against.
        """
        if split not in self._tasks:
            tables = [table for table in self._tables if table.spec.split == split]
            for table in tables:
                prepare(table)  # now, not in the middle of a training
            self._tasks[split] = tuple(make_task(table) for table in tables)
        return self._tasks[split]

    def check(
        self, task: Task, role: Role, files: Mapping[str, FileInfo], sandbox: Sandbox
    ) -> tuple[ArtifactCheck, ...]:
        """State of the role's artifacts: the pickles by a probe in the sandbox, the submission here."""
        specs = [_fitting(spec, task) for spec in (*role.requires, *role.produces)]
        probed = [spec for spec in specs if spec.name != SUBMISSION]
        found = check_artifacts(probed, files, sandbox)
        checks = {spec.name: _recounted(check, spec, task) for spec, check in zip(probed, found, strict=True)}
        if len(probed) < len(specs):
            checks[SUBMISSION] = self._check_submission(task, files, sandbox)
        return tuple(checks[spec.name] for spec in specs)

    def _check_submission(self, task: Task, files: Mapping[str, FileInfo], sandbox: Sandbox) -> ArtifactCheck:
        if SUBMISSION not in files:
            return ArtifactCheck(SUBMISSION, "missing", "there is no submission.csv")
        found = inspect(task.answer, _read(sandbox))
        return ArtifactCheck(SUBMISSION, found.code, found.detail)

    def grade(self, task: Task, turns: Sequence[Turn], sandbox: Sandbox | None) -> Outcome:
        """The outcome of what lies in ``submission.csv`` now (see ``envs.dsbench.grading``)."""
        return grade(task.answer, None if sandbox is None else _read(sandbox), self.fallback)


def _fitting(spec: ArtifactSpec, task: Task) -> ArtifactSpec:
    """Several targets make a table, not a vector."""
    several = spec.kind == "vector" and len(task.facts["target_columns"]) > 1
    return replace(spec, kind="table") if several else spec


def _recounted(check: ArtifactCheck, spec: ArtifactSpec, task: Task) -> ArtifactCheck:
    """``check``, against the rows of the file as it was given: an agent may have written over it."""
    given = {"train.csv": task.facts["n_train"], "test.csv": task.facts["n_test"]}.get(spec.rows_of or "")
    rows = check.facts.get("rows")
    if check.code != "ok" or given is None or rows == given:
        return check
    return replace(check, code="rows", detail=f"{rows} rows, but {spec.rows_of} originally has {given}")


def _read(sandbox: Sandbox) -> bytes | None:
    """The submission's bytes; None if there is no such file. A file too large to be read is no CSV."""
    try:
        return sandbox.read(SUBMISSION)
    except FileNotFoundError:
        return None
    except ValueError:
        return b"\0"


@cache
def _instructions(role: str) -> str:
    return (Path(__file__).parent / "prompts" / f"{role}.txt").read_text(encoding="utf-8").strip()
