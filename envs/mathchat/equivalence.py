"""Decides whether two expressions are equal, with ``math-verify`` in a child process under limits.

The expressions come from agents, sympy's parser evaluates Python, and a power tower never ends. Therefore
only plain mathematics is passed on (``is_plain``), and the kernel enforces limits on the child: memory, and
CPU time for each pair (not wall time, because a busy machine must not change an outcome). ``math-verify``'s
own time limit uses ``signal.alarm``, which works in the main thread only and does not stop a long
multiplication.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Literal

from sandbox.base import SandboxError

Verdict = Literal["equal", "different", "timeout"]

_CHILD = Path(__file__).with_name("compare.py")
_PLAIN = re.compile(r"(?:\\[a-zA-Z]+|\\[{}%|]|[a-zA-Z](?![a-zA-Z])|[0-9 .,+\-*/^_(){}\[\]=<>|!:%]|π|∞)*")


def is_plain(expression: str) -> bool:
    """Returns whether it has only LaTeX commands, single letters, digits and operators: no names or
    strings."""
    return "__" not in expression and _PLAIN.fullmatch(expression) is not None


class Checker:
    """Compares expressions. Starts a child at the first comparison, and again after one has died."""

    def __init__(self, timeout: float) -> None:
        """``timeout``: CPU seconds for each pair."""
        self.timeout = timeout
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None

    def equal(self, correct: str, given: str) -> Verdict:
        """Compares ``given`` with ``correct``; returns ``timeout`` if the child died. Thread-safe.

        Raises:
            SandboxError: no child can be started, so that nothing can be graded.
        """
        if not is_plain(given):
            return "different"
        with self._lock:
            child = self._child or self._start()
            reply = _ask(child, json.dumps([correct, given]))
            if not reply:
                self._child = None
                self._end()
                return "timeout"
            return "equal" if json.loads(reply) else "different"

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
            raise SandboxError("the process that compares answers does not start; is math-verify installed?")
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
