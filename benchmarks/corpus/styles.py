"""Styles of the scripted team: the same work in more or fewer turns and words."""

from __future__ import annotations

from dataclasses import dataclass

STYLES = ("brief", "explorer", "repairer", "wordy")
"""``brief`` acts at once; ``explorer`` inspects the data first; ``repairer`` first makes a harmless error and
then fixes it; ``wordy`` is ``brief`` with additional prose."""
WAYS = 2
"""Number of usual ways of working, each of which the unusual ones vary."""


@dataclass(frozen=True)
class Manner:
    """A style, and the number of one of several sound ways of working."""

    style: str
    way: int

    @property
    def habit(self) -> int:
        """The number of an unusual way of working (``habits``); 0: a usual one."""
        return self.way // WAYS

    @classmethod
    def of(cls, seed: int, style: str | None = None) -> Manner:
        """Returns the manner for ``seed``: its remainder gives the style, its quotient the way of working."""
        return cls(style or STYLES[seed % len(STYLES)], seed // len(STYLES))

    def prose(self, text: str) -> str:
        """Returns ``text`` to put in front of an action if the style is wordy, otherwise nothing."""
        return f"{text}\n\n" if self.style == "wordy" else ""


def program(code: str) -> str:
    """Returns ``code`` as a fenced python block."""
    return f"```python\n{code.strip()}\n```"
