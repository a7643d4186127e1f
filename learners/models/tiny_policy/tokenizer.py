"""The teaching policy's own tokenizer: byte-level BPE, and a chat template that keeps only headings."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, END, REPLY = "<|pad|>", "<|end|>", "<|reply|>"

# Text between blanks is one word, together with a following blank or equals sign: pd.read_csv("test.csv") is
# a single decision, and a line has about three. Each digit is a word, so that numbers are copied digit by
# digit.
_WORDS = r"[0-9]| ?[^\s0-9]+(?: = | |\n *)?|\s+"

CHAT_TEMPLATE = (
    "{%- set last = namespace(result=-1) -%}"
    "{%- for message in messages if message['role'] == 'user' and message['content'][:9] == '## Result' -%}"
    "{%- set last.result = loop.index0 -%}"
    "{%- endfor -%}"
    "{%- set seen = namespace(results=-1) -%}"
    "{%- for message in messages if message['role'] != 'assistant' -%}"
    "{%- set is_result = message['role'] == 'user' and message['content'][:9] == '## Result' -%}"
    "{%- if is_result -%}{%- set seen.results = seen.results + 1 -%}{%- endif -%}"
    "{%- if not is_result or seen.results == last.result -%}"
    "{%- for line in message['content'].split('\n') if line[:3] == '## ' -%}"
    "{{- line + '\n' -}}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '" + REPLY + "' -}}"
    "{%- elif messages[-1]['role'] == 'assistant' -%}"
    "{{- '" + REPLY + "' + messages[-1]['content'] + '" + END + "' -}}"
    "{%- endif -%}"
)
"""Keeps the ``## `` lines of system and user messages, but only the latest result. Of the replies it keeps
one that ends the chat, whole: what a trainer learns from."""


def make_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Trains the BPE on ``texts``, with at most ``vocab_size`` tokens including the three special ones."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, END, REPLY],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[REPLY],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
