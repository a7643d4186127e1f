"""The training loop. It only sequences calls; what each does is in the module that it calls."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from coaches.base import BudgetError
from coaches.judging import learning
from coaches.judging.learning import JudgedEpisode
from coaches.monitor import Monitor
from conf import ConfigError
from learners.base import EpisodeError, Metrics, TrainingError
from learners.rollout.episode import Assignment, Rollout
from learners.rollout.seeds import derive_seed
from learners.rollout.tasks import draw
from learners.run import checkpoint, coaching, records
from learners.run.build import Parts
from learners.run.folder import RunFolder
from learners.run.metrics import summarise
from learners.run.report import Reporter
from learners.types import Transition
from sandbox.base import SandboxError

log = logging.getLogger(__name__)

Played = list[Rollout | Exception]
"""The episodes of a step, in order; the exception where one could not be played to its end."""


class Trainer:
    """Rollouts -> advantages -> updates, with held-out evaluation, records and checkpoints between them.

    With ``rollout.staleness`` 1 the episodes of the next step are played while policies learn from those of
    this one, with the weights of before. The first step after a start or a resumption is never stale.
    """

    def __init__(self, parts: Parts, config: DictConfig, folder: RunFolder, reporter: Reporter) -> None:
        self.parts = parts
        self.config = config
        self.folder = folder
        self.reporter = reporter
        self.monitor = Monitor()
        self._ahead: Future[Played] | None = None

    def run(self) -> None:
        """Trains from where the folder stands to ``config.steps``; with 0 steps there is only an evaluation.

        Raises:
            TrainingError: too many episodes or verdicts were lost, or a process that the run needs.
            BudgetError: the money for verdicts is spent. A checkpoint holds all that was done before.
            ConfigError: there are no tasks to train on.
        """
        start = self._restore()
        if start is None:
            start, trained = 0, self._adopt()
            if self.config.evaluation.every:
                self._evaluate(trained)
            if self.config.steps:  # an evaluation alone leaves nothing to go on with
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

    def _adopt(self) -> int:
        """Takes over the weights of ``evaluation.run``, where it is set. How many steps have trained them."""
        if self.config.evaluation.run is None:
            return 0
        found = checkpoint.latest(Path(self.config.evaluation.run))
        if found is None:
            raise ConfigError(f"{self.config.evaluation.run} has no checkpoint to evaluate")
        checkpoint.restore(found, self.parts.policies)
        log.info("evaluating %s after step %d", self.config.evaluation.run, found.step)
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
        played = self._ahead.result() if self._ahead else self._play("train", step)
        rollouts, lost = self._take("train", step, played)
        begun = time.perf_counter()
        self._ahead = self._begin(step + 1)
        transitions = [transition for rollout in rollouts for transition in rollout.transitions()]
        causes = sum((Counter(rollout.coach_errors) for rollout in rollouts), Counter[str]())
        self._guard("verdicts", causes, len(transitions))
        updates = self._update(transitions)
        row = {"lost": float(lost), "recovered": _recovered(rollouts)} | _masked(causes)
        row |= summarise([rollout.episode for rollout in rollouts])
        row |= coaching.scores(transitions) | coaching.prices(transitions) | updates
        judged = [_judged(rollout) for rollout in rollouts]
        row |= self.monitor.step(step + 1, judged) | learning.learn(self.parts.coach, judged)
        sampled = sum(len(transition.completion.token_ids) for transition in transitions)
        timing = {"play_s": begun - began, "update_s": time.perf_counter() - begun, "tokens": sampled}
        self._record("train", step + 1, row, timing | coaching.effort(transitions))

    def _begin(self, step: int) -> Future[Played] | None:
        """Plays the episodes of ``step`` in the background, where that is asked for."""
        if not self.config.rollout.staleness or step == self.config.steps:
            return None
        return _in_background(lambda: self._play("train", step))

    def _update(self, transitions: list[Transition]) -> Metrics:
        """Every policy learns from its rows, and the generator then samples from what it has learned.

        The generator sleeps meanwhile, unless episodes of the next step are under way. These end with the
        weights they began with: nothing is published before they are over.
        """
        generator, policies = self.parts.generator, self.parts.policies
        if self._ahead is None:
            generator.sleep()
        found = self._learn(transitions)
        if self._ahead is None:
            generator.wake()
        else:
            wait([self._ahead])
        for policy in policies.values():
            policy.publish()
        return found

    def _learn(self, transitions: list[Transition]) -> Metrics:
        algorithm, policies = self.parts.algorithm, self.parts.policies
        rows = {name: self._rows(transitions, name) for name in policies}
        if algorithm.needs_reference:
            transitions = self._with_reference(transitions, rows)
        advantages = algorithm.advantages(transitions)

        def learn(name: str) -> Metrics:
            own = [transitions[i] for i in rows[name]], [advantages[i] for i in rows[name]]
            return policies[name].update(*own, algorithm)

        found = self.parts.runtime.each(learn, policies)
        return {
            f"{key}/{name}": value
            for name, metrics in zip(policies, found, strict=True)
            for key, value in metrics.items()
        }

    def _rows(self, transitions: list[Transition], policy: str) -> list[int]:
        team = self.parts.team
        return [i for i, transition in enumerate(transitions) if team[transition.turn.agent].name == policy]

    def _with_reference(
        self, transitions: list[Transition], rows: Mapping[str, Sequence[int]]
    ) -> list[Transition]:
        policies, filled = self.parts.policies, list(transitions)

        def ask(name: str) -> list[tuple[float, ...]]:
            return policies[name].reference_logprobs([transitions[i].completion for i in rows[name]])

        for name, logprobs in zip(policies, self.parts.runtime.each(ask, policies), strict=True):
            for i, row in zip(rows[name], logprobs, strict=True):
                filled[i] = replace(transitions[i], ref_logprobs=row)
        return filled

    def _evaluate(self, step: int) -> None:
        began = time.perf_counter()
        rollouts, lost = self._take("eval", step, self._play("eval", step))
        row = {"lost": float(lost), "recovered": _recovered(rollouts)}
        episodes = [rollout.episode for rollout in rollouts]
        row |= summarise(episodes)
        timing: Metrics = {}
        if self.config.evaluation.coached:
            transitions = [transition for rollout in rollouts for transition in rollout.transitions()]
            row |= _masked(sum((Counter(rollout.coach_errors) for rollout in rollouts), Counter[str]()))
            row |= coaching.scores(transitions) | coaching.prices(transitions)
            timing = coaching.effort(transitions)
            if not self.config.steps:  # in training, what a coach goes by is told from what it pays for
                row |= self.monitor.step(step, [_judged(rollout) for rollout in rollouts])
        row |= self.monitor.evaluation(step, [(one.task_id, one.outcome.score) for one in episodes])
        self._record("eval", step, row, {"play_s": time.perf_counter() - began} | timing)

    def _play(self, phase: str, step: int) -> Played:
        """Plays the episodes of a step or an evaluation."""
        limit, waves = self.config.rollout.concurrency, self.parts.generator.lockstep
        coached = phase == "train" or self.config.evaluation.coached
        return self.parts.runtime.map(
            lambda assignment: self.parts.player.play(assignment, coached=coached),
            self._assign(phase, step),
            limit=limit,
            waves=waves,
        )

    def _take(self, phase: str, step: int, results: Played) -> tuple[list[Rollout], int]:
        """Records what was played; episodes that could not be played to their end are counted only."""
        rollouts, causes = [], Counter[str]()
        for result in results:
            if isinstance(result, SandboxError | EpisodeError):
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


def _masked(causes: Counter[str]) -> Metrics:
    """Turns without a verdict, in all and by cause."""
    row = {"masked": float(causes.total())}
    return row | {f"masked/{cause}": float(count) for cause, count in sorted(causes.items())}


def _in_background(work: Callable[[], Played]) -> Future[Played]:
    """Runs ``work`` in a thread that does not hold up the end of the process."""
    future: Future[Played] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised where the result is taken
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _judged(rollout: Rollout) -> JudgedEpisode:
    episode = rollout.episode
    return JudgedEpisode(episode.task_id, episode.turns, rollout.verdicts, episode.outcome)


def _recovered(rollouts: Sequence[Rollout]) -> float:
    """How many sandboxes were lost in episodes that could go on all the same."""
    results = (turn.result for rollout in rollouts for turn in rollout.episode.turns)
    return float(sum(result.losses for result in results if result is not None))
