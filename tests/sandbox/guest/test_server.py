"""How the guest starts programs."""

import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.base import SandboxSpec
from tests.sandbox.backends import local, or_skip

ROOT = Path(__file__).parents[3]
BECOME = """
import os, socket, tempfile
from unittest.mock import patch
from sandbox.guest import server
from sandbox.guest.settings import Settings
ours, theirs = socket.socketpair()
out, err = os.dup(1), os.dup(2)
with tempfile.TemporaryDirectory() as work:
    settings = Settings(work, 64, 8, 8, 8, 4, 60, 60, "off", [])
    guest = server.Guest(theirs.fileno(), theirs.fileno(), os.pipe()[0], settings)
    def open_now(*_): os.write(1, b" ".join(str(fd).encode() for fd in range(64) if is_open(fd)))
    def is_open(fd):
        try: return bool(os.fstat(fd))
        except OSError: return False
    child = os.fork()
    if child == 0:
        with patch.object(server, "libc") as libc:
            libc.prctl = open_now
            guest._become(out, err, lambda: 0, keep=())
    os.waitpid(child, 0)
"""


def test_a_program_is_dumpable_only_once_it_has_lost_the_guest_s_descriptors() -> None:
    """Where programs share a user and the kernel has no Landlock, a leftover process of a session could
    otherwise open the guest's end of the stream, and write the next program's result."""
    done = subprocess.run([sys.executable, "-c", BECOME], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["0", "1", "2"], done


THREADS = """
import threading
import numpy as np
together, done = threading.Barrier(40), []
def work():
    together.wait()
    done.append(np.linalg.inv(np.eye(60) + np.ones((60, 60))).sum())
threads = [threading.Thread(target=work, daemon=True) for _ in range(40)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(done))
"""


@pytest.mark.parametrize("mode", [pytest.param("namespaces", marks=pytest.mark.namespaces),
                                  pytest.param("landlock", marks=pytest.mark.landlock)])  # fmt: skip
def test_forty_threads_compute_at_the_default_limits(mode: str) -> None:
    backend = or_skip(lambda: local(mode=mode))
    try:
        result = backend.open(SandboxSpec(("numpy",))).run(THREADS)
        assert (result.stdout, result.stderr) == ("40\n", "")
    finally:
        backend.close()
