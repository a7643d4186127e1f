"""Decides whether two answers are equal, with sympy in a child process under limits.

The answers come from agents, and a power tower never ends. Therefore only plain mathematics is passed on
(``structure.is_plain``), and the kernel enforces limits on the child: memory, and CPU time for each pair (not
wall time, because a busy machine must not change an outcome).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Literal

from envs.mathchat.structure import readings
from sandbox.base import SandboxError

Verdict = Literal["equal", "different", "timeout"]

_CHILD = Path(__file__).with_name("compare.py")
_VERDICTS: dict[str, Verdict] = {"true": "equal", "false": "different", "null": "timeout", "": "timeout"}


class Checker:
    """Compares answers. Starts a child at the first comparison, and again after one has died."""

    def __init__(self, timeout: float) -> None:
        """``timeout``: CPU seconds for each pair."""
        self.timeout = timeout
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None

    def equal(self, correct: str, given: str) -> Verdict:
        """Compares ``given`` with ``correct``; returns ``timeout`` if the child died or could not decide.
        Thread-safe.

        Raises:
            SandboxError: no child can be started, so that nothing can be graded.
        """
        pair = [
            [node.as_json() for node in readings(correct, given=False)],
            [node.as_json() for node in readings(given, given=True)],
        ]
        with self._lock:
            child = self._child or self._start()
            reply = _ask(child, json.dumps(pair))
            if not reply:
                self._child = None
                self._end()
            return _VERDICTS[reply.strip()]

    @property
    def running(self) -> bool:
        """Whether there is a child."""
        return self._child is not None

    def close(self) -> None:
        """Ends the child, if there is one; the next comparison starts another."""
        with self._lock:
            if self._child is not None:
                self._child = None
                self._end()

    def _start(self) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-I", str(_CHILD), str(self.timeout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        self._end = weakref.finalize(self, _stop, child)
        if not _read(child):
            self._end()
            raise SandboxError(
                "the process that compares answers does not start; is latex2sympy2_extended installed?"
            )
        self._child = child
        return child


def _ask(child: subprocess.Popen[str], line: str) -> str:
    """Returns the child's reply, empty if it died."""
    assert child.stdin is not None
    try:
        child.stdin.write(line + "\n")
        child.stdin.flush()
    except BrokenPipeError:
        return ""
    return _read(child)


def _read(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline()


def _stop(child: subprocess.Popen[str]) -> None:
    child.kill()
    with contextlib.suppress(BrokenPipeError):  # the child died before it read the line
        child.communicate()
