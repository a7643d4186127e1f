"""Sampled ids -> the text of each token."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from transformers import PreTrainedTokenizerBase

from learners.types import TokenTexts

INCOMPLETE = "\ufffd"
"""What decoding gives for a part of a character."""
LONGEST = 4
"""Bytes of a character: if these many tokens complete none, they are no UTF-8."""


def token_texts(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> TokenTexts:
    """Returns the tokens ``ids`` as pieces of the text that they decode to, special tokens left out.

    The pieces always join to that text. Tokens are decoded a few at a time, with the one before: a decoder
    that looks further back may shift the borders between pieces, not the text.
    """
    text = _decode(tokenizer, ids)
    ends = [min(end, len(text)) for end in _ends(tokenizer, ids)]
    if ends:
        ends[-1] = len(text)
    pieces = tuple(text[start:end] for start, end in pairwise([0, *ends]))
    unnamed = [place for place, piece in enumerate(pieces) if not piece]
    names = tokenizer.convert_ids_to_tokens([int(ids[place]) for place in unnamed])
    return TokenTexts(pieces, {place: str(name or "") for place, name in zip(unnamed, names, strict=True)})


def _ends(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[int]:
    """Returns for each token how many characters are complete with it."""
    ends, total = list[int](), 0
    start = read = 0  # decoded together: the tokens whose text was read last, and those after them
    for end in range(1, len(ids) + 1):
        before, after = (_decode(tokenizer, ids[start:to]) for to in (read, end))
        if not after.endswith(INCOMPLETE) or end - read >= LONGEST:
            total += max(0, len(after) - len(before))
            start, read = read, end
        ends.append(total)
    return ends


def _decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=True))
