"""What the tools of one turn returned, as the result of the turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def returned(text: str, *, failed: bool, status: str = "error") -> Row:
    """Returns the result of one tool. ``status``: what it is if the tool failed."""
    return {"status": status if failed else "ok", "stderr" if failed else "stdout": text}


def joined(results: Sequence[Row]) -> Row | None:
    """Returns the results of a turn's tools as one: failed if any failed; None if there are none."""
    if len(results) < 2:
        return results[0] if results else None
    failed = any(one["status"] != "ok" for one in results)
    said = "\n".join(one.get("stdout", "") + one.get("stderr", "") for one in results)
    return returned(said, failed=failed)
