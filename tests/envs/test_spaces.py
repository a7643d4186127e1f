from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.spaces import Chat, Text


@given(st.text(st.characters(exclude_categories=())))
def test_every_unicode_text_is_in_the_text_space(text: str) -> None:
    assert text in Text(10_000)


@pytest.mark.parametrize("thing", [None, 1, b"x", ["a"], np.array("a")])
def test_only_a_str_is_in_the_text_space(thing: Any) -> None:
    assert thing not in Text(100)


def test_a_text_that_is_too_long_is_not_in_the_space() -> None:
    assert "abc" in Text(3)
    assert "abcd" not in Text(3)


def test_membership_of_a_text_takes_constant_time() -> None:
    text = "é" * 10_000_000
    space = Text(10_000_000)
    start = time.process_time()
    for _ in range(1000):
        assert text in space
    assert time.process_time() - start < 1.0  # a single pass over the characters takes about as long


@pytest.mark.parametrize("space", [Text(100), Text(0), Chat(10, 100), Chat(0, 5)])
def test_samples_are_in_their_space_and_survive_json(space: Any) -> None:
    space.seed(1)
    samples = [space.sample() for _ in range(50)]
    assert all(sample in space for sample in samples)
    back = space.from_jsonable(json.loads(json.dumps(space.to_jsonable(samples))))
    assert back == samples


@pytest.mark.parametrize("make", [lambda: Text(100), lambda: Chat(10, 100)])
def test_samples_depend_on_the_seed_only(make: Callable[[], Any]) -> None:
    one, two, three = make(), make(), make()
    one.seed(3), two.seed(3), three.seed(4)
    first = [one.sample() for _ in range(20)]
    assert first == [two.sample() for _ in range(20)]
    assert first != [three.sample() for _ in range(20)]


def test_text_samples_differ_in_length_and_are_ascii() -> None:
    space = Text(1000, seed=0)
    samples = [space.sample() for _ in range(100)]
    assert len({len(sample) for sample in samples}) > 10
    assert all(sample.isascii() for sample in samples)


def test_spaces_are_equal_by_their_bounds() -> None:
    assert Text(5) == Text(5)
    assert Text(5) != Text(6)
    assert Chat(2, 5) == Chat(2, 5)
    assert Chat(2, 5) != Chat(3, 5)
    assert Text(5) != Chat(5, 5)
    assert len(repr(Text(10**6))) < 30


@pytest.mark.parametrize(
    "chat",
    [
        "text",
        [{"role": "user"}],
        [{"role": "judge", "content": "x"}],
        [{"role": "user", "content": 3}],
        [{"role": "user", "content": "x", "name": "y"}],
        [{"role": "user", "content": "far too long"}],
        [{"role": "user", "content": "x"}] * 4,
    ],
)
def test_a_malformed_chat_is_not_in_the_chat_space(chat: Any) -> None:
    assert chat not in Chat(3, 5)


def test_a_chat_may_be_a_list_or_a_tuple() -> None:
    message = {"role": "user", "content": "é数"}
    assert [message] in Chat(3, 5)
    assert (message, message) in Chat(3, 5)
