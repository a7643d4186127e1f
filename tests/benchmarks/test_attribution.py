"""Accuracies against counting by hand, the constants, and the command from files to JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from benchmarks.attribution import measures, runs
from benchmarks.attribution.__main__ import main
from benchmarks.attribution.constants import constants
from benchmarks.attribution.runs import Guess, Run
from coaches.base import History, Sees, Verdict
from envs.types import Turn
from tests.coaches.traces.test_who_and_when import CHAT, MAGENTIC, write


def data(folder: Path) -> Path:
    """Three runs of one part and one of the other; two of the three are labelled at message 3."""
    late = CHAT | {"mistake_step": "3", "question_ID": "x2"}
    planner = late | {"mistake_agent": "Planner", "question_ID": "x3"}
    return write(folder, **{"1": CHAT, "2": late, "3": planner, "4": MAGENTIC})


def read(folder: Path) -> list[Run]:
    found, skipped, _ = runs.read(data(folder), skip_bad=False)
    assert skipped == []
    return found


def slow(run: Run, made: Guess, top: int) -> float:
    """The share of all orders, ties in every order, in which the message at fault is among the first."""
    orders: list[tuple[int, ...]] = [()]
    for group in made.messages:
        orders = [(*order, *tied) for order in orders for tied in permutations(group)]
    return sum(run.message in order[:top] for order in orders) / len(orders)


@pytest.mark.parametrize(
    "groups", [((0, 3), (1, 5)), ((1,), (3,), (0, 5)), ((0,), (1, 3, 5)), ((0, 1, 5),), (), ((0, 1, 3, 5),)]
)
@pytest.mark.parametrize("top", [1, 2, 3])
def test_ties_count_as_the_share_of_orders_that_hit(
    tmp_path: Path, groups: tuple[tuple[int, ...], ...], top: int
) -> None:
    run = read(tmp_path / "w")[1]
    made = Guess((), groups)
    assert measures.found_step(run, made, top) == pytest.approx(slow(run, made, top))


def test_constants_read_nothing_and_are_counted_by_hand(tmp_path: Path) -> None:
    own = runs.parts(read(tmp_path / "w"), None)["algorithm-generated"]
    rows = {name: measures.constant(name, one, own) for name, one in constants(own).items()}
    found = {
        name: tuple(round(one.value, 4) for one in (row.agent, row.step, row.top))
        for name, row in rows.items()
    }
    assert found == {
        "always step 1": (0.6667, 0.3333, 1.0),
        "best constant step (3)": (0.6667, 0.6667, 1.0),
        "most talkative agent": (0.5, 0.25, 0.75),  # both agents have two of the four turns
        "last speaker": (0.3333, 0.0, 1.0),
        "random turn": (0.5, 0.25, 0.75),
    }


class Reader:
    """Suspects the second turn, and needs the answer for it."""

    sees = (Sees({}, "answer"),)

    def judge(self, history: Sequence[Turn]) -> Verdict:
        assert isinstance(history, History)
        return Verdict(1.0 if history.answer == "4" and len(history) == 2 else 9.0, "r")


def test_the_lowest_score_is_the_guess_and_the_answer_is_there_for_who_sees_it(tmp_path: Path) -> None:
    own = runs.parts(read(tmp_path / "w"), None)["algorithm-generated"]
    row = measures.judged("mine", Reader(), own, threads=1)
    assert row.agent.value == pytest.approx(2 / 3)
    assert row.step.value == pytest.approx(1 / 3)
    assert row.top.value == 1.0 * (1 + 2 * 2 / 3) / 3  # two of the three tied turns come into the first three
    assert row.answer


def test_the_command_writes_a_table_for_each_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    settings = ["coach=rules", "strict=rules", "strict.delivered=1"]
    main([f"who_and_when={data(tmp_path / 'w')}", *settings, "--out", str(out)])
    shown = capsys.readouterr().out
    assert "algorithm-generated, 3 runs; %" in shown
    assert "hand-crafted, 1 run; %" in shown
    report: dict[str, Any] = json.loads(out.read_text())
    assert report["data"]["runs"] == {"algorithm-generated": 3, "hand-crafted": 1}
    assert report["coaches"]["strict"]["delivered"] == 1.0
    names = [row["name"] for row in report["parts"]["hand-crafted"]]
    assert names[-2:] == ["rules", "strict"]
    assert len(names) == 7


def test_runs_without_a_label_are_refused_or_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = data(tmp_path / "w")
    bare = {key: value for key, value in CHAT.items() if not key.startswith("mistake")}
    write(path, **{"5": bare, "6": "no"})
    words = [f"who_and_when={path}", "coach=rules", "--out", str(tmp_path / "out.json")]
    with pytest.raises(SystemExit):
        main(words)
    assert "6.json: not valid JSON" in capsys.readouterr().err
    main([*words, "--skip-bad", "--limit", "1"])
    shown = capsys.readouterr().out
    assert "algorithm-generated, 1 run; %" in shown
    assert "skipped: 2 runs; the first: " in shown


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["coach=rules"], "name the data once: who_and_when=PATH"),
        (["who_and_when=a", "who_and_when=b", "coach=rules"], "name the data once"),
        (["who_and_when=."], "name each coach once"),
        (["who_and_when=nowhere", "coach=rules"], "nowhere"),
    ],
)
def test_user_errors_are_one_line(
    words: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(words)
    error = capsys.readouterr().err
    assert (caught.value.code, error.count("\n")) == (2, 1)
    assert complaint in error
