"""Measures in a new process: a request goes to it as a JSON file, and its result comes back as one."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class ChildError(Exception):
    """The process left no result; the message is the last line of its stderr, or its exit code."""


def ask(command: Sequence[str], request: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
    """Runs ``command`` with the paths of the request and of the result after it, and returns the result.

    ``environment``: what differs from this process's. Raises ``ChildError``.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "request.json", Path(folder) / "result.json"
        given.write_text(json.dumps(request), encoding="utf-8")
        done = subprocess.run(
            [*command, str(given), str(result)],
            env=os.environ | dict(environment),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not result.is_file():
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise ChildError(lines[-1] if lines else f"the process ended with exit code {done.returncode}")
        return json.loads(result.read_text(encoding="utf-8"))
