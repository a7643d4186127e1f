"""How the processes of a run work together, with handles in this process."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from envs.types import Message, Task
from learners.errors import AbortedError, EpisodeError, LostError
from learners.runtimes.distributed.engines import BatchBarrier, RemoteEngines
from learners.runtimes.distributed.placement import PlacementPlan, Resources
from learners.runtimes.distributed.ranks import RankGroup
from learners.runtimes.distributed.rollout_workers import RolloutWorkerPool
from learners.types import Assignment, GenerationRequest


@dataclass
class Here:
    """A handle whose calls are answered by a function; ``asked`` records them."""

    name: str
    answer: Callable[..., Any]
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    killed: bool = False

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        self.asked.append((method, *args))
        return self.answer(method, *args, **kwargs)

    def start(self, method: str, *args: Any, **kwargs: Any) -> Any:
        answer = self.call(method, *args, **kwargs)
        return type("Pending", (), {"wait": lambda _, timeout=None: answer})()

    def address(self) -> str:
        return "nowhere:0"

    def kill(self) -> None:
        self.killed = True


def assignment(order: int) -> Assignment:
    return Assignment(f"e{order}", Task("t", "", "k", None), 0, order, 1.0)


class Fleet:
    """A pool of rollout workers; those in ``mortal`` are lost with their first episode."""

    def __init__(self, *mortal: str, retries: int = 1, count: int = 2) -> None:
        self.mortal = set(mortal)
        self.handles: list[Here] = []
        self.lost: list[str] = []
        self.pool = RolloutWorkerPool(self.spawn, count, episode_retries=retries, on_lost=self.lost.append)

    def spawn(self, name: str) -> Here:
        def answer(method: str, assignment: Assignment, *, coached: bool) -> str:
            if name in self.mortal:
                raise LostError(f"{name} died", name)
            return f"{assignment.id} by {name}, {coached}"

        self.handles.append(Here(name, answer))
        return self.handles[-1]


def test_an_episode_goes_to_the_least_busy_worker() -> None:
    together = threading.Barrier(4)
    fleet = Fleet()
    for handle in fleet.handles:
        handle.answer = lambda *_, **__: together.wait(20)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: fleet.pool.play(assignment(n), coached=True), range(4)))
    assert [len(handle.asked) for handle in fleet.handles] == [2, 2]


def test_a_lost_worker_is_replaced_once_and_its_episode_played_again() -> None:
    fleet = Fleet("rollout worker 0")
    assert str(fleet.pool.play(assignment(0), coached=False)) == "e0 by rollout worker 1, False"
    assert [handle.name for handle in fleet.pool.handles] == ["rollout worker 1", "rollout worker 2"]
    assert fleet.handles[0].killed
    assert fleet.lost == ["rollout worker 0"]


def test_an_episode_that_loses_every_worker_is_dropped() -> None:
    fleet = Fleet("rollout worker 0", "rollout worker 1", retries=1)
    with pytest.raises(EpisodeError, match="rollout worker 1 died"):
        fleet.pool.play(assignment(0), coached=True)
    assert str(fleet.pool.play(assignment(1), coached=True)).startswith("e1 by rollout worker ")


def test_the_loss_of_a_process_that_all_workers_need_replaces_no_worker() -> None:
    fleet = Fleet()
    for handle in fleet.handles:

        def answer(*_: Any, **__: Any) -> None:
            raise LostError("learner 0.0 died", "learner 0.0")

        handle.answer = answer
    with pytest.raises(LostError, match="learner"):
        fleet.pool.play(assignment(0), coached=True)
    assert fleet.lost == []


def batch(method: str, policy: str, requests: Sequence[GenerationRequest]) -> list[str]:
    return [f"{policy}{request.seed} of {len(requests)}" for request in requests]


def ask(barrier: BatchBarrier, policy: str, order: int, caller: str = "p") -> Any:
    return barrier.generate(policy, GenerationRequest((Message("user", ""),), order, 1.0), order, caller)


def test_requests_of_all_processes_form_one_batch_per_policy() -> None:
    ranks = {name: Here(name, batch) for name in "ab"}
    barrier = BatchBarrier(ranks)
    barrier.start_wave(range(4))
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda n: ask(barrier, "ab"[n % 2], n, f"p{n}"), range(3))
        barrier.leave(3)
        assert list(answers) == ["a0 of 2", "b1 of 1", "a2 of 2"]
    assert [len(rank.asked) for rank in ranks.values()] == [1, 1]


def test_requests_of_a_lost_process_are_cancelled_and_its_episodes_ask_again() -> None:
    barrier = BatchBarrier({"a": Here("a", batch)})
    barrier.start_wave(range(2))
    with ThreadPoolExecutor(3) as pool:
        lost = pool.submit(ask, barrier, "a", 0, "lost")
        while not barrier._sessions[0]._pending:
            pass
        barrier.cancel("lost")
        with pytest.raises(AbortedError):
            lost.result(20)
        with pytest.raises(AbortedError):
            ask(barrier, "a", 0, "lost")
        answers = [pool.submit(ask, barrier, "a", n, "new") for n in (0, 1)]
        assert [answer.result(20) for answer in answers] == ["a0 of 2", "a1 of 2"]


def test_each_wave_has_batches_of_its_own() -> None:
    barrier = BatchBarrier({"a": Here("a", batch)})
    for wave in (range(0, 4, 2), range(1, 4, 2)):
        barrier.start_wave(wave)
    with ThreadPoolExecutor(4) as pool:
        waiting = pool.submit(ask, barrier, "a", 1)
        first = [pool.submit(ask, barrier, "a", n) for n in (0, 2)]
        assert [answer.result(20) for answer in first] == ["a0 of 2", "a2 of 2"]
        barrier.leave(3)
        assert waiting.result(20) == "a1 of 1"
        waiting = pool.submit(ask, barrier, "a", 0)
        barrier.abort(1)
        with pytest.raises(AbortedError):
            ask(barrier, "a", 1)
        barrier.leave(2)
        assert waiting.result(20) == "a0 of 1"


def test_an_episode_keeps_to_one_engine_and_weights_reach_every_copy() -> None:
    def answer(method: str, *_: Any, **__: Any) -> Any:
        return {"sync_bytes_read": 10} if method == "sync" else method

    copies = [Here(f"engine {n}", answer) for n in range(2)]
    rank = Here("rank", answer)

    def gather(pending: Sequence[Any]) -> list[Any]:
        return [one.wait() for one in pending]

    engines = RemoteEngines({"a": copies, "b": copies}, gather, {"b": RankGroup([rank], gather)})
    for order in (0, 1, 2, 2):
        engines.generate("a", (), seed=1, order=order)
    assert [len(copy.asked) for copy in copies] == [3, 1]
    assert engines.sync("b", 4) == {"sync_bytes_read": 20}
    engines.sleep()
    assert [copy.asked[-3:] for copy in copies] == [[("sync", "b", 4), ("release",), ("sleep",)]] * 2
    assert rank.asked == [("release",)], "once every copy has the weights"


@pytest.mark.parametrize(
    ("ranks", "engines", "bundles", "rank", "engine"),
    [
        (2, 2, [(3.0, 1.0)] * 4, [0, 1, 2, 3], [0, 1, 2, 3]),
        (2, 1, [(1.0, 0.5), (1.0, 0.5), (2.0, 0.5)] * 2, [0, 1, 3, 4], [2, 5]),
        (1, 0, [(1.0, 0.5)] * 2, [0, 1], []),
    ],
)
def test_rank_and_engine_share_a_bundle_where_there_are_as_many_of_each(
    ranks: int, engines: int, bundles: list[tuple[float, float]], rank: list[int], engine: list[int]
) -> None:
    plan = PlacementPlan(2, ranks, engines, Resources(1.0, 0.5), Resources(2.0, 0.5))
    assert plan.bundles() == bundles
    assert [plan.of_rank(g, i).bundle for g in range(2) for i in range(ranks)] == rank
    assert [plan.of_engine(g, i).bundle for g in range(2) for i in range(engines)] == engine


def test_all_ranks_of_a_group_get_concurrent_calls_in_the_same_order() -> None:
    """Policies that share a base learn at once; with different orders, ranks would deadlock."""

    def slowly(*_: Any) -> None:
        time.sleep(0.002)  # so that another thread could call in between

    ranks = [Here(f"rank {n}", slowly) for n in range(2)]
    group = RankGroup(ranks, lambda pending: [one.wait() for one in pending])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: group.call("update", f"policy {n}"), range(40)))
    assert len(ranks[0].asked) == 40
    assert ranks[0].asked == ranks[1].asked
    assert pickle.loads(pickle.dumps(RankGroup((), list))).call is not None, (
        "engines in other processes call ranks too"
    )
