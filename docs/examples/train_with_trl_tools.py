# train_with_trl_tools.py
"""TRL's GRPOTrainer trains MathChat's code executor through ``environment_factory``: programs are tool calls.

``python train_with_trl_tools.py MODEL`` takes any model whose chat template has tools, such as
Qwen/Qwen3-0.6B. By default the model is random and its vocabulary is a few canned calls and sentences: it
learns within half a minute which of them a coach pays for.
"""

import json
import sys
import tempfile

try:
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )
    from trl import GRPOConfig, GRPOTrainer
    from trl.chat_template_utils import qwen3_chat_template
except ModuleNotFoundError as missing:
    sys.exit(f"train_with_trl_tools.py needs {missing.name}: pip install 'coachgym[examples]'")

import conf
import envs
from coaches.reward import CoachReward
from envs.single_agent import SingleAgentEnv

MODEL = sys.argv[1] if len(sys.argv) > 1 else None
ROLE = "code_executor"


class Episode:
    """One role's episodes as TRL plays them: ``reset`` returns what the role reads, and every public method
    is a tool."""

    def __init__(self):
        coach = conf.build("coaches", conf.load("coach", "rules"))
        self._env = SingleAgentEnv(CoachReward(envs.make("mathchat", sandbox="local"), coach), ROLE, "silent")

    def reset(self, task, **fields):
        observation, _ = self._env.reset(options={"task": task})
        self._read, self._ended, self._score = len(observation["messages"]), False, 0.0
        return "\n\n".join(message["content"] for message in observation["messages"])

    def python(self, code: str) -> str:
        """
        Runs a program in the team's sandbox, and returns what it printed.

        Args:
            code: The program.
        """
        call = json.dumps({"name": "python", "arguments": {"code": code}})
        return self._step(f"<tool_call>{call}</tool_call>")

    def _step(self, action):
        if self._ended:
            raise ValueError("your part has ended")
        observation, reward, terminated, truncated, _ = self._env.step(action)
        new = observation["messages"][self._read + 1 :]  # after the role's own action
        self._read, self._ended = len(observation["messages"]), terminated or truncated
        self._score += reward
        return "\n\n".join(message["content"] for message in new) or "Your part has ended."


def coach_score(completions, environments, **fields):
    """The coach's scores of the role's actions, summed. A last message without a call is the action that
    ends the part."""
    for completion, episode in zip(completions, environments, strict=True):
        if not episode._ended and completion[-1]["role"] == "assistant":
            episode._step(completion[-1]["content"])
    return [episode._score for episode in environments]


def canned_model():
    """A Llama that can only say a few things, each of them a whole reply, and reads no other words."""
    programs = ["print(6 * 7)", "print(6 *", "x = 6 * 7"]
    calls = [json.dumps({"name": "python", "arguments": {"code": program}}) for program in programs]
    said = [f"<tool_call>\n{call}\n</tool_call>" for call in calls] + ["It printed 42.", "I pass."]
    marks = ["<|im_start|>assistant\n", "<|im_start|>", "<|im_end|>"]
    words = ["<unread>", *marks, *said]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unread>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unread>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        additional_special_tokens=marks[:2],
    )
    tokenizer.add_tokens(said)
    tokenizer.chat_template = qwen3_chat_template
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.convert_tokens_to_ids(["<|im_end|>", *said])}
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **size, **ends)), tokenizer


if MODEL is None:
    model, tokenizer = canned_model()
else:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(MODEL), AutoTokenizer.from_pretrained(MODEL)
sample = envs.make("mathchat", sandbox="local")
prompt = [{"role": "user", "content": "Call python for every program instead of writing a block.\n\n"}]
rows = [{"prompt": prompt, "task": task.id} for task in sample.scenario.tasks("train")[:4]]
sample.close()
episodes = []


def make_episode():
    """TRL asks for one for each of a batch's completions, and uses it again."""
    episodes.append(Episode())
    return episodes[-1]


with tempfile.TemporaryDirectory() as folder:
    config = GRPOConfig(
        folder,
        max_steps=20,
        per_device_train_batch_size=16,
        num_generations=8,
        learning_rate=1e-2 if MODEL is None else 1e-6,
        lr_scheduler_type="constant",
        max_completion_length=1024,
        max_tool_calling_iterations=2,  # the turns of the role: a tool cannot end TRL's loop
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=MODEL is None,
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
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        environment_factory=make_episode,
    )
    trainer.train()
for episode in episodes:
    episode._env.close()
rewards = [row["reward"] for row in trainer.state.log_history if "reward" in row]
print(f"{ROLE}, scores of an episode, mean of each step:", *(f"{reward:.2f}" for reward in rewards))
first, last = (sum(part) / len(part) for part in (rewards[:5], rewards[-5:]))
print(f"{ROLE}, mean of the first five steps and of the last five: {first:.2f}, {last:.2f}")
