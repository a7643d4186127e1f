"""The training loop. It only sequences calls; the work is in the modules that it calls."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import replace

from coaches.judging import learning
from coaches.judging.learning import JudgedEpisode
from coaches.monitor import Monitor
from conf import ConfigError
from conf.stopping import Stop, deferred
from envs.types import Task
from learners.config import EvaluationSettings, RolloutSettings, RunConfig
from learners.errors import EpisodeError, LostError, TrainingError
from learners.rollout.tasks import sample_tasks
from learners.rollout.threads import in_background
from learners.run import checkpoint, metrics, records
from learners.run.checkpoint import Progress
from learners.run.evaluation import replaced_weights
from learners.run.folder import RunFolder, located
from learners.run.report import Reporter
from learners.run.tokens import TokenLog
from learners.run.updates import update_all
from learners.runtimes.base import Parts
from learners.seeds import derive_seed
from learners.types import Assignment, Metrics, Rollout, Transition
from sandbox.base import SandboxError

log = logging.getLogger(__name__)

Played = list[Rollout | Exception]
"""The episodes of a step, in order; an exception for each that could not be played to its end."""


class Trainer:
    """Rollouts -> advantages -> updates, with held-out evaluation, records and checkpoints in between.

    With ``rollout.staleness`` 1 the episodes of the next step are played while the policies learn from this
    one, so they are sampled from the weights before the update (one-step off-policy). The first step after a
    start or a resumption is never stale.
    """

    def __init__(self, parts: Parts, config: RunConfig, folder: RunFolder, reporter: Reporter) -> None:
        self.parts = parts
        self.config = config
        self.folder = folder
        self._episodes = records.EpisodeLog(folder)
        which = config.record.tokens
        self._tokens = None if which == "none" else TokenLog(folder, which)
        self.reporter = reporter
        self.monitor = Monitor()
        self._next: Future[Played] | None = None
        """The episodes of the next step, while they are played in the background."""
        self._evaluated: int | None = None
        """The newest step whose evaluation has been recorded."""
        self._saved: int | None = None
        """The step of the newest checkpoint, if nothing has been recorded since."""

    def run(self) -> None:
        """Trains from the folder's newest checkpoint to ``config.steps``; with 0 steps it only evaluates.

        Whatever stops it while episodes are played or judged, a checkpoint has all steps before. SIGINT and
        SIGTERM wait until a step that changes policies is finished; a second one does not.

        Raises:
            TrainingError: too many episodes or verdicts were lost, or a process that the run needs, or the
            run folder cannot be written.
            BudgetError: the coach's budget is used up.
            ConfigError: ``evaluation.run`` has no checkpoint, or no checkpoint can be read.
        """
        done, stop = self._resume(), Stop()
        if not self.config.steps:  # an evaluation alone has nothing to resume
            trained = self._load_evaluated_run()
            if self.config.evaluation.every:
                self._evaluate(trained)
            return
        while True:
            with self._kept(done):
                stop.check()
                if self._evaluation_due(done):
                    self._evaluate(done)
            with deferred(stop):
                if self._checkpoint_due(done):
                    self._checkpoint(done, self._progress())
            if done == self.config.steps:
                return
            play_started = time.perf_counter()
            with self._kept(done):
                stop.check()
                rollouts, lost = self._train_episodes(done)
            with deferred(stop):
                self._learn_step(done, rollouts, lost, play_started)
            done += 1

    def _resume(self) -> int:
        """Restores the newest checkpoint and returns its step; 0 if the run has none yet."""
        newest = checkpoint.latest(self.folder.path)
        # Rows written after the checkpoint belong to steps that are played again, with the same seeds.
        self.folder.truncate(newest.sizes if newest else {})
        if newest is None:
            return 0
        checkpoint.set_aside(self.folder.path, newest.step)
        checkpoint.restore(newest, self.parts.policies)
        learning.restore(self.parts.coach, newest.coach)
        self.monitor.restore(newest.monitor)
        self._evaluated = max(_evaluations(self.folder), default=None)
        self._saved = newest.step
        log.info("resumed after step %d", newest.step)
        return newest.step

    def _load_evaluated_run(self) -> int:
        """Loads the weights of ``evaluation.run``, if it is set, and returns how many steps have trained
        them. Agents that the run played with another ``model.path`` keep the weights from theirs."""
        if self.config.evaluation.run is None:
            return 0
        run = located(self.config.evaluation.run)
        newest = checkpoint.latest(run)
        if newest is None:
            raise ConfigError(f"{run} has no checkpoint to evaluate")
        own = replaced_weights(run, self.config)
        restored = {name: one for name, one in self.parts.policies.items() if name not in own}
        checkpoint.restore(newest, restored)
        others = "".join(f"; {agent} has the weights of {path}" for agent, path in own.items())
        log.info("evaluating %s after step %d%s", run, newest.step, others)
        return newest.step

    def _evaluation_due(self, done: int) -> bool:
        every = self.config.evaluation.every
        return bool(every) and done != self._evaluated and (done % every == 0 or done == self.config.steps)

    def _checkpoint_due(self, done: int) -> bool:
        every = self.config.checkpoint.every
        return done != self._saved and (done % every == 0 or done == self.config.steps)

    @contextmanager
    def _kept(self, done: int) -> Iterator[None]:
        """Within the block no policy changes: whatever stops the run, a checkpoint has ``done`` steps."""
        progress = self._progress()
        try:
            yield
        except BaseException as stopped:
            # Without its processes a run has no weights to keep.
            if self.config.steps and self._saved != done and not isinstance(stopped, LostError):
                try:
                    self._checkpoint(done, progress)
                except Exception as error:
                    log.warning("the steps since the newest checkpoint cannot be kept: %s", error)
            raise

    def _progress(self) -> Progress:
        """A copy of where the run is: what has been recorded, and what coach and monitor have learned."""
        state = {"coach": learning.state(self.parts.coach), "monitor": self.monitor.state()}
        return Progress(self.folder.sizes(), **json.loads(json.dumps(state)))

    def _checkpoint(self, step: int, progress: Progress) -> None:
        keep = self.config.checkpoint.keep
        checkpoint.save(self.folder, step, self.parts.policies, progress, keep=keep)
        self._saved = step

    def _train_episodes(self, step: int) -> tuple[list[Rollout], int]:
        """Plays and records a step's episodes; raises as ``_record_episodes`` and for lost verdicts."""
        played = self._next.result() if self._next else self._play("train", step)
        self._next = None
        rollouts, lost = self._record_episodes("train", step, played)
        verdicts = sum(len(rollout.verdicts) for rollout in rollouts)
        self._check_losses("verdicts", _coach_errors(rollouts), verdicts)
        return rollouts, lost

    def _learn_step(self, step: int, rollouts: list[Rollout], lost: int, play_started: float) -> None:
        """Updates every policy on a step's episodes and records the step."""
        update_started = time.perf_counter()
        transitions = self._transitions(rollouts)
        causes = _coach_errors(rollouts)
        judged = [_judged(rollout) for rollout in rollouts]
        learned = self.monitor.step(step + 1, judged) | learning.learn(self.parts.coach, judged)
        # The next step's episodes start before the update: with staleness 1 they use the weights of before
        # it, and the coach as it is reported with them: it has learned from every step before theirs.
        self._next = self._play_ahead(step + 1)
        updates = self._update(transitions, step)
        sync_started = time.perf_counter()
        self._publish()
        ended = time.perf_counter()
        row = {"lost": float(lost), "recovered": metrics.recovered(rollouts)} | metrics.masked(causes)
        row |= metrics.summarise([rollout.episode for rollout in rollouts])
        row |= metrics.coach_scores(transitions) | metrics.coach_costs(transitions) | updates
        row |= learned
        tokens = sum(len(one.completion.token_ids) for one in transitions)
        timing = {
            "play_s": update_started - play_started,
            "update_s": sync_started - update_started,
            "sync_s": ended - sync_started,
            "tokens": tokens,
            "tokens_per_second": tokens / (ended - play_started),
        }
        moved = metrics.total(policy.traffic() for policy in self.parts.policies.values())
        self._record("train", step + 1, row, timing | moved | metrics.coach_effort(transitions))
        self._warn_of_nothing(step + 1, row, transitions)

    def _transitions(self, rollouts: Sequence[Rollout]) -> list[Transition]:
        """Returns the rows of a step, all agents' together; those of agents that do not learn are marked."""
        rows = [transition for rollout in rollouts for transition in rollout.transitions()]
        team = self.parts.team
        return [row if team[row.turn.agent].learns else replace(row, learns=False) for row in rows]

    def _play_ahead(self, step: int) -> Future[Played] | None:
        """Starts to play the episodes of ``step`` in the background, if ``rollout.staleness`` is 1."""
        if not self.config.rollout.staleness or step == self.config.steps:
            return None
        return in_background(lambda: self._play("train", step))

    def _update(self, transitions: list[Transition], step: int) -> Metrics:
        """Updates every policy on its rows of ``step``.

        While policies are updated, the generator sleeps to free accelerator memory, unless it plays the next
        step's episodes. Those end with the weights they began with: nothing is published before they are
        over.
        """
        generator = self.parts.generator
        if self._next is None:
            generator.sleep()
        updates = update_all(self.parts, transitions, step, self._tokens)
        if self._next is None:
            generator.wake()
        else:
            wait([self._next])
        return updates

    def _publish(self) -> None:
        """Gives the generator the new weights of every policy (weight sync)."""
        for policy in self.parts.policies.values():
            policy.publish()

    def _evaluate(self, step: int) -> None:
        """Plays the held-out tasks and records the result; no policy and no coach learns from it."""
        play_started = time.perf_counter()
        rollouts, lost = self._record_episodes("eval", step, self._play("eval", step))
        row = {"lost": float(lost), "recovered": metrics.recovered(rollouts)}
        episodes = [rollout.episode for rollout in rollouts]
        row |= metrics.summarise(episodes)
        timing: Metrics = {}
        if self.config.evaluation.coached:
            transitions = [transition for rollout in rollouts for transition in rollout.transitions()]
            causes = _coach_errors(rollouts)
            self._check_losses("verdicts", causes, len(transitions))
            row |= metrics.masked(causes)
            row |= metrics.coach_scores(transitions) | metrics.coach_costs(transitions)
            timing = metrics.coach_effort(transitions)
            if not self.config.steps:  # when training, bias is measured on the scores that are trained on
                row |= self.monitor.step(step, [_judged(rollout) for rollout in rollouts])
        scores = [(episode.task_id, episode.outcome.score) for episode in episodes]
        row |= self.monitor.evaluation(step, scores)
        self._record("eval", step, row, {"play_s": time.perf_counter() - play_started} | timing)
        self._evaluated, self._saved = step, None

    def _play(self, phase: str, step: int) -> Played:
        """Plays the episodes of a training step or an evaluation."""
        coached = phase == "train" or self.config.evaluation.coached
        return self.parts.runtime.map(
            lambda assignment: self.parts.rollout_worker.play(assignment, coached=coached),
            self._train_assignments(step) if phase == "train" else self._eval_assignments(step),
            limit=self.config.rollout.concurrency,
            # Lockstep generators batch whole groups, so that batches and samples do not depend on timing.
            groups=self.config.rollout.groups if self.parts.generator.lockstep else None,
        )

    def _record_episodes(self, phase: str, step: int, played: Played) -> tuple[list[Rollout], int]:
        """Records finished episodes. Returns them, and how many were lost: those are counted but never
        scored.

        Raises:
            TrainingError: more than ``rollout.max_lost`` were lost.
            Exception: playing raised something other than a lost sandbox or episode.
        """
        rollouts, causes = [], Counter[str]()
        for result in played:
            if isinstance(result, SandboxError | EpisodeError):
                causes[str(result)] += 1
            elif isinstance(result, Exception):
                raise result
            else:
                rollouts.append(result)
        for cause, count in causes.items():
            log.warning("lost %d of %d episodes: %s", count, len(played), cause)
        self._check_losses("episodes", causes, len(played))
        for rollout in rollouts:
            self.reporter.episode(self._episodes.write(phase, step, rollout))
        return rollouts, causes.total()

    def _train_assignments(self, step: int) -> list[Assignment]:
        settings, seed = self.config.rollout, derive_seed(self.config.seed, "tasks")
        tasks = sample_tasks(self.parts.scenario.tasks("train"), step=step, count=settings.tasks, seed=seed)
        return self._assignments("train", step, tasks, settings)

    def _eval_assignments(self, step: int) -> list[Assignment]:
        """The same tasks at every evaluation: ``step`` gives episodes new seeds, not other tasks."""
        settings, seed = self.config.evaluation, derive_seed(self.config.seed, "heldout")
        tasks = list(self.parts.scenario.tasks("heldout"))
        if settings.tasks is not None and settings.tasks < len(tasks):
            tasks = sample_tasks(tasks, step=0, count=settings.tasks, seed=seed)
        return self._assignments("eval", step, tasks, settings)

    def _assignments(
        self, phase: str, step: int, tasks: Sequence[Task], settings: RolloutSettings | EvaluationSettings
    ) -> list[Assignment]:
        repeated = [task for task in tasks for _ in range(settings.episodes)]
        return [
            Assignment(
                id=f"{phase}-{step}-{order}",
                task=task,
                seed=derive_seed(self.config.seed, phase, step, order),
                order=order,
                temperature=settings.temperature,
            )
            for order, task in enumerate(repeated)
        ]

    def _check_losses(self, what: str, causes: Counter[str], total: int) -> None:
        """Raises ``TrainingError`` if more than ``rollout.max_lost`` of ``total`` were lost, or all of
        them."""
        lost = causes.total()
        if total == 0 or lost > self.config.rollout.max_lost * total or lost == total:
            why = "; ".join(f"{count} by {cause}" for cause, count in causes.most_common())
            raise TrainingError(f"{lost} of {total} {what} of this step were lost (rollout.max_lost): {why}")

    def _record(self, phase: str, step: int, row: Metrics, timing: Metrics) -> None:
        """Timings go to a file of their own: ``metrics.jsonl`` is identical for the same seed, they are
        not."""
        timing = timing | {"time": round(time.time(), 3)}
        self.folder.append("metrics", {"phase": phase, "step": step} | row)
        self.folder.append("timings", {"phase": phase, "step": step} | timing)
        self.reporter.row(phase, step, row, timing)

    def _warn_of_nothing(self, step: int, row: Metrics, transitions: Sequence[Transition]) -> None:
        """Warns of a step that no policy has learned from."""
        if row["trained"]:
            return
        rows = [transition for transition in transitions if transition.learns]
        total, cut = len(rows), sum(t.completion.finish_reason == "length" for t in rows)
        length = self.config.model.get("max_new_tokens")
        log.warning(
            "nothing was trained on in step %d: %d of %d completions were cut off (model.max_new_tokens=%s, "
            "algorithm.truncated=%s), %d have no verdict, and the others nothing to compare them with",
            *(step, cut, total, length, self.config.algorithm.get("truncated"), int(row["masked"])),
        )


def _evaluations(folder: RunFolder) -> list[int]:
    """The steps after which an evaluation has been recorded."""
    return [row["step"] for row in folder.rows("metrics") if row["phase"] == "eval"]


def _coach_errors(rollouts: Sequence[Rollout]) -> Counter[str]:
    """Turns without a verdict, by cause."""
    return sum((Counter(rollout.coach_errors) for rollout in rollouts), Counter[str]())


def _judged(rollout: Rollout) -> JudgedEpisode:
    episode = rollout.episode
    return JudgedEpisode(episode.task_id, episode.turns, rollout.verdicts, episode.outcome)
