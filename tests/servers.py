"""Real model servers on this machine, started for the tests: SmolLM2 behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START = 240.0
"""Seconds that a server may take to load its model."""
ENGINES = {
    "transformers": ("transformers.cli.transformers", "serve", "{model}", "--device", "cpu"),
    "vllm": (
        *("vllm.entrypoints.openai.api_server", "--model", "{model}", "--max-model-len", "3072"),
        *("--max-num-seqs", "2", "--enforce-eager", "--dtype", "float32"),
    ),
}
"""Arguments of ``python -m``. transformers ignores ``response_format``; vLLM keeps to its JSON Schema."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


@dataclass(frozen=True)
class ModelServer:
    base_url: str
    model: str
    """The name by which a request asks for the model."""


@contextmanager
def model_server(engine: str, model: Path, log: Path) -> Iterator[ModelServer]:
    """Serves the model in the folder ``model`` on a free port; the server's output goes to ``log``."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = [word.format(model=model) for word in ENGINES[engine]]
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *words, "--host", "127.0.0.1", "--port", str(port)],
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, log)
        yield ModelServer(f"http://127.0.0.1:{port}/v1", str(model))
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
