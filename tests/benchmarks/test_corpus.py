"""The corpus: its labels are true of the records, and a replay gives the same episodes."""

from __future__ import annotations

import json
import lzma
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import conf
from benchmarks.corpus import build, replay
from benchmarks.corpus.__main__ import main
from benchmarks.corpus.cases import SPLITS, Case, path_of, read, read_file
from benchmarks.corpus.habits import HABITS
from benchmarks.corpus.play import perform, row
from benchmarks.corpus.styles import STYLES, Manner
from benchmarks.corpus.team import Team
from conf import ConfigError
from envs.actions.parsing import extract_program
from envs.types import Message
from tests.envs.dsbench.pipelines import FolderSandbox
from tests.envs.dsbench.tables import write_table

CASES = {split: read(split) for split in SPLITS}
EVERY = [case for split in SPLITS for case in CASES[split]]
FAULTY = [case for case in EVERY if case.label is not None]
AGENTS = {"data_engineer", "modeler", "analyst", "problem_solver", "code_executor", "verifier"}


def lines(split: str) -> list[str]:
    with lzma.open(path_of(split), "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def case_of(kind: str, agent: str) -> Case:
    return next(
        case for case in FAULTY if case.label and (case.label.kind, case.label.agent) == (kind, agent)
    )


def test_every_label_names_the_first_turn_that_differs_and_every_fault_makes_a_difference() -> None:
    assert list(replay.inconsistencies(EVERY)) == []


def test_a_false_label_is_reported() -> None:
    case = case_of("rows_misaligned", "data_engineer")
    assert case.label is not None
    twin = next(other for other in EVERY if other.episode.id == case.twin)
    good = replay.fair(twin)

    def complaints(changed: Case) -> list[str]:
        return list(replay.inconsistencies([changed if other is case else other for other in EVERY]))

    assert len(complaints(replace(case, label=replace(case.label, turn=case.label.turn + 1)))) == 1
    assert len(complaints(replace(case, twin="nobody"))) == 1
    assert len(complaints(replace(case, label=None, twin=None))) == (not case.episode.outcome.success)  # type: ignore[union-attr]
    harmless = replace(twin.episode.outcome, metrics={"fair": good - build.MARGIN / 2})  # type: ignore[type-var]
    [complaint] = complaints(replace(case, episode=replace(case.episode, outcome=harmless)))
    assert "makes no difference" in complaint


def test_the_corpus_is_large_and_spread_over_kinds_agents_tasks_and_styles() -> None:
    for split in SPLITS:
        labels = [case.label for case in CASES[split] if case.label is not None]
        assert {label.agent for label in labels} == AGENTS
        assert {case.style for case in CASES[split] if case.label is not None} == set(STYLES)
    public, heldout = ({case.label.kind for case in CASES[s] if case.label is not None} for s in SPLITS)
    assert public <= heldout
    assert len(EVERY) >= 600
    assert len(EVERY) - len(FAULTY) >= len(EVERY) / 4
    assert len({case.episode.task_id for case in EVERY if case.env == "dsbench"}) == 20
    families = Counter(case.episode.task_id.rpartition("-")[0] for case in FAULTY if case.env == "mathchat")
    assert len(families) >= 8
    assert sum(path_of(split).stat().st_size for split in SPLITS) <= 1 << 20


def test_the_held_out_part_has_enough_of_every_kind_to_tell_coaches_apart() -> None:
    kinds = Counter(case.label.kind for case in CASES["heldout"] if case.label is not None)
    assert len(kinds) >= 40
    assert min(kinds.values()) >= 5
    assert sum(case.label is None for case in CASES["heldout"]) >= 150


def test_kinds_of_the_second_edition_are_in_the_held_out_part_alone() -> None:
    editions = {(case.label.kind, case.edition) for case in FAULTY if case.label is not None}
    kinds = Counter(edition for _, edition in editions)
    assert len(dict(editions)) == len(editions), "a kind has one edition"
    assert kinds[2] >= 10
    assert {case.edition for case in CASES["public"]} == {1}


def test_unusual_ways_of_working_are_sound_and_have_faults_too() -> None:
    unusual = [case for case in EVERY if Manner.of(case.seed).habit]
    sound = [case for case in unusual if case.label is None]
    assert {(case.env, Manner.of(case.seed).habit) for case in sound} == {
        (env, habit) for env in build.FAULTS for habit in range(1, HABITS + 1)
    }
    assert all(case.edition == 2 for case in sound)
    assert len(unusual) - len(sound) >= 20


def test_answers_are_recorded_where_they_are_texts() -> None:
    for case in EVERY:
        assert (case.answer is not None) == (case.env == "mathchat")
        if case.answer is not None and case.label is None:
            assert f"\\boxed{{{case.answer}}}" in case.episode.turns[-1].action


def test_most_faults_in_tables_pass_the_checks_of_files() -> None:
    tables = [case for case in FAULTY if case.env == "dsbench"]
    visible = [
        case for case in tables if any(c.code != "ok" for t in case.episode.turns if t.last for c in t.checks)
    ]
    assert len(visible) <= len(tables) / 2


def test_some_episodes_contain_a_harmless_error_that_is_not_a_fault() -> None:
    errors = [
        (case, turn)
        for case in EVERY
        for turn in case.episode.turns
        if case.style == "repairer" and turn.attempt == 0 and turn.result is not None
    ]
    assert len(errors) > 20
    for case, turn in errors:
        assert turn.result is not None
        assert turn.result.status == "error"
        assert case.label is None or case.label.turn != turn.index


def test_the_corpus_contains_no_times() -> None:
    for split in SPLITS:
        for line in lines(split):
            assert "wall_s" not in line
            assert "verdict" not in json.loads(line)["turns"][0]


def test_every_turn_but_the_faulty_ones_is_the_teams_own() -> None:
    team = conf.build("benchmarks", {"name": "benchmarks.corpus.team"})
    for case in EVERY[::3]:
        turns = case.episode.turns
        own = [t.index for t in turns if team.act(t.agent, t.observation, case.seed) != t.action]
        assert own == ([] if case.label is None else [case.label.turn])


def test_a_stage_begun_in_one_style_goes_on_in_another() -> None:
    team, begun = Team(Team.Config("brief")), 0
    for case in EVERY:
        for turn in case.episode.turns:
            if turn.attempt == 1 and turn.code is not None and case.label is None:
                begun += 1
                assert team.act(turn.agent, turn.observation, case.seed) == turn.action
    assert begun > 40


def test_the_team_reacts_to_its_input() -> None:
    turns = case_of("wrong_constant", "problem_solver").episode.turns
    system, task = turns[1].observation
    changed = Message("user", task.content.replace("Compute: ", "Compute: 1 + "))
    assert "1 + " in Team(Team.Config("brief")).act("code_executor", (system, changed), 0)
    with pytest.raises(ConfigError, match="brief"):
        Team(Team.Config("loud"))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"fault": {"kind": "k", "agent": "modeler", "turn": 0}}, "turn 0 is not a turn of modeler"),
        ({"outcome": None}, "no outcome"),
        ({"twin": ...}, "not a case"),
    ],
)
def test_a_line_that_is_not_a_case_is_refused(
    change: dict[str, object], complaint: str, tmp_path: Path
) -> None:
    row = json.loads(lines("public")[0]) | change
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps({key: value for key, value in row.items() if value is not ...}), "utf-8")
    with pytest.raises(ConfigError, match=complaint):
        read_file(path)
    with pytest.raises(ConfigError, match="public and heldout"):
        read("train")


@pytest.mark.slow
def test_recorded_episodes_replay_in_a_real_sandbox(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--some", "24", "sandbox=local"]) == 0
    assert "24 of" in capsys.readouterr().out


def test_a_replay_that_differs_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in SPLITS:
        row = json.loads(next(line for line in lines(split) if '"env": "mathchat"' in line))
        row["outcome"]["failure_code"] = "wrong"
        path_of(split, tmp_path).write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert main(["verify", "--folder", str(tmp_path), "sandbox=local"]) == 1
    assert "it ended with ok, but wrong is recorded" in capsys.readouterr().out


def test_the_committed_corpus_is_what_a_build_writes() -> None:
    rows = {made["id"]: made for made in map(json.loads, lines("public"))}
    backend = conf.build("sandbox", conf.load("sandbox", "local"))
    try:
        env = build.environment("mathchat", backend)
        faulty = next(row for row in rows.values() if row["fault"] and row["fault"]["kind"] == "misreported")
        sound = rows[faulty["twin"]]
        task = next(task for task in env.scenario.tasks("train") if task.id == sound["task"])
        twin = perform(env, task, sound["seed"], {}, sound["id"])
        fault = next(fault for fault in build.FAULTS["mathchat"] if fault.kind == "misreported")
        planted = build.plant(fault, twin)
        assert planted is not None
        played = perform(env, task, sound["seed"], dict([planted]), faulty["id"])
    finally:
        backend.close()
    assert json.loads(json.dumps(row(twin, "public", 1, None, None))) == sound
    assert json.loads(json.dumps(row(played, "public", 1, faulty["fault"], sound["id"]))) == faulty


@pytest.mark.parametrize(("metric", "kind"), [("hit_at_3", "multiclass"), ("jaccard", "text")])
def test_the_team_submits_every_kind_of_prediction(metric: str, kind: str, tmp_path: Path) -> None:
    rows = [f"{n},{n % 5},{('ant', 'bee', 'cow', 'dog', 'emu')[n % 5]}" for n in range(60)]
    write_table(tmp_path, metric=metric, task_type=kind, rows=rows)
    scenario = conf.build(
        "envs", conf.load("env", "dsbench", source="local", root=str(tmp_path), style="compact")
    )
    [task] = scenario.tasks("train")
    (tmp_path / "work").mkdir()
    sandbox = FolderSandbox(tmp_path / "work", task)
    messages, team = [Message("system", ""), Message("user", task.prompt)], Team(Team.Config("brief"))
    for role in scenario.roles:
        program = extract_program(team.act(role.name, messages, 0))
        assert program is not None
        assert sandbox.run(program).status == "ok"
    submission = sandbox.read("submission.csv").decode().splitlines()
    assert (len(submission[1].split()) == 3) == (metric == "hit_at_3")
    outcome = scenario.grade(task, (), sandbox)
    assert (outcome.failure_code, outcome.score) == ("ok", 1.0)
