"""Final answers: extraction and grading.

Only ``\\boxed{…}`` counts as an answer, not a number in prose. Integers (all that AIME needs) and equal texts
are compared here; other answers are read as trees (``structure``) and compared exactly, in a separate process
(``equivalence``).
"""

from __future__ import annotations

import math
import re
from typing import Any

from envs.mathchat import notation
from envs.mathchat.equivalence import Checker

MAX_CHARS = 256

_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\\\(?!boxed|fbox)|\\[{}]|[{}]")
_ALTERNATIVES = re.compile(r"\s+or\s+|\s*\\text\{\s*or\s*\}\s*")
_REMARK = re.compile(r"(?<=\S)\s*\((?P<remark>[^()]*[a-z]{3,}\s[^()]*[a-z]{2}[^()]*)\)\s*$", re.IGNORECASE)
_ALL_ACCEPTED = re.compile(
    r"(?!.*(?:\bnot\b|n't|\bonly\b)).*\b(?:accept|either|both|any|allow|count)", re.IGNORECASE
)
_CUT = re.compile(r"\\(?:box(?:e|ed)?|fbox)\s*$")
"""The beginning of a box at the end of a text."""


def boxed(text: str) -> str | None:
    r"""Returns the content of the last ``\boxed{…}``, or None if there is none or the last one has no end.

    Takes linear time.
    """
    if _CUT.search(text[-MAX_CHARS:]):
        return None
    opened: list[int | None] = []
    last, content = -1, None
    for brace in _BRACE.finditer(text):
        if brace.group() == "}":
            if opened and (start := opened.pop()) is not None and start == last:
                content = text[start : brace.start()].strip()
        elif brace.group() == "{":
            opened.append(None)
        elif brace.group()[-1] == "{" and len(brace.group()) > 2:
            opened.append(brace.end())
            last, content = brace.end(), None
    return content


def accepted(answer: Any) -> tuple[str, ...]:
    """Returns the answers that are accepted for the answer of a problem file.

    ``142.0`` -> ``("142",)``; ``"080 or 081 (both were accepted)"`` -> ``("80", "81")``; a list gives all of
    its answers. ``"1 or 2"`` without such a remark is one answer that names both.

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
        parts = [_tidy(part) for part in _alternatives(boxed(answer) or answer)]
        if all(parts):
            return tuple(parts)
    raise ValueError(f"{answer!r:.80} is not a valid answer")


def grade(text: str, correct: tuple[str, ...], checker: Checker) -> str:
    """Returns ``ok``, ``wrong``, ``no_answer`` or ``timeout`` (not comparable within the checker's limits).

    ``text`` is an action without its thinking; ``correct`` comes from ``accepted``.
    """
    raw = boxed(text)
    if raw is not None and len(raw) > MAX_CHARS:
        return "wrong"
    if not (given := _tidy(raw or "")):
        return "no_answer"
    number = notation.integer(given)
    verdicts = []
    for one in correct:
        if _same_text(one, given):
            return "ok"
        if number is None or notation.integer(one) is None:
            verdicts.append(checker.equal(one, given))
    if "equal" in verdicts:
        return "ok"
    return "timeout" if "timeout" in verdicts else "wrong"


def _alternatives(answer: str) -> list[str]:
    remark = _REMARK.search(answer)
    if remark is None:
        return [answer]
    answer = answer[: remark.start()]
    return _ALTERNATIVES.split(answer) if _ALL_ACCEPTED.match(remark["remark"]) else [answer]


def _tidy(answer: str) -> str:
    text = notation.clean(answer)
    return notation.integer(text) or text


def _same_text(correct: str, given: str) -> bool:
    """Equal but for markup, or the same choice of several: the letter with or without its text."""
    if notation.words(correct) == notation.words(given):
        return True
    gold, chosen = notation.choice(correct), notation.choice(given)
    if gold is not None and chosen is not None:
        return gold[0] == chosen[0]
    return gold is not None and bool(gold[1]) and notation.words(gold[1]) == notation.words(given)
