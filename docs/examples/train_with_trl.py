# train_with_trl.py
"""TRL's GRPOTrainer trains one role of a team on the scores of a coach; the others play as named.

``python train_with_trl.py ROLE MODEL``, by default the verifier and the small model that comes with this
package. MODEL may be the path or id of any causal language model with a chat template.
"""

import re
import sys
import tempfile

try:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer
except ModuleNotFoundError as missing:
    sys.exit(f"train_with_trl.py needs {missing.name}: pip install 'coachgym[examples]'")

import conf
import envs
from coaches.reward import CoachReward
from envs.single_agent import SingleAgentEnv

ROLE = sys.argv[1] if len(sys.argv) > 1 else "verifier"
MODEL = sys.argv[2] if len(sys.argv) > 2 else "tiny"
REPLY_TOKENS = 96 if MODEL == "tiny" else 1024


def load_model():
    """The model and its tokenizer."""
    if MODEL != "tiny":
        return AutoModelForCausalLM.from_pretrained(MODEL), AutoTokenizer.from_pretrained(MODEL)
    tiny = conf.build("learners.models", conf.load("model", "tiny")).load("mathchat", seed=0)
    return tiny.model, tiny.tokenizer


@torch.no_grad()
def reply(model, tokenizer, context):
    """Samples one reply: its tokens and their log-probabilities."""
    given = torch.tensor([context], device=model.device)
    out = model.generate(
        given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=REPLY_TOKENS,
        do_sample=True,
        top_k=0,
        top_p=1.0,
        temperature=1.0,
        pad_token_id=tokenizer.pad_token_id,
        return_dict_in_generate=True,
        output_logits=True,
    )
    logprobs = model.compute_transition_scores(out.sequences, out.logits, normalize_logits=True)
    return out.sequences[0, len(context) :].tolist(), logprobs[0].tolist()


def play(task, model, tokenizer):
    """Plays an episode. What the environment says between two replies is in the completion, with mask 0."""

    def encode(messages):
        return list(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))

    observation, _ = env.reset(seed=int(torch.randint(2**31, ())), options={"task": task})
    prompt = encode(observation["messages"])
    completion, logprobs, mask, score, ended = [], [], [], 0.0, False
    while not ended:
        tokens, values = reply(model, tokenizer, prompt + completion)
        completion, logprobs, mask = completion + tokens, logprobs + values, mask + [1] * len(tokens)
        read = len(observation["messages"])
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        observation, reward, terminated, truncated, _ = env.step(text)
        score, ended = score + reward, terminated or truncated
        if not ended:  # messages are only ever added: first our own reply, then what came of it
            said = encode(observation["messages"][read + 1 :])
            completion, logprobs, mask = (
                completion + said,
                logprobs + [0.0] * len(said),
                mask + [0] * len(said),
            )
    return {
        "prompt_ids": prompt,
        "completion_ids": completion,
        "logprobs": logprobs,
        "env_mask": mask,
        "score": score,
    }


def rollout(tasks, trainer):
    """An episode for each prompt; a prompt is the id of a task."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    episodes = [play(task, model, trainer.processing_class) for task in tasks]
    return {key: [episode[key] for episode in episodes] for key in episodes[0]}


def coach_score(prompts, completions, score, **fields):
    """The coach's scores of the role's actions, summed over the episode."""
    return score


def code_executor(observation):
    """The colleague who computes the remainder that the problem asks for."""
    base, power, modulus = re.findall(r"\d+", observation["messages"][1]["content"])[:3]
    return f"```python\nprint(pow({base}, {power}, {modulus}))\n```"


team = envs.make(
    "mathchat",
    sandbox="local",
    style="compact" if MODEL == "tiny" else "full",
    tasks="bundled:basic",
    kinds=["modular_power"],
)
colleagues = {"problem_solver": "silent", "code_executor": code_executor, "verifier": "silent"}
env = SingleAgentEnv(
    CoachReward(team, conf.build("coaches", conf.load("coach", "rules"))),
    ROLE,
    {name: player for name, player in colleagues.items() if name != ROLE},
)
tasks = [task.id for task in team.scenario.tasks("train")][:4]
model, tokenizer = load_model()
with tempfile.TemporaryDirectory() as folder:
    config = GRPOConfig(
        folder,
        max_steps=20,
        per_device_train_batch_size=32,  # eight episodes of each of the four tasks
        num_generations=8,
        learning_rate=5e-4 if MODEL == "tiny" else 1e-6,
        lr_scheduler_type="constant",
        max_completion_length=4096,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=MODEL == "tiny",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        beta=0.0,
        seed=0,
    )
    trainer = GRPOTrainer(
        model,
        coach_score,
        config,
        train_dataset=Dataset.from_dict({"prompt": tasks}),
        processing_class=tokenizer,
        rollout_func=rollout,
    )
    trainer.train()
env.close()
rewards = [row["reward"] for row in trainer.state.log_history if "reward" in row]
print(f"{ROLE}, scores of an episode, mean of each step:", *(f"{reward:.2f}" for reward in rewards))
first, last = (sum(part) / len(part) for part in (rewards[:5], rewards[-5:]))
print(f"{ROLE}, mean of the first five steps and of the last five: {first:.2f}, {last:.2f}")
