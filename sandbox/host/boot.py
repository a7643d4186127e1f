"""How the host starts a guest: its environment variables and, where nothing of this project is installed, the
guest's sources, sent over its standard input.

``python3 -P -c PROGRAM``, then ``message`` on its stdin; it replies with frames on its stdout."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.guest.frames import pack

_PACKAGE = "sandbox.guest"
_MODULES = (
    "frames", "system_calls", "seccomp", "landlock", "processes", "memory", "folder", "output",
    "program", "session", "start_methods", "names", "unpickling", "json_facts", "reads", "structure",
    "probe", "preload", "settings", "outcome", "server", "main",
)  # fmt: skip
"""In dependency order: each after the modules that it imports."""
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # pandas imports pyarrow where it is installed; its allocator would start a thread, which forks do not
    # have.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    # Else most threads get an arena of their own: 64 MB of address space, which the memory limit counts.
    "MALLOC_ARENA_MAX": "2",
    "JOBLIB_MULTIPROCESSING": "0",  # with n_jobs=-1 every worker would import everything again
}
PROGRAM = f"""
import json, sys, types
size = int.from_bytes(sys.stdin.buffer.raw.read(4), "big")
data = b""
while len(data) < size:
    data += sys.stdin.buffer.raw.read(size - len(data)) or sys.exit(1)
for name in ("sandbox", "{_PACKAGE}"):
    sys.modules[name] = types.ModuleType(name)
for name, source in json.loads(data):
    module = sys.modules["{_PACKAGE}." + name] = types.ModuleType("{_PACKAGE}." + name)
    exec(compile(source, name, "exec"), module.__dict__)
module.main()
"""


def message(preload: Sequence[str], settings: Mapping[str, Any]) -> bytes:
    """Returns the first bytes for a guest: its sources, then its preloads and settings."""
    folder = Path(__file__).parents[1] / "guest"
    sources = [(name, (folder / f"{name}.py").read_text("utf-8")) for name in _MODULES]
    bundle = json.dumps(sources).encode()
    return len(bundle).to_bytes(4, "big") + bundle + pack({"preload": preload, "settings": settings})
