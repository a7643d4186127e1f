"""Data for a language model to judge, set apart from what it is told to do.

A block of data opens with ``<data-NONCE name>`` and closes with ``</data-NONCE>``. The nonce is drawn for
every call, after the agent has acted, so no agent can know it. What only *looks* like such a mark is taken
out, and characters that do not show are written out: nothing in a block reads otherwise than it is.
"""

from __future__ import annotations

import re
import secrets
import unicodedata

from envs.observations import truncate_middle

BLANK = "0" * 16
"""Stands for the nonce where the same data must always give the same text, as in a cache's key."""
REMOVED = "[mark removed]"

_LETTERS = {
    "d": "dDԁⅾｄＤ𝐝𝑑𝖽𝗱𝚍ᗞ",  # letters that pass for those of "data" in usual fonts
    "a": "aAаɑαＡａΑА𝐚𝑎𝖺𝗮𝚊",
    "t": "tTтΤТｔＴ𝐭𝑡𝗍𝘁𝚝τ",
}
_DATA = r"[\s_.]*".join(f"[{_LETTERS[letter]}]" for letter in "data")
_OPENS, _CLOSES = "<＜‹〈⟨《«˂ᐸ≺❮❰", ">＞›〉⟩》»˃ᐳ≻❯❱"
_REST = rf"[^{_CLOSES}\n]{{0,80}}[{_CLOSES}]?"
_MARK = re.compile(
    rf"[{_OPENS}]\s*(?:[/／⁄∕⧸╱\\]\s*{_DATA}|{_DATA}\s*[-‐‑‒–—−﹣－_]\s*[0-9A-Fa-f]{{6}}){_REST}"
)
"""What passes for a mark. A program's ``n <data-1`` does not."""


def new_nonce() -> str:
    """Sixteen hexadecimal digits that nobody could have guessed."""
    return secrets.token_hex(8)


def block(name: str, text: str, nonce: str) -> str:
    """``text``, which is ``harmless`` already, between marks; ``name``, which is ours, says what it is."""
    return f"<data-{nonce} {name}>\n{text}\n</data-{nonce}>"


def harmless(text: str, limit: int) -> str:
    """Head and tail of ``text``, in about ``limit`` characters, without marks and with nothing hidden."""
    shown = "".join(map(_shown, truncate_middle(text, limit).replace("\r\n", "\n")))
    return truncate_middle(_MARK.sub(REMOVED, shown), limit)


def _shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in (
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Cn",
        "Zl",
        "Zp",
    ):
        return character
    return f"\\u{ord(character):04x}"
