"""An option that is out of range, or none, is one line on stderr and exit code 2."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from conf.arguments import integer, number

COMMANDS: dict[str, tuple[str, list[str]]] = {
    "coaches.score": (
        "e.jsonl coach=rules",
        ["--threads 0", "--threads -1", "--threads 1.5"],
    ),
    "coaches.calibrate": ("e.jsonl --out m.json", ["--outt x", "--bins"]),
    "coaches.monitor": ("e.jsonl", ["--jsno"]),
    "benchmarks.attribution.__main__": ("who_and_when=runs coach=rules", ["--limit 0", "--threads 0"]),
    "benchmarks.coaches.__main__": (
        "coach=rules",
        ["--limit -5", "--limit 0", "--threads 0", "--attacked -1", "--limit 99999999999999999999"],
    ),
    "benchmarks.coaches.cpu": ("coach=rules", ["--every 0", "--rounds 0"]),
    "benchmarks.corpus.__main__": ("verify", ["--some 0", "--some -3"]),
    "benchmarks.sandbox.__main__": ("--quick", ["--rounds 0", "--rounds -1", "--methods nothing"]),
    "benchmarks.rollout.__main__": (
        "",
        ["--in-flight 0", "--each 0", "--model -1", "--tool nan", "--sigma inf", "--rounds 0", "--seed -1"],
    ),
    "benchmarks.update.__main__": (
        "",
        ["--count 1", "--prompt 0", "--completion 0", "--rounds 0", "--steps 0", "--threads 0", "--shape x"],
    ),
    "benchmarks.gpu.__main__": ("", ["--seconds 0", "--seconds nan", "--weights nowhere", "walrus"]),
    "benchmarks.envs.__main__": (
        "",
        ["--rounds 0", "--seconds 0", "--seconds nan", "--counts 0", "--counts x", "--peers chess"],
    ),
    "benchmarks.soak": ("", ["--episodes 0", "--in-flight 0", "--episodes 3 --in-flight 2"]),
    "benchmarks.mismatch": ("x=1", ["--bound -1", "--growth nan", "--bound x"]),
    "benchmarks.learning": ("", ["--seeds -1", "--seeds 0 x"]),
    "envs.dsbench.prepare": ("d", ["--descriptions", "--limits 3", "e"]),
    "sandbox.image": ("name", ["--base x"]),
    "learners.export": ("run out", ["--adapter-s"]),
}
CASES = [(name, words, bad) for name, (words, bads) in COMMANDS.items() for bad in bads]


@pytest.mark.parametrize(("name", "words", "bad"), CASES)
def test_a_mistaken_option_is_one_line_and_exit_code_2(
    name: str, words: str, bad: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = importlib.import_module(name)
    monkeypatch.setattr(sys, "argv", [name, *words.split(), *bad.split()])
    with pytest.raises(SystemExit) as caught:
        module.main()
    said = capsys.readouterr()
    assert (caught.value.code, said.out) == (2, "")
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("kind", "word", "complaint"),
    [
        (integer(1), "0", "must be at least 1, not 0"),
        (integer(0, 5), "6", "must be at most 5, not 6"),
        (integer(0), "1e3", "must be an integer, not '1e3'"),
        (number(0), "-0.1", "must be at least 0, not -0.1"),
        (number(0), "nan", "must be a finite number, not nan"),
        (number(0), "inf", "must be a finite number, not inf"),
    ],
)
def test_a_range_says_what_is_wrong(kind: Callable[[str], object], word: str, complaint: str) -> None:
    with pytest.raises(Exception, match=complaint.replace("'", ".")):
        kind(word)
    assert integer(1)("7") == 7
    assert number(0)("0.5") == 0.5


def test_the_process_ends_with_code_2() -> None:
    command = [sys.executable, "-m", "coaches.score", "e.jsonl", "coach=rules", "--threads", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "error: argument --threads: must be at least 1, not 0\n")
