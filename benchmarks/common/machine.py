"""The machine on which a benchmark ran."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Facts about a machine that readers of the numbers need."""

    when: str
    """UTC."""
    cpu: str
    cores: int
    """The cores that this process may use."""
    memory_gb: float
    kernel: str
    python: str
    docker: str | None
    """Version of the Docker daemon; None: no daemon answers."""
    load: float
    """Load average of the last minute when the run began: other work on the machine makes all numbers
    worse."""


def machine() -> Machine:
    """Describes the machine that this process runs on, now."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        _cpu(),
        len(os.sched_getaffinity(0)),
        round(memory / 1e9, 1),
        platform.release(),
        platform.python_version(),
        docker_version(),
        round(os.getloadavg()[0], 2),
    )


def docker_version() -> str | None:
    """Returns the version of the Docker daemon, or None if there is no client or no daemon answers."""
    try:
        command = ["docker", "version", "--format", "{{.Server.Version}}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
