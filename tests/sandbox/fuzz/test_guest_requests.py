"""The guest reads what no host sends: it replies or ends, and touches nothing but its work folder."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from sandbox.guest.frames import GoneError, unpack
from sandbox.guest.server import Guest
from sandbox.guest.settings import Settings
from tests.sandbox.fuzz.explore import explore, watch
from tests.sandbox.fuzz.strategies import frames, hostile_texts, mostly, objects_like, raw_json
from tests.sandbox.fuzz.work_folder import Changes, Wreck, changes

_KEYS = {(), ("detail", "error")}


class Listener(Guest):
    """A guest that runs nothing, and keeps the last reply."""

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


@st.composite
def requests(draw: DrawFn) -> bytes:
    op = draw(st.sampled_from(("run", "end", "read", "write", "list")))
    path = draw(mostly(st.sampled_from(("a", "b/a", "../outside/secret")) | hostile_texts, hostile_texts))
    good: dict[str, Any] = {"op": op, "path": path} if op in ("read", "write") else {"op": op}
    if op == "run":
        good |= {"timeout": 1.0, "seed": 3, "session": None}
    if op == "end":
        good |= {"session": "a"}
    body = st.binary(max_size=40) if op in ("run", "write") else st.just(b"")
    return draw(frames(mostly(objects_like(good), raw_json), body))


streams = st.lists(requests(), min_size=1, max_size=4).map(b"".join)


def check_stream(changes: Changes, data: bytes) -> None:
    """Lets the guest handle what it can of one stream."""
    wreck = Wreck()
    settings = Settings(
        work=str(wreck.work), memory_mb=64, processes=8, disk_mb=1, output_kb=4, file_mb=1, idle=60.0,
        lifetime=60.0, nproc="off", watch=(),
    )  # fmt: skip
    for change in changes:
        wreck.change(*change)
    guest, place = Listener(-1, -1, -1, settings), [0]

    def receive(size: int) -> bytes:
        assert 0 < size <= 1 << 20
        part = data[place[0] : place[0] + size]
        place[0] += len(part)
        return part

    try:
        with watch(str(wreck.work)):
            while True:
                try:
                    request = unpack(receive, 1 << 20)
                    guest.said = None
                    guest._reply(*request)
                except GoneError:
                    break
                assert guest.said is not None, "no reply"
                assert tuple(sorted(guest.said[0])) in _KEYS, guest.said
                assert b"CANARY" not in guest.said[1]
        wreck.check_outside()
    finally:
        os.close(guest.null)
        os.close(guest.folder.fd)
        wreck.remove()


def test_a_request_is_handled_inside_the_work_folder_or_ends_the_guest() -> None:
    explore(check_stream, changes, streams)
