"""Coaches that share what was found in an episode, so that a test examines it once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

import conf
from coaches.audit import Audit
from coaches.audits.findings import Finding
from coaches.learned import Learned
from envs.types import Outcome, Turn

Findings = tuple[list[Finding], str]


def learned_from(audit: Audit, patch: pytest.MonkeyPatch) -> Learned:
    """Returns a ``learned`` coach that takes its evidence from ``audit``, which until ``patch`` is undone
    examines an episode once, although both coaches judge it one after another."""
    learned = conf.build("coaches", conf.load("coach", "learned"))
    assert isinstance(learned, Learned)
    learned.audit = audit
    patch.setattr(audit, "findings", _once(audit.findings))
    return learned


def _once(findings: Callable[[Sequence[Turn], Outcome], Findings]) -> object:
    known: list[tuple[Sequence[Turn], Findings]] = []

    def remembered(turns: Sequence[Turn], outcome: Outcome) -> Findings:
        if not known or known[0][0] is not turns:
            known[:] = [(turns, findings(turns, outcome))]
        return known[0][1]

    return remembered
