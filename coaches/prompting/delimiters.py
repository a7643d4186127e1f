"""Delimiters that separate data to be judged from instructions to the language model.

A block of data opens with ``<data-NONCE name>`` and closes with ``</data-NONCE>``. The nonce is drawn for
every call, after the agent has acted, so no agent can know it. Text that merely *resembles* a delimiter is
removed, and invisible characters are escaped, so that the model sees exactly what a block contains.
"""

from __future__ import annotations

import re
import secrets
import unicodedata

from envs.observations import truncate_middle

BLANK = "0" * 16
"""Replaces the nonce where the same data must always give the same text, as in a cache key."""
REMOVED = "[delimiter removed]"

_LETTERS = {
    "d": "dDԁⅾｄＤ𝐝𝑑𝖽𝗱𝚍ᗞ",  # letters that look like those of "data" in common fonts
    "a": "aAаɑαＡａΑА𝐚𝑎𝖺𝗮𝚊",
    "t": "tTтΤТｔＴ𝐭𝑡𝗍𝘁𝚝τ",
}
_DATA = r"[\s_.]*".join(f"[{_LETTERS[letter]}]" for letter in "data")
_OPENS, _CLOSES = "<＜‹〈⟨《«˂ᐸ≺❮❰", ">＞›〉⟩》»˃ᐳ≻❯❱"
_REST = rf"[^{_CLOSES}\n]{{0,80}}[{_CLOSES}]?"
_DELIMITER = re.compile(
    rf"[{_OPENS}]\s*(?:[/／⁄∕⧸╱\\]\s*{_DATA}|{_DATA}\s*[-‐‑‒–—−﹣－_]\s*[0-9A-Fa-f]{{6}}){_REST}"
)
"""What resembles a delimiter. A program's ``n <data-1`` does not."""


def new_nonce() -> str:
    """Returns sixteen random hexadecimal digits that nobody can guess."""
    return secrets.token_hex(8)


def block(name: str, text: str, nonce: str) -> str:
    """Returns ``text``, already made ``harmless``, between delimiters; ``name`` is a trusted description of
    it."""
    return f"<data-{nonce} {name}>\n{text}\n</data-{nonce}>"


def harmless(text: str, limit: int) -> str:
    """Returns head and tail of ``text`` in about ``limit`` characters, delimiters stripped, invisible
    characters escaped."""
    visible = "".join(map(_visible, truncate_middle(text, limit).replace("\r\n", "\n")))
    return truncate_middle(_DELIMITER.sub(REMOVED, visible), limit)


def _visible(character: str) -> str:
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
