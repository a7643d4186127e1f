"""Final answers: extraction, normalisation and comparison.

Only ``\\boxed{…}`` counts as an answer, not a number in prose. Integers (all that AIME needs) are compared
here; other answers are compared by ``math-verify`` in a separate process (``equivalence``).
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
    """Returns the content of the last ``\\boxed{…}`` with balanced braces, or None. Takes linear time."""
    opened: list[int | None] = []
    last, content = -1, None
    for brace in _BRACE.finditer(text):
        if brace.group() != "}":
            opened.append(None if brace.group() == "{" else brace.end())
        elif opened and (start := opened.pop()) is not None and start > last:
            last, content = start, text[start : brace.start()].strip()
    return content


def normalized(answer: str) -> str:
    """Returns ``answer`` without markup, a leading ``x =``, units, degrees and thousands separators.

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
    """Returns the normalised answers that are accepted for the answer of a problem file.

    ``142.0`` -> ``("142",)``; ``"080 or 081 (both were accepted)"`` -> ``("80", "81")``; a list gives all of
    its answers.

    Raises:
        ValueError: it is not a number, a text or a list of these, or it is empty.
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
    raise ValueError(f"{answer!r:.80} is not a valid answer")


def grade(text: str, correct: tuple[str, ...], checker: Checker) -> str:
    """Returns ``ok``, ``wrong``, ``no_answer`` or ``timeout`` (not comparable within the checker's limits).

    ``text`` is an action without its thinking; ``correct`` comes from ``accepted``.
    """
    raw = boxed(text)
    if not raw:
        return "no_answer"
    if len(raw) > MAX_CHARS:
        return "wrong"
    given = normalized(raw)
    if given in correct:
        return "ok"
    if not given:
        return "no_answer"
    if _INTEGER.fullmatch(given) and all(map(_INTEGER.fullmatch, correct)):
        return "wrong"
    verdicts = [checker.equal(one, given) for one in correct if ("%" in one) == ("%" in given)]
    if any(verdict == "equal" for verdict in verdicts):
        return "ok"
    return "timeout" if "timeout" in verdicts else "wrong"
