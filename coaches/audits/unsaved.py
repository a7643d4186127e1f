"""Which turn of a stage is to blame for a product that was never left as it should be?

The last words of a stage leave nothing; the program before them did, or should have."""

from __future__ import annotations

from collections.abc import Sequence

from coaches.audits.findings import Finding
from coaches.evidence import checks
from envs.types import Turn


def examine(turns: Sequence[Turn], ends: Sequence[int]) -> list[Finding]:
    """Returns a finding for the first stage that ended with a bad product although its inputs were in order.

    ``ends``: indices of the last turn of each finished stage.
    """
    for end in ends:
        codes = {name: code for name, code in checks.product_codes(turns[end]).items() if code != "ok"}
        inherited, spoiled = checks.bad_inputs(turns[: end + 1])
        if spoiled:
            states = ", ".join(f"{name} {checks.input_codes(turns[end])[name]}" for name in spoiled)
            return [Finding("products", _last_program(turns, end), "proof", f"spoiled {states}")]
        if codes and not inherited:
            states = ", ".join(_state(turns[end], name, code) for name, code in codes.items())
            return [Finding("products", _maker(turns, end, list(codes)), "proof", states)]
    return []


def _state(turn: Turn, name: str, code: str) -> str:
    detail = next((check.detail for check in turn.checks if check.name == name), "")
    return f"{name} {code}" + (f" ({detail[:120]})" if detail else "")


def _maker(turns: Sequence[Turn], end: int, names: Sequence[str]) -> int:
    """Returns the stage's turn that wrote the last version of a bad product, or else its last program."""
    for turn in reversed(turns[: end + 1]):
        if turn.agent != turns[end].agent:
            break
        before = {file.path: file.sha256 for file in turn.files_before}
        if any(file.path in names and before.get(file.path) != file.sha256 for file in turn.files_after):
            return turn.index
    return _last_program(turns, end)


def _last_program(turns: Sequence[Turn], end: int) -> int:
    own = [turn for turn in turns[: end + 1] if turn.agent == turns[end].agent and turn.code is not None]
    return own[-1].index if own else turns[end].index
