"""Keeps the output head of a model in vLLM current when weights are reloaded."""

from __future__ import annotations

from typing import Any

import torch


class HeadKeeper:
    """Mixed into vLLM's workers, which call its methods by name; they may be other processes.

    On CPUs vLLM multiplies with a packed copy of the output head. Where head and embedding are tied, a reload
    updates the weights but not that copy, and the model keeps sampling through its old head.
    """

    model_runner: Any

    def repack_head(self) -> None:
        """Packs the output head again, where there is a packed copy."""
        head, _ = self._head()
        if hasattr(head, "cpu_linear"):
            head.quant_method.process_weights_after_loading(head)

    @torch.inference_mode()
    def head_is_current(self) -> bool:
        """Returns whether 16 columns of a packed head equal its weights (if tied: the embedding) bit for bit.

        Multiplying with unit vectors picks single columns, without rounding.
        """
        head, weight = self._head()
        if not hasattr(head, "cpu_linear"):
            return True
        columns = torch.linspace(0, weight.shape[1] - 1, 16).long()
        units = torch.zeros(len(columns), weight.shape[1], dtype=weight.dtype)
        units[torch.arange(len(columns)), columns] = 1
        return bool(torch.equal(head.quant_method.apply(head, units), weight[:, columns].T))

    def _head(self) -> tuple[Any, torch.Tensor]:
        """The output head, and the weights that it should multiply with."""
        model = self.model_runner.get_model()
        head = model.lm_head
        tied = bool(getattr(model.config, "tie_word_embeddings", False))
        return head, (model.model.embed_tokens if tied else head).weight
