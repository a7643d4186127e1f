from __future__ import annotations

import pytest

from envs.actions.parsing import extract_program, strip_thinking


@pytest.mark.parametrize(
    ("action", "rest"),
    [
        ("plain", "plain"),
        ("<think>a</think>b", "b"),
        ("a<think>b</think>c<think>d</think>e", "ace"),
        ("opened by the template</think>b", "b"),
        ("x<think>never closed", "x"),
        ("<think>never closed", ""),
        ("<think>I write <think> here</think>b", "b"),
        ("a<think>b</think>c</think>d", "d"),
        ("", ""),
    ],
)
def test_thinking_is_stripped(action: str, rest: str) -> None:
    assert strip_thinking(action) == rest


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ("no code", None),
        ("```python\nx = 1\n```", "x = 1"),
        ("```py\nx = 1\n```", "x = 1"),
        ("```Python3 title=a\nx = 1\n```", "x = 1"),
        ("~~~python\nx = 1\n~~~", "x = 1"),
        ("````python\nprint('''```''')\n```\n````", "print('''```''')\n```"),
        ("a\n```python\nx = 1\n```\nb\n```python\ny = x\n```", "x = 1\ny = x"),
        ("```\nx = 1\n```", "x = 1"),
        ("```json\n{}\n```", None),
        ("```pycon\n>>> 1\n```", None),
        ("```python\n   \n```", None),
        ("```python\nx = 1", "x = 1"),
        ("- then\n  ```python\n  if 1:\n    x = 1\n  ```", "if 1:\n  x = 1"),
        ("say ```python print(1)``` inline", None),
        ("```bash\n```python\nx\n```", None),
        ("<think>```python\ndraft\n```</think>```python\nfinal\n```", "final"),
        ("```python\ndraft\n```</think>\n```python\nfinal\n```", "final"),
        ("<think>```python\ndraft\n```", None),
        ("```python\r\nx = 1\r\n```", "x = 1\r"),
    ],
)
def test_all_python_blocks_outside_thinking_are_one_program(action: str, code: str | None) -> None:
    assert extract_program(action) == code
