"""Which way whole weights take to an engine after an update: files in shared memory, or the trainer's GPU
memory, which vLLM's own weight transfer maps (CUDA IPC).

``ipc`` needs an engine in another process than the trainer's, all of whose GPUs the trainer has weights on.
``generator.transfer=auto`` takes it where that is so, and says in the log which way it took and why.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from conf import ConfigError
from learners.types import Place, Shared

log = logging.getLogger(__name__)

WAYS = ("auto", "files", "ipc")
SETTING = "generator.transfer"
STEPS = ("init_weight_transfer_engine", "start_weight_update", "update_weights", "finish_weight_update")
"""What vLLM's workers must have, in the order in which it is called."""
FIELDS = frozenset({"names", "dtype_names", "shapes", "ipc_handles"})
"""What ``update_info`` gives vLLM."""


def check_way(way: str) -> None:
    """Raises ConfigError if ``way`` is none of ``WAYS``."""
    if way not in WAYS:
        raise ConfigError(f"{SETTING} is one of {', '.join(WAYS)}, not {way!r}")


def obstacle(way: str, places: Sequence[Place]) -> str | None:
    """Returns why weights at ``places`` cannot be shared with an engine in this process, whatever its GPUs
    and its vLLM; None: they can."""
    if way == "files":
        return f"{SETTING}=files"
    if not places:
        return "adapters are read from files"
    if any(one.gpu is None for one in places):
        return "the trainer's weights are in host memory"
    if any(one.process == os.getpid() for one in places):
        return "trainer and engine are one process, and GPU memory is mapped between processes only"
    return None


def lacking(worker: type, init: Any, update: Any) -> str | None:
    """Returns what does not fit the calls that are made here: steps of the worker, or fields of the
    dataclasses ``init`` and ``update``; None: all fits."""
    steps = [name for name in STEPS if not hasattr(worker, name)]
    if not steps and _required(worker, "start_weight_update"):
        steps = ["start_weight_update without arguments"]
    if steps:
        return f"this vLLM's workers have no {', '.join(steps)}"
    needed = {one.name for one in fields(init) if one.default is MISSING and one.default_factory is MISSING}
    known = {one.name for one in fields(update)}
    wrong = sorted(needed | (FIELDS - known))
    return f"this vLLM's transfer over IPC has other fields: {', '.join(wrong)}" if wrong else None


def _required(worker: type, method: str) -> list[str]:
    parameters = list(inspect.signature(getattr(worker, method)).parameters.values())[1:]
    return [one.name for one in parameters if one.default is one.empty]


def apart(places: Sequence[Place], engine: Sequence[str | None]) -> str | None:
    """Returns why an engine on these GPUs (their UUIDs) cannot map what is at ``places``; None: it can."""
    missing = [str(gpu) for gpu in engine if gpu not in {one.gpu for one in places}]
    return f"the trainer has no weights on the engine's GPU {missing[0]}" if missing else None


def announce(way: str, name: str, reason: str | None) -> None:
    """Says in the log which way the weights of the policy ``name`` take; ``reason``: why not over IPC.

    Raises:
        ConfigError: the setting demands IPC, which is not possible.
    """
    if reason is not None and way == "ipc":
        raise ConfigError(f"{SETTING}=ipc is not possible for {name}: {reason}; set {SETTING}=auto")
    taken = "over CUDA IPC" if reason is None else f"through files: {reason}"
    log.info("%s: new weights reach vLLM %s", name, taken)


def update_info(part: Shared) -> Mapping[str, Any]:
    """Returns ``part`` as vLLM's workers read it."""
    return {
        "names": list(part.names),
        "dtype_names": list(part.dtypes),
        "shapes": [list(shape) for shape in part.shapes],
        "ipc_handles": [dict(handle) for handle in part.handles],
    }
