"""The process of one part: writes each case, once it is known, as a line of JSON to a pipe."""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
import threading
from dataclasses import asdict
from typing import Any

from benchmarks.gpu.records import Settings
from conf.text import finite

MODULES = {
    "device": "device",
    "update": "updates",
    "training": "training",
    "attention": "kernels",
    "checkpoint": "checkpoints",
    "tests": "marked",
}
"""Part -> module, which has ``cases(settings)``. The order is that of their value."""


def main(pipe: int, given: str) -> None:
    """Measures the part that ``given``, a ``Settings`` as JSON, names; ``pipe`` is a file descriptor."""
    settings = Settings(**json.loads(given))
    threading.Thread(target=_end_with_reader, args=(pipe,), daemon=True).start()
    module: Any = importlib.import_module(f"benchmarks.gpu.{MODULES[settings.part]}")
    with os.fdopen(pipe, "w", encoding="utf-8") as out:
        for case in module.cases(settings):
            print(json.dumps(finite(asdict(case))), file=out, flush=True)


def _end_with_reader(pipe: int) -> None:
    """Ends this process group once nobody reads the pipe, because the script was killed."""
    poll = select.poll()
    poll.register(pipe, select.POLLERR)
    poll.poll()
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
