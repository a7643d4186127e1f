from __future__ import annotations

import inspect
import textwrap

from envs import types
from envs.types import Turn


def test_the_example_in_the_docstring_of_a_turn_is_a_turn() -> None:
    example = inspect.getdoc(Turn).split("::\n", 1)[1]  # type: ignore[union-attr]
    turn = eval(textwrap.dedent(example).strip(), vars(types))
    assert isinstance(turn, Turn)
    assert turn.action.splitlines()[1] == "```python"
