"""A Llama of bytes with random weights, for smoke runs: it plays any environment, and there is nothing to
download or to train first.

It has read nothing and understands nothing. It writes random text that now and then opens and closes a fenced
block, so that programs run (and fail) and every form of an action occurs, and it stops after some tens of
bytes. What a coach rewards in such text it learns within seconds.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedConfig, PreTrainedTokenizerFast

from conf import ConfigError
from conf.ranges import Count
from learners.models.base import prepare_model
from learners.seeds import derive_seed
from learners.types import LoadedModel, ModelConfig

END, REPLY = "<|end|>", "<|reply|>"
SPECIAL = (END, REPLY, "<|system|>", "<|user|>")
OPEN, CLOSE = "```python\n", "\n```\n"
"""A random byte after the other would never make a fence: these are tokens of their own."""
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- ('" + REPLY + "' if message.role == 'assistant' else '<|' + message.role + '|>') -}}"
    "{{- message.content + '" + END + "' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '" + REPLY + "' -}}{%- endif -%}"
)
SHARES: Mapping[str, float] = {END: 0.04, OPEN: 0.04, CLOSE: 0.04}
"""Initial probabilities, roughly; lower-case letters, digits, blanks and line breaks share nearly all of the
rest."""
COMMON = string.ascii_lowercase + string.digits + " \n"
RARE = 1e-5
"""Initial probability of every other token."""


@dataclass
class ToySize:
    """Sizes of the Llama. It has as many positions as its longest prompt and completion need."""

    hidden: Count
    intermediate: Count
    layers: Count
    heads: Count

    def __post_init__(self) -> None:
        if self.hidden % (2 * self.heads):  # rotary positions turn pairs
            raise ConfigError(f"model.size.hidden must be a multiple of 2 * heads, not {self.hidden}")


class Toy:
    """Random weights that depend on ``seed`` alone: all agents of a run begin with the same ones."""

    @dataclass
    class Config(ModelConfig):
        size: ToySize

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self, env_name: str, seed: int) -> LoadedModel:
        """See ``ModelKind.load``; ``env_name`` has no effect."""
        tokenizer = make_tokenizer()
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed(seed, "toy"))
            model = LlamaForCausalLM(self._llama(tokenizer))  # type: ignore[no-untyped-call]
        _prefer(model, tokenizer)
        return prepare_model(model, tokenizer, self.config)

    def architecture(self) -> PreTrainedConfig:
        return self._llama(make_tokenizer())

    def _llama(self, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
        size = self.config.size
        return LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.hidden,
            intermediate_size=size.intermediate,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            max_position_embeddings=self.config.max_prompt_tokens + self.config.max_new_tokens,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Returns a tokenizer with one id for each byte, and for the marks of a chat and of a fenced block."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_tokens([AddedToken(text, normalized=False) for text in (OPEN, CLOSE)])
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        eos_token=END,
        additional_special_tokens=list(SPECIAL[1:]),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@torch.no_grad()
def _prefer(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Makes the first element of every hidden state large and constant, and lets the output head read each
    token's initial log-probability there: a linear head has no bias."""
    shares = torch.full((len(tokenizer),), RARE)
    common = (1.0 - sum(SHARES.values())) / len(COMMON)
    for text, share in {**dict.fromkeys(COMMON, common), **SHARES}.items():
        (token,) = tokenizer.encode(text, add_special_tokens=False)
        shares[token] = share
    hidden = model.config.hidden_size
    model.model.embed_tokens.weight[:, 0] = 1.0
    model.lm_head.weight[:, 0] = shares.log() / hidden**0.5  # a norm makes it nearly the root of its size
