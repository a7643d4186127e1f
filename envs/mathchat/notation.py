"""One way of writing: LaTeX and plain text of an answer, brought to the form that ``structure`` reads.

Nothing here decides whether answers are equal, and no value is rounded.
"""

from __future__ import annotations

import re

_SPACES = re.compile(r"(?<!\\)\\[,;:> ]|\\q?quad\b|~|\s+")
_FONTS = re.compile(
    r"\\(?:text(?:bf|rm|it|sf|tt|normal)?|math(?:rm|bf|it|sf|tt)|[mh]box|operatorname\*?|underline)\s*\{([^{}]*)\}"
)
_SYMBOL = re.compile(r"\s*(?:\\\$|[€£¥₹%°])\s*")
_POWERED = re.compile(r"([^\d^]+)(\^\s*-?\d)\s*")
_QUANTITY = re.compile(r"\\(?:SI|qty)\s*\{([^{}]*)\}\s*\{([^{}\\]*)\}|\\num\s*\{([^{}]*)\}")
_GROUP = re.compile(r"\{([^{},]*)\}")
_WORD = re.compile(r"\\text\{([^{}]*)\}")
_LAYOUT = re.compile(
    r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|nolimits)(?![a-zA-Z])|\\[()]|\\\[|\\\](?!\s*\{)"
)
_COLOR = re.compile(r"\\(?:text)?color\s*\{[^{}]*\}")
_EMPHASIS = re.compile(r"^(?:\*\*|__)(.*)(?:\*\*|__)$", re.DOTALL)
_QUOTIENT = re.compile(
    r"\\frac\s*\{\s*\\(?:text|mathrm)\{([^{}]*)\}\s*\}\s*\{\s*\\(?:text|mathrm)\{([^{}]*)\}\s*\}"
)
_DOLLAR = re.compile(r"(?<!\\)\$")
_DEGREE = re.compile(r"\^\s*\{?\s*(?:\\circ|\\degree)(?![a-zA-Z])\s*\}?|\\degree(?![a-zA-Z])|º")
_INNER_DEGREE = re.compile(r"(\d+(?:\.\d+)?)\s*°")
_SYNONYMS = {
    "\\!": "", "−": "-", "–": "-", "\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cfrac": "\\frac",
    "\\lbrace": "\\{", "\\rbrace": "\\}", "\\langle": "(", "\\rangle": ")", "\\lbrack": "[", "\\rbrack": "]",
    "\\varnothing": "\\emptyset", "∅": "\\emptyset", "±": "\\pm ", "×": "\\times ", "·": "\\cdot ",
    "÷": "\\div ", "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "≈": "\\approx ", "∈": "\\in ", "∪": "\\cup ",
    "∞": "\\infty ", "π": "\\pi ", "\\%": "%", "\\textdollar": "\\$", "\\dollar": "\\$", "**": "^",
    "\\lt": "<", "\\gt": ">", "\\mathdollar": "\\$", "\\colon": ":",
}  # fmt: skip
_SYNONYM = re.compile(
    "|".join(
        re.escape(key) + ("(?![a-zA-Z])" if key[-1].isalpha() else "")
        for key in sorted(_SYNONYMS, key=len, reverse=True)
    )
)
_PREAMBLE = re.compile(
    r"^(?:(?:so|thus|hence|therefore)\b,?\s*)?(?:the\s+)?(?:final\s+)?answer(?:\s+is\b|\s*[:=])\s*:?\s*", re.I
)
_CASELESS = re.compile(
    r"(?<![\\A-Za-z])(?:[A-Z]?[a-z]{2,}|No|YES|NO|TRUE|FALSE|NONE|EVEN|ODD|DNE)(?![A-Za-z])"
)
_CHOICE = re.compile(
    r"(?:\(([A-J])\)|([A-J])(?=[.:)]|\s+-\s+(?:the|a|an|none|all|both|[a-z]{4,})\b))(?:[.:)]|\s+-)?(?P<rest>.*)",
    re.DOTALL,
)
_OPTION = re.compile(r"^(?:option|choice|answer)\b\s*", re.IGNORECASE)
_OTHER_CHOICE = re.compile(r"\([A-J]\)|\b[A-J][).:]|^\s*(?:,|;|&|and\b|or\b)")
_INTEGER = re.compile(r"([+-]?)\s*(\d+|\d{1,3}(?:(?:,|\{,\}|\{ \}| )\d{3})+)(?:\.0*)?")

_FUNCTIONS = "sqrt|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|log|ln|exp"
_CONSTANTS = "pi|infinity|infty|oo|theta|alpha|beta|phi"
_PLAIN_ROOT = re.compile(r"(?<![\\a-zA-Z])sqrt\s*\(([^()]*)\)|√\s*\(([^()]*)\)|√\s*(\d+)")
_PLAIN_NAME = re.compile(rf"(?<![\\a-zA-Z])({_FUNCTIONS}|{_CONSTANTS})(?![a-zA-Z])")
_MIXED = re.compile(
    r"(?<![\d.^_{}])(\d+)\s*(?:(?=\\frac)(\\frac\s*(?:\{\d+\}|\d)\s*(?:\{\d+\}|\d))|(?<=\s)(\d+/\d+))"
)
_SCIENTIFIC = re.compile(r"(?<=\d)[eE]([+-]?\d+)(?![\d.]*[a-zA-Z])")
_TIMES_TEN = re.compile(r"(?<=[\d.])\s*[xX]\s*(?=10\s*\^)")
_REPEATING = re.compile(r"(\d*)\.(\d*)\\overline\s*\{(\d+)\}")
_DECIMAL = re.compile(r"(\d*)\.(\d+)|(\d+)\.(?!\d)")
_POWER = re.compile(r"\^\s*([+-]?\d+)")
_PRODUCT = re.compile(r"\)\s*(?=[(\d])|(?<![\d_^.])\d+\s*(?=\()")
_GROUPED = re.compile(r"(?<![\d.])(\d{1,3}(?:(?:\{,\}|\{ \}| )\d{3})+)(?!\d)")


def clean(answer: str) -> str:
    r"""Returns ``answer`` without layout: one command for each meaning, single spaces, words in ``\text{}``.

    >>> clean(r"\$ $x=1,\!024$ \mathrm{ cm}.")
    '\\$ x=1,024 \\text{ cm}'
    """
    text = _EMPHASIS.sub(r"\1", _COLOR.sub("", answer.strip()))
    text = _SYNONYM.sub(lambda found: _SYNONYMS[found.group()], text)
    text = _SPACES.sub(" ", _LAYOUT.sub("", _DEGREE.sub("°", text)))
    text = _QUOTIENT.sub(r"\\text{\1/\2}", _QUANTITY.sub(_quantity, text))
    text = _DOLLAR.sub("", _FONTS.sub(_font, text)).strip().removesuffix(".").strip()
    if (grouped := _GROUP.fullmatch(text)) is not None:
        text = grouped[1].strip()
    text = re.sub(r"^\\text\{([^{}]*)\}$", r"\1", text).strip()
    text = _PREAMBLE.sub("", re.sub(r"^\\text\{([^{}]*\banswer\b[^{}]*)\}", r"\1 ", text, flags=re.I))
    return text.removesuffix(".").strip()


def _font(found: re.Match[str]) -> str:
    """Words stay in ``\text{}``; a symbol, a number, and a letter in another font is itself."""
    content = found.group(1)
    alone = len(content.strip()) < 2 and not found.group().startswith("\\text")
    if alone or content.strip().isdigit() or _SYMBOL.fullmatch(content):
        return content
    if (powered := _POWERED.fullmatch(content)) is not None:
        return f"\\text{{{powered[1]}}}{powered[2]}"
    return f"\\text{{{content}}}"


def _quantity(found: re.Match[str]) -> str:
    return found[3] if found[1] is None else f"{found[1]}\\text{{ {found[2]}}}"


def words(text: str) -> str:
    """Returns ``text`` for a comparison of words: no spaces or markup; case counts in symbols, but not in
    words: letters of which only the first may be a capital.

    >>> words(r"\\text{ No Solution}")
    'nosolution'
    """
    flat = _WORD.sub(r" \1 ", text).replace("{,}", ",").replace("\\ ", " ").strip()
    flat = _CASELESS.sub(lambda found: found.group().lower(), flat)
    flat = re.sub(r"(?<=[_^])\{(\w)\}", r"\1", flat)
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", flat).strip(".")


def integer(text: str) -> str | None:
    """Returns the integer that ``text`` writes, without leading zeros and separators of thousands, or None.

    >>> integer("1{,}024.0"), integer("1,2")
    ('1024', None)
    """
    if (found := _INTEGER.fullmatch(text.strip())) is None:
        return None
    digits = re.sub(r"[^\d]", "", found.group(2)).lstrip("0") or "0"
    return f"-{digits}" if found.group(1) == "-" and digits != "0" else digits


def choice(text: str) -> tuple[str, str] | None:
    """Returns (letter, its text) of an answer that picks one of several choices; None if it does not.

    >>> choice("E: the last"), choice(r"\\text{(B) }7"), choice("A and C")
    (('E', 'the last'), ('B', '7'), None)
    """
    flat = _OPTION.sub("", _WORD.sub(r"\1 ", text).strip()).strip()
    if re.fullmatch(r"[A-J]", flat):
        return flat, ""
    found = _CHOICE.match(flat)
    if found is None or _OTHER_CHOICE.search(rest := found["rest"]):
        return None
    return found.group(1) or found.group(2), rest.strip()


def scalar(text: str) -> str:
    r"""Returns a number or expression in LaTeX without decimals, mixed numbers or plain names.

    >>> scalar("2 1/2"), scalar("0.25x"), scalar("1.5e3")
    ('(2+1/2)', '(\\frac{25}{100})x', '(\\frac{15}{10})\\cdot 10^{3}')
    """
    text = _GROUPED.sub(lambda found: re.sub(r"[^\d]", "", found.group()), text)
    text = _PLAIN_ROOT.sub(lambda found: f"\\sqrt{{{next(filter(None, found.groups()), '')}}}", text)
    text = _PLAIN_NAME.sub(
        lambda found: f"\\{'infty' if found[1] in ('oo', 'infinity') else found[1]} ", text
    )
    text = _INNER_DEGREE.sub(r"(\\frac{\1\\pi}{180})", text)
    text = _TIMES_TEN.sub(r"\\cdot ", _SCIENTIFIC.sub(r"\\cdot 10^{\1}", text))
    text = _MIXED.sub(lambda found: f"({found[1]}+{found[2] or found[3]})", text)
    text = _PRODUCT.sub(lambda found: f"{found.group()}\\cdot ", text)
    text = _DECIMAL.sub(_fraction, _REPEATING.sub(_repeating, text))
    return _POWER.sub(r"^{\1}", text).strip()


def _fraction(found: re.Match[str]) -> str:
    whole, part = (found.group(1), found.group(2)) if found.group(2) else (found.group(3), "")
    return f"(\\frac{{{int(whole + part or '0')}}}{{{10 ** len(part)}}})" if part else whole


def _repeating(found: re.Match[str]) -> str:
    """``0.1\\overline{6}`` is (16 − 1) / 90."""
    whole, fixed, period = found.groups()
    top = int(whole + fixed + period) - int(whole + fixed or "0")
    return f"(\\frac{{{top}}}{{{(10 ** len(period) - 1) * 10 ** len(fixed)}}})"
