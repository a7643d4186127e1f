"""What agents say about their artifacts that a file can confirm or refute: the scale of predictions, and the
column of a probability. Read from prose and from printed lines; programs are not claims."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from envs.actions import fences
from envs.actions.parsing import strip_thinking
from envs.types import Turn

_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_SENTENCE = re.compile(r"[^.\n]+")
_SCALED = re.compile(r"\b(?:standardi[sz]ed|z-?scores?|rescaled|normali[sz]ed)\b", re.I)
_TARGET = re.compile(r"\btarget\b", re.I)
_WORDS: Mapping[str, re.Pattern[str]] = {
    "arcsinh": re.compile(r"\b(?:arc|a)sinh\b|inverse hyperbolic sine", re.I),
    "log1p": re.compile(r"\blog1p\b|\blog\(1 ?\+", re.I),
    "log": re.compile(r"\blog(?:arithm|arithmic|s)?\b(?!1p)", re.I),
    "sqrt": re.compile(r"\bsqrt\b|square root", re.I),
    "itself": re.compile(r"target itself|untransformed|not transformed|original scale|target as it is", re.I),
    "column 0": re.compile(r"\bcolumn 0\b|\bfirst column of predict_proba", re.I),
    "column 1": re.compile(r"\bcolumn 1\b|\bsecond column of predict_proba", re.I),
}  # fmt: skip


class Claims(NamedTuple):
    """What an agent said last."""

    names: tuple[str, ...]
    turn: int
    """Where it first said so without taking it back; -1 if it said nothing of the kind."""


def of(turns: Sequence[Turn], agent: str) -> Claims:
    """Returns the claims of the agent's last turn that makes any: in prose, or else in printed lines, or else
    within tags of thinking, which hide no claim from us."""
    last = Claims((), -1)
    for turn in turns:
        said = _said(turn) if turn.agent == agent else ()
        if said and said != last.names:
            last = Claims(said, turn.index)
    return last


def _said(turn: Turn) -> tuple[str, ...]:
    printed = turn.result.stdout[-2000:] if turn.result is not None else ""
    spoken, thought = strip_thinking(turn.action), fences.TAG.sub("", turn.action)
    for text in (_FENCED.sub("", spoken), printed, _FENCED.sub("", thought)):
        found = tuple(name for name, word in _WORDS.items() if word.search(text))
        if found := (*found, *(("rescaled",) if _says_rescaled(text) else ())):
            return found
    return ()


def _says_rescaled(text: str) -> bool:
    """Whether a sentence speaks of the target and of a scale. Sentence by sentence: a search for both at once
    would take a time that is quadratic in the length of a hostile line."""
    sentences = (found.group() for found in _SENTENCE.finditer(text))
    return any(_TARGET.search(one) and _SCALED.search(one) for one in sentences)
