"""Where audits run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conf.ranges import Positive


@dataclass(frozen=True)
class Auditing:
    """Where audits run, and for how long."""

    env: list[Any]
    """Nodes of the environments that may have a recorded episode's task."""
    sandbox: Any
    """The node of the sandbox backend for audits and programs."""
    timeout: Positive
    """Seconds for the audits of one moment."""
