"""Output as a terminal would show it: without escape codes and what carriage returns and backspaces replaced.

A full emulator of a screen would wrap and scroll lines away; here a line is as long as it was printed, and
none is lost. Takes time and memory linear in the text, whatever it contains.
"""

from __future__ import annotations

import re

_WIDTH = 200
"""Most columns that moving the cursor, in contrast to printing, reaches."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x84\x86-\x9f]")
_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x08\n-\x1f\x7f\x80-\x84\x86-\x9f]+)"
    r"|(?:\x1b\[|\x9b)(?P<given>[0-?]{0,32})[ -/]{0,8}(?P<code>[@-~])"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]{0,8}[0-~]?"
    r"|(?P<key>.)",
    re.DOTALL,
)


def as_terminal(text: str) -> str:
    """Returns what remains of ``text`` on an endless terminal.

    >>> as_terminal("10%\\r100%\\n\\x1b[31mred\\x1b[0m ab\\bc")
    '100%\\nred ac'
    """
    if _CONTROL.search(text) is None:
        return text
    screen = _Screen()
    for token in _TOKEN.finditer(text):
        if token["text"]:
            screen.write(token["text"])
        elif token["code"]:
            screen.control(token["code"], token["given"])
        elif token["key"]:
            screen.press(token["key"])
    return "\n".join(map("".join, screen.rows))


class _Screen:
    def __init__(self) -> None:
        self.rows: list[list[str]] = [[]]
        self.row = self.column = 0

    def write(self, text: str) -> None:
        row = self.rows[self.row]
        if self.column > len(row):
            row.extend(" " * (self.column - len(row)))
        row[self.column : self.column + len(text)] = text
        self.column += len(text)

    def press(self, key: str) -> None:
        if key == "\r":
            self.column = 0
        elif key == "\b":
            self.column = max(self.column - 1, 0)
        elif key == "\n":
            self.row, self.column = self.row + 1, 0
            if self.row == len(self.rows):
                self.rows.append([])

    def control(self, code: str, given: str) -> None:
        """Moves the cursor or erases; all other codes (colours, modes) show nothing."""
        first = given.split(";")[0]
        count = int(first) if first.isdecimal() else 0
        far = max(len(self.rows[self.row]), _WIDTH)
        if code == "K":
            self._erase(count)
        elif code in "AF":
            self.row = max(self.row - max(count, 1), 0)
        elif code in "BE":
            self.row = min(self.row + max(count, 1), len(self.rows) - 1)
        elif code in "CD":
            self.column = min(max(self.column + max(count, 1) * (1 if code == "C" else -1), 0), far)
        elif code == "G":
            self.column = min(max(count - 1, 0), far)
        if code in "EF":
            self.column = 0

    def _erase(self, part: int) -> None:
        """Erases the rest of the line, or all of it; the part before the cursor alone is left."""
        if part == 2:
            self.rows[self.row].clear()
            self.column = min(self.column, _WIDTH)
        elif part == 0:
            del self.rows[self.row][self.column :]
