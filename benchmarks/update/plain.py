"""The straightforward step: padded rows, all logits, PPO's clipped loss, AdamW."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.update.watch import Step, Watch
from benchmarks.update.workload import Job, Row
from learners.types import LoadedModel

CLIP = 0.2


class Plain:
    """The loss of REINFORCE++ with its defaults, the mean over all sampled tokens; no entropy, no metrics."""

    def __init__(
        self, loaded: LoadedModel, rows: Sequence[Row], old: Sequence[Sequence[float]], job: Job
    ) -> None:
        self._steps, self._loaded = job.steps, loaded
        self._batch = [part.to(loaded.device) for part in padded(rows, old)]
        optimizer = loaded.config.optimizer
        self._limit = optimizer.max_grad_norm
        beta1, beta2 = optimizer.betas
        self._optimizer = torch.optim.AdamW(
            loaded.model.parameters(),
            lr=optimizer.lr,
            betas=(beta1, beta2),
            weight_decay=optimizer.weight_decay,
        )

    def run(self, watch: Watch) -> list[Step]:
        """Takes all steps, in order."""
        model = self._loaded.model
        if self._loaded.config.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.train()
        steps = []
        for _ in range(self._steps):
            with watch.step():
                loss = self._loss()
                loss.backward()  # type: ignore[no-untyped-call]
                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), self._limit)
                self._optimizer.step()
                self._optimizer.zero_grad(set_to_none=True)
                value = float(loss.detach())
            steps.append(Step(value, float(norm), int(self._batch[2].sum()), self._batch[0].numel()))
            del loss
        return steps

    def _loss(self) -> torch.Tensor:
        ids, attention, trained, advantages, old = self._batch
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self._loaded.config.autocast):
            logits = self._loaded.model(ids, attention_mask=attention, use_cache=False).logits[:, :-1]
        table = logits.float().log_softmax(-1)
        logprobs = table.gather(-1, ids[:, 1:, None])[..., 0]
        ratio = (logprobs - old).exp()
        gain = torch.minimum(ratio * advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * advantages)
        return -(gain * trained).sum() / trained.sum()


def padded(rows: Sequence[Row], old: Sequence[Sequence[float]]) -> list[torch.Tensor]:
    """Pads the rows at the right to T tokens, the length of the longest.

    Returns:
        Ids and attention mask of shape [B, T], and for each token except the first, of shape [B, T - 1],
        whether it was sampled, its advantage, and its old log-probability.
    """
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    attention = torch.zeros(len(rows), longest, dtype=torch.long)
    trained, advantages, before = (torch.zeros(len(rows), longest - 1) for _ in range(3))
    for i, (row, values) in enumerate(zip(rows, old, strict=True)):
        ids[i, : len(row)] = torch.tensor(row.prompt + row.completion)
        attention[i, : len(row)] = 1
        sampled = slice(len(row.prompt) - 1, len(row) - 1)
        trained[i, sampled], advantages[i, sampled] = 1.0, row.advantage
        before[i, sampled] = torch.tensor(values)
    return [ids, attention, trained, advantages, before]
