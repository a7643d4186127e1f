"""Training runs as processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from conf import stopping


def train(module: str, settings: Sequence[str]) -> int:
    """Runs ``python -m <module>`` with ``settings``, and returns its exit code.

    It gets the same signals as this process, and time to keep what it has done.
    """
    process = subprocess.Popen([sys.executable, "-m", module, *settings])
    try:
        return process.wait()
    except KeyboardInterrupt as error:
        if isinstance(
            error, stopping.Terminated
        ):  # Ctrl-C goes to all processes of a terminal, SIGTERM to one
            process.terminate()
        process.wait()
        raise
