"""Wrapper that replaces the environment's reward with the coach's score of each action (MAPPA, arXiv
2601.23228)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

from pettingzoo import AECEnv  # type: ignore[import-untyped]
from pettingzoo.utils import BaseWrapper  # type: ignore[import-untyped]

from coaches.base import (
    AnyCoach,
    Coach,
    History,
    Sees,
    Verdict,
    check_agents,
    judges_turns,
    reads_files,
    sees,
)
from coaches.judging.verdicts import Judged, judge_episode, judge_turn
from conf import ConfigError
from envs.pipeline import PipelineEnv
from envs.types import Outcome, Turn
from sandbox.store import ArtifactStore


class CoachReward(BaseWrapper[str, Any, Any]):  # type: ignore[misc]
    """Replaces the environment's sparse reward with the coach's score of every action, in [0, 10].

    ``deferred=False``: ``step`` waits for the verdict; the agent gets its score with its next ``last()`` and
    the verdict in ``infos[agent]["verdict"]``. ``deferred=True``: background threads judge while the episode
    goes on, and the step that ends an agent's part adds all of its outstanding scores, so that its final
    ``last()`` returns their sum. Both keep PettingZoo's contract that ``last()`` is the sum of ``rewards``,
    and the totals are the same. A coach that judges whole episodes is always deferred, and needs an
    environment whose agents all stay until the episode ends, as those of ``PipelineEnv`` do.

    If the coach raises ``CoachError``, the verdict of the turn is None and its reward 0; the learner masks
    the turn out. Every other error of the coach is raised by ``step``.
    """

    rewards: dict[str, float]
    """Each agent's reward in the last step."""
    infos: dict[str, dict[str, Any]]
    coach_errors: Counter[str]
    """Turns of this episode without a verdict, by cause (``Judged.cause``)."""

    def __init__(
        self,
        env: AECEnv[str, Any, Any],
        coach: AnyCoach,
        *,
        deferred: bool = False,
        threads: int = 4,
    ) -> None:
        """``threads``: turns of one episode that are judged in parallel, if deferred.

        Raises:
            ConfigError: the coach is to see more of an agent that is not there, or outcomes that the
                environment cannot tell.
        """
        super().__init__(env)
        self.coach = coach
        self._sees = _checked(coach, env)
        self._in_hindsight = not judges_turns(coach)
        self._keeps_files = reads_files(coach)
        self.deferred = deferred or self._in_hindsight
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._pending: dict[int, Future[Judged]] = {}
        self._verdicts: list[Verdict | None] = []
        self._outcomes: dict[int, Outcome] = {}

    @property
    def verdicts(self) -> tuple[Verdict | None, ...]:
        """One per turn, in order. None: there is none, or (deferred) the agent's part has not ended yet."""
        return tuple(self._verdicts)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        self._drop_pending()
        super().reset(seed=seed, options=options)
        if self._keeps_files and isinstance(core := cast(Any, self.unwrapped), PipelineEnv):
            core.store = ArtifactStore()
        self._outcomes = {}
        self._verdicts = [None] * len(self._turns())  # an episode may start in the middle
        self.coach_errors = Counter()
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.infos = {agent: dict(info) for agent, info in self.env.infos.items()}

    def step(self, action: Any) -> None:
        agent = self.agent_selection
        acts = not (self.terminations[agent] or self.truncations[agent])
        super().step(action)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = {name: self._cumulative_rewards[name] for name in self.agents}
        self._follow_infos()
        if acts:
            self._cumulative_rewards[agent] = 0.0
            self._judge_or_defer(agent)
            self._accumulate_rewards()

    def close(self) -> None:
        """Cancels outstanding verdicts without waiting for them; ``reset`` starts a new episode."""
        self._drop_pending()
        super().close()

    def _follow_infos(self) -> None:
        """Copies the environment's infos and keeps each agent's latest verdict in them."""
        kept = self.infos
        self.infos = {agent: dict(info) for agent, info in self.env.infos.items()}
        for agent, info in self.infos.items():
            if "verdict" in kept.get(agent, {}):
                info["verdict"] = kept[agent]["verdict"]

    def _judge_or_defer(self, agent: str) -> None:
        self._look(agent)
        turns = self._turns()
        self._verdicts.append(None)
        if not self.deferred:
            self._assign(agent, len(turns) - 1, judge_turn(cast(Coach, self.coach), turns))
            self.infos[agent]["verdict"] = self._verdicts[-1]
            return
        if not self._in_hindsight:
            self._defer(turns)
        ended = {name for name in self.agents if self.terminations[name] or self.truncations[name]}
        if self._in_hindsight and ended.issuperset(self.agents):
            judged = judge_episode(self.coach, turns, self._outcome())
            for index, turn in enumerate(turns):
                self._assign(turn.agent, index, judged[index])
        for index in [i for i in self._pending if turns[i].agent in ended]:
            self._assign(turns[index].agent, index, self._pending.pop(index).result())

    def _defer(self, turns: tuple[Turn, ...]) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "coach")
        self._pending[len(turns) - 1] = self._pool.submit(judge_turn, cast(Coach, self.coach), turns)

    def _assign(self, agent: str, index: int, judged: Judged) -> None:
        """Records what was made of turn ``index`` and rewards its agent."""
        self._verdicts[index] = judged.verdict
        if judged.verdict is None:
            self.coach_errors[judged.cause] += 1
        else:
            self.rewards[agent] += judged.verdict.score

    def _drop_pending(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool, self._pending = None, {}

    def _look(self, agent: str) -> None:
        """Notes what the grader says now, if the coach sees that of ``agent``: files may change before it is
        asked."""
        if any(one.of(agent) == "outcome" for one in self._sees):
            core = cast(Any, self.unwrapped)
            self._outcomes[len(core.turns) - 1] = core.outcome_so_far()

    def _turns(self) -> tuple[Turn, ...]:
        """Returns the turns so far, with the task's answer if the environment knows its task."""
        core = cast(Any, self.unwrapped)
        task = getattr(core, "task", None)
        if task is None:
            return tuple(core.turns)
        return History(core.turns, task.answer, self._outcomes, getattr(core, "store", None))

    def _outcome(self) -> Outcome:
        return cast(Outcome, cast(Any, self.unwrapped).outcome)


def _checked(coach: AnyCoach, env: AECEnv[str, Any, Any]) -> Sequence[Sees]:
    """Returns what the coach sees; raises ``ConfigError`` if ``env`` lacks an agent, or cannot tell outcomes
    so far."""
    check_agents(coach, env.possible_agents)
    seen = sees(coach)
    asked = any(one.of(agent) == "outcome" for one in seen for agent in env.possible_agents)
    if asked and not hasattr(env.unwrapped, "outcome_so_far"):
        raise ConfigError(
            f"coach.sees is outcome, which {type(env.unwrapped).__name__} tells only at the end"
        )
    return seen
