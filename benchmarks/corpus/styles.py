"""How the scripted team goes about its work: the same work in more or fewer turns and words."""

from __future__ import annotations

from dataclasses import dataclass

STYLES = ("brief", "explorer", "repairer", "wordy")
"""``brief`` acts at once; ``explorer`` looks first; ``repairer`` fails first, harmlessly, and mends it;
``wordy`` is ``brief`` with prose around."""


@dataclass(frozen=True)
class Manner:
    """A style, and which of several sound ways of working is taken."""

    style: str
    way: int

    @classmethod
    def of(cls, seed: int, style: str | None = None) -> Manner:
        """What ``seed`` stands for: the style is its remainder, the way of working its quotient."""
        return cls(style or STYLES[seed % len(STYLES)], seed // len(STYLES))

    def prose(self, text: str) -> str:
        """``text`` in front of an action, where the style is wordy."""
        return f"{text}\n\n" if self.style == "wordy" else ""


def program(code: str) -> str:
    """``code`` as an action's block."""
    return f"```python\n{code.strip()}\n```"
