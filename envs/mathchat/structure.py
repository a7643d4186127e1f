"""Answers as trees: lists, sets, tuples, intervals, unions, matrices and relations of expressions and words.

Only single expressions are left to a computer algebra system (``compare``), and only plain mathematics, since
its parser evaluates Python and the expressions come from agents.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from envs.mathchat import notation
from envs.mathchat.units import split_unit

Kind = Literal["scalar", "text", "list", "set", "tuple", "union", "matrix", "named", "relation"]

_PLAIN = re.compile(r"(?:\\sqrt\s*\[\w+\]|\\[a-zA-Z]+|\\[{}|]|[a-zA-Z]|[0-9 .+\-*/^_(){}|!,])*")
_COMMANDS = re.compile(
    r"frac|sqrt|pi|infty|cdot|times|div|binom|choose|(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?|log|ln|lg|exp|[lr]floor"
    r"|[lr]ceil|[lr]?vert|mid|overline|bar|hat|vec|mathbb|sum|int|prod|lim|to|[lc]?dots|max|min|gcd|lcm|prime|ell"
    r"|angle|triangle|(?:var)?(?:alpha|beta|gamma|delta|epsilon|zeta|eta|theta|kappa|lambda|mu|nu|xi|rho|sigma|tau"
    r"|phi|chi|psi|omega)|Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma|Phi|Psi|Omega"
)
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_TOKEN = re.compile(r"\\text\{[^{}]*\}|\\[a-zA-Z]+|\\.|.", re.DOTALL)
_RELATIONS = {
    "=": "=", "\\equiv": "=", "<": "<", ">": ">", "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=",
    "\\ge": ">=", "\\geq": ">=", "\\geqslant": ">=", "\\ne": "!=", "\\neq": "!=",
}  # fmt: skip
_FLIPPED = {">": "<", ">=": "<="}
_SEPARATORS = frozenset((",", ";"))
_MATRIX = re.compile(
    r"\\begin\{([pbvBV]?)(?:matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{[pbvBV]?(?:matrix|array)\}", re.DOTALL
)
_SIGN = re.compile(r"\\(pm|mp)(?![a-zA-Z])")
_BASE = re.compile(r"\(?(\d+)\)?\s*_\s*\{?\s*(?:\\text\{\s*)?(\d+|two|eight|ten|sixteen)\s*\}?\s*\}?")
_BASES = {"two": 2, "eight": 8, "ten": 10, "sixteen": 16}
_NONE = frozenset(
    ("none", "nosolution", "nosolutions", "thereisnosolution", "therearenosolutions", "emptyset",
     "\\emptyset", "\\{\\}", "{}", "noneexist", "nosuchnumber", "doesnotexist", "dne")
)  # fmt: skip
_WORDS = re.compile(r"(?i)no|yes|odd|even|one|two|six|ten|all|any|dne|[a-z]{4,}")
"""Letters that are words; shorter ones are products of variables."""
_GROUPS = re.compile(r"\{\w+\}(?:\s*\{\w+\})+")
_NAME = re.compile(r"(?:\\text\{[^{}]*\}|\\?[a-zA-Z]+'*|_\{?\w+\}?|\^\{-1\}|\([a-zA-Z, ]+\)|[' ])+")


@dataclass(frozen=True)
class Node:
    """``Node("tuple", "[)", (Node("scalar", "1"), Node("scalar", "\\\\infty")))``"""

    kind: Kind
    text: str = ""
    """Of a scalar its LaTeX, of words the words, of a tuple its brackets, of a relation its operator (``=``,
    ``!=``, ``<``, ``<=``), of a named value its name."""
    parts: tuple[Node, ...] = ()
    unit: str = ""
    base: int = 0
    """Base in which ``text`` is written, if the answer says so."""

    def as_json(self) -> list[Any]:
        return [self.kind, self.text, [part.as_json() for part in self.parts], self.unit, self.base]


def readings(answer: str, *, given: bool) -> list[Node]:
    """Returns the trees that ``answer`` may mean: ``1,234`` is a number or a list; of ``10/3 \\approx 3.3``
    each part may be meant. ``given``: it is an agent's answer (``units.split_unit``)."""
    text = notation.clean(answer)
    parts = _split(text, frozenset(("\\approx", "\\simeq")))
    texts = [without for part in parts for without in dict.fromkeys((_ungrouped(part), part))]
    return [_parse(part, given) for part in texts if part.strip()]


def is_plain(expression: str) -> bool:
    """Returns whether it has only known LaTeX commands, single letters, digits and operators: no Python."""
    commands = re.findall(r"\\([a-zA-Z]+)", expression)
    rest = re.sub(r"\\[a-zA-Z]+", " ", expression)
    return (
        "__" not in expression
        and _PLAIN.fullmatch(expression) is not None
        and re.search(r"[a-zA-Z]{4}", rest) is None
        and all(map(_COMMANDS.fullmatch, commands))
    )


def _ungrouped(text: str) -> str:
    """Returns ``text`` with ``1,000`` as ``1000``, if no bracket says that it is a list."""
    if any(bracket in text for bracket in ("(", "[", "\\{")):
        return text
    return re.sub(
        r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?![\d,]|\s*,)", lambda found: found.group().replace(",", ""), text
    )


def _parse(text: str, given: bool) -> Node:
    text = text.strip().strip(",;").strip()
    if notation.words(text).lower() in _NONE:
        return Node("text", "none")
    for separators in (frozenset(("or", "and")), _SEPARATORS):
        if len(parts := _split(text, separators)) > 1:
            nodes = [_parse(part, given) for part in parts if part.strip()]
            return Node("list", parts=tuple(inner for node in nodes for inner in _flat(node)))
    if len(parts := _split(text, frozenset(("\\in",)))) == 2 and _NAME.fullmatch(parts[0].strip()):
        return _parse(parts[1], given)
    if len(parts := _split(text, frozenset(("\\cup",)))) > 1:
        return Node("union", parts=tuple(_parse(part, given) for part in parts))
    if _SIGN.search(text):
        signs = (("+", "-"), ("-", "+"))
        both = [_SIGN.sub(partial(_signed, pair), text) for pair in signs]
        return Node("list", parts=tuple(_parse(one.lstrip("+ "), given) for one in both))
    operators = [token for token, depth, _ in _tokens(text) if depth == 0 and token in _RELATIONS]
    if operators:
        return _relation(_split(text, frozenset(_RELATIONS)), [_RELATIONS[one] for one in operators], given)
    return _bracketed(text, given) or _leaf(text, given)


def _signed(signs: tuple[str, str], found: re.Match[str]) -> str:
    return signs[found.group(1) == "mp"]


def _flat(node: Node) -> tuple[Node, ...]:
    return node.parts if node.kind == "list" else (node,)


def _relation(parts: list[str], operators: list[str], given: bool) -> Node:
    names = [part.strip() for part in parts]
    if set(operators) == {"="}:
        if _NAME.fullmatch(names[-1]) and not _NAME.fullmatch(names[0]):
            parts, names = parts[::-1], names[::-1]
        value = _parse(parts[-1], given)
        if _NAME.fullmatch(names[0]) and not _is_words(names[0], value):
            return Node("named", notation.words(names[0]), (value,))
        return Node("relation", "=", (_parse(parts[0], given), value))
    if len({operator[0] for operator in operators}) == 1 and operators[0] != "!=":
        if operators[0][0] == ">":
            names, operators = names[::-1], [_FLIPPED[one] for one in operators[::-1]]
        middle = [at for at, name in enumerate(names) if re.fullmatch(r"[a-zA-Z]|\\(?!infty|pi)[a-z]+", name)]
        if len(middle) == 1 and len(names) in (2, 3) and (len(names) == 2 or middle == [1]):
            return _interval(names, operators, middle[0], given)
    nodes = [_parse(name, given) for name in names]
    links = [Node("relation", one, (nodes[at], nodes[at + 1])) for at, one in enumerate(operators)]
    return links[0] if len(links) == 1 else Node("list", parts=tuple(links))


def _is_words(name: str, value: Node) -> bool:
    """A value of words has no name: ``A = no`` stays a relation."""
    return value.kind == "text" and value.text != "none" and len(name) > 1


def _interval(names: list[str], operators: list[str], middle: int, given: bool) -> Node:
    """``1 < x <= 3`` is the interval ``(1, 3]``."""
    low = _parse(names[middle - 1], given) if middle else Node("scalar", "-\\infty")
    high = _parse(names[middle + 1], given) if middle + 1 < len(names) else Node("scalar", "\\infty")
    left = "[" if middle and operators[middle - 1] == "<=" else "("
    right = "]" if middle + 1 < len(names) and operators[middle] == "<=" else ")"
    return Node("tuple", left + right, (low, high))


def _bracketed(text: str, given: bool) -> Node | None:
    if found := _MATRIX.fullmatch(text):
        rows = [row for row in re.split(r"\\\\", found.group(2)) if row.strip()]
        cells = [tuple(_parse(cell, given) for cell in row.split("&")) for row in rows]
        return Node("matrix", parts=tuple(Node("tuple", "()", row) for row in cells))
    tokens = _tokens(text)
    opened = [position for token, depth, position in tokens if depth == 0]
    if text.startswith("\\{") and text.endswith("\\}"):
        inner = text[2:-2]
        for mark in ("\\mid", "|", ":"):
            if len(parts := _split(inner, frozenset((mark,)))) == 2:
                return _parse(parts[1], given)
        node = _parse(inner, given)
        return Node("set", parts=_flat(node))
    if text[:1] in ("(", "[") and text[-1:] in (")", "]") and opened[1:] in ([], [len(text) - 1]):
        inner = text[1:-1]
        if len(parts := _split(inner, _SEPARATORS)) > 1:
            return Node("tuple", text[0] + text[-1], tuple(_parse(part, given) for part in parts))
        return _parse(inner, given) if text[0] == "(" and text[-1] == ")" else None
    return None


def _leaf(text: str, given: bool) -> Node:
    if found := _BASE.fullmatch(text):
        base = _BASES.get(found.group(2)) or int(found.group(2))
        return Node("scalar", found.group(1), base=base)
    value, unit = split_unit(text, given=given)
    expression = notation.scalar(value)
    adjacent = re.search(r"(?<![\d_^])\d+\s+\d", expression) or _GROUPS.fullmatch(text)
    if adjacent or _WORDS.fullmatch(expression) or not is_plain(expression):
        return Node("text", notation.words(text))
    return Node("scalar", expression, unit=unit)


def _split(text: str, separators: frozenset[str]) -> list[str]:
    """Splits at separators outside of brackets. Words are separators in ``\\text{}`` or between spaces."""
    parts, start = [], 0
    for token, depth, position in _tokens(text):
        word = token[6:-1].strip(" ,") if token.startswith("\\text{") else token
        if depth == 0 and word in separators:
            parts.append(text[start:position])
            start = position + len(token)
    return [*parts, text[start:]]


def _tokens(text: str) -> list[tuple[str, int, int]]:
    """Returns (token, depth of brackets around it, position). A half-open interval closes as it may."""
    tokens, depth = [], 0
    for found in re.finditer(rf"(?<=\s)(?:or|and)(?=\s)|{_TOKEN.pattern}", text, re.DOTALL):
        token = found.group()
        closes = token in _CLOSE or token == "\\}"
        depth -= closes and depth > 0
        tokens.append((token, depth, found.start()))
        depth += token in _OPEN or token == "\\{"
    return tokens
