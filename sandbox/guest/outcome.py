"""How a program ran, and what the host is told of it. Standard library only."""

from __future__ import annotations

import signal
from typing import Any, NamedTuple

from sandbox.guest.output import Stream
from sandbox.guest.settings import Settings


class Execution(NamedTuple):
    """How a program ran."""

    ended: str
    """Why the guest ended it; "" where it ended by itself."""
    exit_code: int
    """Negative: the signal that ended its process."""
    streams: dict[int, Stream]
    wall: float
    cpu: float
    lost: str
    """How the variables of its session were lost, if they were."""


def reply(execution: Execution, timeout: float, settings: Settings) -> tuple[dict[str, Any], bytes]:
    """Returns the header and body of the frame that reports ``execution``."""
    status, note = _status(execution, timeout, settings)
    stdout, stderr = (stream.value() for stream in execution.streams.values())
    header = {
        "status": status,
        "exit_code": None if execution.ended else execution.exit_code,
        "truncated": any(stream.left_out for stream in execution.streams.values()),
        "wall_s": execution.wall,
        "cpu_s": execution.cpu,
        "state_lost": bool(execution.lost),
        "stdout": len(stdout),
    }
    return header, stdout + stderr + note


def _status(execution: Execution, timeout: float, settings: Settings) -> tuple[str, bytes]:
    """Returns the status, and lines for stderr that say what ended a program that did not end itself."""
    notes = {
        "timeout": ("timeout", f"ended after {timeout:g} seconds"),
        "output_limit": ("output_limit", f"ended for more than {settings.output_kb << 6} KB of output"),
        "memory": ("killed", f"ended for more than {settings.memory_mb} MB of memory"),
        "disk": ("killed", f"ended for more than {settings.disk_mb} MB, or too many, files"),
        "forged": ("killed", "ended for writing where only its session does"),
    }
    status, lines = ("error" if execution.exit_code else "ok"), []
    if execution.ended:
        status, note = notes[execution.ended]
        lines.append(note)
    elif execution.exit_code < 0:
        status = "killed" if -execution.exit_code in (signal.SIGKILL, signal.SIGXCPU) else "error"
        lines.append(f"ended by signal {-execution.exit_code}")
    if execution.lost:
        lines.append(execution.lost)
    return status, "".join(f"[{line}]\n" for line in lines).encode()
