"""A page holds the tokens of so many episodes, and says which it has left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report.__main__ import main
from conf import ConfigError
from learners.report import reading
from learners.report.page import page
from learners.report.tokens import tokens
from tests.learners.report.test_page import block, write


def line(episode: int, count: int = 3, **changes: Any) -> dict[str, Any]:
    """Returns a line of ``tokens.jsonl`` about the first turn of an episode of step 0."""
    plain = {
        "step": 0, "episode": f"train-0-{episode}", "turn": 0, "agent": "a", "ids": list(range(count)),
        "text": [f"t{n} " for n in range(count)], "names": {}, "logprob": [-0.1 - n for n in range(count)],
        "update_logprob": [-0.1] * count, "reference_logprob": None, "ratio": 1.0, "importance": 1.0,
        "marks": {"clip_fraction": [0]}, "advantage": 0.5,
    }  # fmt: skip
    return plain | changes


def run(folder: Path, *lines: Mapping[str, Any], episodes: int = 4) -> Path:
    turn = {"agent": "a", "action": "t0 t1 t2 ", "observation": "o"}
    rows = [
        {"id": f"train-0-{n}", "task": "t", "phase": "train", "step": 0, "turns": [turn]}
        for n in range(episodes)
    ]
    write(folder / "episodes.jsonl", *rows)
    write(folder / "tokens.jsonl", *lines)
    return folder


def test_the_tokens_of_an_episode_are_a_block_by_turn(tmp_path: Path) -> None:
    text = page([reading.read(run(tmp_path, line(1), line(3, turn=0, advantage=None)))])
    [shown] = block(text, "index")["runs"]
    assert shown["index"]["tokens"] == ["", "page", "", "page"]
    assert shown["tokens"] == {"recorded": 2, "shown": 2, "scale": 0.5}
    assert block(text, "tokens-0-1") == {"0": line(1)}
    assert block(text, "tokens-0-3")["0"]["advantage"] is None
    assert 'id="tokens-0-0"' not in text


def test_a_page_of_a_run_without_tokens_has_none_of_it(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "tokens.jsonl").unlink()
    text = page([reading.read(tmp_path)])
    assert "tokens" not in block(text, "index")["runs"][0]["index"]
    assert 'id="tokens-' not in text


@pytest.mark.parametrize(("most", "shown"), [(60, 10), (59, 5), (30, 5), (20, 3), (6, 1), (5, 0), (0, 0)])
def test_no_page_holds_more_tokens_than_asked_for_and_those_it_has_are_spread(
    tmp_path: Path, most: int, shown: int
) -> None:
    run(tmp_path, *(line(n, 6) for n in range(10)), episodes=10)
    episodes = [(0, f"train-0-{n}") for n in range(10)]
    found = tokens(tmp_path / "tokens.jsonl", episodes, most=most)
    assert found.about == {"recorded": 10, "shown": shown, "scale": 0.5}
    assert len(found.blocks) == shown
    assert 6 * shown <= most
    gaps = {b - a for a, b in zip(sorted(found.blocks)[:-1], sorted(found.blocks)[1:], strict=True)}
    assert len(gaps) <= 1


@pytest.mark.parametrize(
    "bad",
    [
        '{"step": 0',
        "[]",
        "{}",
        json.dumps(line(0, logprob=[1.0])),
        json.dumps(line(0, logprob=["x", "y", "z"])),
        json.dumps(line(0, advantage=[float("nan"), 1.0, 1.0])),
        json.dumps(line(0, text=[1, 2, 3])),
        json.dumps(line(0, marks=[])),
        json.dumps(line(0) | {"episode": 3}),
    ],
)
def test_a_line_that_is_not_valid_is_named_or_left_out(tmp_path: Path, bad: str) -> None:
    folder = run(tmp_path, line(1))
    with (folder / "tokens.jsonl").open("a", encoding="utf-8") as file:
        file.write(bad + "\n")
    with pytest.raises(ConfigError, match=r"tokens\.jsonl, line 2 has no valid tokens") as caught:
        page([reading.read(folder)])
    assert "\n" not in str(caught.value)
    skipped: list[str] = []
    assert 'id="tokens-0-1"' in page([reading.read(folder)], skipped=skipped)
    assert len(skipped) == 1


def test_ends_of_lines_in_a_token_are_text(tmp_path: Path) -> None:
    odd = line(0, 2, text=["\u2028\x85\n", "\r\v"])
    assert block(page([reading.read(run(tmp_path, odd))]), "tokens-0-0") == {"0": odd}


def test_the_terminal_names_the_least_likely_tokens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = line(0, 4, text=["a", "\x1b[31m", "", "b"], names={"2": "<end>"}, logprob=[-0.5, -3.0, -4.0, -0.1])
    run(tmp_path, odd)
    main([str(tmp_path), "--episode", "train-0-0"])
    said = capsys.readouterr().out
    assert "4 tokens, mean log-probability -1.90; least likely: '<end>' 1.8%" in said
    assert "\x1b[31m" not in said
    main([str(tmp_path), "--episode", "train-0-1"])
    assert "mean log-probability" not in capsys.readouterr().out


def test_the_command_limits_the_tokens_of_the_page(tmp_path: Path) -> None:
    main([str(run(tmp_path, line(0), line(1))), "--tokens", "3"])
    text = (tmp_path / "report.html").read_text("utf-8")
    assert block(text, "index")["runs"][0]["tokens"] == {"recorded": 2, "shown": 1, "scale": 0.5}
