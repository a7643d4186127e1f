"""Bounded collection of a program's output. Standard library only."""

from __future__ import annotations

import os


class Stream:
    """Keeps the head and the tail of an output, ``kept`` bytes in all."""

    def __init__(self, kept: int) -> None:
        self.half, self.total = kept // 2, 0
        self.head, self.tail = bytearray(), bytearray()

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = self.half - len(self.head)
        self.head += data[:room]
        self.tail += data[room:]
        del self.tail[: -self.half]

    def read(self, fd: int) -> bool:
        """Adds what is available. Returns False at the end of the stream."""
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:  # a program read it from its own pipe
            return True
        self.add(data)
        return bool(data)

    def drain(self, fd: int) -> None:
        """Adds what is left in a pipe, but not everything that a process may still write."""
        for _ in range(64):
            before = self.total
            self.read(fd)
            if self.total == before:
                return

    def value(self) -> bytes:
        mark = f"\n[... {self.left_out} bytes left out ...]\n".encode() if self.left_out else b""
        return bytes(self.head) + mark + bytes(self.tail)

    @property
    def left_out(self) -> int:
        return self.total - len(self.head) - len(self.tail)
