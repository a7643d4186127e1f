"""The host reads what a hostile guest replies: ``GuestSandbox`` over a stream in memory and a simulated
clock."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, get_args
from unittest.mock import patch

import pytest
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from sandbox.base import FileInfo, Limits, Result, SandboxError, Status
from sandbox.guest.folder import MAX_FILES
from sandbox.guest.frames import pack
from sandbox.host.client import PATIENCE, GuestSandbox, patience
from tests.sandbox.fuzz.explore import explore, watch
from tests.sandbox.fuzz.strategies import frames, hostile_texts, mostly, objects_like, raw_json

LIMITS = Limits(timeout=2.0, output_kb=4, file_mb=1)
_MISSING = (SandboxError, FileNotFoundError, ValueError)
_ASK: dict[str, tuple[Callable[[GuestSandbox], object], float, tuple[type[Exception], ...]]] = {
    "wait": (lambda box: box.wait(30.0), 30.0, (SandboxError,)),
    "run": (lambda box: box.run("1"), PATIENCE + LIMITS.timeout, (SandboxError, ValueError)),
    "read": (lambda box: box.read("a"), patience(LIMITS.file_mb), _MISSING),
    "write": (lambda box: box.write("a", b"x"), patience(LIMITS.file_mb), _MISSING),
    "list": (lambda box: box.list(), patience(LIMITS.disk_mb), (SandboxError,)),
}
"""Operation -> call, seconds until the guest is lost, documented errors."""


class Clock:
    """Seconds that pass only while the host waits."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Wire:
    """A channel that gives what the guest sent, ``most`` bytes at a time, each after ``pause`` seconds."""

    def __init__(self, clock: Clock, data: bytes, pause: float, most: int, end: object, lost: object) -> None:
        self.clock, self.data, self.pause, self.end, self.lost = clock, data, pause, end, lost
        self.most = most if len(data) < 1 << 16 else 1 << 16
        self.place = self.calls = self.closed = 0

    def settimeout(self, value: float | None) -> None:
        assert value is not None
        assert value > 0
        self.patience = value

    def sendall(self, data: bytes) -> None:
        if isinstance(self.lost, Exception):
            raise self.lost

    def recv(self, size: int) -> bytes:
        assert 0 < size <= 1 << 20
        assert not self.closed
        self.calls += 1
        ended = self.place == len(self.data) and isinstance(self.end, Exception)
        if ended or self.pause > self.patience:
            self.clock.now += self.patience
            raise self.end if ended and isinstance(self.end, Exception) else TimeoutError("late")
        self.clock.now += self.pause
        part = self.data[self.place : self.place + min(size, self.most)]
        self.place += len(part)
        return part

    def close(self) -> None:
        self.closed += 1


@st.composite
def replies(draw: DrawFn, op: str) -> bytes:
    """What a guest sends for ``op``, more or less."""
    header: dict[str, Any] = {"ready": True} if op == "wait" else {}
    body = st.binary(max_size=100) if op in ("run", "read") else st.just(b"")
    if op == "read":
        body |= st.just(bytes((1 << 20) + 1))
    if op == "run":
        flags = {"truncated": False, "state_lost": False, "wall_s": 0.1, "cpu_s": 0.1}
        header = {"status": draw(st.sampled_from(get_args(Status))), "exit_code": 0, "stdout": 0, **flags}
    elif op == "list":
        digest = st.sampled_from(("cd" * 32, "", "../x", "x" * 64))
        odd = st.tuples(hostile_texts.map(json.dumps), raw_json, digest.map(json.dumps)).map(", ".join)
        valid = st.sampled_from(("a.txt", "b", "a/c", "é")).map(lambda path: json.dumps([path, 5, "cd" * 32]))
        row = mostly(valid, odd.map("[{}]".format) | raw_json, 5)
        body = st.lists(row, max_size=5).map(lambda rows: f"[{', '.join(rows)}]".encode())
    if draw(st.integers(0, 9)) == 0:
        header = {"error": draw(st.sampled_from(("missing", "refused"))), "detail": draw(hostile_texts)}
    return draw(frames(mostly(objects_like(header), raw_json), body))


@st.composite
def conversations(draw: DrawFn) -> tuple[str, tuple[Any, ...]]:
    """An operation, and what the ``Wire`` does."""
    op = draw(st.sampled_from(sorted(_ASK)))
    data = b"".join(draw(st.lists(replies(op), min_size=1, max_size=2)))
    ends = (b"", b"", TimeoutError("late"), ConnectionResetError("gone"), OSError("odd"))
    pause, most = draw(st.sampled_from((0.0, 0.0, 0.001, 0.5, 3.0))), draw(st.sampled_from((1, 7, 1 << 20)))
    lost = draw(st.sampled_from((None,) * 20 + (BrokenPipeError("gone"), TimeoutError("full"))))
    return op, (data, pause, most, draw(st.sampled_from(ends)), lost)


def check_reply(conversation: tuple[str, tuple[Any, ...]]) -> None:
    op, behaviour = conversation
    call, seconds, documented = _ASK[op]
    clock, ends = Clock(), [0]
    wire = Wire(clock, *behaviour)

    def end() -> None:
        ends[0] += 1

    with patch("sandbox.host.client.time", clock), watch():
        box = GuestSandbox(wire, LIMITS, end)
        lost, message = False, ""
        try:
            check_record(call(box), op)
        except documented as error:
            lost, message = isinstance(error, SandboxError), str(error)
        assert len(message.encode()) < 10_000, "an error as long as the guest likes"
        assert clock.now <= seconds + wire.pause + 0.1, f"{clock.now:g} s"
        assert wire.calls <= wire.place + 2
        assert ends[0] == wire.closed == int(lost), "ended once if lost, and only then"
        if lost:
            with pytest.raises(SandboxError):
                box.run("1")
        box.close()
    assert ends[0] == wire.closed == 1


def check_record(value: object, op: str) -> None:
    """Checks that a record keeps its types and bounds, and can be written as JSON."""
    if op == "run":
        assert isinstance(value, Result)
        assert value.exit_code is None or type(value.exit_code) is int
        assert len(value.stdout) + len(value.stderr) <= (LIMITS.output_kb << 11) + 4096
        assert all(type(flag) is bool for flag in (value.truncated, value.state_lost))
        assert all(math.isfinite(number) and number >= 0 for number in (value.wall_s, value.cpu_s))
        json.dumps(asdict(value), allow_nan=False, ensure_ascii=False).encode()
    elif op == "list":
        assert isinstance(value, tuple)
        assert len(value) <= MAX_FILES
        for file in value:
            assert isinstance(file, FileInfo)
            assert (type(file.path), type(file.size)) == (str, int)
            assert 0 <= file.size < 2**63
            assert re.fullmatch("[0-9a-f]{64}|", file.sha256)
            assert file.path.isprintable()
            assert all(name and not name.startswith(".") for name in file.path.split("/"))
        assert sorted({file.path for file in value}) == [file.path for file in value]
    elif op == "read":
        assert isinstance(value, bytes)
        assert len(value) <= LIMITS.file_mb << 20
    else:
        assert value is None


def test_a_reply_becomes_a_valid_record_or_a_documented_error() -> None:
    explore(check_reply, conversations())


@pytest.mark.parametrize(
    "piece",
    [pytest.param(b"[]", marks=pytest.mark.slow), b'["a",1,""]', b'["' + b"x" * 5000 + b'",1,""]'],
)
def test_the_largest_listing_fits_into_bounded_memory(piece: bytes) -> None:
    body = b"[" + b",".join([piece] * ((8 << 20) // (len(piece) + 1) - 1)) + b"]"
    check_reply(("list", (pack({}, body), 0.0, 1 << 20, b"", None)))
