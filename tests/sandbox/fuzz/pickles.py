"""The static listing of pickles, held against an unpickler that writes down what it is asked to import, and
imports nothing."""

from __future__ import annotations

import contextlib
import io
import pickle
import pickletools
from random import Random
from typing import Any
from unittest.mock import patch

from sandbox.host.pickles import MAX_NAME, MAX_NAMES, UNKNOWN, _Machine, pickle_globals
from tests.sandbox.fuzz.engine import Target, guard
from tests.sandbox.fuzz.garbage import hostile_text, mutated

_WORDS = ("os", "system", "builtins", "eval", "numpy", "a.b", "é", "")
_PLAIN = (b"(", b"(", b"0", b"0", b"1", b"2", b"2", b"\x93", b"\x93", b"\x93", b"\x94", b"\x94", b"R", b"b",
          b"]", b"}", b")", b"t", b"\x85", b"\x86", b"\x87", b"N", b"\x88", b"s", b"u", b"l", b"d", b"\x81",
          b"\x92", b"\x8f", b"\x90", b"\x91", b"Q", b"o", b"a", b"e", b".")  # fmt: skip


class _Thing:
    """What every name is, and makes."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...

    def append(self, _: object) -> None: ...

    def __setitem__(self, _: object, __: object) -> None: ...


class _Witness(pickle._Unpickler):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.seen: set[tuple[str, str]] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.seen.add((module, name))
        return _Thing


class _Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return eval, ("1/0",)


def _text(random: Random) -> bytes:
    word = random.choice(_WORDS).encode()
    kind = random.randrange(5)
    if kind == 0:
        return b"V" + word.replace("é".encode(), b"\\u00e9") + b"\n"
    if kind == 1:
        return b"X" + len(word).to_bytes(4, "little") + word
    if kind == 2:
        return b"U" + bytes([len(word)]) + word  # a text of Python 2, which may name things too
    if kind == 3:
        return b"S'" + word.replace("é".encode(), b"e") + b"'\n"
    return b"\x8c" + bytes([len(word)]) + word


def _program(random: Random) -> bytes:
    """Instructions one by one, each well formed."""
    parts = [b"\x80\x04"]
    for _ in range(random.choice((3, 8, 20))):
        kind = random.random()
        if kind < 0.4:
            parts.append(_text(random))
        elif kind < 0.5:
            parts.append(b"c" + random.choice((b"os\nsystem\n", b"a\nb c\n", b"\\x6fs\nx\n", b"m\nn\n")))
        elif kind < 0.6:
            where = random.randrange(4)
            parts.append(random.choice((b"q%c", b"h%c")) % where)
        elif kind < 0.65:
            parts.append(random.choice((b"p1\n", b"g1\n", b"ios\nexit\n", b"\x82\x05", b"K\x07", b"I3\n")))
        else:
            parts.append(random.choice(_PLAIN))
    return b"".join(parts) + b"."


def _dumped(random: Random) -> bytes:
    inner = [
        _Evil(),
        {"a": _Thing()},
        (1, 2.5, "x" * 300),
        {1, 2},
        b"bytes",
        10**40,
        hostile_text(random),
        bytearray(4),
    ]
    value = [random.choice(inner) for _ in range(random.randint(1, 5))]
    return pickle.dumps(value, random.randrange(6))


def random_pickle(random: Random) -> bytes:
    """A pickle, or what was one."""
    return _program(random) if random.random() < 0.5 else mutated(random, _dumped(random))


def _case(random: Random) -> None:
    kind = random.random()
    data = (
        _program(random)
        if kind < 0.5
        else random.randbytes(random.randrange(60))
        if kind < 0.55
        else _dumped(random)
    )
    whole = kind < 0.5 or kind > 0.95
    data = data if whole else mutated(random, data)
    if kind > 0.9999:
        data = random.choice(
            (b"(" * 3_000_000, b"\x8c\x01a" * 10**6, b"Va\nVb\n\x93" * 10**6, b"cos\na\n0" * 10**5)
        )
    with guard.watch():
        listed = pickle_globals(data)
    assert len(listed) <= MAX_NAMES
    assert all(len(name) <= MAX_NAME for name in listed)
    "".join(listed).encode()
    if len(data) > 10**5:
        return
    witness = _Witness(data)
    with contextlib.suppress(Exception):
        witness.load()
    names = {
        f"{module}.{name}"[:MAX_NAME].encode("utf-8", "replace").decode() for module, name in witness.seen
    }
    missed = names - set(listed)
    assert not missed or (UNKNOWN in listed and not whole), (
        f"{data!r} imports {missed}, and {listed} is listed"
    )


def _round(random: Random) -> None:
    guard.root = ""
    for _ in range(50):
        _case(random)


def _skip(name: str) -> None:
    real = _Machine.step

    def step(machine: _Machine, opcode: pickletools.OpcodeInfo, argument: object, place: int) -> None:
        if opcode.name != name:
            real(machine, opcode, argument, place)

    patch.object(_Machine, "step", step).start()


def _load() -> None:
    real = pickle_globals

    def load(data: bytes) -> tuple[str, ...]:
        with contextlib.suppress(Exception):
            pickle.loads(data)
        return real(data)

    patch("tests.sandbox.fuzz.pickles.pickle_globals", load).start()


TARGET = Target(
    _round,
    50,
    {
        "what is popped still counts": lambda: _skip("POP"),
        "the memo is forgotten": lambda: _skip("BINPUT"),
        "texts of Python 2 do not count": lambda: _skip("SHORT_BINSTRING"),
        "the pickle is loaded": _load,
    },
)
