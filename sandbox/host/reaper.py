"""Removes a run's containers once its process has ended, however it ended: ``python -m sandbox.host.reaper
RUN PID``.

The ``docker`` backend starts it as a child process. A container ends by itself when its input closes; the
reaper is for one that the daemon had created, but not yet started, when the process was killed."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path

from sandbox.base import SandboxError

ROUNDS = (0.0, 0.5, 1.5, 3.5, 5.5)
"""Seconds after that end at which it looks for containers: the daemon may still be handling the last
requests."""


def start(run: str) -> subprocess.Popen[bytes]:
    """Starts a reaper for this process, and returns it. The caller kills it."""
    command = [sys.executable, "-P", "-m", "sandbox.host.reaper", run, str(os.getpid())]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )


def main() -> None:
    run, parent = sys.argv[1], int(sys.argv[2])
    with contextlib.suppress(ProcessLookupError):
        watched = os.pidfd_open(parent)
        if os.getppid() == parent:
            select.select([watched], [], [])
    ended = time.monotonic()
    from sandbox.host import daemon

    for seconds in ROUNDS:
        time.sleep(max(0.0, ended + seconds - time.monotonic()))
        with contextlib.suppress(SandboxError), daemon.connect() as client:
            daemon.remove_run(client, run)


if __name__ == "__main__":
    main()
