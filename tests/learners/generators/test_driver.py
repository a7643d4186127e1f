"""The engines' thread: concurrent requests are processed together, and no caller waits forever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from learners.errors import TrainingError
from learners.generators.vllm.driver import Driver
from learners.runtimes.local import Local


class Countdown:
    """Answers a number after that many steps; refuses -1, and fails with ``fails_at`` requests at once."""

    def __init__(self) -> None:
        self.left: dict[str, int] = {}
        self.asked: dict[str, int] = {}
        self.together = 0
        self.fails_at = 99
        self.threads: set[int] = set()

    def add(self, key: str, request: int) -> None:
        if request < 0:
            raise ValueError("no such request")
        self.left[key] = self.asked[key] = request

    def step(self) -> dict[str, int]:
        self.threads.add(threading.get_ident())
        self.together = max(self.together, len(self.left))
        if self.together >= self.fails_at:
            raise RuntimeError("out of memory")
        self.left = {key: left - 1 for key, left in self.left.items()}
        done = [key for key, left in self.left.items() if left <= 0]
        return {key: self.asked[key] for key in done if self.left.pop(key) is not None}


@pytest.fixture
def driver() -> Iterator[Driver]:
    made = Driver("the engine", deadline=20)
    yield made
    made.close(lambda: None)


def at_once(fn: Callable[[int], object], count: int) -> list[object]:
    return list(Local(Local.Config(torch_threads=None)).map(fn, range(count), limit=count, groups=None))


def test_requests_of_several_threads_are_processed_together_in_one_thread(driver: Driver) -> None:
    one, other = Countdown(), Countdown()
    barrier = threading.Barrier(8)

    def ask(number: int) -> object:
        barrier.wait()
        return driver.ask(one if number % 2 else other, 2000 + number)

    assert at_once(ask, 8) == [2000 + number for number in range(8)]
    assert one.together > 1
    assert other.together > 1
    assert one.threads == other.threads
    assert threading.get_ident() not in one.threads


def test_a_command_waits_for_earlier_requests_and_later_ones_wait_for_it(
    driver: Driver,
) -> None:
    engine, inside, gate, seen = Countdown(), threading.Event(), threading.Event(), list[tuple[int, int]]()

    def hold() -> None:
        inside.set()
        gate.wait(20)

    work: list[Callable[[], object]] = [
        lambda: driver.call(hold),
        lambda: driver.ask(engine, 50),
        lambda: driver.call(lambda: seen.append((len(engine.left), len(engine.asked)))),
        lambda: driver.ask(engine, 60),
    ]
    threads = [threading.Thread(target=one) for one in work]
    threads[0].start()
    assert inside.wait(20)
    for number, thread in enumerate(
        threads[1:], 1
    ):  # queued in this order behind the command that blocks the thread
        thread.start()
        while driver._incoming.qsize() < number:
            time.sleep(0.001)
    gate.set()
    for thread in threads:
        thread.join(20)
    assert seen == [(0, 1)]
    assert len(engine.asked) == 2
    assert engine.together == 1


def test_a_refused_request_raises_in_its_caller_alone(driver: Driver) -> None:
    engine = Countdown()
    answers = at_once(lambda number: driver.ask(engine, -1 if number == 1 else 300), 3)
    assert isinstance(answers[1], ValueError)
    assert [answers[0], answers[2]] == [300, 300]


def test_an_exception_of_a_command_is_raised_in_its_caller_and_ends_nothing(driver: Driver) -> None:
    with pytest.raises(ZeroDivisionError):
        driver.call(lambda: 1 / 0)
    assert driver.call(lambda: 3) == 3


def test_an_engine_that_fails_fails_all_waiting_and_all_later_callers(driver: Driver) -> None:
    engine = Countdown()
    engine.fails_at = 3
    barrier = threading.Barrier(3)

    def ask(number: int) -> object:
        barrier.wait()
        return driver.ask(engine, 10**9)

    for error in at_once(ask, 3):
        assert isinstance(error, TrainingError)
        assert "the engine failed: out of memory" in str(error)
    with pytest.raises(TrainingError, match="the engine failed before: out of memory"):
        driver.ask(engine, 1)


def test_no_caller_waits_longer_than_the_deadline() -> None:
    driver = Driver("the engine", deadline=0.2)
    with pytest.raises(TrainingError, match=r"the engine gave no answer within 0\.2 s"):
        driver.ask(Countdown(), 10**9)
    driver.close(lambda: None)


def test_closing_fails_waiting_callers_and_runs_the_last_command_once() -> None:
    driver, engine, ended = Driver("the engine", deadline=20), Countdown(), list[int]()
    errors: list[object] = []
    thread = threading.Thread(target=lambda: errors.extend(at_once(lambda _: driver.ask(engine, 10**9), 2)))
    thread.start()
    while len(engine.left) < 2:
        time.sleep(0.001)
    driver.close(lambda: ended.append(threading.get_ident()))
    driver.close(lambda: ended.append(0))
    thread.join(20)
    assert [str(error) for error in errors] == ["the engine is closed"] * 2
    assert ended == list(engine.threads)
    with pytest.raises(TrainingError, match="the engine is closed"):
        driver.call(lambda: None)


def test_a_last_command_that_fails_is_logged_and_hides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    Driver("the engine", deadline=20).close(lambda: print(1 / 0))
    assert "the engine did not end cleanly: division by zero" in caplog.text
