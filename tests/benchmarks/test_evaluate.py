"""Evaluations: reading run folders, comparing two, and the command from end to end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from omegaconf import OmegaConf
from rich.console import Console

from benchmarks.common import crossed, significance
from benchmarks.evaluate import __main__, by_task, reading, report, tables
from benchmarks.evaluate.comparison import difference
from benchmarks.evaluate.conduct import Conduct, conduct
from benchmarks.evaluate.groups import make_group, read_shown
from coaches.base import CoachError, Verdict
from conf import ConfigError
from envs.types import Message, Turn
from learners.types import Bill, Completion
from tests.coaches import endpoints as e
from tests.fakes import FakeScenario, program
from tests.learners.run.test_trainer import IdleGenerator, settings, trained


class Blames:
    """Blames the changer if ``b.txt`` is missing, and the maker of task 4 without reason; fails on the
    teller."""

    def judge(self, history: Sequence[Turn]) -> Verdict:
        turn = history[-1]
        if turn.agent == "teller":
            raise CoachError("no verdict")
        if turn.agent == "maker":
            return Verdict(
                8.0, "a matter of taste", "maker" if turn.task_id == "heldout-4" else None, cost=0.5
            )
        missing = "b.txt" not in {file.path for file in turn.files_after}
        return Verdict(0.0 if missing else 8.0, "files", "changer" if missing else None, cost=0.5)


class Served:
    """Acts correctly, except that the changer fails on tasks in ``fails``; every turn costs 0.25 USD."""

    def __init__(self, agent: str, fails: Sequence[str], counts: bool = True) -> None:
        self.name, self.fails, self.counts = agent, fails, counts

    def act(
        self, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        number = next(m.content for m in messages if "## Task: write " in m.content).split("write ")[1][0]
        texts = {
            "maker": program(f"open('a.txt', 'w').write('{number}')"),
            "changer": program(
                "1 + 1" if number in self.fails else "open('b.txt', 'w').write(open('a.txt').read())"
            ),
            "teller": "done",
        }
        bill = Bill(100, 7, 0.25) if self.counts else Bill(None, None, 0.25)
        return Completion(texts[self.name], (), (), (), 0, "stop", bill)


def played(
    folder: Path, fails: Sequence[str], *, model: str = "large", counts: bool = True, **changes: Any
) -> Path:
    """The folder of an evaluation: two tasks of two kinds, two episodes of each."""
    evaluation = {"episodes": 2, "coached": True}
    served = {"name": "api", "endpoint": {"model": model}}
    config = settings(folder, steps=0, evaluation=evaluation, generator=served, **changes)
    team = {role.name: Served(role.name, fails, counts) for role in FakeScenario().roles}
    trained(config, team=team, generator=IdleGenerator(), coach=Blames())
    return folder


def printed(*shown: Any) -> str:
    console = Console(width=120, file=StringIO())
    for table in shown:
        console.print(table)
    return cast(StringIO, console.file).getvalue()


def test_an_evaluation_is_read_from_its_folder(tmp_path: Path) -> None:
    evaluation = reading.read(played(tmp_path / "run", fails="5"))
    assert (evaluation.label, evaluation.step, evaluation.metrics["success"]) == ("large", 0, 0.5)
    assert evaluation.failures == {"missing": 2}
    assert evaluation.blamed == {"maker": 0, "changer": 2, "teller": 0}
    turns = {"maker": 2 * 4, "changer": 2 * 4, "teller": 4}
    effort = evaluation.effort
    assert effort.by_agent == {agent: 7 * count for agent, count in turns.items()} != {}
    assert (effort.tokens, effort.prompt_tokens, effort.uncounted_turns) == (7 * 20, 100 * 20, 0)
    assert (effort.cost, effort.coach_cost) == (0.25 * 20, 0.5 * 16)
    assert sorted((one.task, one.success, one.fair) for one in evaluation.episodes) == [
        ("heldout-4", True, 1.0),
        ("heldout-4", True, 1.0),
        ("heldout-5", False, 0.0),
        ("heldout-5", False, 0.0),
    ]


def test_the_tables_show_blamed_agents_and_costs(tmp_path: Path) -> None:
    evaluation = reading.read(played(tmp_path / "run", fails="5"))
    text = printed(tables.outcomes([evaluation]), tables.diagnosis([evaluation]))
    lines = {
        line.split("│")[1].strip(): line.split("│")[2].strip() for line in text.splitlines() if "│" in line
    }
    assert lines["all tasks: success"] == "0.500 [0.15, 0.85]"
    assert lines["odd: success"].startswith("0.000")
    assert lines["failed: missing"] == "2"
    assert lines["changer: blamed, of failed"] == "2/2 [0.34, 1.00]"
    assert lines["maker: blamed, of failed"].startswith("0/2")
    assert lines["teller: coach's score"] == "–"
    assert (lines["cost, $"], lines["coach's cost, $"]) == ("5.0000", "8.0000")
    assert "turns without a count" not in lines
    learned = replace(evaluation, algorithm="grpo", models={"maker": "tiny", "teller": "tiny"})
    shown = printed(tables.diagnosis([learned, evaluation]))
    for label, cell in (("algorithm", "grpo"), ("model", "tiny")):
        assert any(label in line and cell in line and "–" in line for line in shown.splitlines())


def test_the_table_of_conduct_counts_replies_programs_and_files(tmp_path: Path) -> None:
    evaluation = reading.read(played(tmp_path / "run", fails="5"))
    assert evaluation.conduct["maker"] == Conduct(8, 8, 8, 8, 4, 4)
    assert evaluation.conduct["changer"] == Conduct(8, 8, 8, 8, 4, 2)
    assert evaluation.conduct["teller"] == Conduct(4, 4, 0, 0, 0, 0)
    text = printed(tables.conduct([evaluation, replace(evaluation, label="other", conduct={})]))
    lines = {
        line.split("│")[1].strip(): line.split("│")[2].strip() for line in text.splitlines() if "│" in line
    }
    assert lines["changer: artifacts in order"] == "2/4 [0.15, 0.85]"
    assert lines["teller: readable replies"].startswith("4/4")
    assert "teller: artifacts in order" not in lines


def test_what_could_not_be_read_or_failed_counts_against_an_agent() -> None:
    role = {"name": "maker", "can_run_code": True, "produces": [{"name": "a.txt"}, {"name": "b.txt"}]}
    ok, missing = {"name": "a.txt", "code": "ok"}, {"name": "b.txt", "code": "missing"}
    turn: dict[str, Any] = {"agent": "maker", "result": None, "checks": [], "last": False}
    row = {
        "roles": [role],
        "turns": [
            turn | {"action": "<think>on and on"},
            turn | {"action": "```bash\nls\n```"},
            turn | {"action": program("1 / 0"), "result": {"status": "error"}},
            turn | {"action": program("1"), "result": {"status": "timeout"}},
            turn | {"action": program("2"), "result": {"status": "ok"}},
            turn | {"action": "enough", "last": True, "checks": [ok, missing, {"name": "c", "code": "ok"}]},
        ],
    }
    assert conduct([row]) == {"maker": Conduct(6, 4, 3, 1, 2, 1)}
    assert conduct([row, row])["maker"].in_order == 2
    assert conduct([]) == {}


def test_turns_without_token_counts_are_reported_and_add_to_no_sum(tmp_path: Path) -> None:
    evaluation = reading.read(played(tmp_path / "run", fails="", counts=False))
    assert (evaluation.effort.tokens, evaluation.effort.uncounted_turns) == (0, 20)
    assert "turns without a count" in printed(tables.diagnosis([evaluation]))


def test_evaluations_are_compared_task_by_task(tmp_path: Path) -> None:
    one = reading.read(played(tmp_path / "one", fails="45", model="small"))
    two = reading.read(played(tmp_path / "two", fails="5"))
    between = difference(make_group("small", [one]), make_group("large", [two]), 0.1)
    assert (between.label, between.baseline, between.tasks) == ("large", "small", 2)
    assert between.success.value == 0.5
    wanted = crossed.mean(np.array([[1.0, 0.0]]))
    assert (between.fair.low, between.fair.high) == (wanted.low, wanted.high) == (0.0, 1.0)
    assert between.pairs == significance.mcnemar([False] * 4, [True] * 2 + [False] * 2)
    assert "large minus small" in printed(tables.comparison([between]))
    config = OmegaConf.load(tmp_path / "two" / "config.yaml")
    assert [one.label for one in reading.distinct([two, two, one])] == ["large two", "large two", "small"]
    assert config.generator.endpoint.model == "large"


def test_folders_are_shown_side_by_side_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [
        str(played(tmp_path / "one", fails="45", model="small")),
        str(played(tmp_path / "two", fails="")),
    ]
    __main__.main([*folders, "--out", f"{tmp_path}/out/both.json"])
    shown = capsys.readouterr().out
    assert "small" in shown
    assert "+1.000 [+1.00, +1.00]" in shown
    report = json.loads((tmp_path / "out" / "both.json").read_text())
    with pytest.raises(SystemExit):
        __main__.main([*folders, "--out", f"{tmp_path}/out/both.json"])
    assert "both.json exists: name another place with --out" in capsys.readouterr().err
    assert [one["label"] for one in report["evaluations"]] == ["small", "large"]
    assert report["differences"][0]["success"]["value"] == 1.0


def test_an_evaluation_that_cannot_be_shown_is_a_one_line_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, complaint in (
        ([str(tmp_path)], "has no evaluation"),
        ([f"run={tmp_path}"], "is not a run folder"),
        (["coach=oracle"], "oracle"),
        (["generator=api", "generator.endpoint.base_url=nowhere"], "must be an http or https address"),
    ):
        with pytest.raises(SystemExit) as ended:
            __main__.main([*words, *(["env=mathchat", f"run_dir={tmp_path}/new"] if len(words) > 1 else [])])
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert complaint in error
        assert len(error.splitlines()) == 1
    other = reading.read(played(tmp_path / "run", fails=""))
    moved = replace(other, episodes=[reading.Played("elsewhere", True, 1.0)])
    with pytest.raises(ConfigError, match="no task in common"):
        difference(make_group("one", [other]), make_group("two", [moved]), 0.1)


def test_a_hosted_team_is_evaluated_and_diagnosed_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with e.serving(e.say("The answer is \\boxed{4}.", tokens=(100, 9))) as server:
        __main__.main(
            [
                *(
                    "env=mathchat",
                    "sandbox=local",
                    "coach=rules",
                    "evaluation.tasks=3",
                    "evaluation.episodes=1",
                ),
                *("generator=api", f"generator.endpoint.base_url={server.url}", f"run_dir={tmp_path}/run"),
                *("generator.endpoint.model=hosted-1", "generator.prices.completion=1000"),
            ]
        )
        asked = len(server.requests) - 1
    shown = capsys.readouterr().out
    assert shown.count("Held-out tasks") == 1
    assert "hosted-1" in shown
    report = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    [evaluation] = report["evaluations"]
    assert evaluation["effort"]["tokens"] == 9 * asked
    assert evaluation["effort"]["cost"] == pytest.approx(9e-3 * asked)
    assert evaluation["blamed"] is not None


@pytest.mark.parametrize("bad", ["nowhere", "empty", "unplayed"])
def test_folders_are_checked_before_anything_is_played(
    tmp_path: Path, bad: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``run=GOOD BAD`` and ``run=GOOD,BAD`` alike."""
    good = played(tmp_path / "good", fails="")
    (good / "checkpoints" / "step-000001").mkdir(parents=True)
    state = {"step": 1, "sizes": {}, "coach": {}, "monitor": {}}
    (good / "checkpoints" / "step-000001" / "state.json").write_text(json.dumps(state))
    (tmp_path / "empty").mkdir()
    (tmp_path / "unplayed").mkdir()
    (tmp_path / "unplayed" / "config.yaml").write_bytes((good / "config.yaml").read_bytes())
    monkeypatch.setattr("learners.run.run.train", lambda _: pytest.fail("an episode was played"))
    capsys.readouterr()
    for words in ([f"run={good}", f"{tmp_path / bad}"], [f"run={good},{tmp_path / bad}"]):
        with pytest.raises(SystemExit) as ended:
            __main__.main(words)
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert str(tmp_path / bad) in error
        assert len(error.splitlines()) == 1


def test_a_word_that_the_configuration_refuses_is_said_before_anything_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("learners.run.run.train", lambda _: pytest.fail("an episode was played"))
    with pytest.raises(SystemExit):
        __main__.main(["env=mathchat", "evaluation.tasks=0"])
    assert capsys.readouterr().err == "error: evaluation.tasks must be at least 1, not 0\n"
    with pytest.raises(SystemExit):
        __main__.main(["env=mathchat", "evaluation.episodes=2", "--k", "2", "3"])
    assert capsys.readouterr().err == "error: --k 3: evaluation.episodes is 2, and k can be no larger\n"
    with pytest.raises(SystemExit):
        __main__.main(["env=mathchat", f"{tmp_path}/nowhere"])
    assert "nowhere" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = played(tmp_path / "run", fails="")
    with pytest.raises(SystemExit) as ended:
        __main__.main([str(folder), "--out", f"{folder}/config.yaml/report.json"])
    assert ended.value.code == 2
    assert "report.json cannot be written" in capsys.readouterr().err


def test_evaluations_without_a_common_task_are_shown_and_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was played is not lost because it cannot be compared."""
    folders = [played(tmp_path / "one", fails=""), played(tmp_path / "two", fails="", model="small")]
    episodes = folders[1] / "episodes.jsonl"
    episodes.write_text(episodes.read_text().replace("heldout-", "elsewhere-"))
    __main__.main([str(folder) for folder in folders])
    shown = capsys.readouterr().out
    assert "have no task in common" in shown
    report = json.loads((folders[1] / "evaluation.json").read_text())
    assert (len(report["evaluations"]), report["differences"]) == (2, [])


def outcome(task: str, metric: str | None, **metrics: float) -> reading.Played:
    known = {name: metrics.get(name) for name in ("score", "completed", "rpg")}
    return reading.Played(task, "score" in metrics, metrics.get("fair", 0.5), metric, **known)


EPISODES = [
    outcome("titanic", "accuracy", score=0.75, completed=1.0, rpg=0.5, fair=0.75),
    outcome("titanic", "accuracy", completed=0.0, rpg=0.0),
    outcome("sales", "smape", score=40.0, completed=1.0, rpg=0.25, fair=0.6),
    outcome("patents", "pearson", completed=1.0, rpg=0.0),
    outcome("mine", "rmse", score=3.0, completed=1.0, fair=0.9),
]


def test_results_by_task_are_means_over_its_episodes_and_dsbenchs_two_are_means_over_tasks() -> None:
    tasks = {task.task: task for task in by_task.results(EPISODES)}
    assert list(tasks) == ["mine", "patents", "sales", "titanic"]
    titanic = tasks["titanic"]
    assert (titanic.metric, titanic.episodes, titanic.success) == ("accuracy", 2, 0.5)
    assert (titanic.score, titanic.completed, titanic.rpg, titanic.fair) == (0.75, 0.5, 0.25, 0.625)
    assert (tasks["patents"].score, tasks["mine"].rpg) == (None, None)
    means = by_task.over_tasks(list(tasks.values()))
    assert (means.task, means.episodes, means.score) == ("all 4 tasks", 5, None)
    assert means.completed == (0.5 + 1 + 1 + 1) / 4
    assert means.rpg == pytest.approx((0.25 + 0.25 + 0.0) / 3)
    assert means.fair == pytest.approx((0.625 + 0.6 + 0.5 + 0.9) / 4)


def test_the_table_of_tasks_has_a_row_for_each_of_74_and_ends_with_the_means() -> None:
    many = [outcome(f"task-{n:02d}", "rmse", score=n / 3, completed=1.0, rpg=n / 73) for n in range(74)]
    text = printed(by_task.table("run", many))
    assert (
        sum(line.split("│")[1].strip().startswith("task-") for line in text.splitlines() if "│" in line) == 74
    )
    last = [cell.strip() for cell in text.splitlines()[-2].split("│")[1:-1]]
    assert last == ["all 74 tasks", "–", "74", "1", "0.5", "–", "1", "0.5"]
    longer = [*many, *(reading.Played(f"more-{n}", True, 1.0) for n in range(30))]
    assert len(printed(by_task.table("run", longer)).splitlines()) < 8


def test_an_outcomes_own_metric_is_read_from_the_run_folder(tmp_path: Path) -> None:
    folder = played(tmp_path / "run", fails="5")
    path = folder / "episodes.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        row["facts"]["metric"] = "rmse"
        row["outcome"]["metrics"] |= {"rmse": 2.0 * number, "completed": 1.0, "rpg": 0.5}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    [one] = report.evaluated(read_shown([folder], []).groups(), None, 0.1).to_json()["evaluations"]
    assert [task["metric"] for task in one["tasks"]] == ["rmse", "rmse"]
    assert sum(task["score"] for task in one["tasks"]) == pytest.approx((0 + 2 + 4 + 6) / 2)
    assert (one["over_tasks"]["completed"], one["over_tasks"]["rpg"]) == (1.0, 0.5)
