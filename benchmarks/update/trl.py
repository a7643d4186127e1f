"""TRL's trainer: GRPO with its defaults (fused head, loss ``dapo``); its rollout is replaced by given
tokens."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback

from benchmarks.update.watch import Step, Watch
from benchmarks.update.workload import Job, Row
from learners.types import LoadedModel


class Trl:
    """One call of ``train``: TRL's own loop takes the steps, and a callback measures their time.

    ``old`` is not used: where every batch is trained on once, TRL uses the log-probabilities of the forward
    pass as those of the sampling policy.
    """

    def __init__(
        self, loaded: LoadedModel, rows: Sequence[Row], old: Sequence[Sequence[float]], job: Job
    ) -> None:
        from datasets import Dataset
        from trl import GRPOConfig, GRPOTrainer

        optimizer = loaded.config.optimizer
        self._folder = tempfile.TemporaryDirectory()
        settings = GRPOConfig(
            output_dir=self._folder.name,
            use_cpu=loaded.device.type == "cpu",
            bf16=loaded.config.autocast,
            gradient_checkpointing=loaded.config.gradient_checkpointing,
            per_device_train_batch_size=len(rows),
            num_generations=len(rows),
            max_completion_length=job.completion,
            max_steps=job.steps,
            learning_rate=optimizer.lr,
            lr_scheduler_type="constant",
            weight_decay=optimizer.weight_decay,
            adam_beta1=optimizer.betas[0],
            adam_beta2=optimizer.betas[1],
            max_grad_norm=optimizer.max_grad_norm,
            report_to=[],
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
        )
        self._batch = _batch(rows, loaded)
        self._trainer: Any = GRPOTrainer(
            model=loaded.model,
            reward_funcs=_no_reward,
            args=settings,
            train_dataset=Dataset.from_list([{"prompt": "-"}] * len(rows)),
            processing_class=loaded.tokenizer,
        )
        self._trainer._generate_and_score_completions = lambda inputs: dict(self._batch)

    def run(self, watch: Watch) -> list[Step]:
        """Takes all steps, in order."""
        self._trainer.add_callback(_Measure(watch))
        self._trainer.train()
        count = int(self._batch["completion_mask"].sum())
        logged = [one for one in self._trainer.state.log_history if "grad_norm" in one]
        self._folder.cleanup()
        positions = self._batch["prompt_ids"].numel() + self._batch["completion_ids"].numel()
        return [Step(float(one["loss"]), float(one["grad_norm"]), count, positions) for one in logged]


class _Measure(TrainerCallback):
    """Measures each step from before its forward pass to after its optimiser step."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self._watch.begin()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self._watch.end()


def _no_reward(**kwargs: Any) -> list[float]:
    raise AssertionError("rewards are not used because the rollout is replaced")


def _batch(rows: Sequence[Row], loaded: LoadedModel) -> dict[str, torch.Tensor]:
    """Returns the output of TRL's rollout: prompts padded at the left, completions at the right."""
    width, longest = max(len(row.prompt) for row in rows), max(len(row.completion) for row in rows)
    pad = loaded.tokenizer.pad_token_id
    prompts = torch.full((len(rows), width), pad)
    completions = torch.full((len(rows), longest), pad)
    prompt_mask, completion_mask = torch.zeros_like(prompts), torch.zeros_like(completions)
    for i, row in enumerate(rows):
        prompts[i, width - len(row.prompt) :] = torch.tensor(row.prompt)
        prompt_mask[i, width - len(row.prompt) :] = 1
        completions[i, : len(row.completion)] = torch.tensor(row.completion)
        completion_mask[i, : len(row.completion)] = 1
    tensors = {
        "prompt_ids": prompts,
        "prompt_mask": prompt_mask,
        "completion_ids": completions,
        "completion_mask": completion_mask,
        "advantages": torch.tensor([row.advantage for row in rows]),
        "num_items_in_batch": completion_mask.sum(),
    }
    return {name: value.to(loaded.device) for name, value in tensors.items()}
