"""The host's side of one guest, however it was launched: a ``Sandbox`` over a stream of frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from conf.text import replace_unencodable
from sandbox.base import FileInfo, Limits, LostError, Result, SandboxError
from sandbox.guest.frames import GoneError, pack, unpack
from sandbox.host import replies

PATIENCE = 10.0
"""Seconds past a program's own deadline, and for a file operation, after which the guest counts as lost: many
times what a guest needs that shares its core with others."""
SLOWEST = 10.0
"""Megabytes a second that a guest reads, hashes and sends at least."""


def patience(megabytes: float) -> float:
    """Returns the seconds that a guest has to answer when it may have to move so much."""
    return PATIENCE + megabytes / SLOWEST


class Channel(Protocol):
    """A connected stream, such as a socket."""

    def settimeout(self, value: float | None, /) -> None: ...
    def sendall(self, data: bytes, /) -> None: ...
    def recv(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class GuestSandbox:
    """A ``Sandbox`` whose guest is at the other end of ``channel``.

    ``end`` is called once, when it is closed or lost, and returns when all of the guest's resources are gone.
    """

    def __init__(self, channel: Channel, limits: Limits, end: Callable[[], None] = lambda: None) -> None:
        self._channel, self._limits, self._end = channel, limits, end
        self._closed = self._running = False
        self._last_reply = time.monotonic()

    def wait(self, seconds: float) -> None:
        """Waits until the guest is ready. Raises ``SandboxError``."""
        header, _ = self._receive(seconds, 0)
        if header.get("ready") is not True:
            self.close()
            reason = replies.text(header.get("error")) or "no reason given"
            raise SandboxError(f"the sandbox did not start: {reason}")

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        seconds = self._limits.timeout if timeout is None else timeout
        data = replace_unencodable(code).encode()  # a program with lone surrogates is not valid anyway
        request = {"op": "run", "timeout": seconds, "seed": seed, "session": session}
        # room for the kept part of each output, and the mark of what was left out
        header, body = self._ask(request, data, seconds + PATIENCE, (self._limits.output_kb << 11) + 4096)
        try:
            return replies.result(header, body)
        except ValueError as error:
            raise self._lost(f"a malformed result ({error})") from None

    def end_session(self, session: str) -> None:
        self._ask({"op": "end", "session": session}, b"", PATIENCE, 0)

    def read(self, path: str) -> bytes:
        seconds = patience(self._limits.file_mb)
        return self._ask({"op": "read", "path": path}, b"", seconds, self._limits.file_mb << 20)[1]

    def write(self, path: str, data: bytes) -> None:
        if len(data) > self._limits.file_mb << 20:
            raise ValueError(f"{path!r} has {len(data)} bytes, more than {self._limits.file_mb} MB")
        self._ask({"op": "write", "path": path}, data, patience(self._limits.file_mb), 0)

    def list(self) -> tuple[FileInfo, ...]:
        _, body = self._ask({"op": "list"}, b"", patience(self._limits.disk_mb), 8 << 20)
        try:
            return replies.listing(body)
        except ValueError as error:
            raise self._lost(f"a malformed listing ({error})") from None

    def alive(self) -> bool:
        """Returns whether it still waits for a request, and not for so long that it may soon end itself. Does
        not block."""
        limits = self._limits
        if self._closed or time.monotonic() - self._last_reply > min(limits.idle, limits.lifetime) / 2:
            return False
        try:
            self._channel.settimeout(0)
            self._channel.recv(1)  # the end of the stream, or unsolicited data
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._channel.close()
            self._end()

    def _ask(
        self, header: dict[str, Any], body: bytes, seconds: float, room: int
    ) -> tuple[dict[str, Any], bytes]:
        if self._closed:
            raise SandboxError("the sandbox is closed")
        self._running = False
        try:
            self._channel.settimeout(seconds)
            self._channel.sendall(pack(header, body))
        except OSError as error:
            raise self._lost(str(error)) from None
        self._running = header["op"] == "run"  # not earlier: an incomplete request starts no program
        reply, data = self._receive(seconds, room)
        if "ended" in reply:  # the guest ended before it read this request
            self._running = False
            raise self._lost(replies.text(reply["ended"]))
        match reply.get("error"), header["op"]:
            case None, _:
                return reply, data
            case "missing", "read" | "write":
                raise FileNotFoundError(replies.text(reply.get("detail")))
            case "refused", "read" | "write" | "run":
                raise ValueError(replies.text(reply.get("detail")))
        raise self._lost("protocol violation: unexpected error code")

    def _receive(self, seconds: float, room: int) -> tuple[dict[str, Any], bytes]:
        deadline = time.monotonic() + seconds

        def receive(size: int) -> bytes:
            left = deadline - time.monotonic()
            if left <= 0:  # a guest may send single bytes forever
                raise TimeoutError
            self._channel.settimeout(left)
            return self._channel.recv(size)

        try:
            reply = unpack(receive, room)
        except TimeoutError:
            raise self._lost(f"no reply within {seconds:g} seconds") from None
        except (GoneError, OSError) as error:
            raise self._lost(str(error)) from None
        self._last_reply = time.monotonic()
        return reply

    def _lost(self, reason: str) -> LostError:
        self.close()
        return LostError(reason, running=self._running)
