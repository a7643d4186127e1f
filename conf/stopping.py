"""How a process is stopped from outside: signals, what they interrupt, and the command that goes on."""

from __future__ import annotations

import atexit
import logging
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

_ESCAPED = {"'": r"\'", "${": r"\${", "": ""}
log = logging.getLogger(__name__)


class Terminated(KeyboardInterrupt):
    """SIGTERM, where ``terminable`` turns it into an exception."""


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block, SIGTERM raises ``Terminated``, as SIGINT raises ``KeyboardInterrupt``.

    So what is open is closed. Where another handler is installed, or in another thread, nothing changes.
    """
    if not _in_main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Stop:
    """What ``deferred`` has held back."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.handlers: dict[int, Any] = {}

    def check(self) -> None:
        """Handles the signal that came, if one did, as it would have been handled at once."""
        number, self.number = self.number, None
        if number is not None:
            self.handlers[number](number, None)


@contextmanager
def deferred(stop: Stop) -> Iterator[None]:
    """Within the block the first SIGINT or SIGTERM only enters ``stop``; the second one is handled at once.

    A signal that is ignored, or that ends the process without an exception, is left as it is.
    """

    def hold(number: int, frame: Any) -> None:
        if stop.number is not None:
            stop.handlers[number](number, frame)
        stop.number = number
        log.warning("stopping when this step is finished; once more stops at once, without it")

    if _in_main_thread():
        numbers = (signal.SIGINT, signal.SIGTERM)
        stop.handlers = {n: handler for n in numbers if callable(handler := signal.getsignal(n))}
        for number in stop.handlers:
            signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in stop.handlers.items():
            signal.signal(number, handler)


def command_line(
    changes: Mapping[str, str], argv: Sequence[str] | None = None, *, module: str = ""
) -> str | None:
    """Returns this process's command, ``python -m …``, with ``changes`` to its settings.

    None for a program that was started in another way, or whose module does not begin with ``module``.
    ``argv``: by default this process's own.
    """
    words = list(sys.orig_argv if argv is None else argv)[1:]
    if words[:1] != ["-m"] or not "".join(words[1:2]).startswith(module):
        return None
    if changes and {"-m", "--multirun"} & set(words[2:]):  # a sweep's jobs have settings of their own
        return None
    kept = [word for word in words if word.split("=")[0] not in changes]
    settings = [i for i, word in enumerate(kept) if "=" in word and not word.startswith("-")]
    # Hydra takes settings before or after its options, not both.
    place = settings[-1] + 1 if settings else 2
    added = [f"{key}={quoted(value)}" for key, value in changes.items()]
    return shlex.join(["python", *kept[:place], *added, *kept[place:]])


def skip_finalization(code: int) -> None:
    """Makes this process end with ``code`` as soon as its exit handlers have run.

    For a process that is stopped while daemon threads play episodes: Python would end them within native
    code, where C++ aborts the whole process.
    """

    def leave() -> None:
        atexit.unregister(leave)
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    atexit.register(leave)


def quoted(value: str) -> str:
    """Returns ``value`` as Hydra's grammar takes it."""
    if re.fullmatch(r"[\w./:+@%-]+", value, re.ASCII):
        return value
    # A backslash is one, except before a quote and at the end, where it must be doubled; a dollar with a
    # brace begins a reference.
    escaped = re.sub(r"(\\*)(\$\{|'|\Z)", lambda found: found[1] * 2 + _ESCAPED[found[2]], value)
    return f"'{escaped}'"


def _terminate(number: int, frame: Any) -> None:
    raise Terminated


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
