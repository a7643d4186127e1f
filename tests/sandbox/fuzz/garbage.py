"""What hostile code would send: values, texts and bytes that break readers, and changes to good ones."""

from __future__ import annotations

import json
import struct
from random import Random
from typing import Any

_RAW = (
    "NaN", "Infinity", "-Infinity", "1e999", "-0", "1" * 4000, "1" * 5000, "-1", "2147483648", "1.5",
    "true", "null", '""', '"\\ud800"', '"\\u0000"', "[]", "{}", "[[[]]]", '"ok"', '"12"', '{"a": 1}',
    "18446744073709551616", '"' + "x" * 300 + '"', "[" * 3000 + "]" * 3000, '"\\udcff/../\\udcff"',
)  # fmt: skip
_TEXTS = (
    "", ".", "..", "/", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "a\0b", "\ud800", "\udcff", "é",
    "\u202egpj", "new\nline", "%00", "~", "-rf", "C:\\x", "x" * 255, "x" * 256, "x" * 5000, "a/" * 7 + "a",
    "a/" * 2000 + "a", ".hidden", "a b", "\U0001f600", "\x1b[2J", "con", "ok", "timeout", "\ufeff", "e\u0301",
)  # fmt: skip


def raw_json(random: Random) -> str:
    """One JSON value, or nearly one, as text."""
    kind = random.random()
    if kind < 0.6:
        return random.choice(_RAW)
    if kind < 0.75:
        return json.dumps(random.choice(_TEXTS))
    if kind < 0.9:
        return str(random.randint(-(2 ** random.randint(0, 70)), 2 ** random.randint(0, 70)))
    inner = [raw_json(random) for _ in range(random.randint(0, 4))]
    if random.random() < 0.5:
        return f"[{', '.join(inner)}]"
    return "{" + ", ".join(f"{json.dumps(random.choice(_TEXTS))}: {value}" for value in inner) + "}"


def hostile_text(random: Random) -> str:
    """A name or path that somebody ought not to use."""
    if random.random() < 0.7:
        return random.choice(_TEXTS)
    return "/".join(random.choice(_TEXTS) for _ in range(random.randint(1, 9)))


def objects_like(random: Random, good: dict[str, Any]) -> str:
    """A JSON object as text: ``good``, with members left out, spoiled, added and doubled."""
    members = [(json.dumps(key), json.dumps(value)) for key, value in good.items()]
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        place = random.randrange(len(members) + 1)
        change = random.random()
        if change < 0.2 and members:
            del members[min(place, len(members) - 1)]
        elif change < 0.75 and members:
            place = min(place, len(members) - 1)
            members[place] = members[place][0], raw_json(random)
        else:
            name = random.choice(("error", "detail", "ready", "op", "path", *good, random.choice(_TEXTS)))
            members.insert(place, (json.dumps(name), raw_json(random)))
    return "{" + ", ".join(f"{key}: {value}" for key, value in members) + "}"


def frame(random: Random, header: bytes, body: bytes) -> bytes:
    """Header and body as one frame, whose lengths now and then lie."""
    sizes = [len(header), len(body)]
    if random.random() < 0.15:
        place = random.randrange(2)
        lie = random.choice(
            (0, 1, sizes[place] + 1, sizes[place] - 1, 1 << 20, (1 << 20) + 1, 1 << 31, 2**32 - 1)
        )
        sizes[place] = max(0, lie)
    return struct.pack(">II", *sizes) + header + body


def mutated(random: Random, data: bytes) -> bytes:
    """``data`` with a few bytes changed, cut out, put in or doubled."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        start = random.randrange(len(changed) + 1)
        end = min(len(changed), start + random.choice((1, 1, 2, 4, 16, 200)))
        what = random.randrange(6)
        if what == 0:
            changed[start:end] = random.randbytes(end - start)
        elif what == 1:
            del changed[start:end]
        elif what == 2:
            changed[start:start] = random.randbytes(random.choice((1, 2, 8)))
        elif what == 3:
            changed[start:start] = changed[start:end]
        elif what == 4 and start < len(changed):
            changed[start] ^= 1 << random.randrange(8)
        else:
            changed[start:end] = bytes([random.choice((0, 1, 0x7F, 0x80, 0xFF))]) * (end - start)
    return bytes(changed)
