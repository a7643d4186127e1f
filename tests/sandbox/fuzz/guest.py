"""The guest reads what is no host, or one gone mad: it answers, or ends, and touches its work folder only."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from sandbox.guest.frames import GoneError, unpack
from sandbox.guest.main import Guest, Settings
from tests.sandbox.fuzz import folder
from tests.sandbox.fuzz.engine import Target, guard
from tests.sandbox.fuzz.garbage import frame, hostile_text, mutated, objects_like, raw_json

_SETTINGS = Settings(
    work=str(folder.WORK), memory_mb=64, processes=8, disk_mb=1, output_kb=4, file_mb=1, idle=60.0,
    lifetime=60.0, nproc="off", watch=(),
)  # fmt: skip
_ANSWERS = {(), ("detail", "error")}


class Listener(Guest):
    """A guest that runs nothing, and keeps the last answer."""

    said: tuple[dict[str, Any], bytes] | None = None

    def _run(self, code: str, timeout: float, seed: int, name: str | None) -> tuple[dict[str, Any], bytes]:
        assert isinstance(code, str)
        assert isinstance(timeout, float)
        assert timeout == timeout  # not NaN
        assert type(seed) is int
        assert isinstance(name, str | None)
        return {}, b""

    def _send(self, header: dict[str, Any], body: bytes = b"") -> None:
        self.said = header, body


def _request(random: Random) -> bytes:
    op = random.choice(("run", "read", "write", "list"))
    path = hostile_text(random) if random.random() < 0.7 else random.choice(("a", "b/a", "../outside/secret"))
    requests: dict[str, dict[str, Any]] = {
        "run": {"op": "run", "timeout": 1.0, "seed": 3, "session": None},
        "read": {"op": "read", "path": path},
        "write": {"op": "write", "path": path},
        "list": {"op": "list"},
    }
    body = random.randbytes(random.choice((0, 3, 40))) if op in ("run", "write") else b""
    text = objects_like(random, requests[op]) if random.random() < 0.95 else raw_json(random)
    data = frame(random, text.encode("utf-8", "surrogatepass"), body)
    return data if random.random() < 0.7 else mutated(random, data)


def _case(guest: Listener, random: Random) -> None:
    """One stream, of which the guest answers what it can."""
    data = b"".join(_request(random) for _ in range(random.choice((1, 1, 2, 3))))
    place = [0]

    def receive(size: int) -> bytes:
        assert 0 < size <= 1 << 20
        part = data[place[0] : place[0] + size]
        place[0] += len(part)
        return part

    with guard.watch():
        while True:
            try:
                request = unpack(receive, _SETTINGS.file_mb << 20)
                guest.said = None
                guest._answer(*request)
            except GoneError:
                break
            assert guest.said is not None, "no answer"
            assert tuple(sorted(guest.said[0])) in _ANSWERS, guest.said
            assert b"CANARY" not in guest.said[1]


def _round(random: Random) -> None:
    guard.root = str(folder.WORK)
    folder.prepare()
    before = folder.seen(folder.OUTSIDE)
    shutil.rmtree(folder.WORK, ignore_errors=True)
    folder.WORK.mkdir(mode=0o700)
    for _ in range(10):
        folder.wreck(random)
    guest = Listener(-1, -1, -1, _SETTINGS)
    try:
        for _ in range(50):
            _case(guest, random)
    finally:
        os.close(guest.null)
        os.close(guest.folder.fd)
    assert folder.seen(folder.OUTSIDE) == before, "something outside was changed"


def _check_nothing() -> None:
    patch("sandbox.guest.main._check", lambda request: None).start()


def _take_any_path() -> None:
    def read(here: Any, path: str) -> bytes:
        try:
            return Path(here.path, path).read_bytes()
        except (OSError, ValueError):
            raise FileNotFoundError(path) from None

    patch("sandbox.guest.folder.Folder.read", read).start()


TARGET = Target(
    _round,
    50,
    {
        "requests are taken as they come": _check_nothing,
        "any path is taken": _take_any_path,
    },
)
