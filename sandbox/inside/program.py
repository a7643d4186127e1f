"""Runs a text as the main program of this process. Standard library only."""

from __future__ import annotations

import atexit
import contextlib
import linecache
import os
import random
import sys
import threading
import traceback


def run_program(code: str, seed: int) -> int:
    """Runs ``code`` as ``__main__`` of this process, as ``python`` would; returns the exit code."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        text = open(number, "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv, sys.path = ["<action>"], [os.getcwd(), *sys.path]
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed % 2**32)
    main = type(sys)("__main__")
    main.__dict__["__builtins__"] = sys.modules["builtins"]
    sys.modules["__main__"] = main
    linecache.cache["<action>"] = (len(code), None, code.splitlines(keepends=True), "<action>")
    status = 0
    try:
        exec(compile(code, "<action>", "exec", dont_inherit=True), main.__dict__)
    except SystemExit as error:
        status = _exit_code(error.code)
    except BaseException as error:
        status = 1
        inner = error.__traceback__.tb_next if error.__traceback__ else None
        if sys.excepthook is sys.__excepthook__:
            traceback.print_exception(type(error), error, inner)
        else:
            sys.excepthook(type(error), error, inner)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for output in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            output.flush()
    return status


def _exit_code(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, int):
        return value & 0xFF
    print(value, file=sys.stderr)
    return 1
