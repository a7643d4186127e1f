"""The text of each token: pieces that always join to what was sampled."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from transformers import PreTrainedTokenizerFast

import conf
from learners.models.pieces import token_texts
from learners.models.tiny_policy.tokenizer import make_tokenizer
from tests.learners.doubles import tokenizer

BYTES: PreTrainedTokenizerFast = make_tokenizer(["def f(x):\n    return x", "naïve"], 300)


def ids(text: str) -> list[int]:
    found: Any = BYTES.encode(text, add_special_tokens=False)
    return list(found)


def decoded(given: list[int], of: PreTrainedTokenizerFast = BYTES) -> str:
    return str(of.decode(given, skip_special_tokens=True))


def test_pieces_are_the_text_of_each_token() -> None:
    built = tokenizer()
    spoken: Any = built.convert_tokens_to_ids(["a", " ", "b"])
    found = token_texts(built, [*spoken, 1])  # 1 ends the turn
    assert "".join(found.pieces) == decoded(spoken, built)
    assert (found.pieces[0], found.pieces[-1]) == ("a", "")
    assert found.names[3] == "<e>"


def test_parts_of_a_character_belong_to_the_token_that_completes_it() -> None:
    given = ids("x\u2603y")  # a snowman: three bytes, which the vocabulary does not join
    found = token_texts(BYTES, given)
    assert found.pieces == ("x", "", "", "\u2603", "y")
    assert set(found.names) == {1, 2}
    assert all(found.names.values())


@pytest.mark.parametrize("text", ["\u2603", "🎉", "aß"])
def test_a_character_that_was_cut_off_ends_the_last_piece(text: str) -> None:
    given = ids(text)[:-1]
    found = token_texts(BYTES, given)
    assert "".join(found.pieces) == decoded(given)
    assert found.pieces[-1].endswith("\ufffd")


def test_without_a_token_there_is_no_piece() -> None:
    found = token_texts(BYTES, [])
    assert (found.pieces, found.names) == ((), {})


@settings(max_examples=30, deadline=None)
@given(some.lists(some.integers(0, len(BYTES) - 1), max_size=40))
def test_pieces_join_to_the_text_whatever_was_sampled(given: list[int]) -> None:
    found = token_texts(BYTES, given)
    assert len(found.pieces) == len(given)
    assert "".join(found.pieces) == decoded(given)
    assert {place for place, piece in enumerate(found.pieces) if not piece} == set(found.names)


@settings(max_examples=30, deadline=None)
@given(some.text(max_size=30))
def test_a_piece_has_the_characters_that_are_complete_with_its_token(text: str) -> None:
    """The slow way: the whole text so far, without the part of a character that may end it."""
    given = ids(text)
    found, so_far = token_texts(BYTES, given), ""
    for place, piece in enumerate(found.pieces):
        so_far += piece
        if "\ufffd" not in text:
            assert so_far == decoded(given[: place + 1]).rstrip("\ufffd")
    assert so_far == decoded(given)


def test_many_bytes_that_are_no_text_take_no_longer_than_text(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    lone = ids("\u2603")[1]
    decode = BYTES.decode

    def counted(given: list[int], **_: Any) -> Any:
        asked.append(len(given))
        return decode(given)

    monkeypatch.setattr(BYTES, "decode", counted)
    found = token_texts(BYTES, [lone] * 500)
    assert len("".join(found.pieces)) >= 1
    assert max(asked[1:]) < 20, "one whole text, and windows"


def test_a_model_of_the_project_is_spelled() -> None:
    loaded = conf.build("learners.models", conf.load("model", "tiny")).load("dsbench", 0)
    given = loaded.tokenizer.encode("```python\nx = 'é'\n```", add_special_tokens=False)
    found = token_texts(loaded.tokenizer, [*given, loaded.tokenizer.eos_token_id])
    assert "".join(found.pieces) == "```python\nx = 'é'\n```"
    assert list(found.names.values())[-1] == loaded.tokenizer.eos_token
