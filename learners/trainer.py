"""The training loop. It only sequences calls; what each does is in the module that it calls."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from omegaconf import DictConfig

from coaches import learning
from coaches.base import BudgetError
from coaches.learning import JudgedEpisode
from coaches.monitor import Monitor
from coaches.reward import CoachReward
from envs.pipeline import PipelineEnv
from learners import checkpoint, coaching, records
from learners.base import Metrics, TrainingError
from learners.build import Parts
from learners.folder import RunFolder
from learners.log import Reporter
from learners.rollout import Assignment, Rollout, play
from learners.sampler import draw
from learners.seeds import derive_seed
from learners.summary import summarise
from learners.types import Transition
from sandbox.base import SandboxError

log = logging.getLogger(__name__)


class Trainer:
    """Rollouts -> advantages -> updates, with held-out evaluation, records and checkpoints between them."""

    def __init__(self, parts: Parts, config: DictConfig, folder: RunFolder, reporter: Reporter) -> None:
        self.parts = parts
        self.config = config
        self.folder = folder
        self.reporter = reporter
        self.monitor = Monitor()

    def run(self) -> None:
        """Trains from where the folder stands to ``config.steps``.

        Raises:
            TrainingError: too many episodes or verdicts were lost.
            BudgetError: the money for verdicts is spent. A checkpoint holds all that was done before.
            ConfigError: there are no tasks to train on.
        """
        start = self._restore()
        if start is None:
            start = 0
            if self.config.evaluation.every:
                self._evaluate(0)
            self._checkpoint(0)
        for step in range(start, self.config.steps):
            try:
                self._step(step)
            except BudgetError:
                self._checkpoint(step)
                raise
            done, last = step + 1, step + 1 == self.config.steps
            if self.config.evaluation.every and (last or done % self.config.evaluation.every == 0):
                self._evaluate(done)
            if last or done % self.config.checkpoint.every == 0:
                self._checkpoint(done)

    def _restore(self) -> int | None:
        """Steps done at the latest checkpoint; None where there is none yet."""
        found = checkpoint.latest(self.folder.path)
        self.folder.cut(found.sizes if found else {})
        if found is None:
            return None
        checkpoint.restore(found, self.parts.policies)
        learning.restore(self.parts.coach, found.coach)
        self.monitor.restore(found.monitor)
        log.info("resumed after step %d", found.step)
        return found.step

    def _checkpoint(self, step: int) -> None:
        checkpoint.save(
            self.folder,
            step,
            self.parts.policies,
            coach=learning.state(self.parts.coach),
            monitor=self.monitor.state(),
            keep=self.config.checkpoint.keep,
        )

    def _step(self, step: int) -> None:
        began = time.perf_counter()
        rollouts, lost = self._play("train", step)
        played = time.perf_counter()
        transitions = [transition for rollout in rollouts for transition in rollout.transitions()]
        causes = sum((Counter(rollout.coach_errors) for rollout in rollouts), Counter[str]())
        self._guard("verdicts", causes, len(transitions))
        updates = self._update(transitions)
        row = {"lost": float(lost), "recovered": _recovered(rollouts), "masked": float(causes.total())}
        row |= {f"masked/{cause}": float(count) for cause, count in sorted(causes.items())}
        row |= summarise([rollout.episode for rollout in rollouts])
        row |= coaching.scores(transitions) | coaching.prices(transitions) | updates
        judged = [_judged(rollout) for rollout in rollouts]
        row |= self.monitor.step(step + 1, judged) | learning.learn(self.parts.coach, judged)
        sampled = sum(len(transition.completion.token_ids) for transition in transitions)
        timing = {"play_s": played - began, "update_s": time.perf_counter() - played, "tokens": sampled}
        self._record("train", step + 1, row, timing | coaching.effort(transitions))

    def _update(self, transitions: list[Transition]) -> Metrics:
        """Every policy learns from its rows while the generator sleeps, and then samples from what it has
        learned."""
        algorithm, metrics = self.parts.algorithm, Metrics()
        self.parts.generator.sleep()
        if algorithm.needs_reference:
            transitions = self._with_reference(transitions)
        advantages = algorithm.advantages(transitions)
        for name, policy in self.parts.policies.items():
            rows = self._rows(transitions, name)
            own = policy.update([transitions[i] for i in rows], [advantages[i] for i in rows], algorithm)
            metrics |= {f"{key}/{name}": value for key, value in own.items()}
        self.parts.generator.wake()
        for policy in self.parts.policies.values():
            policy.publish()
        return metrics

    def _rows(self, transitions: list[Transition], policy: str) -> list[int]:
        team = self.parts.team
        return [i for i, transition in enumerate(transitions) if team[transition.turn.agent].name == policy]

    def _with_reference(self, transitions: list[Transition]) -> list[Transition]:
        filled = list(transitions)
        for name, policy in self.parts.policies.items():
            rows = self._rows(transitions, name)
            logprobs = policy.reference_logprobs([transitions[i].completion for i in rows])
            for i, row in zip(rows, logprobs, strict=True):
                filled[i] = replace(transitions[i], ref_logprobs=row)
        return filled

    def _evaluate(self, step: int) -> None:
        began = time.perf_counter()
        rollouts, lost = self._play("eval", step)
        row = {"lost": float(lost), "recovered": _recovered(rollouts)}
        episodes = [rollout.episode for rollout in rollouts]
        row |= summarise(episodes)
        row |= self.monitor.evaluation(step, [(one.task_id, one.outcome.score) for one in episodes])
        self._record("eval", step, row, {"play_s": time.perf_counter() - began})

    def _play(self, phase: str, step: int) -> tuple[list[Rollout], int]:
        """Plays the episodes of a step or an evaluation; those that lost their sandbox are counted only."""
        assignments = self._assign(phase, step)

        def one(assignment: Assignment) -> Rollout:
            core = PipelineEnv(self.parts.scenario, self.parts.backend)
            if phase == "eval":
                return play(core, self.parts.team, assignment)
            deferred = self.config.rollout.deferred
            return play(CoachReward(core, self.parts.coach, deferred=deferred), self.parts.team, assignment)

        limit, waves = self.config.rollout.concurrency, self.parts.generator.lockstep
        results = self.parts.runtime.map(one, assignments, limit=limit, waves=waves)
        rollouts, causes = [], Counter[str]()
        for result in results:
            if isinstance(result, SandboxError):
                causes[str(result)] += 1
            elif isinstance(result, Exception):
                raise result
            else:
                rollouts.append(result)
        for cause, count in causes.items():
            log.warning("lost %d of %d episodes: %s", count, len(results), cause)
        self._guard("episodes", causes, len(results))
        for rollout in rollouts:
            self.folder.append("episodes", records.episode_row(phase, step, rollout))
        return rollouts, causes.total()

    def _assign(self, phase: str, step: int) -> list[Assignment]:
        seed, settings = self.config.seed, self.config.rollout
        if phase == "train":
            pool = self.parts.scenario.tasks("train")
            tasks = draw(pool, step=step, count=settings.tasks, seed=derive_seed(seed, "tasks"))
        else:
            settings = self.config.evaluation
            tasks = list(self.parts.scenario.tasks("heldout"))
            if settings.tasks is not None and settings.tasks < len(tasks):
                tasks = draw(tasks, step=0, count=settings.tasks, seed=derive_seed(seed, "heldout"))
        pairs = [(task, number) for task in tasks for number in range(settings.episodes)]
        return [
            Assignment(
                id=f"{phase}-{step}-{order}",
                task=task,
                seed=derive_seed(seed, phase, step, order),
                order=order,
                temperature=settings.temperature,
            )
            for order, (task, _) in enumerate(pairs)
        ]

    def _guard(self, what: str, causes: Counter[str], total: int) -> None:
        lost = causes.total()
        if total == 0 or lost > self.config.rollout.max_lost * total or lost == total:
            why = "; ".join(f"{count} by {cause}" for cause, count in causes.most_common())
            raise TrainingError(f"{lost} of {total} {what} of this step were lost (rollout.max_lost): {why}")

    def _record(self, phase: str, step: int, row: Metrics, timing: Metrics) -> None:
        self.folder.append("metrics", {"phase": phase, "step": step} | row)
        self.folder.append("timings", {"phase": phase, "step": step} | timing)
        self.reporter.row(phase, step, row, timing)


def _judged(rollout: Rollout) -> JudgedEpisode:
    episode = rollout.episode
    return JudgedEpisode(episode.task_id, episode.turns, rollout.verdicts, episode.outcome)


def _recovered(rollouts: Sequence[Rollout]) -> float:
    """How many sandboxes were lost in episodes that could go on all the same."""
    results = (turn.result for rollout in rollouts for turn in rollout.episode.turns)
    return float(sum(result.losses for result in results if result is not None))
