"""The wrapper that pays agents what a coach thinks of each action (MAPPA, arXiv 2601.23228)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

from pettingzoo import AECEnv  # type: ignore[import-untyped]
from pettingzoo.utils import BaseWrapper  # type: ignore[import-untyped]

from coaches.base import AnyCoach, Coach, CoachError, HindsightCoach, History, Verdict, judges_turns
from envs.types import Outcome, Turn

Judged = tuple[Verdict | None, str]
"""A verdict, or None and in one word why there is none."""


class CoachReward(BaseWrapper[str, Any, Any]):  # type: ignore[misc]
    """Replaces the environment's sparse reward with the coach's score of every action, in [0, 10].

    ``deferred=False``: the verdict is reached inside ``step``; the agent finds it in its next ``last()`` and
    in ``infos[agent]["verdict"]``. ``deferred=True``: verdicts are reached in background threads while the
    episode goes on, and the step with which an agent's part ends pays all that it is owed, so that its final
    ``last()`` holds the sum. Both keep PettingZoo's contract that ``last()`` is the sum of ``rewards``, and
    both pay the same in total. A coach that judges only whole episodes is always deferred, and needs an
    environment whose agents all stay until the episode ends, as ``PipelineEnv``'s do.

    Where the coach raises ``CoachError`` the turn has the verdict None and is paid 0 here; the learner leaves
    it out. Everything else that the coach raises is raised by ``step``.
    """

    rewards: dict[str, float]
    """What each agent earned in the last step."""
    infos: dict[str, dict[str, Any]]
    coach_errors: Counter[str]
    """Turns of this episode without a verdict, by cause: the name of the exception or of its cause."""

    def __init__(
        self,
        env: AECEnv[str, Any, Any],
        coach: AnyCoach,
        *,
        deferred: bool = False,
        threads: int = 4,
    ) -> None:
        """``threads``: how many verdicts of one episode may be under way at once, when deferred."""
        super().__init__(env)
        self.coach = coach
        self.hindsight = not judges_turns(coach)
        self.deferred = deferred or self.hindsight
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._pending: dict[int, Future[Judged]] = {}
        self._verdicts: list[Verdict | None] = []

    @property
    def verdicts(self) -> tuple[Verdict | None, ...]:
        """One a turn, in order. None: there is none, or (deferred) the agent's part has not ended yet."""
        return tuple(self._verdicts)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        self._drop_pending()
        super().reset(seed=seed, options=options)
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
        """Drops verdicts under way without waiting for them; ``reset`` starts anew."""
        self._drop_pending()
        super().close()

    def _follow_infos(self) -> None:
        """Takes over the environment's infos, and keeps each agent's latest verdict in them."""
        kept = self.infos
        self.infos = {agent: dict(info) for agent, info in self.env.infos.items()}
        for agent, info in self.infos.items():
            if "verdict" in kept.get(agent, {}):
                info["verdict"] = kept[agent]["verdict"]

    def _judge_or_defer(self, agent: str) -> None:
        turns = self._turns()
        self._verdicts.append(None)
        if not self.deferred:
            self._pay(agent, len(turns) - 1, judge(cast(Coach, self.coach), turns))
            self.infos[agent]["verdict"] = self._verdicts[-1]
            return
        if not self.hindsight:
            self._defer(turns)
        ended = {name for name in self.agents if self.terminations[name] or self.truncations[name]}
        if self.hindsight and ended.issuperset(self.agents):
            self._pay_all(turns, judge_episode(cast(HindsightCoach, self.coach), turns, self._outcome()))
        for index in [i for i in self._pending if turns[i].agent in ended]:
            self._pay(turns[index].agent, index, self._pending.pop(index).result())

    def _defer(self, turns: tuple[Turn, ...]) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "coach")
        self._pending[len(turns) - 1] = self._pool.submit(judge, cast(Coach, self.coach), turns)

    def _pay_all(self, turns: Sequence[Turn], judged: Sequence[Judged]) -> None:
        for index, (turn, one) in enumerate(zip(turns, judged, strict=True)):
            self._pay(turn.agent, index, one)

    def _pay(self, agent: str, index: int, judged: Judged) -> None:
        verdict, cause = judged
        self._verdicts[index] = verdict
        if verdict is None:
            self.coach_errors[cause] += 1
        else:
            self.rewards[agent] += verdict.score

    def _drop_pending(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool, self._pending = None, {}

    def _turns(self) -> tuple[Turn, ...]:
        """The turns so far, with the task's answer where the environment knows one."""
        core = cast(Any, self.unwrapped)
        task = getattr(core, "task", None)
        return tuple(core.turns) if task is None else History(core.turns, task.answer)

    def _outcome(self) -> Outcome:
        return cast(Outcome, cast(Any, self.unwrapped).outcome)


def judge(coach: Coach, history: Sequence[Turn]) -> Judged:
    """The coach's verdict on the last turn of ``history``, or why there is none."""
    try:
        return coach.judge(history), ""
    except CoachError as error:
        return None, _cause(error)


def judge_episode(coach: HindsightCoach, turns: Sequence[Turn], outcome: Outcome) -> list[Judged]:
    """The coach's verdict on every turn, or why there is none.

    Raises:
        ValueError: the coach did not return one entry a turn.
    """
    try:
        verdicts = coach.judge_episode(turns, outcome)
    except CoachError as error:
        return [(None, _cause(error))] * len(turns)
    if len(verdicts) != len(turns):
        raise ValueError(f"{type(coach).__name__} gave {len(verdicts)} verdicts for {len(turns)} turns")
    return [(verdict, "" if verdict else "withheld") for verdict in verdicts]


def _cause(error: CoachError) -> str:
    """The name of what lies behind the error: a time-out should not be counted with an unreadable answer."""
    return type(error.__cause__ or error).__name__
