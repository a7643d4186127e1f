"""Lockstep: batches do not depend on timing, and no thread waits forever."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import conf
from learners.errors import AbortedError
from learners.rollout import lockstep
from learners.runtimes.local import Local


def runtime() -> Local:
    built = conf.build("learners.runtimes", conf.load("runtime", "local"))
    assert isinstance(built, Local)
    return built


def recorded_batches(seed: int) -> list[tuple[str, tuple[int, ...]]]:
    """Five episodes of different lengths that ask two policies, with random pauses decided by ``seed``."""
    batches: list[tuple[str, tuple[int, ...]]] = []

    def episode(number: int) -> int:
        dice = random.Random(seed * 100 + number)
        for turn in range(2 + number % 3):
            time.sleep(dice.random() * 0.004)
            key = "ab"[(turn + number) % 2]

            def run(requests: Sequence[int], key: str = key) -> Sequence[int]:
                batches.append((key, tuple(requests)))
                return [request * 10 for request in requests]

            assert lockstep.call(key, (number, turn), number, run) == number * 10
        time.sleep(dice.random() * 0.004)
        return number

    assert runtime().map(episode, range(5), limit=5, groups=1) == list(range(5))
    return batches


def test_batches_do_not_depend_on_timing() -> None:
    first = recorded_batches(0)
    assert first[:2] == [("a", (0, 2, 4)), ("b", (1, 3))]
    for seed in range(1, 6):
        assert recorded_batches(seed) == first


def test_a_failing_batch_raises_in_each_of_its_threads_and_the_others_continue() -> None:
    def run(requests: Sequence[int]) -> Sequence[int]:
        if 0 in requests:
            raise MemoryError("too much")
        return requests

    def episode(number: int) -> int:
        return lockstep.call("ab"[number % 2], (number, 0), number, run)

    results = runtime().map(episode, range(4), limit=4, groups=1)
    assert [type(result).__name__ for result in results] == ["MemoryError", "int", "MemoryError", "int"]


def test_a_participant_that_fails_or_never_asks_does_not_block_the_others() -> None:
    def episode(number: int) -> int:
        if number == 1:
            raise KeyError(number)
        if number == 2:
            return -1
        return lockstep.call("a", (number, 0), number, lambda requests: list(requests))

    results = runtime().map(episode, range(4), limit=4, groups=1)
    assert results[0] == 0
    assert isinstance(results[1], KeyError)
    assert results[2:] == [-1, 3]


def test_a_batch_that_answers_too_few_is_an_error_and_no_deadlock() -> None:
    results = runtime().map(
        lambda n: lockstep.call("a", (n, 0), n, lambda requests: requests[1:]), range(3), limit=3, groups=1
    )
    assert all(isinstance(result, ValueError) for result in results)


def test_outside_a_session_a_request_runs_at_once() -> None:
    assert lockstep.call("a", (0, 0), 3, lambda requests: [request + 1 for request in requests]) == 4


@pytest.mark.parametrize("groups", [1, 2, 3, 7, None])
def test_map_runs_no_more_than_limit_at_once_and_keeps_the_order(groups: int | None) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.003 * (5 - number % 5))
        with lock:
            running -= 1
        return -number

    assert runtime().map(work, range(11), limit=3, groups=groups) == [-n for n in range(11)]
    assert most <= 3
    assert runtime().map(work, [], limit=3, groups=groups) == []
    with pytest.raises(ValueError, match="limit"):
        runtime().map(work, [1], limit=0, groups=groups)


def test_without_waves_a_slow_item_delays_no_other() -> None:
    ended = threading.Event()

    def work(number: int) -> str:
        if number == 0:
            assert ended.wait(20), "the others wait for the slow one"
        if number == 9:
            ended.set()
        if number == 5:
            raise KeyError(number)
        return str(number)

    results = runtime().map(work, range(10), limit=2, groups=None)
    assert isinstance(results.pop(5), KeyError)
    assert results == [str(n) for n in range(10) if n != 5]


def test_without_waves_an_interrupt_is_raised_and_no_further_item_starts() -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runtime().map(work, range(100), limit=1, groups=None)
    assert begun == [0, 1]


def test_an_interrupt_is_raised_and_waiting_participants_are_released(tmp_path: Path) -> None:
    aborted = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            raise KeyboardInterrupt
        (tmp_path / str(number)).touch()

    with pytest.raises(KeyboardInterrupt):
        runtime().map(work, range(3), limit=2, groups=1)
    assert not (tmp_path / "2").exists()

    session = lockstep.Lockstep(participants=2)

    def wait() -> None:
        with session.participant(0), pytest.raises(AbortedError):
            lockstep.call("a", (0, 0), 0, lambda requests: list(requests))
        aborted.set()

    threading.Thread(target=wait, daemon=True).start()
    time.sleep(0.02)
    session.abort()
    assert aborted.wait(5)


def test_an_answer_that_is_delivered_early_is_taken_while_the_batch_still_runs() -> None:
    played = threading.Event()

    def run(requests: Sequence[int]) -> Sequence[int]:
        if len(requests) == 3:
            for place in range(2):  # one of these threads runs the batch, and the other one plays on
                lockstep.deliver(place, requests[place])
            assert played.wait(20), "nobody plays while the batch runs"
        return requests

    def episode(number: int) -> int:
        answer = lockstep.call("a", (number, 0), number, run)
        played.set()
        return answer + lockstep.call("a", (number, 1), number, run)

    assert runtime().map(episode, range(3), limit=3, groups=1) == [0, 2, 4]
    lockstep.deliver(0, "outside of a session nobody takes it")


def test_what_was_delivered_before_a_batch_failed_stays() -> None:
    def run(requests: Sequence[int]) -> Sequence[int]:
        lockstep.deliver(1, 10)
        raise MemoryError("too much")

    def episode(number: int) -> int:
        return lockstep.call("a", (number, 0), number, run)

    results = runtime().map(episode, range(3), limit=3, groups=1)
    assert results[1] == 10
    assert [type(result).__name__ for result in results] == ["MemoryError", "int", "MemoryError"]
