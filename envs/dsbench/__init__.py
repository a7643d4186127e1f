"""Table tasks for a team of three: data engineer, modeler, analyst (DSBench, arXiv 2409.07703).

The roles hand over ``X_train.pkl, y_train.pkl, X_test.pkl``, then ``model.pkl``, then ``submission.csv``, as
in MAPPA (arXiv 2601.23228). Tasks are bundled real tables, DSBench's own tasks from the user's copy, or task
folders of the user.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from conf import ConfigError
from conf.ranges import Count, Natural, Positive
from envs.dsbench import reproduction, signals
from envs.dsbench.descriptions import read_descriptions
from envs.dsbench.grading import FALLBACKS, grade, inspect
from envs.dsbench.loaders import SKIP, Choice, load_tables
from envs.dsbench.spec import ALIGNMENTS, Table
from envs.dsbench.submission import TooLarge
from envs.dsbench.synthetic import Synthetic
from envs.dsbench.tasks import make_task
from envs.making import make, make_ordered, make_parallel
from envs.styles import check_style
from envs.types import Outcome, Role, Split, Task, Turn
from sandbox.artifacts import ArtifactCheck, ArtifactSpec, check_artifacts, missing
from sandbox.base import FileInfo, LimitChanges, Sandbox

__all__ = ["DSBench", "env", "parallel_env", "raw_env"]

SUBMISSION = "submission.csv"
_LOG = logging.getLogger(__name__)

_FEATURES = (
    ArtifactSpec("X_train.pkl", "table", rows_of="train.csv", numeric=True, complete=True),
    ArtifactSpec("y_train.pkl", "vector", rows_of="train.csv", complete=True),
    ArtifactSpec(
        "X_test.pkl", "table", rows_of="test.csv", columns_of="X_train.pkl", numeric=True, complete=True
    ),
)
_MODEL = ArtifactSpec("model.pkl", "estimator")
_FRESH = " Each program runs in a fresh interpreter; only files remain."
_ANSWER = ArtifactSpec(SUBMISSION, "csv")
_DUTIES: Mapping[str, tuple[tuple[ArtifactSpec, ...], tuple[ArtifactSpec, ...]]] = {
    "data_engineer": ((), _FEATURES),
    "modeler": (_FEATURES[:2], (_MODEL,)),
    "analyst": ((_FEATURES[2], _MODEL), (_ANSWER,)),
}
"""Role -> (required artifacts, produced artifacts)."""


class DSBench:
    """The DSBench scenario (``envs.base.Scenario``).

    Checks are advisory: they inform agents and coaches but decide nothing. A pipeline that leaves missing
    values for a model that accepts them succeeds if its submission does. The host checks whether the
    submission is well formed, and the check never reveals its score.
    """

    @dataclass(frozen=True)
    class Config:
        source: str
        """``bundled``; ``synthetic``; ``official``: DSBench's data under ``root``; ``local``: task folders
        under ``root``; or several of them: ``bundled+synthetic``."""
        root: str | None
        context: str
        """``full`` or ``previous``."""
        max_turns: dict[str, Count]
        """Role -> number of turns, for each of the three roles."""
        timeout: Positive
        """Time limit of one execution, in seconds."""
        preload: list[str]
        libraries: list[str]
        limits: LimitChanges
        output_chars: Natural
        style: str
        reply_tokens: Count | None
        session: str
        """``fresh``, or ``role``: the programs of a role share an interpreter (``envs.episode.sessions``)."""
        artifact_mb: Count
        """Largest artifact that a check opens, in megabytes."""
        tasks: list[str] | None
        """Ids of the tasks to load; null: all tasks of the source that can be scored."""
        heldout: list[str] | None
        """Ids of the held-out tasks; all others are for training. Null: each task's own ``split`` decides."""
        fallback: str
        """What a failed run counts as its fair score: ``constant`` or ``paper``
        (``envs.dsbench.grading.FALLBACKS``)."""
        encodings: dict[str, str] | None
        """Task id -> encoding of its CSV files, for tasks whose files are not UTF-8."""
        descriptions: str | None
        """A JSON file of task descriptions (``envs.dsbench.descriptions``); null: each task's own."""
        align: str
        """``by_id``; or ``by_position`` as DSBench's official scorers: row n of a submission is compared with
        row n of the answer, and ids are not read."""
        synthetic: Synthetic
        """The tasks of source ``synthetic``."""
        reproduce: bool
        """At the end of a successful episode, run ``model.pkl`` on ``X_test.pkl`` and compare
        (``envs.dsbench.reproduction``)."""
        unusable: str
        """What becomes of a task that cannot be used: ``stop``, or ``skip``, which leaves it out."""

    def __init__(self, config: Config) -> None:
        """Reads the tasks. Raises ``conf.ConfigError`` if a setting or a task file is invalid."""
        check_style("style", config.style)
        if config.context not in ("full", "previous"):
            raise ConfigError(f"context must be full or previous; got {config.context!r}")
        if config.max_turns.keys() != _DUTIES.keys() or min(config.max_turns.values()) < 1:
            raise ConfigError(f"max_turns must define at least 1 turn for each of {', '.join(_DUTIES)}")
        if config.fallback not in FALLBACKS:
            raise ConfigError(f"fallback must be {' or '.join(FALLBACKS)}; got {config.fallback!r}")
        if config.unusable not in ("stop", "skip"):
            raise ConfigError(f"unusable must be stop or skip; got {config.unusable!r}")
        if config.align not in ALIGNMENTS:
            raise ConfigError(f"align must be {' or '.join(ALIGNMENTS)}; got {config.align!r}")
        self.name = "dsbench"
        self.context = config.context
        self.timeout = config.timeout
        self.preload = tuple(config.preload)
        self.libraries = tuple(config.libraries)
        self.limits = config.limits
        self.output_chars = config.output_chars
        self.style = config.style
        self.reply_tokens = config.reply_tokens
        self.session = config.session
        self.artifact_bytes = config.artifact_mb << 20
        self.fallback = config.fallback
        self.reproduce = config.reproduce
        self.roles = tuple(
            Role(
                name,
                _instructions(name, config.style, config.session),
                config.max_turns[name],
                requires=requires,
                produces=produces,
                example=_text(name, "examples"),
            )
            for name, (requires, produces) in _DUTIES.items()
        )
        self._skip = config.unusable == "skip"
        loaded = load_tables(_choice(config, skip=self._skip))
        self._tables = loaded.tables
        self._skipped = dict(loaded.skipped)
        self._tasks: dict[Split, tuple[Task, ...]] = {}
        if self._skip:
            self._report(config.source)

    @property
    def skipped(self) -> Mapping[str, str]:
        """Id of each task that was left out (``unusable=skip``) -> what is wrong with it."""
        return dict(self._skipped)

    def tasks(self, split: Split) -> Sequence[Task]:
        """Returns the tasks of a split, sorted by id.

        Raises:
            ConfigError: a file of a task is invalid, or its metric cannot score its answer, and
                ``unusable`` is ``stop``.
        """
        if split not in self._tasks:
            made = [self._make(table) for table in self._tables if table.spec.split == split]
            self._tasks[split] = tuple(task for task in made if task is not None)
        return self._tasks[split]

    def _make(self, table: Table) -> Task | None:
        try:
            return make_task(table, self.style)
        except ConfigError as error:
            if not self._skip:
                error.add_note(SKIP)
                raise
            self._skipped[table.spec.id] = str(error)
            return None

    def _report(self, source: str) -> None:
        """Logs which tasks are left out. Raises ``ConfigError`` if none is left."""
        left = sum(len(self.tasks(split)) for split in ("train", "heldout"))
        reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(self._skipped.items()))
        if not left:
            raise ConfigError(
                f"env.source={source} has no task that can be used: {reasons or 'none is chosen'}"
            )
        if self._skipped:
            _LOG.warning("%d tasks are left out and %d are used: %s", len(self._skipped), left, reasons)

    def check(
        self, task: Task, role: Role, files: Mapping[str, FileInfo], sandbox: Sandbox
    ) -> tuple[ArtifactCheck, ...]:
        """Checks the role's artifacts: pickles by a probe in the sandbox, the submission on the host."""
        specs = [_adapted(spec, task) for spec in (*role.requires, *role.produces)]
        probed = [spec for spec in specs if spec.name != SUBMISSION]
        probes = check_artifacts(
            probed,
            files,
            sandbox,
            max_bytes=self.artifact_bytes,
            libraries=self.libraries,
            rows={"train.csv": task.facts["n_train"], "test.csv": task.facts["n_test"]},
        )
        checks = {check.name: check for check in probes}
        if len(probed) < len(specs):
            checks[SUBMISSION] = self._check_submission(task, files, sandbox)
        return tuple(checks[spec.name] for spec in specs)

    def _check_submission(self, task: Task, files: Mapping[str, FileInfo], sandbox: Sandbox) -> ArtifactCheck:
        if SUBMISSION not in files:
            return missing(SUBMISSION, sandbox)
        submission = inspect(task.answer, _read(sandbox))
        return ArtifactCheck(SUBMISSION, submission.code, submission.detail)

    def grade(self, task: Task, turns: Sequence[Turn], sandbox: Sandbox | None) -> Outcome:
        """Grades the current ``submission.csv`` (see ``envs.dsbench.grading``); adds the signals of
        ``envs.dsbench.signals``, which do not change the score."""
        outcome = self.grade_so_far(task, turns, sandbox)
        if self.reproduce and outcome.success and sandbox is not None:
            submitted = inspect(task.answer, _read(sandbox)).values
            assert submitted is not None  # it has been scored
            found = reproduction.check(task.answer, submitted, turns, sandbox, self.timeout)
            outcome = replace(outcome, signals={**found, **outcome.signals})
        return outcome

    def grade_so_far(self, task: Task, turns: Sequence[Turn], sandbox: Sandbox | None) -> Outcome:
        """Grades like ``grade``, without the probe whether the submission follows from the model: it writes a
        file."""
        outcome = grade(task.answer, None if sandbox is None else _read(sandbox), self.fallback)
        return replace(outcome, signals=signals.find(task.answer, turns, outcome))


raw_env = partial(make, "dsbench")
env = partial(make_ordered, "dsbench")
parallel_env = partial(make_parallel, "dsbench")


def _choice(config: DSBench.Config, *, skip: bool) -> Choice:
    return Choice(
        source=config.source,
        root=config.root,
        tasks=config.tasks,
        heldout=config.heldout,
        encodings=config.encodings or {},
        descriptions={} if config.descriptions is None else read_descriptions(config.descriptions),
        align=config.align,
        synthetic=config.synthetic,
        skip=skip,
    )


def _adapted(spec: ArtifactSpec, task: Task) -> ArtifactSpec:
    """Returns ``spec``, with a table instead of a vector if the task has several targets."""
    several = spec.kind == "vector" and len(task.facts["target_columns"]) > 1
    return replace(spec, kind="table") if several else spec


def _read(sandbox: Sandbox) -> bytes | TooLarge | None:
    """Returns the submission's bytes, or None if there is no such file."""
    try:
        return sandbox.read(SUBMISSION)
    except FileNotFoundError:
        return None
    except ValueError as error:
        return TooLarge(f"{error} (env.limits.file_mb)")


def _instructions(role: str, style: str, session: str) -> str:
    """Returns the instructions of ``role``, which say only what is true of ``session``."""
    text = _text(role, "full" if style == "full" else ".")
    return text if session == "fresh" else text.replace(_FRESH, "")


@cache
def _text(role: str, folder: str) -> str:
    """Returns what is written for ``role`` in a folder of ``prompts``."""
    return (Path(__file__).parent / "prompts" / folder / f"{role}.txt").read_text(encoding="utf-8").strip()
