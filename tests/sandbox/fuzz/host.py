"""The host reads what a hostile guest answers: ``GuestSandbox`` over a stream in memory and a clock that the
stream moves."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict
from random import Random
from typing import get_args
from unittest.mock import patch

from sandbox.base import FileInfo, Limits, LostError, Result, SandboxError, Status
from sandbox.guest.folder import MAX_FILES
from sandbox.guest.frames import _exactly, unpack
from sandbox.host.client import PATIENCE, GuestSandbox
from tests.sandbox.fuzz.engine import Target, guard
from tests.sandbox.fuzz.garbage import frame, hostile_text, mutated, objects_like, raw_json

LIMITS = Limits(timeout=2.0, output_kb=4, file_mb=1)
_DIGEST = re.compile("[0-9a-f]{64}|")
_OPS = ("wait", "run", "run", "read", "write", "list", "list")
_DOCUMENTED: dict[str, tuple[type[Exception], ...]] = {
    "wait": (SandboxError,),
    "run": (SandboxError, ValueError),
    "read": (SandboxError, FileNotFoundError, ValueError),
    "write": (SandboxError, FileNotFoundError, ValueError),
    "list": (SandboxError,),
}


class Clock:
    """Seconds that pass only while the host waits."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


clock = Clock()


class Wire:
    """A channel that gives what the guest sent, in pieces, at the guest's leisure."""

    def __init__(self, random: Random, data: bytes) -> None:
        self.random, self.data, self.place = random, data, 0
        self.pause = random.choice((0.0, 0.0, 0.001, 0.5, 3.0))
        self.most = random.choice((1, 7, 1 << 16, 1 << 20)) if len(data) < 1 << 16 else 1 << 16
        self.end = random.choice(
            (b"", b"", TimeoutError("late"), ConnectionResetError("gone"), OSError("odd"))
        )
        self.calls = self.closed = 0

    def settimeout(self, value: float | None) -> None:
        assert value is not None
        assert value > 0
        self.patience = value

    def sendall(self, data: bytes) -> None:
        if self.random.random() < 0.01:
            raise self.random.choice((BrokenPipeError("gone"), TimeoutError("full")))

    def recv(self, size: int) -> bytes:
        assert 0 < size <= 1 << 20
        assert not self.closed
        self.calls += 1
        if self.place == len(self.data) and isinstance(self.end, Exception):
            clock.now += self.patience
            raise self.end
        if self.pause > self.patience:
            clock.now += self.patience
            raise TimeoutError("late")
        clock.now += self.pause
        part = self.data[self.place : self.place + min(size, self.most)]
        self.place += len(part)
        return part

    def close(self) -> None:
        self.closed += 1


def _answer(random: Random, op: str) -> bytes:
    """What a guest sends for ``op``, more or less."""
    header: dict[str, object] = {"ready": True} if op == "wait" else {}
    body = b""
    if op == "run":
        out, err = random.randbytes(random.randrange(40)), b"Traceback\n"
        times = {"wall_s": 0.1, "cpu_s": 0.1}
        header = {"status": random.choice(get_args(Status)), "exit_code": 0, "stdout": len(out), **times}
        header |= {"truncated": False, "state_lost": False}
        body = out + err
    elif op == "read":
        body = (
            random.randbytes(random.choice((0, 1, 100))) if random.random() < 0.99 else bytes((1 << 20) + 1)
        )
    elif op == "list":
        body = _listing(random)
    if random.random() < 0.1:
        header = {"error": random.choice(("missing", "refused")), "detail": hostile_text(random)}
    text = objects_like(random, header) if random.random() < 0.95 else raw_json(random)
    coding = random.choice(("utf-8",) * 20 + ("utf-16", "utf-32", "utf-16-be", "latin-1"))
    data = frame(random, text.encode(coding, "surrogatepass" if coding[:3] == "utf" else "replace"), body)
    return data if random.random() < 0.6 else mutated(random, data)


def _listing(random: Random) -> bytes:
    chance = random.random()
    if chance < 0.0005:  # bombs: the largest bodies and numbers of things that fit into them
        piece = random.choice(
            (b"[]", b"{}", b'["a",1,""]', b'"ab"', b"1.5", b'["' + b"x" * 5000 + b'",1,""]')
        )
        return b"[" + b",".join([piece] * ((8 << 20) // (len(piece) + 1) - 1)) + b"]"
    rows = [
        f"[{json.dumps(hostile_text(random))}, {raw_json(random)}, {json.dumps('ab' * 32)}]"
        if random.random() < 0.5
        else json.dumps(["a.txt", 5, random.choice(("cd" * 32, "", "../x", "x" * 64))])
        for _ in range(random.choice((0, 1, 1, 2, 5)))
    ]
    rows += [raw_json(random)] if random.random() < 0.2 else []
    return f"[{', '.join(rows)}]".encode("utf-8", "surrogatepass")


def _ask(box: GuestSandbox, op: str) -> object:
    if op == "wait":
        box.wait(30.0)
    if op == "run":
        return box.run("1")
    if op == "list":
        return box.list()
    if op == "read":
        return box.read("a")
    if op == "write":
        box.write("a", b"x")
    return None


def _check(value: object, op: str) -> None:
    """Whether a record can be what it says it is, and be written down."""
    if isinstance(value, Result):
        assert value.exit_code is None or type(value.exit_code) is int
        assert all(type(text) is str for text in (value.stdout, value.stderr))
        assert len(value.stdout) + len(value.stderr) <= (LIMITS.output_kb << 11) + 4096
        assert all(type(flag) is bool for flag in (value.truncated, value.state_lost))
        assert all(math.isfinite(number) and number >= 0 for number in (value.wall_s, value.cpu_s))
        json.dumps(asdict(value), allow_nan=False, ensure_ascii=False).encode()
    elif op == "list":
        assert isinstance(value, tuple)
        assert len(value) <= MAX_FILES
        for file in value:
            assert isinstance(file, FileInfo)
            assert type(file.path) is str
            assert type(file.size) is int
            assert 0 <= file.size < 2**63
            assert _DIGEST.fullmatch(file.sha256)
            assert file.path.isprintable()
            assert all(name and not name.startswith(".") for name in file.path.split("/"))
        assert sorted({file.path for file in value}) == [file.path for file in value]
    elif op == "read":
        assert isinstance(value, bytes)
        assert len(value) <= LIMITS.file_mb << 20
    else:
        assert value is None


def _case(random: Random) -> None:
    op = random.choice(_OPS)
    data = b"".join(_answer(random, op) for _ in range(random.choice((1, 1, 1, 2))))
    wire, ends, started = Wire(random, data), [0], clock.now

    def end() -> None:
        ends[0] += 1

    box = GuestSandbox(wire, LIMITS, end)
    lost, said = False, ""
    with guard.watch():
        try:
            _check(_ask(box, op), op)
        except _DOCUMENTED[op] as error:
            lost = isinstance(error, SandboxError)
            said = str(error)
        assert len(said.encode()) < 10_000, "an error as long as the guest likes"
        seconds = 30.0 if op == "wait" else PATIENCE + (LIMITS.timeout if op == "run" else 0.0)
        assert clock.now - started <= seconds + wire.pause + 0.1, f"{clock.now - started:g} s"
        assert wire.calls <= wire.place + 2
        assert ends[0] == wire.closed == int(lost), "ended once if lost, and only then"
        if lost:
            with contextlib.suppress(LostError, SandboxError):
                box.run("1")
                raise AssertionError("a lost sandbox goes on")
        box.close()
    assert ends[0] == wire.closed == 1


def _round(random: Random) -> None:
    with patch("sandbox.host.client.time", clock):
        for _ in range(50):
            _case(random)


def _trust_sizes() -> None:
    patch("sandbox.host.client.unpack", lambda receive, room: unpack(receive, 2**32)).start()


def _make_room_at_once() -> None:
    def exactly(receive: Callable[[int], bytes], size: int) -> bytes:
        room = bytearray(size)
        room[:] = _exactly(receive, size)
        return bytes(room)

    patch("sandbox.guest.frames.MAX_HEADER", 2**32).start()
    patch("sandbox.guest.frames._exactly", exactly).start()


def _trust_numbers() -> None:
    patch("sandbox.host.replies._count", lambda value, most, least=0: int(value)).start()


def _wait_for_every_byte() -> None:
    def receive(box: GuestSandbox, seconds: float, room: int) -> tuple[dict[str, object], bytes]:
        return unpack(box._channel.recv, room)

    patch.object(GuestSandbox, "_receive", receive).start()


def _go_on() -> None:
    patch.object(GuestSandbox, "_lost", lambda box, reason: LostError(reason, running=False)).start()


TARGET = Target(
    _round,
    50,
    {
        "sizes are believed": _trust_sizes,
        "room is made for what is announced": _make_room_at_once,
        "numbers are believed": _trust_numbers,
        "every byte is waited for": _wait_for_every_byte,
        "a lost sandbox goes on": _go_on,
    },
)
