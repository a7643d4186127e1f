"""Gymnasium spaces for language: any Unicode text, with a membership test in constant time, and chats.

``gymnasium.spaces.Text`` enumerates its alphabet: over full Unicode it takes seconds to build, and its test
loops over every character. Here a text is any ``str`` of bounded length. That includes lone surrogates and
NUL, because excluding them would need a scan for each test; ``PipelineEnv`` replaces both in actions.

Gymnasium's vector environments take these spaces: a batch is a tuple. Only their shared memory does not,
because it reserves the longest text in advance.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np
from gymnasium import Space
from gymnasium.error import CustomSpaceError
from gymnasium.vector.utils import create_shared_memory

Messages = list[dict[str, str]]

_ROLES = ("system", "user", "assistant")
_LETTERS = np.array(list(string.ascii_letters + string.digits + " .,"))
_SAMPLE_CHARS = 32
_SAMPLE_MESSAGES = 4


class Text(Space[str]):
    """Any ``str`` of at most ``max_length`` characters. Samples are short and ASCII.

    >>> "naïve 数学 \\n" in Text(100)
    True
    """

    def __init__(self, max_length: int, *, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(shape=None, dtype=None, seed=seed)
        self.max_length = max_length

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def sample(self, mask: None = None, probability: None = None) -> str:
        """Samples up to 32 ASCII letters, digits, spaces, periods and commas."""
        _reject_options(mask, probability)
        length = int(self.np_random.integers(min(self.max_length, _SAMPLE_CHARS) + 1))
        return "".join(self.np_random.choice(_LETTERS, size=length))

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_length

    def to_jsonable(self, sample_n: Iterable[str]) -> list[str]:
        return list(sample_n)

    def from_jsonable(self, sample_n: list[Any]) -> list[str]:
        return list(sample_n)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Text) and self.max_length == other.max_length

    def __hash__(self) -> int:
        return hash((Text, self.max_length))

    def __repr__(self) -> str:
        return f"Text({self.max_length})"


class Chat(Space[Messages]):
    """A list of ``{"role": …, "content": …}``, the format of chat templates and chat endpoints.

    It has at most ``max_messages`` messages of at most ``max_length`` characters, with the roles ``system``,
    ``user`` and ``assistant``. Tuples of such messages are in the space as well.
    """

    def __init__(
        self, max_messages: int, max_length: int, *, seed: int | np.random.Generator | None = None
    ) -> None:
        super().__init__(shape=None, dtype=None, seed=seed)
        self.max_messages = max_messages
        self.max_length = max_length

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def sample(self, mask: None = None, probability: None = None) -> Messages:
        """Samples up to four messages of up to 32 ASCII characters."""
        _reject_options(mask, probability)
        count = int(self.np_random.integers(min(self.max_messages, _SAMPLE_MESSAGES) + 1))
        text = Text(self.max_length, seed=self.np_random)
        return [{"role": str(self.np_random.choice(_ROLES)), "content": text.sample()} for _ in range(count)]

    def contains(self, x: Any) -> bool:
        return isinstance(x, list | tuple) and len(x) <= self.max_messages and all(map(self._is_message, x))

    def _is_message(self, x: Any) -> bool:
        if not isinstance(x, dict) or x.keys() != {"role", "content"} or x["role"] not in _ROLES:
            return False
        content = x["content"]
        return isinstance(content, str) and len(content) <= self.max_length

    def to_jsonable(self, sample_n: Iterable[Messages]) -> list[Messages]:
        return [[dict(message) for message in chat] for chat in sample_n]

    def from_jsonable(self, sample_n: list[Any]) -> list[Messages]:
        return [[dict(message) for message in chat] for chat in sample_n]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Chat)
            and self.max_messages == other.max_messages
            and self.max_length == other.max_length
        )

    def __hash__(self) -> int:
        return hash((Chat, self.max_messages, self.max_length))

    def __repr__(self) -> str:
        return f"Chat({self.max_messages}, {self.max_length})"


def _reject_options(mask: None, probability: None) -> None:
    if mask is not None or probability is not None:
        raise ValueError("text spaces support neither mask nor probability")


@create_shared_memory.register(Text)
@create_shared_memory.register(Chat)
def _refuse_shared_memory(space: Space[Any], n: int = 1, ctx: object = None) -> NoReturn:
    raise CustomSpaceError(
        f"{space} has no place in shared memory, because its texts have no fixed length: "
        "use AsyncVectorEnv(…, shared_memory=False)"
    )
