"""The pool, on sandboxes that are none."""

import threading
import time

import pytest

from sandbox.base import Sandbox, SandboxError, SandboxSpec
from sandbox.pool import Pool


class FakeSandbox:
    def __init__(self, spec: SandboxSpec) -> None:
        self.spec, self.closed = spec, False

    def close(self) -> None:
        self.closed = True


def wait_for(condition: object, seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.005)


def test_each_sandbox_is_handed_out_once_and_another_is_started_ahead() -> None:
    started: list[FakeSandbox] = []

    def start(spec: SandboxSpec) -> Sandbox:
        started.append(FakeSandbox(spec))
        return started[-1]  # type: ignore[return-value]

    pool = Pool(start, size=2, starting=1)
    plain, other = SandboxSpec(), SandboxSpec(("numpy",))
    taken = [pool.take(plain), pool.take(plain), pool.take(other)]
    assert len(set(map(id, taken))) == 3
    assert [box.spec for box in taken] == [plain, plain, other]  # type: ignore[attr-defined]
    wait_for(lambda: len(started) == 7)
    pool.close()
    assert [box.closed for box in started].count(True) == 4
    assert not any(box.closed for box in taken)  # type: ignore[attr-defined]
    with pytest.raises(SandboxError):
        pool.take(plain)


def test_no_more_start_at_once_than_allowed() -> None:
    running, most, lock = [0], [0], threading.Lock()

    def start(spec: SandboxSpec) -> Sandbox:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1
        return FakeSandbox(spec)  # type: ignore[return-value]

    pool = Pool(start, size=0, starting=2)
    threads = [threading.Thread(target=pool.take, args=(SandboxSpec(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.close()
    assert most[0] == 2


def test_a_failed_start_reaches_the_one_who_asked() -> None:
    def start(spec: SandboxSpec) -> Sandbox:
        raise SandboxError("no room")

    pool = Pool(start, size=0, starting=1)
    with pytest.raises(SandboxError, match="no room"):
        pool.take(SandboxSpec())
    pool.close()
