"""What hostile code would send: values, texts and bytes that break readers, and changes to good ones."""

from __future__ import annotations

import json
import struct
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

_JSON = (
    "NaN", "Infinity", "-Infinity", "1e999", "-0", "1" * 4000, "1" * 5000, "-1", "2147483648", "1.5",
    "true", "null", '""', '"\\ud800"', '"\\u0000"', "[]", "{}", "[[[]]]", '"ok"', '"12"', '{"a": 1}',
    "18446744073709551616", '"' + "x" * 300 + '"', "[" * 3000 + "]" * 3000, '"\\udcff/../\\udcff"',
)  # fmt: skip
_TEXTS = (
    "", ".", "..", "/", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "a\0b", "\ud800", "\udcff", "é",
    "\u202egpj", "new\nline", "%00", "~", "-rf", "C:\\x", "x" * 255, "x" * 256, "x" * 5000, "a/" * 7 + "a",
    "a/" * 2000 + "a", ".hidden", "a b", "\U0001f600", "\x1b[2J", "con", "ok", "timeout", "\ufeff", "e\u0301",
)  # fmt: skip
_SIZES = (0, 1, 1 << 20, (1 << 20) + 1, 1 << 31, 2**32 - 1)

some_texts = st.sampled_from(_TEXTS)
hostile_texts: SearchStrategy[str] = (
    some_texts
    | st.lists(some_texts, min_size=1, max_size=9).map("/".join)
    | st.text(st.characters(exclude_categories=()), max_size=20)
)
"""Names and paths that must not be used as they are."""


def _arrays_and_objects(inner: SearchStrategy[str]) -> SearchStrategy[str]:
    members = st.tuples(some_texts.map(json.dumps), inner).map(": ".join)
    return st.lists(inner, max_size=4).map(lambda parts: f"[{', '.join(parts)}]") | st.lists(
        members, max_size=4
    ).map(lambda parts: f"{{{', '.join(parts)}}}")


raw_json: SearchStrategy[str] = st.recursive(
    st.sampled_from(_JSON) | some_texts.map(json.dumps) | st.integers(-(2**70), 2**70).map(str),
    _arrays_and_objects,
    max_leaves=8,
)
"""One JSON value, or nearly one, as text."""


@st.composite
def objects_like(draw: DrawFn, good: dict[str, Any]) -> str:
    """A JSON object as text: ``good``, with members left out, replaced, added and doubled."""
    members = [(json.dumps(key), json.dumps(value)) for key, value in good.items()]
    for _ in range(draw(st.sampled_from((0, 0, 1, 1, 2, 3)))):
        place = draw(st.integers(0, max(0, len(members) - 1)))
        change = draw(st.sampled_from(("replace", "replace", "remove", "add")))
        if change == "remove":
            del members[place : place + 1]
        elif change == "replace" and members:
            members[place] = members[place][0], draw(raw_json)
        else:
            name = draw(st.sampled_from(("error", "detail", "ready", "op", "path", *good)) | some_texts)
            members.insert(place, (json.dumps(name), draw(raw_json)))
    return "{" + ", ".join(f"{key}: {value}" for key, value in members) + "}"


def mostly(common: SearchStrategy[str], rare: SearchStrategy[str], odds: int = 9) -> SearchStrategy[str]:
    """Draws from ``common`` ``odds`` times as often as from ``rare``."""
    return st.sampled_from((common,) * odds + (rare,)).flatmap(lambda chosen: chosen)


@st.composite
def frames(draw: DrawFn, text: SearchStrategy[str], body: SearchStrategy[bytes]) -> bytes:
    """A frame of a header and a body, in some encoding, with lengths that may lie, some bytes changed."""
    coding = draw(st.sampled_from(("utf-8",) * 8 + ("utf-16", "utf-32", "utf-16-be", "latin-1")))
    header = draw(text).encode(coding, "replace" if coding == "latin-1" else "surrogatepass")
    content = draw(body)
    sizes = [len(header), len(content)]
    if draw(st.integers(0, 6)) == 0:
        place = draw(st.integers(0, 1))
        sizes[place] = draw(st.sampled_from((*_SIZES, sizes[place] + 1, max(0, sizes[place] - 1))))
    return draw(changed(struct.pack(">II", *sizes) + header + content))


@st.composite
def changed(draw: DrawFn, data: bytes) -> bytes:
    """``data``, in half of the cases with a few bytes replaced, cut out, put in or doubled."""
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2, 4)))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from((0, 1, 2, 4, 16, 200))))
        middle = draw(st.binary(max_size=8) | st.just(data[start:end] * 2) | st.just(b"\xff" * (end - start)))
        data = data[:start] + middle + data[end:]
    return data
