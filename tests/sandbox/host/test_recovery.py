"""What a lost sandbox is attributed to, with sandboxes that are lost as planned."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.base import FileInfo, LostError, Result, Sandbox, SandboxError, SandboxSpec
from sandbox.host.recovery import RecoveringSandbox
from tests.sandbox.backends import local, or_skip


class Fragile:
    """Records its operations. All sandboxes share ``plan``: the operations that lose one, in order."""

    def __init__(self, plan: list[str]) -> None:
        self.plan, self.did, self.closed = plan, list[str](), False

    def _do(self, what: str) -> None:
        if self.plan and self.plan[0] == what:
            self.plan.pop(0)
            raise LostError("gone", running=what.startswith("run"))
        self.did.append(what)

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        self._do(f"run {code}")
        return Result("ok", 0, f"{timeout} {seed} {session}", "", False, 0.1, 0.1)

    def end_session(self, session: str) -> None:
        self._do(f"end {session}")

    def read(self, path: str) -> bytes:
        self._do(f"read {path}")
        return b"data"

    def write(self, path: str, data: bytes) -> None:
        self._do(f"write {path}")

    def list(self) -> tuple[FileInfo, ...]:
        self._do("list")
        return ()

    def close(self) -> None:
        self.closed = True


class Opened:
    """Opens up to ``most`` sandboxes that are lost as planned."""

    def __init__(self, plan: list[str], most: int = 10) -> None:
        self.plan, self.most, self.boxes = plan, most, list[Fragile]()

    def __call__(self) -> Sandbox:
        if len(self.boxes) == self.most:
            raise SandboxError("no daemon")
        self.boxes.append(Fragile(self.plan))
        return self.boxes[-1]


def test_operations_are_repeated_in_a_new_sandbox() -> None:
    start = Opened(["run b"])
    box = RecoveringSandbox(start)
    box.write("f", b"")
    assert box.run("a", timeout=3, seed=5, session="s").losses == 0
    box.read("f")
    result = box.run("b", seed=6)
    assert (result.status, result.losses, result.stdout) == ("ok", 1, "None 6 None")
    assert box.run("c").losses == 0
    assert [sandbox.did for sandbox in start.boxes] == [
        ["write f", "run a", "read f"],
        ["write f", "run a", "run b", "run c"],
    ]
    assert [sandbox.closed for sandbox in start.boxes] == [True, False]
    box.close()
    assert start.boxes[1].closed


def test_a_program_that_ends_two_sandboxes_is_killed_and_the_episode_continues() -> None:
    start = Opened(["run evil", "run evil"])
    box = RecoveringSandbox(start)
    box.write("f", b"")
    box.run("a")
    result = box.run("evil", session="s")
    assert (result.status, result.exit_code, result.losses, result.state_lost) == ("killed", None, 2, True)
    assert box.run("next").losses == 0
    assert start.boxes[2].did == ["write f", "run a", "end s", "run next"]


def test_programs_that_cannot_be_repeated_are_left_out_of_the_restored_sandbox() -> None:
    start = Opened(["run evil", "run a", "run a"])
    box = RecoveringSandbox(start)
    box.write("f", b"")
    box.run("a")
    result = box.run("evil")
    assert (result.status, result.losses) == ("killed", 3)
    assert start.boxes[3].did == ["write f"]


@pytest.mark.parametrize(("plan", "most"), [(["run a"], 1), (["run a", "run a"], 2)])
def test_no_program_is_blamed_when_no_other_sandbox_starts(plan: list[str], most: int) -> None:
    box = RecoveringSandbox(Opened(plan, most))
    with pytest.raises(SandboxError, match="no daemon"):
        box.run("a")


def test_a_loss_between_programs_is_restored_and_counted_in_the_next_result() -> None:
    box = RecoveringSandbox(Opened(["list"]))
    box.run("a")
    assert box.list() == ()
    assert box.run("b").losses == 1


@pytest.mark.parametrize("what", ["list", "read f", "write f"])
def test_what_programs_left_does_not_drop_the_episode(what: str) -> None:
    """A sandbox that is twice unanswerable is restored without the programs since the last listing."""
    start = Opened([])
    box = RecoveringSandbox(start)
    box.write("given", b"")
    box.run("good")
    box.list()
    box.run("evil")
    start.plan += [what, what]
    acts: dict[str, Callable[[], object]] = {
        "list": box.list, "read f": lambda: box.read("f"), "write f": lambda: box.write("f", b""),
    }  # fmt: skip
    acts[what]()
    assert start.boxes[2].did == ["write given", "run good", what]
    assert box.run("next").losses == 2
    assert start.boxes[2].did[-1] == "run next"


def test_a_session_of_which_not_all_is_repeated_is_lost_and_its_next_result_says_so() -> None:
    start = Opened([])
    box = RecoveringSandbox(start)
    box.run("x = 1", session="s")
    box.run("kept", session="t")
    box.list()
    box.run("y = 2", session="s")
    start.plan += ["list", "list"]
    box.list()
    assert start.boxes[2].did == ["run x = 1", "run kept", "end s", "list"]
    after = box.run("print(x)", session="s")
    assert after.state_lost
    assert after.stderr == "[the session had been lost, with its variables: this is a new one]\n"
    assert not box.run("print(x)", session="s").state_lost
    assert not box.run("again", session="t").state_lost


def test_an_ended_session_stays_ended_in_a_restored_sandbox_and_is_not_lost() -> None:
    start = Opened([])
    box = RecoveringSandbox(start)
    box.run("x = 1", session="s")
    box.end_session("s")
    start.plan += ["end s", "list", "list"]
    box.end_session("s")
    assert start.boxes[1].did == ["run x = 1", "end s", "end s"]
    box.list()
    assert not box.run("new", session="s").state_lost


def test_a_request_is_never_taken_for_a_program_that_loses_sandboxes() -> None:
    start = Opened([])
    box = RecoveringSandbox(start)
    box.run("a")
    box.list()
    box.run("b")
    start.plan += ["list", "run a", "run a"]
    assert box.list() == ()
    assert start.boxes[3].did == ["list"]


def test_a_sandbox_that_stays_unanswerable_is_restored_without_any_program() -> None:
    start = Opened([])
    box = RecoveringSandbox(start)
    box.write("given", b"")
    box.run("a")
    box.list()
    box.run("b")
    start.plan += ["list", "list", "list"]
    assert box.list() == ()
    assert start.boxes[3].did == ["write given", "list"]
    start.plan += ["list", "list"]
    with pytest.raises(LostError):
        box.list()  # nothing is left that a program could have caused


def test_a_program_whose_sandbox_does_not_even_start_it_is_not_blamed() -> None:
    class Deaf(Fragile):
        def _do(self, what: str) -> None:
            if what in self.plan:
                self.plan.remove(what)
                raise LostError("deaf", running=False)
            super()._do(what)

    plan: list[str] = []
    box = RecoveringSandbox(lambda: Deaf(plan))
    box.run("evil")
    plan += ["run b", "run b"]
    result = box.run("b")
    assert (result.status, result.losses) == ("ok", 2)


def test_a_history_that_loses_its_sandbox_otherwise_than_by_a_program_is_left_out() -> None:
    start = Opened(["run evil", "run evil"])
    box = RecoveringSandbox(start)
    box.run("odd")
    box.write("f", b"")
    start.plan += ["write f"]
    assert box.run("evil").status == "killed"
    assert box.run("next").status == "ok"


def test_other_errors_are_raised_and_not_repeated() -> None:
    class Picky(Fragile):
        def write(self, path: str, data: bytes) -> None:
            raise ValueError("too large")

    box = RecoveringSandbox(lambda: Picky([]))
    with pytest.raises(ValueError, match="too large"):
        box.write("f", b"")
    box.run("a")


def guests(backend: object) -> list[int]:
    """Returns the processes below a local backend's fork server."""
    [server] = backend._launcher._servers.values()  # type: ignore[attr-defined]
    children = Path(f"/proc/{server._process.pid}/task/{server._process.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def test_a_real_guest_that_is_killed_is_restored_with_its_files() -> None:
    backend = or_skip(local)
    try:
        box = RecoveringSandbox(lambda: backend.open(SandboxSpec()))
        box.write("given", b"1")
        box.run("import random; open('made', 'w').write(str(random.random()))", seed=3)
        before = box.list()
        [guest] = guests(backend)
        os.kill(guest, signal.SIGKILL)
        assert box.list() == before
        assert box.run("print(open('given').read())").losses == 1
        box.close()
    finally:
        backend.close()
