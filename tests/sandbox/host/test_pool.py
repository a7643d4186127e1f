"""The pool, with fake sandboxes."""

import threading
import time
from collections.abc import Callable

import pytest

from sandbox.base import SandboxError, SandboxSpec
from sandbox.host.pool import Pool, Warm

PLAIN, OTHER = SandboxSpec(), SandboxSpec(("numpy",))


class FakeSandbox:
    def __init__(self, spec: SandboxSpec) -> None:
        self.spec, self.closed, self.dead = spec, False, False

    def alive(self) -> bool:
        return not self.dead

    def close(self) -> None:
        self.closed = True


class Starter:
    """Starts fakes once ``gate`` is open; fails while ``down``."""

    def __init__(self) -> None:
        self.lock, self.gate = threading.Lock(), threading.Event()
        self.gate.set()
        self.down = False
        self.begun: list[SandboxSpec] = []
        self.made: list[FakeSandbox] = []
        self.failed = self.running = self.most = 0

    def __call__(self, spec: SandboxSpec) -> Warm:
        with self.lock:
            self.begun.append(spec)
            self.running += 1
            self.most = max(self.most, self.running)
        self.gate.wait(30)
        with self.lock:
            self.running -= 1
            if self.down:
                self.failed += 1
                raise SandboxError("the daemon is away")
            self.made.append(FakeSandbox(spec))
            return self.made[-1]  # type: ignore[return-value]


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def started(pool: Pool) -> bool:
    """Whether the pool has received all that it ordered, which is later than that they were made."""
    return not pool._queue and not pool._starting


def taken(pool: Pool) -> object:
    return pool.take(PLAIN)


def in_thread(action: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Returns a running thread, and a list that receives its value or exception."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(action())
        except SandboxError as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def test_each_sandbox_is_handed_out_once_and_another_is_started_ahead() -> None:
    start = Starter()
    pool = Pool(start, size=2, starting=1)
    boxes = [pool.take(PLAIN), pool.take(PLAIN), pool.take(OTHER)]
    assert len(set(map(id, boxes))) == 3
    assert [box.spec for box in boxes] == [PLAIN, PLAIN, OTHER]  # type: ignore[attr-defined]
    wait_for(lambda: len(start.made) == 7)
    pool.close()
    assert [box.closed for box in start.made].count(True) == 4
    assert not any(box.closed for box in boxes)  # type: ignore[attr-defined]
    with pytest.raises(SandboxError):
        pool.take(PLAIN)


def test_no_more_start_at_once_than_allowed() -> None:
    start = Starter()
    start.gate.clear()
    pool = Pool(start, size=3, starting=2)
    threads = [in_thread(lambda: pool.take(PLAIN))[0] for _ in range(8)]
    wait_for(lambda: start.running == 2)
    start.gate.set()
    for thread in threads:
        thread.join()
    wait_for(lambda: len(start.made) == 11)
    pool.close()
    assert start.most == 2


def test_a_warm_sandbox_is_handed_out_while_others_start() -> None:
    start = Starter()
    pool = Pool(start, size=1, starting=1)
    pool.take(PLAIN)
    wait_for(lambda: started(pool) and len(start.made) == 2)
    start.gate.clear()
    assert taken(pool) == start.made[1]  # its successor hangs
    start.gate.set()
    pool.close()


def test_requested_sandboxes_start_before_those_made_in_advance() -> None:
    start = Starter()
    start.gate.clear()
    pool = Pool(start, size=3, starting=1)
    first, _ = in_thread(lambda: pool.take(PLAIN))
    wait_for(lambda: start.running == 1)
    second, _ = in_thread(lambda: pool.take(OTHER))
    wait_for(lambda: len(pool._queue) == 7)
    start.gate.set()
    first.join()
    second.join()
    pool.close()
    assert start.begun[:2] == [PLAIN, OTHER]


def test_a_warm_sandbox_that_died_is_closed_and_not_handed_out() -> None:
    start = Starter()
    pool = Pool(start, size=3, starting=1)
    pool.take(PLAIN)
    wait_for(lambda: started(pool) and len(start.made) == 4)
    start.made[1].dead = start.made[3].dead = True
    assert taken(pool) == start.made[2]
    assert [box.closed for box in start.made[:4]] == [False, True, False, True]
    wait_for(lambda: len(start.made) == 7)
    pool.close()


def test_a_failed_start_reaches_only_the_waiting_caller() -> None:
    start = Starter()
    start.down = True
    pool = Pool(start, size=2, starting=1)
    with pytest.raises(SandboxError, match="away"):
        pool.take(PLAIN)
    wait_for(lambda: start.failed == 3)  # no caller waited for two of them
    wait_for(lambda: all(thread.name != "sandbox-start" for thread in threading.enumerate()))
    start.down = False
    assert taken(pool) in start.made
    pool.close()


def test_a_sandbox_whose_start_ends_after_close_is_closed() -> None:
    start = Starter()
    start.gate.clear()
    pool = Pool(start, size=1, starting=1)
    taker, took = in_thread(lambda: pool.take(PLAIN))
    wait_for(lambda: start.running == 1)
    waiter, waited = in_thread(lambda: pool.take(PLAIN))
    wait_for(lambda: len(pool._queue) == 2)
    closer, _ = in_thread(pool.close)
    waiter.join(10)
    assert isinstance(waited[0], SandboxError)  # a caller that waits for a queued start does not hang
    assert closer.is_alive()
    start.gate.set()
    closer.join(10)
    taker.join(10)
    assert isinstance(took[0], SandboxError)
    assert [box.closed for box in start.made] == [True]


def test_racing_takes_and_close_lose_no_sandbox() -> None:
    for _ in range(50):
        start = Starter()
        pool = Pool(start, size=2, starting=3)
        takers = [in_thread(lambda pool=pool: pool.take(PLAIN)) for _ in range(6)]  # type: ignore[misc]
        pool.close()
        pool.close()
        for thread, _ in takers:
            thread.join(10)
        boxes = [result for _, results in takers for result in results if isinstance(result, FakeSandbox)]
        assert sum(len(results) for _, results in takers) == 6
        assert len(set(map(id, boxes))) == len(boxes)
        assert all(box.closed != (box in boxes) for box in start.made)
        assert start.running == 0
