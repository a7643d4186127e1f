"""Pairs from replayed episodes, on the corpus, in the fork server's sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.corpus.cases import path_of
from benchmarks.export.__main__ import main
from learners.report import reading
from learners.report.handoffs import diagnose

PUBLIC = path_of("public")
SOUND = "dsbench-airport_altitude-0"
FAILED = "dsbench-airport_altitude-0-other_name-13"
ALONE = "dsbench-film_verdict-6-other_name-1"
WORDS = ("env=dsbench", "sandbox=local", "--what=counterfactuals", "--tries=1", "--threads=1")


def recorded(folder: Path, *names: str) -> Path:
    """Writes the corpus's episodes of these ids to a file."""
    rows = {row["id"]: row for row, _ in reading.episodes_of(reading.read(PUBLIC))}
    path = folder / "episodes.jsonl"
    path.write_text("".join(json.dumps(rows[name]) + "\n" for name in names), encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_pair_is_the_action_that_explains_the_failure_and_one_with_which_the_episode_succeeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path, SOUND, FAILED, ALONE)
    out = tmp_path / "pairs.jsonl"
    main([str(path), *WORDS, "--out", str(out)])
    [pair] = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    (sound, _), (failed, episode), _ = reading.episodes_of(reading.read(path))
    found = diagnose(episode.turns, episode.outcome)
    assert found is not None
    place, donated = found.culprit.turn, pair["provenance"]["turn"]
    assert pair["rejected"] == [{"role": "assistant", "content": failed["turns"][place]["action"]}]
    assert pair["chosen"] == [{"role": "assistant", "content": sound["turns"][donated]["action"]}]
    assert sound["turns"][donated]["agent"] == failed["turns"][place]["agent"] == "modeler"
    assert pair["score"] == pytest.approx(sound["outcome"]["score"], abs=0.001)
    assert pair["margin"] == pytest.approx(sound["outcome"]["score"] - failed["outcome"]["score"], abs=0.001)
    assert pair["provenance"]["episode"] == SOUND
    assert (pair["rejected_provenance"]["episode"], pair["rejected_provenance"]["turn"]) == (FAILED, place)
    assert "from 2 failed episodes: 1 replaced, 1 that nobody did better\n" in capsys.readouterr().out


@pytest.mark.slow
def test_a_replay_that_ends_differently_gives_no_pair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path, SOUND, FAILED)
    sound, failed = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    failed["outcome"] |= {"score": 0.5}
    path.write_text(f"{json.dumps(sound)}\n{json.dumps(failed)}\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        main([str(path), *WORDS, "--out", str(tmp_path / "pairs.jsonl")])
    assert "from 1 failed episode: 1 whose replay ends differently" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [(["--succeeded"], "leaves no failed episode"), ([], "say in which environment by env=<name>")],
)
def test_what_cannot_be_replayed_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[Any], complaint: str
) -> None:
    path = recorded(tmp_path, SOUND, FAILED)
    with pytest.raises(SystemExit) as stopped:
        main([str(path), "--what=counterfactuals", *words, "--out", str(tmp_path / "pairs.jsonl")])
    assert stopped.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert complaint in line
