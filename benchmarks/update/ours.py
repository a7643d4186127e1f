"""Our learner: REINFORCE++ through ``learners.update.updater.Updater``, as in a training run."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.update.watch import Step, Watch
from benchmarks.update.workload import Job, Row, tokens
from coaches.base import Verdict
from conf import build, load
from envs.types import Role, Turn
from learners.types import Completion, LoadedModel, Transition
from learners.update.updater import Updater
from learners.weights.full import FullWeights


class Ours:
    """Full weights without a reference. Advantages are given, because the other variants cannot compute
    ours."""

    def __init__(
        self, loaded: LoadedModel, rows: Sequence[Row], old: Sequence[Sequence[float]], job: Job
    ) -> None:
        self._steps, self._tokens = job.steps, tokens(rows)
        self._updater = Updater(FullWeights("bench", loaded, reference=False), steps=job.steps, seed=job.seed)
        self._algorithm = build("learners", load("algorithm", "reinforcepp"))
        self._transitions = [transition(row, values) for row, values in zip(rows, old, strict=True)]
        self._advantages = [[row.advantage] * len(row.completion) for row in rows]

    def run(self, watch: Watch) -> list[Step]:
        """Takes all steps, in order."""
        steps = []
        for _ in range(self._steps):
            with watch.step():
                metrics = self._updater.update(self._transitions, self._advantages, self._algorithm)
            steps.append(Step(metrics["loss"], metrics["grad_norm"], int(metrics["tokens"]), self._tokens))
        return steps


def transition(row: Row, old: Sequence[float]) -> Transition:
    """Returns ``row`` as an action of an episode; ``old``: log-probabilities of its sampled tokens."""
    turn = Turn(
        task_id="t",
        kind="bench",
        agent="bench",
        role=Role("bench", "", 1),
        index=0,
        attempt=0,
        observation=(),
        action="",
        code=None,
        result=None,
        files_before=(),
        files_after=(),
        checks=(),
        last=True,
    )
    completion = Completion("", row.prompt, row.completion, tuple(old), 0, "stop")
    return Transition("e", turn, completion, Verdict(5.0, ""), 5.0)
