"""The leaderboard of coaches: its measures by hand, and whole runs on the bundled corpus."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.coaches import __main__, judging, measures, report
from benchmarks.coaches.judging import JudgedCase, Judgement
from benchmarks.common import coaches as compared
from benchmarks.corpus import cases as corpus
from benchmarks.corpus.cases import Case, Label
from coaches import episodes
from coaches.base import Verdict
from conf import ConfigError

ORACLE = '''
"""Knows every culprit, as no real coach does: it reads the labels."""

from dataclasses import dataclass

from benchmarks.corpus import cases
from coaches.base import CoachError, Verdict


def key(history):
    return history[-1].task_id, tuple(turn.action for turn in history[:-1])


class Oracle:
    @dataclass(frozen=True)
    class Config:
        low: float = 1.0
        flattered: bool = False
        mute: bool = False

    def __init__(self, config):
        self.config = config
        self.known = {}
        for case in cases.read("public"):
            for turn in case.episode.turns:
                faulty = case.label is not None and case.label.turn == turn.index
                self.known.setdefault(key(case.episode.turns[: turn.index + 1]), {})[turn.action] = faulty

    def judge(self, history):
        turn = history[-1]
        if self.config.mute and turn.index == 0:
            raise CoachError("no opinion on beginnings")
        known = self.known.get(key(history), {})
        said = max((action for action in known if action in turn.action), key=len, default=None)
        if known.get(said) and (not self.config.flattered or turn.action == said):
            return Verdict(self.config.low, "the culprit", turn.agent, source="oracle")
        return Verdict(9.0, "sound", source="oracle")
'''


def case(
    agents: str,
    fault: int | None = None,
    task: str = "t",
    kind: str = "regression",
    success: bool | None = None,
) -> Case:
    """An episode whose turns are played by the agents with these letters."""
    row = {
        "id": f"{task}-{agents}-{fault}",
        "task": task,
        "kind": kind,
        "turns": [{"agent": agent, "action": f"{agent}{position}"} for position, agent in enumerate(agents)],
        "outcome": {
            "success": fault is None,
            "score": float(fault is None),
            "failure_code": "ok",
            "metrics": {"fair": 1.0},
        },
    }
    label = None if fault is None else Label("some fault", agents[fault], fault)
    return Case(
        episode=episodes.episode(row),
        env="dsbench",
        seed=0,
        split="public",
        style="brief",
        label=label,
        twin=None,
        answer=None,
    )


def judged(case: Case, scores: Sequence[float | None], blame: Sequence[str | None] = ()) -> JudgedCase:
    names = [*blame, *[None] * (len(scores) - len(blame))]
    verdicts = tuple(
        None if score is None else Verdict(score, "", name) for score, name in zip(scores, names, strict=True)
    )
    return JudgedCase(case, verdicts, ("CoachError",) * list(scores).count(None), 0.5 * len(scores))


def row(*first: JudgedCase, again: Sequence[JudgedCase] = (), padded: Sequence[JudgedCase] = ()) -> Any:
    longer = tuple(padded) or tuple(one for one in first if one.case.label is None)
    return measures.measure("made", Judgement(first, tuple(again), longer, ()))


def test_the_suspect_is_the_agent_that_the_lowest_verdict_blames_else_the_agent_of_that_turn() -> None:
    faulty = case("abc", 1)
    assert measures.found_agent(judged(faulty, [8, 2, 5])) == 1.0
    assert measures.found_agent(judged(faulty, [8, 5, 2])) == 0.0
    assert measures.found_agent(judged(faulty, [8, 5, 2], [None, None, "b"])) == 1.0
    assert measures.found_agent(judged(faulty, [8, 2, 5], [None, "a", None])) == 0.0
    assert measures.found_agent(judged(faulty, [2, 2, 5])) == 0.5
    assert measures.found_agent(judged(faulty, [None, None, None])) == 0.0
    assert measures.found_turn(judged(faulty, [2, 2, 5], ["b", "a"])) == 0.5
    assert measures.found_turn(judged(faulty, [2, None, 5])) == 0.0


def test_the_margin_is_between_the_fault_and_the_rest_of_its_episode() -> None:
    assert row(judged(case("abc", 1), [8, 2, 6])).margin.value == pytest.approx(5.0)
    assert row(judged(case("abc", 1), [8, None, 6])).margin.n == 0


def test_false_blame_is_counted_on_sound_episodes_only() -> None:
    measured = row(
        judged(case("ab", task="t1"), [8, 9]),
        judged(case("ab", task="t2"), [8, 4]),
        judged(case("ab", task="t3"), [8, 9], ["a"]),
        judged(case("ab", 0, task="t4"), [0, 0], ["b"]),
    )
    assert measured.false_blame.value == pytest.approx(2 / 3)


def test_turns_without_a_verdict_are_counted_by_cause_and_stay_in_the_measures() -> None:
    measured = row(judged(case("ab", 0), [None, 9]), judged(case("ab"), [9, None]))
    assert measured.masked.value == 0.5
    assert measured.causes == {"CoachError": 2}
    assert measured.found_agent.value == 0.0
    assert measured.seconds == 0.5


def test_retest_and_biases_by_hand() -> None:
    first = [
        judged(case("ab", task="t1"), [8, 9]),
        judged(case("ab", task="t2", kind="classification"), [5, 6]),
    ]
    again = [judged(one.case, [7, 9]) for one in first[:1]] + [judged(first[1].case, [5, None])]
    padded = [judged(one.case, [10, 10]) for one in first]
    measured = row(*first, again=again, padded=padded)
    assert measured.retest.value == pytest.approx(1 / 3)
    assert measured.position_bias.value == pytest.approx(1.0)
    assert measured.length_bias.value == pytest.approx((2 + 1 + 5 + 4) / 4)


def test_a_planted_preference_for_regression_is_measured_apart_from_quality() -> None:
    sound = [case for case in corpus.read("public") if case.label is None]
    for planted in (0.0, 1.5):
        judgements = []
        for one in sound:
            assert one.episode.outcome is not None
            due = 5 * one.episode.outcome.score + planted * (one.episode.kind == "regression")
            judgements.append(judged(one, [due + 0.5 * (turn.index % 2) for turn in one.episode.turns]))
        measured = row(*judgements)
        assert measured.kind_bias.value == pytest.approx(planted, abs=0.2)
        assert measured.kind_bias.low <= planted <= measured.kind_bias.high


def test_chance_is_what_random_scores_reach() -> None:
    assert measures.chance([case("aab", 0), case("aab", 2), case("ab")]) == pytest.approx((0.5, 1 / 3))


def test_a_retest_uses_no_cache() -> None:
    node = {"name": "x", "coaches": [{"name": "llm", "cache": True}], "coach": {"cache": True, "n": 1}}
    fresh = {"name": "x", "coaches": [{"name": "llm", "cache": False}], "coach": {"cache": False, "n": 1}}
    assert judging.uncached(node) == fresh


def test_settings_follow_the_name_of_their_coach() -> None:
    nodes = compared.nodes(["coach=rules,random", "random.seed=3", "rules.ran=2.5"])
    assert nodes["random"] == {"name": "random", "seed": 3}
    assert nodes["rules"]["ran"] == 2.5
    with pytest.raises(ConfigError, match=r"not a setting of rules"):
        compared.nodes(["coach=rules", "random.seed=3"])
    with pytest.raises(ConfigError, match="each coach once"):
        compared.nodes(["coach=rules,rules"])


def test_one_coach_takes_part_with_several_settings() -> None:
    words = ["coach=rules", "one=random", "two=random", "one.seed=1", "two.seed=2", "rules.ran=2.5"]
    nodes = compared.nodes(words)
    assert list(nodes) == ["rules", "one", "two"]
    assert [nodes["one"], nodes["two"]] == [{"name": "random", "seed": seed} for seed in (1, 2)]
    assert nodes["rules"]["ran"] == 2.5


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["one=nosuch"], "nosuch"),
        (["one=random", "one=rules"], "each coach once"),
        (["one=random,rules"], "one=random,rules gives one name to several coaches"),
        (["coach=rules", "rules=random"], "each coach once"),
        (["one=random", "two.seed=1"], "'two.seed=1' is not a setting of one"),
        (["one.seed=1"], "each coach once"),
        (["coach=random", "seed=3"], "seed=3 names no coach; a setting is written <coach>.<key>=<value>"),
        (["one="], "one= names no coach"),
    ],
)
def test_names_of_coaches_that_mean_nothing_are_one_line(words: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as raised:
        compared.nodes(words)
    assert "\n" not in str(raised.value)


@pytest.fixture
def oracle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a coach in a module of the user."""
    (tmp_path / "owncoach").mkdir()
    (tmp_path / "owncoach" / "oracle.py").write_text(ORACLE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "owncoach.oracle", raising=False)
    return "owncoach.oracle"


def test_one_run_ranks_the_controls_and_a_coach_of_the_user(
    oracle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["rules", "outcome", "random", "length", "hindsight", oracle]
    out = tmp_path / "board"
    assert __main__.main([f"coach={','.join(names)}", "--out", str(out), "--attacked", "2"]) == 0
    board = json.loads((out / "coaches.json").read_text(encoding="utf-8"))
    rows = {row["coach"]: row for row in board["rows"]}
    assert set(rows) == set(names)
    assert board["rows"][0]["coach"] == oracle
    assert rows[oracle]["found_agent"]["value"] == rows[oracle]["auc"]["value"] == 1.0
    assert rows[oracle]["false_blame"]["value"] == rows[oracle]["masked"]["value"] == 0.0
    blind = rows["random"]["found_agent"]
    assert blind["low"] <= board["chance_agent"] <= blind["high"]
    assert rows["random"]["auc"]["low"] <= 0.5 <= rows["random"]["auc"]["high"]
    assert rows["random"]["retest"]["value"] > 2.0
    assert rows["length"]["length_bias"]["low"] > 0.5
    for name in ("rules", "outcome", "hindsight", oracle):
        assert rows[name]["length_bias"]["high"] <= 0.05, name
        assert rows[name]["retest"]["value"] == 0.0
    assert rows["hindsight"]["found_agent"]["value"] > board["chance_agent"]
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)
    assert "the kinds of fault, one by one: in the page, or printed with --kinds" in printed
    page = (out / "coaches.html").read_text(encoding="utf-8")
    assert closed(page)
    assert all(name in page for name in names)
    assert "http" not in page


def test_a_coach_that_attacks_sway_or_that_gives_no_verdict_shows_it(
    oracle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "board"
    words = [f"coach={oracle}", f"{oracle}.flattered=true", f"{oracle}.mute=true"]
    options = ["--out", str(out), "--limit", "14", "--attacked", "6", "--no-retest", "--kinds"]
    assert __main__.main([words[0], *options, *words[1:]]) == 0
    printed = capsys.readouterr().out
    [row] = json.loads((out / "coaches.json").read_text(encoding="utf-8"))["rows"]
    table = printed[printed.index("Culprits found, by kind of fault") :]
    assert len(row["by_kind"]) == 14
    for kind, share in row["by_kind"].items():
        assert re.search(rf"{re.escape(kind)} .*{100 * share['value']:.0f} % \[.* of {share['n']}", table), (
            kind
        )
    assert row["resisted"]["value"] < 0.9
    assert row["masked"]["value"] > 0.1
    assert set(row["causes"]) == {"CoachError"}
    assert row["retest"]["value"] is None


def test_limit_takes_many_kinds_of_fault_and_their_sound_twins() -> None:
    cases = __main__.chosen(corpus.read("public"), 10)
    faulty = [case for case in cases if case.label is not None]
    assert len(faulty) == 10
    assert len({case.label.kind for case in faulty if case.label}) == 10
    assert {case.twin for case in faulty} == {case.episode.id for case in cases if case.label is None}


def test_a_user_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        __main__.main(["coach=nobody"])
    assert ended.value.code == 2
    assert "there is no coach called 'nobody'" in capsys.readouterr().err


def test_names_from_outside_are_escaped() -> None:
    measured = row(judged(case("ab", 0), [1, 9]))
    shown = report.html(
        report.Report(
            {"part": "<b>"}, 0.5, 0.5, {}, {"<i>": 1}, [replace(measured, coach="<script>alert(1)</script>")]
        )
    )
    assert not any(tag in shown for tag in ("<script>", "<b>", "<i>"))


def test_every_edition_of_the_corpus_is_shown_apart() -> None:
    old = [judged(case("ab", 0), [1, 9]), judged(case("ab"), [9, 9])]
    late = [
        judged(case("ab", 1), [1, 9]),
        judged(case("ab"), [9, 1]),
        judged(case("ab"), [9, 9]),
    ]
    measured = row(*old, *(replace(one, case=replace(one.case, edition=2)) for one in late))
    first, second = measured.by_edition[1], measured.by_edition[2]
    assert (first.found_agent.value, first.found_turn.value, first.false_blame.value) == (1, 1, 0)
    assert (second.found_agent.value, second.found_turn.value, second.false_blame.value) == (0, 0, 0.5)
    assert (first.margin.value, second.margin.value) == (8, -8)
    assert (second.found_agent.n, second.false_blame.n) == (1, 2)
    assert (measured.found_agent.value, measured.found_agent.n) == (0.5, 2)
    made = report.Report({"part": "made"}, 0.5, 0.5, {}, {"another": 2, "some fault": 1}, [measured])
    [_, table, _] = report.tables(made)
    cells = [[str(cell) for cell in column.cells] for column in table.columns]
    assert cells[1:3] == [["1", "2"], ["1 + 1", "1 + 2"]]
    shown = report.html(made)
    assert shown.index("some fault</th><td>1</td>") < shown.index("another</th><td>2</td>")
    assert closed(shown)


@pytest.mark.browser
def test_a_browser_shows_every_row_within_its_width(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium")
    measured = replace(row(judged(case("ab", 0), [1, 9]), judged(case("ab"), [9, 9])), coach="the <coach>")
    page = tmp_path / "page.html"
    shown = report.html(report.Report({"part": "made"}, 0.5, 0.5, {}, {"some fault": 1}, [measured]))
    wide = "<script>document.title = document.documentElement.scrollWidth <= window.innerWidth</script>"
    page.write_text(shown.replace("</body>", f"{wide}</body>"), encoding="utf-8")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"]
    done = subprocess.run(
        [*command, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "<title>true</title>" in done.stdout
    assert done.stdout.count("the &lt;coach&gt;") == 4
    assert "some fault" in done.stdout


class Tags(html.parser.HTMLParser):
    """Checks that every opened element is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.unbalanced = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.unbalanced |= not self.open or self.open.pop() != tag


def closed(page: str) -> bool:
    tags = Tags()
    tags.feed(page)
    return not tags.unbalanced and not tags.open
