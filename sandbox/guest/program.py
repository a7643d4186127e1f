"""Runs source code as the main program of this process. Standard library only."""

from __future__ import annotations

import atexit
import contextlib
import linecache
import os
import random
import sys
import threading
import traceback
from typing import Any

FILE = ".program.py"
"""Where a program lies in the work folder while it runs: hidden, so that no listing has it."""


def run_program(code: str, seed: int) -> int:
    """Runs ``code`` as ``__main__`` of this process, as ``python`` would; returns the exit code.

    ``__file__`` is the file that processes started by ``spawn`` import. Tracebacks name ``<action>``, because
    the work folder has another path in every sandbox.
    """
    names = prepare(seed)
    sys.argv = [os.path.abspath(FILE)]
    names.update(__file__=sys.argv[0], __cached__=None)
    status = execute(code, "<action>", names)
    finish()
    return status


def prepare(seed: int) -> dict[str, Any]:
    """Gives this process the streams, arguments and random state of a program; returns the namespace of its
    ``__main__``."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        text = open(number, "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv, sys.path = [""], [os.getcwd(), *sys.path]
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed % 2**32)
    main = type(sys)("__main__")
    main.__dict__["__builtins__"] = sys.modules["builtins"]
    sys.modules["__main__"] = main
    return main.__dict__


def execute(code: str, file: str, names: dict[str, Any]) -> int:
    """Runs ``code`` in the namespace ``names``, under a file name for tracebacks. Prints what it raises;
    returns the exit code."""
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    try:
        exec(compile(code, file, "exec", dont_inherit=True), names)
    except SystemExit as error:
        return _exit_code(error.code)
    except BaseException as error:
        inner = error.__traceback__.tb_next if error.__traceback__ else None
        if sys.excepthook is sys.__excepthook__:
            traceback.print_exception(type(error), error, inner)
        else:
            sys.excepthook(type(error), error, inner)
        return 1
    return 0


def finish() -> None:
    """Waits for threads, and runs the program's exit handlers."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    flush()


def flush() -> None:
    for output in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            output.flush()


def _exit_code(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, int):
        return value & 0xFF
    print(value, file=sys.stderr)
    return 1
