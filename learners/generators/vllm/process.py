"""Process-wide state: what vLLM reads from it, and what its start would change."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process: starts in seconds, ends with it
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",  # it loads only the folders that we write
}
"""Environment variables that vLLM reads; any that are already set keep their value."""


@contextmanager
def process_left_alone() -> Iterator[None]:
    """Undoes side effects of starting an engine: it seeds all generators and replaces a torch function."""
    numbers, arrays, threads = random.getstate(), np.random.get_state(), torch.set_num_threads
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            yield
        finally:
            random.setstate(numbers)
            np.random.set_state(arrays)
            torch.set_num_threads = threads
