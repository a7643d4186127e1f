"""What stands beside a number: units, currencies, percent, counted things and multiples like million."""

from __future__ import annotations

import re

_CURRENCY = re.compile(
    r"^([+-]?)\s*(?:US\s*)?(\\\$|[€£¥₹])\s*(?=[\d.(\\])|^([+-]?)\s*(?:\\text\{\s*)?(USD|EUR|GBP)\s*\}?\s*(?=[\d.])"
)
_TRAILING_CURRENCY = re.compile(r"(?<=[\d)}.])\s*(\\\$|[€£¥₹])$")
_MARK = re.compile(r"(?<=[\d)}.])\s*(°\s*(?:\\text\{\s*[CF]\s*\}|[CF](?![a-zA-Z]))?|%)$")
_ANGLE_OF = re.compile(r"(?:sin|cos|tan|cot|sec|csc)(?![a-zA-Z])")
_POWER = r"(?:\s*\^\s*\{?\s*-?\d\s*\}?)?"
_TEXT = r"\\text\{\s*\(?[^{}\d,;=<>()]*[^\W\d_][^{}\d,;=<>()]*\)?\s*\}"
_LETTERS = r"(?:[^\W\d_]{2,}\.?)"
_UNIT = re.compile(
    rf"(?P<value>.*?[\d)}}.!])\s*(?P<unit>(?:{_TEXT}{_POWER}|(?<=\s){_LETTERS}{_POWER}|(?<=\d)(?:mm|cm|km|kg|mg|ml|mph|ft|in|hrs?|mins?){_POWER})"
    rf"(?:\s*(?:[/-]|\\cdot)?\s*(?:{_TEXT}|[^\W\d_]+\.?){_POWER})*)$"
)
_LETTER_UNIT = re.compile(
    r"(?P<value>.*[\d)}.])\s+(?P<unit>[mgshLlJNWVAKC](?:\s*\^\s*\{?[23]\}?|\s*/\s*[sh](?:\s*\^\s*\{?2\}?)?)?)$"
)
_ORDINALS = (
    r"(?:third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|\w*(?:teen|tie|hundred|thousand|illion)th)s?"
)
_NUMBERS = "zero|one|two|three|four|five|six|seven|eight|nine|ten"
_NO_UNIT = re.compile(
    rf"(?i)\b(?:half|halves|{_ORDINALS}|{_NUMBERS}|squared|cubed|doubled|tripled|halved|negated|negative|positive"
    r"|factorial|divided|multiplied|raised|powers?|root|by|point|below|above|or|and|not|if|when|where|is|are|but"
    r"|except|more|less|than|at|least|most|mod|modulo|infinity|pi|sqrt|sin|cos|tan|log|ln|exp|choose|times|plus"
    r"|minus|over|base|to|the|theta|alpha|beta|phi|with|for|i|x|y|z)\b"
)
"""Words that change a number, so that it is another."""
_MULTIPLES = {
    "hundred": "100", "gross": "144", "dozen": "12", "thousand": "10^{3}", "k": "10^{3}", "lakh": "10^{5}",
    "million": "10^{6}", "mn": "10^{6}", "mio": "10^{6}", "crore": "10^{7}", "billion": "10^{9}",
    "bn": "10^{9}", "trillion": "10^{12}", "tn": "10^{12}", "quadrillion": "10^{15}",
    "quintillion": "10^{18}",
}  # fmt: skip
_MEGA = re.compile(r"(?<![^\W\d_])M(?=(?:Wh?|VA?|A|J|N|Hz|Pa|B|b|eV|g|t|m|s|l|L)(?![^\W\d_]))")
"""The one letter whose case decides a unit: MW and mW."""
_INVERSE = re.compile(r"(?:·\s*| )([^\W\d_]+)\^-(\d)")
_SAME = {
    "\\$": "dollar", "$": "dollar", "usd": "dollar", "€": "euro", "eur": "euro", "£": "pound", "gbp": "pound",
    "¥": "yen", "₹": "rupee", "°": "degree", "deg": "degree", "percent": "%", "pct": "%", "°c": "celsius",
    "°f": "fahrenheit", "rad": "radian", "mm": "millimeter", "cm": "centimeter", "m": "meter",
    "km": "kilometer",
    "metre": "meter", "centimetre": "centimeter", "kilometre": "kilometer", "millimetre": "millimeter",
    "in": "inch", "inches": "inch", "ft": "foot", "feet": "foot", "mi": "mile", "yd": "yard", "s": "second",
    "sec": "second", "min": "minute", "h": "hour", "hr": "hour", "g": "gram", "kg": "kilogram",
    "lb": "pound", "oz": "ounce", "ml": "milliliter", "l": "liter", "litre": "liter", "sq": "square",
    "cu": "cubic", "kph": "kilometer/hour", "kmh": "kilometer/hour", "mph": "mile/hour", "per": "/",
    "people": "person", "men": "man", "women": "woman", "children": "child", "dice": "die",
}  # fmt: skip


def split_unit(text: str, *, given: bool) -> tuple[str, str]:
    r"""Returns (value, unit) of a number with its unit; the unit is ``""`` if there is none.

    ``given``: of an agent's answer, where a letter after a space may be a unit (``7 m``); the letters of a
    correct answer are variables unless they are in ``\text{}``.

    >>> split_unit(r"45\text{ km/h}", given=False), split_unit("7m", given=True)
    (('45', 'kilometer/hour'), ('7m', ''))
    """
    if found := _CURRENCY.match(text):
        symbol = found.group(2) or found.group(4)
        value, unit = _words_unit((found.group(1) or found.group(3) or "") + text[found.end() :].strip())
        return value, _join(symbol, unit)
    for mark in (_TRAILING_CURRENCY, _MARK):
        if (found := mark.search(text)) and not _ANGLE_OF.search(text):
            return text[: found.start()].strip(), canonical(found.group(1))
    value, unit = _words_unit(text)
    if not unit and given and (found := _LETTER_UNIT.fullmatch(value)):
        return found["value"].strip(), canonical(found["unit"])
    return value, unit


def canonical(unit: str) -> str:
    r"""Returns one name for units that mean the same.

    >>> canonical(r"\text{sq. cm}"), canonical(r"\text{ cm}^2"), canonical("hours")
    ('centimeter^2', 'centimeter^2', 'hour')
    """
    flat = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", unit).replace("\\cdot", "·")
    flat = _MEGA.sub("mega", flat).lower()
    flat = re.sub(r"°\s+(?=[cf]$)", "°", flat.strip())
    parts = [_one(part) for part in re.findall(r"[^\W\d_]+|\\\$|°[cf]?|\d+|[^\w\s.{}]", flat)]
    for word, power in (("square", "2"), ("cubic", "3")):
        while word in parts and (at := parts.index(word)) + 1 < len(parts):
            parts[at : at + 2] = [parts[at + 1], "^", power]
    joined = "".join(part if part in "/^·%°-" or part.isdigit() else f" {part}" for part in parts)
    return _INVERSE.sub(_over, joined.strip()).replace("/ ", "/").strip()


def _over(found: re.Match[str]) -> str:
    return f"/{found[1]}" + ("" if found[2] == "1" else f"^{found[2]}")


def _one(word: str) -> str:
    singular = word[:-1] if len(word) > 2 and word.endswith("s") and not word.endswith("ss") else word
    return _SAME.get(word, _SAME.get(singular, singular))


def _words_unit(text: str) -> tuple[str, str]:
    found = _UNIT.fullmatch(text)
    if found is None:
        return text, ""
    parts = re.findall(r"[^\W\d_]+", found["unit"].replace("\\text", " ").replace("\\cdot", " "))
    named = [part.lower() for part in parts]
    if _NO_UNIT.search(" ".join(named)):
        return text, ""
    value, unit = found["value"].strip(), found["unit"]
    multiple = "million" if parts[0] == "M" else named[0].removesuffix("s") if len(named[0]) > 4 else named[0]
    if multiple in _MULTIPLES:
        value = f"({value})\\cdot {_MULTIPLES[multiple]}"
        unit = unit.replace(parts[0], "", 1)
    return value, canonical(unit)


def _join(symbol: str, unit: str) -> str:
    currency = canonical(symbol)
    return currency if unit in ("", currency) else f"{currency} {unit}"
