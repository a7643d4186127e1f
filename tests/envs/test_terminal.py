from __future__ import annotations

import pytest

from envs.episode.terminal import as_terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("abc\rX", "Xbc"),
        ("".join(f"\r{n}%" for n in range(101)) + "\ndone\n", "100%\ndone\n"),
        ("ab\b\bX", "Xb"),
        ("\b\bX", "X"),
        ("\033[1;31mred\033[0m", "red"),
        ("\033[38;5;196mred\033[m", "red"),
        ("\033]0;title\007x", "x"),
        ("\033]8;;http://a\033\\link\033]8;;\033\\", "link"),
        ("\033(Bx\033[?25l\033[?25h", "x"),
        ("long line\r\033[Kx", "x"),
        ("long line\033[2K\rx", "x"),
        ("1\n2\n\033[2Ax\n\033[1By", "x\n2\ny"),
        ("a\033[10Gb", "a        b"),
        ("abc\033[2DX", "aXc"),
        ("bell\a", "bell"),
        ("cut\033[", "cut"),
        ("cut\033", "cut"),
        ("中文\r国", "国文"),
    ],
)
def test_text_is_shown_as_on_a_terminal(text: str, shown: str) -> None:
    assert as_terminal(text) == shown


@pytest.mark.parametrize(
    "piece", ["\rab", "\by", "\033[", "\033]b", "\033[2Kx", "\033[999Cx\n", "\033[99999Ax", "\033[K", "\x9b9"]
)
def test_hostile_output_does_not_grow_much(piece: str) -> None:
    text = "x" * 100_000 + "\n" * 1000 + piece * 50_000
    assert len(as_terminal(text)) < 100 * len(text)
