"""Final answers: found in a text, brought to a common form, compared.

Only a ``\\boxed{…}`` counts: a number in prose is no answer. Integers, all that AIME needs, are compared
here; the rest goes to ``math-verify`` in a process of its own (``equivalence``).
"""

from __future__ import annotations

import math
import re
from typing import Any

from envs.mathchat.equivalence import Checker

MAX_CHARS = 256

_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|[{}]")
_SPACES = re.compile(r"\\[,;:> ]|\\q?quad\b|~|\s+")
_WORDS = re.compile(r"\\(?:text|textbf|textrm|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}")
_NOISE = re.compile(r"\$|\\(?:left|right|displaystyle)\b|\^\s*\{?\s*(?:\\circ|\\degree)\s*\}?|\\degree\b|°")
_PREFIX = re.compile(r"^(?:(?:so |thus )?(?:the )?(?:final )?answer(?: is)?\s*[:=]?|[a-z+\-*/ ]+=)\s*", re.I)
_UNIT = re.compile(
    r"(?<=[\d.)}])\s*(?:square |cubic )?(?:degrees?|mm|cm|m|km|ft|foot|feet|inch(?:es)?|miles?|units?"
    r"|dollars?|cents?|seconds?|minutes?|hours?|days?|years?|ways?)(?:\s*\^\s*\{?[23]\}?)?$",
    re.I,
)
_INTEGER = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:(?:,|\{,\})\d{3})+)(?:\.0*)?")
_ALTERNATIVES = re.compile(r"\s+or\s+")
_REMARK = re.compile(r"\s*\([^()]*[a-z]{3}[^()]*\)\s*$", re.I)


def boxed(text: str) -> str | None:
    """The content of the last ``\\boxed{…}`` whose braces balance; None without any. Linear in the text."""
    opened: list[int | None] = []
    last, content = -1, None
    for brace in _BRACE.finditer(text):
        if brace.group() != "}":
            opened.append(None if brace.group() == "{" else brace.end())
        elif opened and (start := opened.pop()) is not None and start > last:
            last, content = start, text[start : brace.start()].strip()
    return content


def normalized(answer: str) -> str:
    """``answer`` without markup, a leading ``x =``, units, degrees and thousands separators.

    >>> normalized(r"x = 1,\\!024\\text{ cm}")
    '1024'
    """
    text = _SPACES.sub(" ", answer.replace("\\!", "").replace("−", "-"))
    text = _NOISE.sub("", _WORDS.sub(r" \1 ", text)).strip().rstrip(".").strip()
    text = _UNIT.sub("", _PREFIX.sub("", text)).strip()
    if _INTEGER.fullmatch(text):
        return str(int(re.sub(r"[,{}]|\.0*$", "", text)))
    return text


def accepted(answer: Any) -> tuple[str, ...]:
    """What a file gives as the answer, as the list of normalised answers that are right.

    ``142.0`` -> ``("142",)``; ``"080 or 081 (both were accepted)"`` -> ``("80", "81")``; so does a list.

    Raises:
        ValueError: it is no number, text or list of such, or it is empty.
    """
    if isinstance(answer, list) and answer:
        return tuple(one for part in answer for one in accepted(part))
    if isinstance(answer, float) and math.isfinite(answer):
        return (str(int(answer)) if answer.is_integer() else repr(answer),)
    if isinstance(answer, int) and not isinstance(answer, bool):
        return (str(answer),)
    if isinstance(answer, str):
        parts = _ALTERNATIVES.split(_REMARK.sub("", boxed(answer) or answer))
        if all(map(normalized, parts)):
            return tuple(map(normalized, parts))
    raise ValueError(f"{answer!r:.80} is no answer")


def grade(text: str, right: tuple[str, ...], checker: Checker) -> str:
    """``ok``, ``wrong``, ``no_answer`` or ``timeout`` (not comparable within the checker's bounds).

    ``text`` is what was said, thinking left out; ``right`` comes from ``accepted``.
    """
    raw = boxed(text)
    if not raw:
        return "no_answer"
    if len(raw) > MAX_CHARS:
        return "wrong"
    given = normalized(raw)
    if given in right:
        return "ok"
    if not given:
        return "no_answer"
    if _INTEGER.fullmatch(given) and all(map(_INTEGER.fullmatch, right)):
        return "wrong"
    verdicts = [checker.equal(one, given) for one in right if ("%" in one) == ("%" in given)]
    if any(verdict == "equal" for verdict in verdicts):
        return "ok"
    return "timeout" if "timeout" in verdicts else "wrong"
