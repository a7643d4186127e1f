"""The other end of a sandbox's stream is hostile: whatever it sends, the host returns a valid record, or
raises a documented error."""

import contextlib
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox.base import FileInfo, Limits, LostError, SandboxError
from sandbox.guest.frames import MAX_HEADER, pack
from sandbox.host.client import GuestSandbox

LIMITS = Limits(timeout=0.2, output_kb=4, file_mb=1)
FINE: dict[str, Any] = {
    "status": "ok", "exit_code": 0, "stdout": 3, "truncated": False, "wall_s": 0.1, "cpu_s": 0.1,
    "state_lost": False,
}  # fmt: skip


@contextlib.contextmanager
def talking(say: Callable[[socket.socket], object], patience: float = 1.0) -> Iterator[GuestSandbox]:
    """Yields a sandbox whose guest calls ``say`` once it gets a request."""
    ours, theirs = socket.socketpair()

    def talk() -> None:
        with theirs, contextlib.suppress(OSError):
            theirs.recv(1)
            say(theirs)

    guest = threading.Thread(target=talk)
    guest.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sandbox.host.client.PATIENCE", patience)
        box = GuestSandbox(ours, LIMITS)
        try:
            yield box
        finally:
            box.close()
            guest.join(10)
            assert not guest.is_alive()


def says(data: bytes) -> Callable[[socket.socket], object]:
    return lambda guest: guest.sendall(data)


def test_a_valid_reply_is_returned() -> None:
    with talking(says(pack(FINE, b"outerr"))) as box:
        result = box.run("1")
    assert (result.status, result.stdout, result.stderr) == ("ok", "out", "err")


@pytest.mark.parametrize(
    "change",
    [
        {"exit_code": math.inf}, {"exit_code": 10**400}, {"exit_code": "0"}, {"exit_code": True},
        {"stdout": -1}, {"stdout": 7}, {"stdout": math.nan}, {"stdout": 1e308}, {"stdout": [3]},
        {"wall_s": math.nan}, {"wall_s": math.inf}, {"wall_s": -1}, {"cpu_s": 10**300}, {"cpu_s": None},
        {"status": "fine"}, {"status": ["ok"]}, {"status": None}, {"error": "other"}, {"error": ["missing"]},
        {"error": "missing"},
    ],
)  # fmt: skip
def test_an_invalid_result_is_a_loss(change: dict[str, object]) -> None:
    with talking(says(pack(FINE | change, b"outerr"))) as box:
        with pytest.raises(LostError) as caught:
            box.run("1")
        assert caught.value.running
        with pytest.raises(SandboxError):
            box.run("1")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", b"\0\0\0\2\0\0\0\0{", b"\xff" * 64, b"\0\0\0\1\0\0\0\0[", b"\0\0\0\2\0\0\0\0[]",
        (MAX_HEADER + 1).to_bytes(4, "big") + bytes(4) + b" " * 100,
        MAX_HEADER.to_bytes(4, "big") + bytes(4) + b"[" * MAX_HEADER,
        MAX_HEADER.to_bytes(4, "big") + bytes(4) + b'{"x": ' + b"9" * (MAX_HEADER - 7) + b"}",
        pack({}, bytes(64 << 10)), b"HTTP/1.1 200 OK\r\n\r\n" * 99,
    ],
)  # fmt: skip
def test_an_invalid_frame_is_a_loss(data: bytes) -> None:
    asked: list[Callable[[GuestSandbox], object]] = [
        lambda box: box.run("1"),
        lambda box: box.write("a", b""),
        lambda box: box.list(),
    ]
    for ask in asked:
        with talking(says(data)) as box, pytest.raises(LostError):
            ask(box)


@pytest.mark.parametrize(
    "rows",
    [
        [["../a", 1, ""]], [["/etc/passwd", 1, ""]], [["a/../b", 1, ""]], [["a//b", 1, ""]], [["", 1, ""]],
        [["a/", 1, ""]], [[".hidden", 1, ""]], [["a/.b", 1, ""]], [["x" * 256, 1, ""]],
        [["/".join("abcdefghi"), 1, ""]],
        [["a", 1, ""], ["a", 1, ""]], [["b", 1, ""], ["a", 1, ""]], [["a", -1, ""]], [["a", 1.5, ""]],
        [["a", math.nan, ""]], [["a", 2**70, ""]], [["a", True, ""]], [["a", 1, "x" * 64]], [["a", 1, 7]],
        [["a", 1]], [["a", 1, "", ""]], ["a1"], {"a": 1}, 7, [[f"{n:05}", 1, ""] for n in range(1001)],
    ],
)  # fmt: skip
def test_an_invalid_listing_is_a_loss(rows: object) -> None:
    with talking(says(pack({}, json.dumps(rows).encode()))) as box, pytest.raises(LostError):
        box.list()


def test_a_listing_keeps_printable_paths() -> None:
    rows = [("a", 1, ""), ("a b/\u00e9", 2, "0" * 64), ("b/c/d", 2**40, "")]
    odd = [("\0", 1, ""), ("a\n", 1, ""), ("c\u202ea", 1, ""), ("d\ud800", 1, "")]
    with talking(says(pack({}, json.dumps(sorted(rows + odd)).encode()))) as box:
        assert box.list() == tuple(FileInfo(*row) for row in rows)


def test_a_slow_reply_is_a_loss_at_the_deadline_of_the_whole_reply() -> None:
    def trickle(guest: socket.socket) -> None:
        for byte in pack(FINE, b"outerr"):
            guest.sendall(bytes([byte]))
            time.sleep(0.05)
        whole.set()

    whole = threading.Event()
    with talking(trickle, patience=0.3) as box, pytest.raises(LostError, match="no reply within"):
        box.run("1")
    assert not whole.is_set()


def test_a_guest_that_does_not_read_is_a_loss() -> None:
    with talking(lambda guest: time.sleep(0.6), patience=0.2) as box, pytest.raises(LostError):
        box.write("a", bytes(1 << 20))


def test_errors_are_short_and_encodable() -> None:
    answer = pack({"error": "missing", "detail": "\ud800" + "x" * 10**5})
    with talking(says(answer)) as box:
        with pytest.raises(FileNotFoundError) as caught:
            box.read("a")
        assert len(str(caught.value).encode()) < 10_000


def test_frames_sent_early_count_as_replies_at_most() -> None:
    """A guest may lie in any reply, whether it sends it early or in time."""

    def talk(guest: socket.socket) -> None:
        guest.sendall(pack(FINE, b"outerr") + pack({}, b"[]") + pack({"ready": True}))
        while guest.recv(1 << 16):
            pass

    with talking(talk) as box:
        assert box.run("1").stdout == "out"
        assert box.list() == ()
        with pytest.raises(LostError):
            box.run("1")
