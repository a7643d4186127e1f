"""Runs single cases: what fails in one is recorded in one line, and the next one starts with free memory."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import torch

from benchmarks.gpu.records import FAILED, MEMORY, OK, SKIPPED, Case, Figures
from learners.models.base import empty_cache


class SkippedError(Exception):
    """A case cannot be measured here; the message says why."""


def attempt(name: str, measure: Callable[[], Figures]) -> Case:
    """Returns what ``measure`` returns or raises, as a case."""
    gc.collect()  # models, and tracebacks of what failed before, hold tensors in cycles
    empty_cache()
    start = time.perf_counter()
    status, reason, figures = OK, "", dict[str, float | str | None]()
    try:
        figures = dict(measure())
    except SkippedError as error:
        status, reason = SKIPPED, str(error)
    except torch.OutOfMemoryError as error:
        status, reason = MEMORY, one_line(error)
    except Exception as error:
        status, reason = FAILED, f"{type(error).__name__}: {one_line(error)}"
    return Case(name, status, reason, figures, time.perf_counter() - start)


def one_line(error: BaseException) -> str:
    """The first line of the message."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")
