"""Fenced blocks of an action, as language models write them, and the tags of thinking outside of them.

Fences are those of CommonMark: backticks or tildes; a block loses the indentation of its fence, and one
without an end reaches to the end of the action. Beyond CommonMark:

- a fence that names Python may open after text (``Sure: ```python``), or hold a program of one line; text may
  follow the fence that ends it; indentation that all of its lines have is removed, and so are the marks of a
  quotation (``unquoted``);
- a fence inside a triple-quoted string of a Python block does not end it, if the longer block is Python;
- a tag of thinking is text inside a block: in a Python block only in a string or comment, because it could
  not stand elsewhere.

Takes linear time, apart from at most 8 attempts to find a later end of a block.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field

from envs.actions.python_text import is_python, literals

_ATTEMPTS = 8
TAG = re.compile(r"</?think(?:ing)?>", re.IGNORECASE)
PYTHON = re.compile(r"\{?\.?(?:i?python[23]?|py[23]?|tool_code)\b(?![-+])", re.IGNORECASE)
_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`]*)")
_AFTER_TEXT = re.compile(
    r"[^`]*\S(?P<indent>)[ \t]*(?P<fence>`{3,})(?P<info>i?python[23]?|py[23]?)[ \t]*", re.IGNORECASE
)
_ONE_LINE = re.compile(
    r"[ \t]*(?P<fence>`{3,})(?:i?python[23]?|py[23]?)[ \t]+(?P<code>[^`]*\S)[ \t]*(?P=fence)[ \t]*",
    re.IGNORECASE,
)
_ENDING = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*(?=$|</?think(?:ing)?>)", re.IGNORECASE)
_ENDING_WITH_TEXT = re.compile(r"[ \t]*(`{3,}|~{3,})(?!`|~)")
"""Ends a program, whatever follows: no line of Python outside of a string begins with a fence."""
_MARKDOWN = re.compile(r"(?:md|markdown)?", re.IGNORECASE)
_QUOTED = re.compile(r"[ \t]*>[ \t]?(?=`{3,}[ \t]*(?:i?python|py))", re.IGNORECASE)
_QUOTE = re.compile(r"[ \t]*> ?")


@dataclass(frozen=True)
class Block:
    """``Block("python", "x = 1", "fenced", 4, 23)``"""

    info: str
    """What follows the opening fence, usually the language."""
    content: str
    form: str
    """``fenced``, ``unclosed``, ``after_text`` or ``inner_fence``."""
    start: int
    """Position of its first line in the action."""
    end: int


@dataclass
class Scan:
    """The blocks of an action, and its (position, tag) pairs outside of them, in order."""

    blocks: list[Block] = field(default_factory=list)
    tags: list[re.Match[str]] = field(default_factory=list)


@dataclass
class _Open:
    """A block that has no end yet."""

    fence: str
    indent: int
    info: str
    form: str
    start: int
    first: int
    """Number of its first line of content."""
    quote: str = ""
    """Delimiter of the string that the line ends in."""
    skipped: int = 0
    """Number of the first line that would have ended it, were it not inside a string."""


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.split("\n")
        self.offsets = [0]
        for line in self.lines:
            self.offsets.append(self.offsets[-1] + len(line) + 1)
        self.found = Scan()
        self.attempts = _ATTEMPTS

    def run(self) -> Scan:
        number, opened = 0, None
        while True:
            if number == len(self.lines):
                if opened is None or not opened.skipped:
                    break
                number, opened = self._closed_early(opened)
                continue
            if opened is None:
                opened = self._outside(number, 0)
            else:
                number, opened = self._inside(number, opened)
            number += 1
        if opened is not None:
            self._close(opened, len(self.lines), "unclosed" if opened.form == "fenced" else opened.form)
        return self.found

    def _outside(self, number: int, at: int) -> _Open | None:
        """Reads a line, from ``at`` on, that is not inside a block."""
        line, offset = self.lines[number].rstrip("\r"), self.offsets[number]
        for tag in TAG.finditer(self.text, offset + at, offset + len(line)):
            self.found.tags.append(tag)
            at = tag.end() - offset
        rest = line[at:]
        if (one := _ONE_LINE.fullmatch(rest)) is not None:
            self.found.blocks.append(
                Block("python", one["code"], "after_text", offset + at, offset + len(line))
            )
            return None
        opening, form = _FENCE.fullmatch(rest.rstrip()), "fenced"
        if opening is None:
            opening, form = _AFTER_TEXT.fullmatch(rest), "after_text"
        if opening is None:
            return None
        return _Open(opening["fence"], len(opening["indent"]), opening["info"], form, offset + at, number + 1)

    def _inside(self, number: int, block: _Open) -> tuple[int, _Open | None]:
        """Reads a line of a block; returns its number, or that of an earlier one to go on after."""
        line = self.lines[number].rstrip("\r")
        python = PYTHON.match(block.info) is not None
        ending = (_ENDING_WITH_TEXT if python and not block.quote else _ENDING).match(line)
        if python and ending and PYTHON.match(line[ending.end() :].lstrip()):
            return self._opened_again(number, block)
        if ending and ending[1][0] == block.fence[0] and len(ending[1]) >= len(block.fence):
            if block.quote and self.attempts:
                block.skipped = block.skipped or number
            else:
                return self._ended(number, block, ending.end())
        if (
            number == block.first
            and _MARKDOWN.fullmatch(block.info.strip())
            and (inner := self._wrapped(number))
        ):
            return number, inner
        if python:
            block.quote, spans = literals(line, block.quote)
            for tag in TAG.finditer(line):
                if not any(start <= tag.start() < end for start, end in spans):
                    return number, self._outside(number, 0)  # a draft without an end, in thinking
        elif TAG.fullmatch(line.strip()) and not self._ends_later(number, block):
            return number, self._outside(number, 0)
        return number, block

    def _opened_again(self, number: int, block: _Open) -> tuple[int, _Open | None]:
        """A fence that names Python, in a program: what came before it, if anything, is a block itself."""
        if self._content(block, number).strip():
            self._close(block, number, block.form)
        return number, self._outside(number, 0)

    def _ended(self, number: int, block: _Open, at: int) -> tuple[int, _Open | None]:
        form = block.form
        if block.skipped:
            self.attempts -= 1
            if not is_python(self._content(block, number)):
                return self._closed_early(block)
            form = "inner_fence"
        self._close(block, number, form)
        return number, self._outside(number, at) if at < len(self.lines[number].rstrip("\r")) else None

    def _closed_early(self, block: _Open) -> tuple[int, _Open | None]:
        """Ends a block at its first possible end: the longer one is not Python."""
        self.attempts = max(self.attempts - 1, 0)
        self._close(block, block.skipped, block.form)
        return block.skipped + 1, None

    def _wrapped(self, number: int) -> _Open | None:
        """Returns the block that an untagged fence only wraps: the next line opens a Python block."""
        opening = _FENCE.fullmatch(self.lines[number].rstrip())
        if opening is None or not PYTHON.match(opening["info"]):
            return None
        return _Open(
            opening["fence"],
            len(opening["indent"]),
            opening["info"],
            "inner_fence",
            self.offsets[number],
            number + 1,
        )

    def _ends_later(self, number: int, block: _Open) -> bool:
        if not self.attempts:
            return False
        self.attempts -= 1
        return any(
            (ending := _ENDING.match(line)) and ending[1].startswith(block.fence)
            for line in self.lines[number + 1 :]
        )

    def _close(self, block: _Open, number: int, form: str) -> None:
        content = self._content(block, number)
        if form == "unclosed" and content.rstrip().endswith(block.fence):
            content = content.rstrip().removesuffix(block.fence).rstrip()
        end = min(self.offsets[number], len(self.text))
        self.found.blocks.append(Block(block.info.strip(), content, form, block.start, end))

    def _content(self, block: _Open, number: int) -> str:
        content = "\n".join(_unindent(line, block.indent) for line in self.lines[block.first : number])
        return textwrap.dedent(content) if PYTHON.match(block.info) else content


def unquoted(action: str) -> str:
    """Returns ``action`` without the marks of quotations that a Python block opens in (``> ```python``)."""
    if not any(map(_QUOTED.match, action.split("\n"))):
        return action
    lines, inside = action.split("\n"), False
    for at, line in enumerate(lines):
        inside = (inside or _QUOTED.match(line) is not None) and _QUOTE.match(line) is not None
        if inside:
            lines[at] = _QUOTE.sub("", line, count=1)
    return "\n".join(lines)


def scan(action: str) -> Scan:
    """Returns the fenced blocks of ``action`` and the tags of thinking outside of them."""
    return _Scanner(action).run()


def _unindent(line: str, width: int) -> str:
    return line[min(width, len(line) - len(line.lstrip(" \t"))) :]
