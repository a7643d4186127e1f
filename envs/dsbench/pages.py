"""Cuts a raw competition page, HTML or markdown, down to what somebody who models the data needs.

Kept are the sections about the problem, the data, the metric and the submission; timelines, prizes, rules,
citations and the like are left out, and so are images, addresses and markup. The result is bounded: where a
page is still too long, sections about data, metric and submission come before all others, and what does not
fit is left out by whole paragraphs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import groupby

MAX_CHARS = 4000
"""Most characters of a description that ``cut`` returns."""
_MAX_PAGE = 2**20
_MARKUP = re.compile(r"<(?:p|div|h[1-6]|ul|ol|li|table|br|span|a|img|b|strong|em|html|body)\b[^<>]*>", re.I)
_HEADING = re.compile(r"(#{1,6})\s*(.*?)[\s#]*|\*\*([^*]{2,80})\*\*:?|__([^_]{2,80})__:?")
_UNDERLINE = re.compile(r"(=|-){3,}\s*")
_DROPPED = re.compile(
    r"timeline|schedule|deadlines?\b|important dates|prizes?|awards?|leaderboard|citations?\b|cite|"
    r"acknowledge?ments?|thanks|sponsors?|hosts?\b|organi[sz]ers?|partners?|about (?:us|the|kaggle)\b|team|"
    r"merg|code requirements|notebooks? requirements|code competition|rules|eligib|faq|frequently|forum|"
    r"discord|discussion|chat|help|support|contact|tutorials?|getting started|get started|learn|how to enter|"
    r"recommended|external resources|efficiency|working note|privacy|licen[sc]e|terms",
    re.I,
)
_NEEDED = re.compile(
    r"evaluat|metric|scor|submi|\bdata(?:set)?\b|files?\b|columns?|fields?|features?|variables?|target|goal|"
    r"task|predict|format|problem|challenge",
    re.I,
)
_BLOCKS = frozenset(
    (
        *("address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "figure", "footer", "form"),
        *("header", "hr", "li", "main", "ol", "p", "pre", "section", "table", "tbody", "thead", "tr", "ul"),
    )
)
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_SILENT = frozenset(("script", "style", "svg", "head", "noscript", "template", "iframe", "button", "nav"))
_CLEANED = (
    (re.compile(r"<!--(?:(?!<!--|-->)[\s\S])*-->"), ""),
    (re.compile(r"!\[[^\[\]]*\](?:\([^()]*\)|\[[^\[\]]*\])?"), ""),
    (re.compile(r"\[([^\[\]]*)\]\((?:[^()]|\([^()]*\))*\)"), r"\1"),
    (re.compile(r"(?m)^[ \t]*\[[^\[\]]+\]:\s*\S+.*$"), ""),
    (re.compile(r"<?https?://[^\s<>)]+>?"), ""),
)


@dataclass(frozen=True)
class _Section:
    title: str
    level: int
    """1 to 6; 0 for the text before the first heading."""
    paragraphs: tuple[str, ...]

    @property
    def needed(self) -> bool:
        return bool(_NEEDED.search(self.title))


def cut(page: str, limit: int = MAX_CHARS) -> str:
    """Returns what a modeller needs of ``page``, in at most ``limit`` characters, without headings' marks.

    >>> cut("## Goal\\nPredict the price.\\n## Prizes\\n$1,000\\n## Metric\\nRMSE of [log](http://x) prices.")
    'Goal:\\n\\nPredict the price.\\n\\nMetric:\\n\\nRMSE of log prices.'
    """
    text = page[:_MAX_PAGE].replace("\r\n", "\n").replace("\r", "\n")
    if _MARKUP.search(text):
        text = _as_text(text)
    for pattern, replacement in _CLEANED:
        text = pattern.sub(replacement, text)
    sections = _sections(text)
    kept = _without_dropped(sections)
    return _fitted([section for section in kept if section.paragraphs] or sections, limit)


def _sections(text: str) -> list[_Section]:
    title, level, sections = "", 0, []
    lines: list[str] = []
    fenced = False
    for line in text.split("\n"):
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        found = None if fenced else _HEADING.fullmatch(line.strip()[:300])
        if not fenced and _UNDERLINE.fullmatch(line) and lines and lines[-1].strip() and len(lines[-1]) <= 80:
            found = _HEADING.fullmatch(f"{'#' if line[0] == '=' else '##'} {lines.pop().strip()}")
        if found is None:
            lines.append(line)
            continue
        sections.append(_Section(title, level, _paragraphs(lines)))
        title = (found[2] or found[3] or found[4] or "").strip(" *_:")
        level, lines = len(found[1]) if found[1] else 6, []
    return [*sections, _Section(title, level, _paragraphs(lines))]


def _paragraphs(lines: list[str]) -> tuple[str, ...]:
    neat = [line.rstrip() if line[:1] in (" ", "\t") else " ".join(line.split()) for line in lines]
    parts = ("\n".join(group) for filled, group in groupby(neat, bool) if filled)
    return tuple(part for part in parts if part.strip(" -*_|.\n\t"))


def _without_dropped(sections: list[_Section]) -> list[_Section]:
    """Returns the sections that are needed; the subsections of one that is left out are left out too."""
    kept, inside = [], 7
    for section in sections:
        if section.level > inside:
            continue
        inside = 7
        if section.level and _DROPPED.search(section.title) and not section.needed:
            inside = section.level
        else:
            kept.append(section)
    return kept


def _fitted(sections: list[_Section], limit: int) -> str:
    """Returns the paragraphs that fit, in the order of the page; needed sections come first."""
    parts: list[tuple[bool, str]] = []
    for section in sections:
        heading = [f"{section.title}:"] if section.title and section.paragraphs else []
        parts += [(section.needed, part) for part in (*heading, *section.paragraphs)]
    chosen: set[int] = set()
    room = limit
    for needed in (True, False):
        for place, (is_needed, part) in enumerate(parts):
            if is_needed == needed and len(part) + 2 <= room:
                chosen.add(place)
                room -= len(part) + 2
    if not chosen and parts:
        return parts[0][1][: max(limit - 1, 0)].rstrip() + "…"
    return "\n\n".join(part for place, (_, part) in enumerate(parts) if place in chosen)


def _as_text(page: str) -> str:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return "".join(reader.parts)


class _Reader(HTMLParser):
    """Writes a page of HTML as text with markdown's headings."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent.append(tag)
        elif tag in _HEADINGS:
            self.parts.append(f"\n\n{'#' * int(tag[1])} ")
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag in ("td", "th"):
            self.parts.append(" | ")
        elif tag in _BLOCKS:
            self.parts.append("\n" if tag in ("br", "tr", "dd", "dt") else "\n\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:
            while self._silent.pop() != tag:
                pass
        elif tag in _HEADINGS or (tag in _BLOCKS and tag not in ("br", "li", "tr")):
            self.parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)
