"""Groups of episodes: each has its own batches, one samples at a time, and no group waits for another."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from learners.errors import AbortedError
from learners.rollout import lockstep
from learners.rollout.lockstep import Lockstep, Session
from learners.rollout.threads import run_waves
from learners.runtimes.local import Local

SOON = 20.0


def runtime() -> Local:
    return Local(Local.Config(torch_threads=1))


def ask(number: int, turn: int = 0) -> int:
    return lockstep.call("a", (number, turn), number, lambda requests: list(requests))


def batches_by_group(seed: int, groups: int) -> dict[int, list[tuple[int, ...]]]:
    """Nine episodes of different lengths in waves of five, with random pauses decided by ``seed``."""
    batches: dict[int, list[tuple[int, ...]]] = {}
    sampling = Counter[str]()

    def run(requests: Sequence[int]) -> Sequence[int]:
        sampling["now"] += 1
        sampling["most"] = max(sampling["most"], sampling["now"])
        time.sleep(0.001)
        batches.setdefault(requests[0] % groups, []).append(tuple(requests))
        sampling["now"] -= 1
        return requests

    def episode(number: int) -> None:
        dice = random.Random(seed * 100 + number)
        for turn in range(1 + number % 3):
            time.sleep(dice.random() * 0.004)
            lockstep.call("a", (number, turn), number, run)

    runtime().map(episode, range(9), limit=5, groups=groups)
    assert sampling["most"] == 1
    return batches


def test_batches_of_a_group_do_not_depend_on_timing() -> None:
    first = batches_by_group(0, 2)
    assert first[0] == [(0, 2, 4), (2, 4), (2,), (6, 8), (8,), (8,)]
    assert first[1] == [(1, 3), (1,), (5, 7), (5, 7), (5,)]
    for seed in range(1, 5):
        assert batches_by_group(seed, 2) == first


def test_programs_of_one_group_run_while_another_samples() -> None:
    played = threading.Event()

    def run(requests: Sequence[int]) -> Sequence[int]:
        if 1 in requests:
            assert played.wait(SOON), "the other group does not play on"
        return requests

    def episode(number: int) -> None:
        if number == 1:
            assert asked.wait(SOON)
        lockstep.call("a", (number, 0), number, run)
        if number == 0:
            played.set()

    asked = threading.Event()
    threading.Timer(0.01, asked.set).start()
    assert runtime().map(episode, range(2), limit=2, groups=2) == [None, None]


def test_a_group_that_has_ended_a_wave_starts_its_next_one() -> None:
    ended = threading.Event()

    def episode(number: int) -> int:
        if number == 0:
            assert ended.wait(SOON), "the next wave of the other group waits"
        ask(number)
        if number == 5:
            ended.set()
        return number

    assert runtime().map(episode, range(6), limit=2, groups=2) == list(range(6))


def test_groups_that_get_no_episode_are_no_hindrance() -> None:
    assert runtime().map(ask, range(2), limit=5, groups=4) == [0, 1]
    assert runtime().map(ask, [], limit=5, groups=4) == []


def test_an_interrupt_in_one_group_releases_the_others() -> None:
    asking, released, started = threading.Event(), threading.Event(), list[int]()

    def episode(number: int) -> None:
        started.append(number)
        if number == 0:
            assert asking.wait(SOON)
            raise KeyboardInterrupt
        if number == 1:
            asking.set()
            with pytest.raises(AbortedError):
                ask(number)
            released.set()
        if number == 3:  # until then the group of 1 and 3 cannot complete a round
            assert released.wait(SOON)

    with pytest.raises(KeyboardInterrupt):
        runtime().map(episode, range(6), limit=4, groups=2)
    assert released.wait(SOON)
    assert {0, 1} <= set(started) <= {0, 1, 2, 3}


def test_a_failing_episode_ends_no_other_one() -> None:
    def episode(number: int) -> int:
        if number == 2:
            raise MemoryError
        return ask(number)

    results = runtime().map(episode, range(6), limit=4, groups=2)
    assert isinstance(results.pop(2), MemoryError)
    assert results == [0, 1, 3, 4, 5]


def test_a_session_that_cannot_be_opened_ends_all_groups() -> None:
    opened: list[Sequence[int]] = []
    waiting = threading.Event()

    def open_session(wave: Sequence[int]) -> Session:
        opened.append(list(wave))
        if wave[0] == 1:
            assert waiting.wait(SOON)
            raise OSError("no such process")
        return Lockstep(len(wave) + 1)  # whose round is never complete

    def episode(number: int) -> int:
        threading.Timer(0.01, waiting.set).start()
        return ask(number)

    with pytest.raises(OSError, match="no such process"):
        run_waves(episode, range(8), 4, 2, open_session)
    assert [0, 2] in opened
    assert [4, 6] not in opened


def test_a_round_that_is_aborted_while_it_waits_for_its_turn_samples_nothing() -> None:
    turn, sampled, aborted = threading.Lock(), list[int](), threading.Event()
    session = Lockstep(1, turn)

    def run(requests: Sequence[int]) -> Sequence[int]:
        sampled.extend(requests)
        return requests

    def work() -> None:
        with session.participant(0), pytest.raises(AbortedError):
            lockstep.call("a", (0, 0), 0, run)
        aborted.set()

    with turn:
        threading.Thread(target=work, daemon=True).start()
        while not session._running:
            time.sleep(0.001)
        session.abort()
    assert aborted.wait(SOON)
    assert sampled == []
