"""What is mixed into vLLM's workers."""

from __future__ import annotations

import torch

from learners.generators.vllm.head import HeadKeeper
from learners.weights.sharing import gpu_id


class WorkerExtension(HeadKeeper):
    """Methods that an engine calls by name in each of its workers; they may be other processes."""

    device: torch.device

    def uuid_of_gpu(self) -> str | None:
        """Returns the UUID of the worker's GPU; None on a CPU."""
        return gpu_id(self.device) if self.device.type == "cuda" else None
