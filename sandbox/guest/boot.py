"""How a guest starts: in which environment, and, where nothing of this project is installed, with its sources
coming over its standard input.

``python3 -P -c PROGRAM``, then ``message`` on its stdin; it answers with frames on its stdout."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.guest.frames import pack

_PACKAGE = "sandbox.guest"
_MODULES = (
    "frames", "seccomp", "landlock", "processes", "folder",
    "output", "program", "session", "preload", "main",
)  # fmt: skip
"""Each after those that it imports."""
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # pandas imports pyarrow where it is installed, whose allocator would start a thread, which no fork has.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "JOBLIB_MULTIPROCESSING": "0",  # n_jobs=-1 would pay an import of everything in each worker
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
    """The first bytes for a guest: its sources, then what it is to be."""
    folder = Path(__file__).parent
    sources = [(name, (folder / f"{name}.py").read_text("utf-8")) for name in _MODULES]
    bundle = json.dumps(sources).encode()
    return len(bundle).to_bytes(4, "big") + bundle + pack({"preload": preload, "settings": settings})
