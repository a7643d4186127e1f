"""The protocol between host and guest: frames of a JSON object and bytes. Standard library only."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

_HEAD = struct.Struct(">II")
MAX_HEADER = 1 << 20


class GoneError(Exception):
    """The other side is gone, or does not follow the protocol."""


def pack(header: dict[str, Any], body: bytes = b"") -> bytes:
    """Returns one frame: two big-endian 32-bit lengths, a JSON object, bytes."""
    text = json.dumps(header).encode()
    return _HEAD.pack(len(text), len(body)) + text + body


def unpack(receive: Callable[[int], bytes], max_body: int) -> tuple[dict[str, Any], bytes]:
    """Reads one frame from the other side, which is not trusted.

    Raises:
        GoneError: the stream ended, or the data is not a frame within bounds.
    """
    head, body = _HEAD.unpack(_exactly(receive, _HEAD.size))
    if head > MAX_HEADER or body > max_body:
        raise GoneError(f"a frame of {head} + {body} bytes is too large")
    try:
        header = json.loads(_exactly(receive, head))
    except (ValueError, RecursionError):
        raise GoneError("a frame's header is not JSON") from None
    if not isinstance(header, dict):
        raise GoneError("a frame's header is not an object")
    return header, _exactly(receive, body)


def _exactly(receive: Callable[[int], bytes], size: int) -> bytes:
    data = bytearray()  # not a list of parts: a hostile sender could make each part a single byte
    while left := size - len(data):
        part = receive(min(left, 1 << 20))
        if not part:
            raise GoneError("the stream ended")
        data += part
    return bytes(data)
