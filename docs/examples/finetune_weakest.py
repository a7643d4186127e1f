# finetune_weakest.py
"""Fine-tunes the weakest agent of a team on its own best actions, with TRL, and evaluates the team again.

``python finetune_weakest.py FOLDER`` records the untrained team in FOLDER, which must be new. It prints the
commands that it runs: each can be typed by hand. Only the fine-tuning itself is this program's own.
"""

import argparse
import json
import runpy
import sys
from pathlib import Path

try:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer
except ModuleNotFoundError as missing:
    sys.exit(f"finetune_weakest.py needs {missing.name}: pip install 'coachgym[examples]'")

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", type=Path)
parser.add_argument(
    "--seed", default=0, type=int, help="of the recorded episodes, the trainer and both evaluations"
)
parser.add_argument("--steps", default=10, help="32 episodes are recorded in each")
parser.add_argument("--tasks", default=8, help="held-out tasks of an evaluation")
parser.add_argument("--episodes", default=16, help="of each of these tasks")
given = parser.parse_args()
run, before, after = (given.folder / name for name in ("recorded", "before", "after"))
rows_path, exported, tuned = (given.folder / name for name in ("best.jsonl", "exported", "tuned"))


def command(module, *words):
    print("$ python -m", module, *words, flush=True)
    sys.argv = [module, *map(str, words)]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def fine_tune(agent, rows):
    """Trains the agent's own weights on its rows; prompts are read, and only completions are learned."""
    tokenizer = AutoTokenizer.from_pretrained(exported / agent)
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(exported / agent, dtype="float32"),
        SFTConfig(
            str(tuned),
            completion_only_loss=True,
            max_length=None,  # no row may lose its end
            num_train_epochs=4,
            learning_rate=5e-4,
            per_device_train_batch_size=16,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=given.seed,
        ),
        train_dataset=Dataset.from_list(
            [{key: row[key] for key in ("prompt", "completion")} for row in rows]
        ),
        processing_class=tokenizer,
    )
    for example, row in zip(trainer.train_dataset, rows, strict=True):
        read = example["labels"].count(-100)  # the trainer must see the tokens that were read and sampled
        found, recorded = (read, len(example["labels"]) - read), row["provenance"]
        assert found == (recorded["prompt_tokens"], recorded["tokens"]), (found, recorded)
    trainer.train()
    trainer.save_model()


# At learning rate 0 a run records and judges, and nobody learns.
record = [
    "env=dsbench",
    f"seed={given.seed}",
    f"steps={given.steps}",
    "model.optimizer.lr=0",
    "evaluation.every=0",
]
command("learners.reinforcepp", *record, f"run_dir={run}")
command("learners.export", run, exported)
command("benchmarks.export", run, "--what", "sft", "--agent", "blamed", "--out", rows_path)
rows = [json.loads(line) for line in rows_path.read_text(encoding="utf-8").splitlines()]
[agent] = {row["provenance"]["agent"] for row in rows}
torch.set_num_threads(1)  # a model this small is no faster on more
fine_tune(agent, rows)
play = [f"run={run}", f"evaluation.tasks={given.tasks}", f"evaluation.episodes={given.episodes}"]
command("benchmarks.evaluate", *play, f"run_dir={before}")
command("benchmarks.evaluate", *play, f"run_dir={after}", f"team.{agent}.model.path={tuned}")
command("benchmarks.evaluate", before, after)
