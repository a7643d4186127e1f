"""Lists what a pickle would import, without loading it and in bounded time. It does not prove a pickle safe:
it stops where it cannot follow."""

from __future__ import annotations

import codecs
import pickletools
from collections.abc import Iterator

from conf.text import replace_unencodable
from sandbox.guest.names import canonical

MAX_NAMES, MAX_NAME = 100, 200
UNKNOWN = "?"
"""Stands in a listing for what cannot be determined."""
_MAX_ARGUMENT = 10 * (MAX_NAME + 1)
"""Bytes of an argument that are looked at: texts need at most ten for a character, and more is never part of
a listed name."""
_MARK, _ARRAY = object(), object()
"""On the machine's stack: the mark, and what joblib stores before the bytes of an array."""
_ARRAY_NAME = "joblib.numpy_pickle.NumpyArrayWrapper"
_OPCODES = {ord(opcode.code): opcode for opcode in pickletools.opcodes}
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
"""Kind of argument -> bytes of the length before it."""
_CHANGES = frozenset({"SETITEM", "SETITEMS", "APPEND", "APPENDS", "ADDITEMS", "BUILD"})
"""These leave the changed object on the stack: even a text, if there is nothing to change."""


def pickle_globals(data: bytes, max_ops: int = 20_000) -> tuple[str, ...]:
    """Returns the names that loading ``data`` would import, sorted: ``("builtins.eval", "numpy.dtype")``.

    Follows the stack of at most ``max_ops`` instructions of the first pickle in ``data``. ``?`` stands for a
    name that is not a constant, and for everything after the place where reading stopped before the pickle's
    end: because it was too long, had more than ``MAX_NAMES`` names, or is not a plain pickle from there on,
    as where joblib stores raw arrays or compresses. Names are cut at ``MAX_NAME`` characters.

    No argument is copied or decoded beyond that, whatever its length, so that the work is a search for the
    ends of lines and a bounded number of steps."""
    machine = _Machine()
    try:
        for number, (opcode, argument) in enumerate(_instructions(data)):
            machine.step(opcode, argument)
            if opcode.name == "STOP" or len(machine.names) > MAX_NAMES:
                break
            if number + 1 >= max_ops:
                raise ValueError("too many instructions")
    except (ValueError, IndexError):
        machine.names.add(UNKNOWN)
    names = sorted(machine.names)
    return (*names[: MAX_NAMES - 1], UNKNOWN) if len(names) > MAX_NAMES else tuple(names)


def _instructions(data: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, tuple[bytes, ...]]]:
    """Yields every instruction with the beginnings of its arguments. Raises ``ValueError`` where there is
    none."""
    place = 0
    while True:
        opcode = _OPCODES.get(data[place]) if place < len(data) else None
        if opcode is None:
            raise ValueError("no instruction")
        place += 1
        arguments = []
        for _ in range(2 if opcode.name in ("GLOBAL", "INST") else 1 if opcode.arg else 0):
            start, end, place = _extent(data, place, opcode.arg.n if opcode.arg else 0)
            arguments.append(data[start : min(end, start + _MAX_ARGUMENT)])
        yield opcode, tuple(arguments)


def _extent(data: bytes, place: int, size: int) -> tuple[int, int, int]:
    """Returns where an argument starts and ends, and where what follows it starts. Raises ``ValueError``."""
    if size == pickletools.UP_TO_NEWLINE:
        end = data.index(b"\n", place)
        return place, end, end + 1
    start = place + _LENGTHS.get(size, 0)
    end = start + (size if size >= 0 else int.from_bytes(data[place:start], "little"))
    if end > len(data):
        raise ValueError("the end of the file")
    return start, end, end


class _Machine:
    """An unpickler that represents only texts, cut, and joblib's arrays: every other value is None."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}

    def step(self, opcode: pickletools.OpcodeInfo, arguments: tuple[bytes, ...]) -> None:
        """Executes one instruction. Raises ``IndexError`` where the stack is empty: loading would fail there
        too; ``ValueError`` where the bytes of an array follow."""
        name = opcode.name
        if name == "DUP":
            self.stack.append(self.stack[-1])
        elif name == "MEMOIZE" or name.endswith("PUT"):
            self.memo[_number(name, arguments[0]) if arguments else len(self.memo)] = self.stack[-1]
        elif name.endswith("GET"):
            self.stack.append(self.memo.get(_number(name, arguments[0])))
        else:
            if name == "INST":  # Python imports before it looks for the mark
                self._made(name, arguments, [])
            popped, above = self._pop(opcode.stack_before)
            made = self._made(name, arguments, popped)
            if made is None and _ARRAY in (*popped, *above):
                made = _ARRAY
            if name == "BUILD" and made is _ARRAY:
                raise ValueError("an array of joblib")
            kinds = opcode.stack_after
            self.stack += [_MARK if kind is pickletools.markobject else made for kind in kinds]

    def _made(self, name: str, arguments: tuple[bytes, ...], popped: list[object]) -> object:
        """Returns what an instruction leaves on the stack, and lists what it imports."""
        if name in ("GLOBAL", "INST"):
            return self._import(*(argument.decode("utf-8", "replace") for argument in arguments))
        if name == "STACK_GLOBAL":
            return self._import(popped[1], popped[0])
        if name.startswith("EXT"):
            return self._import("copyreg extension", str(int.from_bytes(arguments[0], "little")))
        if name in _CHANGES:
            return popped[-1]
        return _text(name, arguments[0]) if arguments else None

    def _pop(self, kinds: list[pickletools.StackObject]) -> tuple[list[object], list[object]]:
        """Pops the operands of an instruction and returns them, the top first: those below its mark, if any,
        and those above it."""
        below, above = len(kinds), []
        if pickletools.markobject in kinds:
            below = kinds.index(pickletools.markobject)
            while (value := self.stack.pop()) is not _MARK:
                above.append(value)
        return [self.stack.pop() for _ in range(below)], above

    def _import(self, module: object, attribute: object) -> object:
        known = isinstance(module, str) and isinstance(attribute, str)
        text = f"{module}.{attribute}"[:MAX_NAME] if known else UNKNOWN
        self.names.add(replace_unencodable(text))
        return _ARRAY if canonical(text) == _ARRAY_NAME else None


def _number(name: str, argument: bytes) -> int:
    """Returns the place in the memo that an instruction names. Raises ``ValueError`` also where it is
    absurd."""
    if name not in ("GET", "PUT"):
        return int.from_bytes(argument, "little")
    if len(argument) > 20:
        raise ValueError("no place")
    return int(argument)


def _text(name: str, argument: bytes) -> str | None:
    """Returns the beginning of a text, None for other values. Raises ``ValueError`` if it cannot be
    decoded."""
    if name.endswith("BINUNICODE") or name == "BINUNICODE8":
        try:
            return argument.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:  # it was cut within a character
            return argument.decode("utf-8", "replace")
    if name == "UNICODE":
        return argument.decode("raw-unicode-escape", "replace")
    if name == "STRING":
        return codecs.escape_decode(argument[1:-1])[0].decode("ascii", "replace")
    return argument.decode("ascii", "replace") if name.endswith("BINSTRING") else None
