"""Lists what a pickle would import, without loading it: for the log and for people. It does not prove a
pickle safe."""

from __future__ import annotations

import pickletools
from itertools import islice

MAX_NAMES, MAX_NAME = 100, 200
UNKNOWN = "?"
"""Stands in a listing for what cannot be determined."""
_MARK = object()
_TEXTS = frozenset(
    {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"}
)
_CHANGES = frozenset({"SETITEM", "SETITEMS", "APPEND", "APPENDS", "ADDITEMS", "BUILD"})
"""These leave the changed object on the stack: even a text, if there is nothing to change."""


def pickle_globals(data: bytes, max_ops: int = 20_000) -> tuple[str, ...]:
    """Returns the names that loading ``data`` would import, sorted: ``("builtins.eval", "numpy.dtype")``.

    Follows the stack of at most ``max_ops`` instructions of the first pickle in ``data``. ``?`` stands for a
    name that is not a constant, and for everything after the place where reading stopped before the pickle's
    end: because it was too long, had more than ``MAX_NAMES`` names, or is not a plain pickle from there on,
    as where joblib stores raw arrays or compresses. Names are cut at ``MAX_NAME`` characters.
    """
    machine = _Machine(data)
    try:
        for opcode, argument, place in islice(pickletools.genops(data), max_ops):
            machine.step(opcode, argument, place or 0)
            if opcode.name == "STOP" or len(machine.names) > MAX_NAMES:
                break
        else:
            machine.names.add(UNKNOWN)
    except (ValueError, IndexError):
        machine.names.add(UNKNOWN)
    names = sorted(machine.names)
    return (*names[: MAX_NAMES - 1], UNKNOWN) if len(names) > MAX_NAMES else tuple(names)


class _Machine:
    """An unpickler that represents texts only: every other value is None."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.names: set[str] = set()
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}

    def step(self, opcode: pickletools.OpcodeInfo, argument: object, place: int) -> None:
        """Executes one instruction. Raises ``IndexError`` where the stack is empty: loading would fail there
        too."""
        name = opcode.name
        if name == "DUP":
            self.stack.append(self.stack[-1])
        elif name == "MEMOIZE" or name.endswith("PUT"):
            self.memo[len(self.memo) if argument is None else int(str(argument))] = self.stack[-1]
        else:
            if name in ("GLOBAL", "INST"):
                self._import(*self._lines(place + 1))
            popped = self._pop(opcode.stack_before)
            if name == "STACK_GLOBAL":
                self._import(popped[1], popped[0])
            elif name.startswith("EXT"):
                self._import("copyreg extension", str(argument))
            self.stack += [_MARK if kind is pickletools.markobject else None for kind in opcode.stack_after]
            if name in _TEXTS:
                self.stack[-1] = argument
            elif name in _CHANGES:
                self.stack[-1] = popped[-1]
            elif name.endswith("GET"):
                self.stack[-1] = self.memo.get(int(str(argument)))

    def _lines(self, start: int) -> tuple[str, str]:
        """Returns two lines verbatim; pickletools would resolve escapes in them."""
        middle = self.data.index(b"\n", start)
        end = self.data.index(b"\n", middle + 1)
        lines = self.data[start:middle], self.data[middle + 1 : end]
        return lines[0].decode("utf-8", "replace"), lines[1].decode("utf-8", "replace")

    def _pop(self, kinds: list[pickletools.StackObject]) -> list[object]:
        """Pops the operands of an instruction and returns them, the top first; without those above its mark,
        if any."""
        below = len(kinds)
        if pickletools.markobject in kinds:
            below = kinds.index(pickletools.markobject)
            while self.stack.pop() is not _MARK:
                pass
        return [self.stack.pop() for _ in range(below)]

    def _import(self, module: object, attribute: object) -> None:
        known = isinstance(module, str) and isinstance(attribute, str)
        text = f"{module}.{attribute}"[:MAX_NAME] if known else UNKNOWN
        self.names.add(text.encode("utf-8", "replace").decode())
