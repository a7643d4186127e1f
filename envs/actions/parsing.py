"""Parses actions: removes the thinking and finds the program.

What is unambiguous is read, however it is written; ``Reading.form`` says how. What is not is no program, and
``Reading.problem`` says why, for the agent.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

from envs.actions import fences, foreign_calls
from envs.actions.fences import Block
from envs.actions.python_text import MOST_CHARS, does_something, is_python

Form = Literal[
    "prose",
    "fenced",
    "unclosed",
    "after_text",
    "inner_fence",
    "untagged",
    "tool_call",
    "unreadable",
    "cut_thought",
]
"""``prose``: no program, which ends the stage; ``unreadable`` and ``cut_thought``: the turn is used, and the
agent is told; the others are programs."""

_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_CALL = re.compile(r"<(tool_call|function_call)>\s*")
_TAGGED_CALL = re.compile(r"<function=([^<>\n]{1,80})>(.*?)</function>", re.DOTALL)
_PARAMETER = re.compile(r"\s*<parameter=([^<>\n]{1,80})>\n?")
_MOST_CALLS = 16
_TOOL = re.compile(r"(?i).*python.*|(?:code|execute|run|exec)[_-]?(?:interpreter|code|program|script)?")
_DATA = re.compile(
    r"(?i)(?:text|txt|plain\w*|output|stdout|stderr|result\w*|log|json\w*|ya?ml|toml|csv|tsv|md|markdown|html|xml|latex|tex"
    r"|math|diff|pycon|python-\w+|none|answer)\b.*"
)
_NO_ANSWER = (
    "your thinking did not end, so nothing was read. Think less, and write the answer after </think>."
)
_HELP = "Write one program between ```python and ```, or end your part with text alone."


@dataclass(frozen=True)
class Reading:
    """What an action says.

    ``Reading("I count.\\n```python\\nprint(1)\\n```", "print(1)", "fenced")``
    """

    text: str
    """The action without its thinking."""
    code: str | None
    """The program, from all blocks that are programs; None if there is none."""
    form: Form
    problem: str = ""
    """Why no program was found where there seems to be one; one sentence for the agent."""


def strip_thinking(action: str) -> str:
    """Returns ``action`` without its thinking.

    A chat template may have put the opening ``<think>`` into the prompt, so everything before an unopened
    ``</think>`` is thinking. A ``<think>`` that is never closed (in a truncated action) hides the rest. Tags
    inside a fenced block are text (``envs.actions.fences``).
    """
    return _spoken(action).text if fences.TAG.search(action) else action.strip()


def extract_program(action: str) -> str | None:
    """Returns the program of an action, ``read_action(action).code``."""
    return read_action(action).code


@lru_cache(maxsize=4)  # a step and the observation after it read the same action; actions may be large
def read_action(action: str, *, runs_code: bool = True) -> Reading:
    """Reads an action of an agent; ``runs_code``: whether its role can run code.

    A program is all Python blocks outside of thinking, joined; without one, all calls of a Python tool;
    without one, all untagged blocks if each of them is Python.
    """
    spoken = _spoken(fences.unquoted(action) if runs_code else action)
    reading = _read(spoken) if runs_code else Reading(spoken.text, None, "prose")
    if spoken.cut and reading.code is None:
        return Reading(spoken.text, None, "cut_thought", _NO_ANSWER)
    return reading


def _read(spoken: _Spoken) -> Reading:
    text, blocks = spoken.text, spoken.blocks
    tagged = [block for block in blocks if fences.PYTHON.match(block.info)]
    if code := _joined([block.content for block in tagged]):
        return Reading(text, code, _form(tagged))
    if _CALL.search(spoken.prose):
        return _called(text, spoken.prose)
    untagged = [block.content for block in blocks if not block.info and block.content.strip()]
    if untagged and sum(map(len, untagged)) <= MOST_CHARS and all(map(is_python, untagged)):
        code = _joined([content for content in untagged if does_something(content)])
        return Reading(text, code, "untagged") if code else Reading(text, None, "prose")
    form, problem = _not_read(tagged, untagged, blocks)
    if not problem and (call := foreign_calls.found(spoken.prose, blocks)):
        form, problem = "unreadable", f"{call}. {_HELP}"
    return Reading(text, None, form, problem)


@dataclass(frozen=True)
class _Spoken:
    """An action without its thinking."""

    text: str
    prose: str
    """``text`` without its blocks, in which a tool call would be quoted text."""
    blocks: list[Block]
    cut: bool
    """Thinking never ended."""


def _spoken(action: str) -> _Spoken:
    scanned = fences.scan(action)
    kept, thinking = _kept(action, scanned.tags)
    drafts = [block.content for block in scanned.blocks if not fences.PYTHON.match(block.info)]
    if thinking and any(map(_END.search, drafts)):  # a draft without an end hid the tag
        kept, thinking = _kept(action, list(fences.TAG.finditer(action)))
        action = "".join(action[start:end] for start, end in kept)
        kept, scanned = [(0, len(action) + 1)], fences.scan(action)
    blocks, prose, remaining = [], [], deque(scanned.blocks)
    for start, end in kept:
        while remaining and remaining[0].start < end:
            block = remaining.popleft()
            if block.start >= start:
                blocks.append(block)
                prose.append(action[start : block.start])
                start = block.end
        prose.append(action[start:end])
    text = "".join(action[start:end] for start, end in kept).strip()
    return _Spoken(text, "".join(prose), blocks, thinking)


def _kept(action: str, tags: Sequence[re.Match[str]]) -> tuple[list[tuple[int, int]], bool]:
    """Returns the spans outside of thinking, and whether thinking never ended."""
    spans: list[tuple[int, int]] = []
    position, thinking = 0, False
    for tag in tags:
        if not tag.group().startswith("</"):
            if not thinking:
                spans.append((position, tag.start()))
            thinking = True
        else:
            if not thinking:
                spans.clear()
            position, thinking = tag.end(), False
    if not thinking:
        spans.append((position, len(action) + 1))
    return spans, thinking


def _joined(programs: Sequence[str]) -> str | None:
    code = "\n".join(programs)
    return code if code.strip() else None


def _form(blocks: Sequence[Block]) -> Form:
    """Returns the first form that is not the regular one."""
    form: Any = next((block.form for block in blocks if block.form != "fenced"), "fenced")
    return form  # type: ignore[no-any-return]


def _called(text: str, prose: str) -> Reading:
    programs, names = [], []
    for name, arguments in islice(_calls(prose), _MOST_CALLS + 1):
        names.append(name)
        source = _source(arguments)
        if source is not None and _TOOL.fullmatch(name):
            programs.append(source)
    if programs and len(programs) == len(names) <= _MOST_CALLS and (code := _joined(programs)):
        return Reading(text, code, "tool_call")
    wrong = [repr(name) for name in names if name and not _TOOL.fullmatch(name)]
    if wrong:
        problem = f"there is no tool {', '.join(wrong)[:80]}"
    elif "" in names:
        problem = "a tool call could not be read"
    else:
        problem = "a tool call has no text or several texts among its arguments, where one program is wanted"
    return Reading(text, None, "unreadable", f"{problem}. {_HELP}")


def _calls(text: str) -> Iterator[tuple[str, Any]]:
    """Returns (name, arguments) of every tool call, in JSON or in tags, or ("", None) if it is neither.

    In JSON, calls may be in a list, and each within ``function``, as in OpenAI's format.
    """
    decoder = json.JSONDecoder(strict=False)
    for opening in _CALL.finditer(text):
        if tagged := _TAGGED_CALL.match(text, opening.end()):
            yield tagged[1], _parameter(tagged[2])
            continue
        try:
            call, _ = decoder.raw_decode(text, opening.end())
        except (ValueError, RecursionError):
            call = None
        for one in call if isinstance(call, list) else [call]:
            inner: Any = one.get("function", one) if isinstance(one, dict) else None
            named = isinstance(inner, dict) and isinstance(inner.get("name"), str)
            yield (inner["name"], inner.get("arguments", inner.get("parameters"))) if named else ("", None)


def _parameter(body: str) -> dict[str, str] | None:
    """Returns the only parameter of a call in tags, or None if it does not have exactly one."""
    opening = _PARAMETER.match(body)
    if opening is None or body.count("<parameter=") > 1:
        return None
    value, closing, rest = body[opening.end() :].rpartition("</parameter>")
    return {opening[1]: value.removesuffix("\n")} if closing and not rest.strip() else None


def _source(arguments: Any) -> str | None:
    """Returns the only text among a call's arguments, which may be JSON in a text themselves."""
    if isinstance(arguments, str):
        try:
            decoded = json.loads(arguments, strict=False)
        except (ValueError, RecursionError):
            return arguments
        return _source(decoded) if isinstance(decoded, dict) else arguments
    texts = (
        [value for value in arguments.values() if isinstance(value, str)]
        if isinstance(arguments, dict)
        else []
    )
    return texts[0] if len(texts) == 1 else None


def _not_read(tagged: Sequence[Block], untagged: Sequence[str], blocks: Sequence[Block]) -> tuple[Form, str]:
    """Returns the form of an action without a program, and what is wrong if there seems to be one."""
    if tagged:
        return "unreadable", f"the Python block is empty. {_HELP}"
    if untagged:
        return (
            "unreadable",
            f"a block without a language was not run, because it is not valid Python. {_HELP}",
        )
    other = next((block.info for block in blocks if block.info and not _DATA.fullmatch(block.info)), None)
    if other is not None:
        return "unreadable", f"a block in {other.split()[0][:40]!r} was not run: only Python runs. {_HELP}"
    return "prose", ""
