"""Examines an episode, or its turns so far: gets its files, opens a sandbox for them and runs every audit."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import cast

from coaches.audits import artifacts, chain, layout, programs, swallowed, trees, unsaved
from coaches.audits.box import Box
from coaches.audits.findings import Finding, Strength
from coaches.audits.settings import Auditing
from coaches.base import CoachError
from coaches.judging.inner import build
from coaches.replay import kept
from coaches.replay.branches import ReplayError
from coaches.replay.programs import Files, Programs
from coaches.replay.stages import Stages
from envs.types import Outcome, Turn
from sandbox.base import Backend, SandboxError


class AuditSandboxError(CoachError):
    """The sandbox of the audits could not be opened."""


class Examiner:
    """Runs the audits (``coaches.audits``). Thread-safe; the first episode starts the sandboxes.

    The files are those that the run kept (``History.store``), or come from running the programs of the record
    again (``coaches.replay.programs``); where neither can be had, texts and checks alone are audited.
    """

    def __init__(self, config: Auditing) -> None:
        self._config = config
        self._lock = threading.Lock()

    def close(self) -> None:
        """Ends the sandboxes of audits and programs, if any were opened."""
        for part in ("programs", "_backend"):
            if part in vars(self):
                vars(self).pop(part).close()

    def findings(self, turns: Sequence[Turn], outcome: Outcome | None) -> tuple[list[Finding], str]:
        """Returns what the audits find, and what was not audited ("" if everything was).

        ``outcome``: None while it is not known.

        Raises:
            AuditSandboxError: the sandbox of the audits could not be opened.
        """
        ends = [turn.index for turn in turns if turn.last]
        names, deep = layout.names(turns), trees.unread(turns)
        if names is None:
            with self._box() as box:
                box.missed |= deep
                found = [*chain.examine(turns, outcome, box.value), *programs.of_chain(turns, box.value)]
                return [*found, *_hidden(turns, [{}] * len(turns), box)], box.note()
        found = [*unsaved.examine(turns, ends), *programs.examine(turns)]
        try:
            moments = kept.moments(turns) or self.programs.moments(turns)
        except ReplayError as error:
            return found, "; ".join(["", f"files were not audited: {error}", *deep])
        with self._box() as box:
            box.missed |= deep | dict.fromkeys(kept.left_out(turns, moments))
            found += artifacts.examine(turns, moments, names, box)
            found += _hidden(turns, moments, box)
            return found, box.note()

    def _box(self) -> Box:
        with self._lock:
            backend = self._backend
        try:
            return Box(backend, self._config.timeout)
        except SandboxError as error:
            raise AuditSandboxError(str(error)) from error

    @cached_property
    def _backend(self) -> Backend:
        return cast(Backend, build(self._config.sandbox, "sandbox"))

    @cached_property
    def programs(self) -> Programs:
        """Where programs of a record run again."""
        return Programs(Stages(self._config.env, self._config.sandbox))


def _hidden(turns: Sequence[Turn], moments: Sequence[Files], box: Box) -> list[Finding]:
    """Runs the programs again that handle errors, and returns those that hid one."""
    found = []
    for turn in turns:
        program = None if turn.code is None else swallowed.exposed(turn.code)
        if program is not None:
            there = box.bring(moments[turn.index])
            if there and (error := swallowed.hidden(box.value(program))):
                strength: Strength = "proof" if swallowed.of_program(error) else "doubt"
                found.append(Finding("hidden error", turn.index, strength, f"its program hid {error}"))
    return found
