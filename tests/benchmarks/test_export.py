"""Rows for fine-tuning, from recorded episodes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.export.__main__ import main
from benchmarks.export.card import card

PROMPT = "solve it"
MODEL = "model: {name: tiny}\n"


def turn(
    action: str, score: float | None, agent: str = "modeler", prompt: str = PROMPT, **more: Any
) -> dict[str, Any]:
    verdict = None if score is None else {"score": score, "rationale": "", "source": "rules", **more}
    return {"agent": agent, "action": action, "observation": prompt, "verdict": verdict, "weight_version": 3}


def episode(
    name: str, *turns: Mapping[str, Any], success: bool = True, kind: str = "regression"
) -> dict[str, Any]:
    outcome = {"success": success, "score": float(success), "failure_code": "ok" if success else "missing"}
    return {
        "id": name,
        "task": "auto_mpg",
        "kind": kind,
        "seed": 7,
        "turns": list(turns),
        "outcome": outcome,
        "step": 2,
    }


@pytest.fixture
def export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Exports episodes and returns the rows; keyword ``fails`` expects one line of complaint instead."""

    def run(
        episodes: Sequence[Mapping[str, Any]], *words: str, fails: bool = False, config: str = MODEL
    ) -> Any:
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        lines = "".join(json.dumps(one) + "\n" for one in episodes)
        (folder / "episodes.jsonl").write_text(lines, encoding="utf-8")
        settings = f"coach: {{name: rules, ran: 4.0}}\nalgorithm: {{name: grpo}}\n{config}"
        (folder / "config.yaml").write_text(settings, encoding="utf-8")
        out = tmp_path / "rows.jsonl"
        if fails:
            with pytest.raises(SystemExit) as caught:
                main([str(folder), "--out", str(out), *words])
            assert caught.value.code == 2
            return capsys.readouterr().err
        main([str(folder), "--out", str(out), "--overwrite", *words])
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]

    return run


HELDOUT = {"phase": "eval", "task": "iris"}


@pytest.mark.parametrize("what", ["sft", "prm", "preferences"])
def test_held_out_episodes_are_no_rows_to_train_on_unless_asked_for(
    export: Any, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    both = [turn("good", 9.0), turn("poor", 1.0)]
    episodes = [episode("a", *both) | {"phase": "train"}, episode("b", *both) | HELDOUT]

    def tasks(*words: str) -> set[str]:
        return {row["provenance"]["task"] for row in export(episodes, f"--what={what}", *words)}

    assert tasks() == {"auto_mpg"}
    assert "; 1 episode of evaluations left out (--phase)" in capsys.readouterr().out
    assert tasks("--phase=eval") == {"iris"}
    assert "auto_mpg" in tasks("--phase=all")
    assert tasks("--agent=modeler") == {"auto_mpg"}
    fails = export([episodes[1]], f"--what={what}", "--overwrite", fails=True)
    assert "there is nothing to export" in fails
    assert "1 episode of evaluations left out" in fails


def test_whole_episodes_are_those_of_both_phases(export: Any) -> None:
    episodes = [episode("a", turn("x", 5.0)) | {"phase": "train"}, episode("b", turn("x", 5.0)) | HELDOUT]
    assert [row["id"] for row in export(episodes, "--what=episodes")] == ["a", "b"]
    assert [row["id"] for row in export(episodes, "--what=episodes", "--phase=train")] == ["a"]


def test_the_best_actions_become_prompt_and_completion(export: Any) -> None:
    rows = export(
        [
            episode("a", turn("good", 9.0), turn("poor", 3.0)),
            episode("b", turn("fine", 8.0), success=False),
            episode("c", turn("unjudged", None)),
        ],
        "--what=sft",
    )
    assert [row["completion"] for row in rows] == [
        [{"role": "assistant", "content": text}] for text in ("good", "fine")
    ]
    assert rows[0]["prompt"] == [{"role": "user", "content": PROMPT}]


def test_an_action_that_was_cut_off_is_no_example_of_how_to_act(export: Any) -> None:
    cut = turn("cut", 9.0) | {"finish_reason": "length"}
    whole = turn("whole", 8.0) | {"finish_reason": "stop", "tokens": 3, "prompt_tokens": 5}
    [row] = export([episode("a", cut, whole, turn("poor", 1.0))], "--what=sft")
    assert row["completion"][0]["content"] == "whole"
    assert (row["provenance"]["prompt_tokens"], row["provenance"]["tokens"]) == (5, 3)
    [pair] = export([episode("a", cut, whole, turn("poor", 1.0))], "--what=preferences")
    assert pair["chosen"][0]["content"] == "whole"
    assert len(export([episode("a", cut, whole)], "--what=prm")) == 2


def test_a_row_brings_the_settings_of_the_chat_template_that_it_was_sampled_with(export: Any) -> None:
    """Under the name by which TRL's trainers take them."""
    model = "model: {name: tiny, chat: {enable_thinking: false, tone: {of: brief}}}\n"
    own = "team: {analyst: {model: {name: toy, chat: {}}}}\n"
    episodes = [episode("a", turn("x", 9.0), turn("y", 9.0, "analyst"))]
    first, second = export(episodes, "--what=sft", config=model + own)
    assert first["chat_template_kwargs"] == {"enable_thinking": False, "tone": {"of": "brief"}}
    assert "chat_template_kwargs" not in second
    [row] = export([episode("a", turn("x", 9.0), turn("y", 2.0))], "--what=preferences", config=model)
    assert row["chat_template_kwargs"]["tone"] == {"of": "brief"}


def test_a_row_says_where_it_comes_from(export: Any) -> None:
    [row] = export([episode("a", turn("good", 9.0))], "--what=sft")
    where = row["provenance"]
    assert where["licence"] == "CC0-1.0 (D. Donoho, E. Ramos 1982)"
    assert len(where.pop("coach_sha256")) == 64
    expected = {
        "run": "run",
        "episode": "a",
        "turn": 0,
        "agent": "modeler",
        "step": 2,
        "weights": 3,
        "judge": "rules",
        "coach": "rules",
        "model": "tiny",
        "algorithm": "grpo",
        "task": "auto_mpg",
        "success": True,
    }
    assert {key: where[key] for key in expected} == expected


def test_the_model_of_a_row_is_the_one_that_played_its_agent(export: Any, tmp_path: Path) -> None:
    team = {"modeler": {"model": "tuned/modeler"}}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metadata.json").write_text(json.dumps({"team": team}), encoding="utf-8")
    rows = export([episode("a", turn("x", 9.0), turn("y", 9.0, "analyst"))], "--what=sft")
    assert [row["provenance"]["model"] for row in rows] == ["tuned/modeler", "tiny"]


def test_the_card_says_what_the_rows_are_and_where_they_come_from(export: Any, tmp_path: Path) -> None:
    episodes = [episode(name, turn(f"a|{name}", 9.0), success=name == "b") for name in "abc"]
    rows = export(
        [*episodes, episode("d", turn("d", 8.5), kind="classification")], "--what=sft", "--min-score=8.2"
    )
    card = (tmp_path / "rows.md").read_text(encoding="utf-8")
    assert len(rows) == 4
    assert "4 rows of --what sft (classification 1, regression 3)" in card
    assert re.findall("^- `(--.*)`$", card, flags=re.MULTILINE) == [
        "--what sft",
        "--min-score 8.2",
        "--phase train",
    ]
    for line in (
        "| auto_mpg | classification | 1 | 1 | CC0-1.0 (D. Donoho, E. Ramos 1982) |",
        "| auto_mpg | regression | 3 | 1 | CC0-1.0 (D. Donoho, E. Ramos 1982) |",
        "| run | modeler | tiny | rules | 4 |",
    ):
        assert line in card, card
    assert yaml.safe_load(card.split("---")[1])["configs"] == [
        {"config_name": "sft", "data_files": "rows.jsonl"}
    ]


def test_the_card_names_no_coach_for_actions_that_nobody_has_judged() -> None:
    source = {"task": "a", "kind": "k", "licence": None, "run": "r", "model": "m", "coach": "rules"}
    rows = [{"provenance": source | {"judge": judge, "coachgym": "1"}} for judge in (None, "rules")]
    text = card("rows.jsonl", "counterfactuals", "2 rows", [], rows)
    assert [line for line in text.splitlines() if line.startswith("| r |")] == [
        "| r | – | m | rules | 1 |",
        "| r | – | m | – | 1 |",
    ]


def test_the_same_action_after_the_same_prompt_is_one_row(export: Any) -> None:
    episodes = [episode(name, turn("good", 9.0), success=name == "b") for name in "ab"]
    [row] = export(episodes, "--what=sft")
    assert row["provenance"]["episode"] == "b"
    [scored] = export([episode("a", turn("x", 2.0)), episode("b", turn("x", 4.0))], "--what=prm")
    assert (scored["score"], scored["n"], scored["labels"]) == (3.0, 2, [False])


def test_all_forms_take_the_mean_of_an_action_s_scores_and_no_empty_action(export: Any) -> None:
    episodes = [
        episode("a", turn("x", 9.0), turn("y", 1.0)),
        episode("b", turn("x", 5.0), turn("  ", 10.0)),
    ]
    [row] = export(episodes, "--what=sft", "--min-score=6")
    assert (row["score"], row["n"]) == (7.0, 2)
    [pair] = export(episodes, "--what=preferences")
    assert (pair["margin"], pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == (6.0, "x", "y")
    assert [row["completions"] for row in export(episodes, "--what=prm")] == [["x"], ["y"]]


def test_blocked_verdicts_say_nothing_about_an_action(export: Any) -> None:
    rows = export([episode("a", turn("x", 3.0, blocked=True), turn("y", 6.0))], "--what=prm")
    assert [row["completions"] for row in rows] == [["y"]]


def test_a_pair_has_the_best_and_the_worst_action_after_one_prompt(export: Any) -> None:
    episodes = [
        episode("a", turn("best", 9.0), turn("other", 5.0, prompt="another prompt")),
        episode("b", turn("middle", 6.0)),
        episode("c", turn("worst", 1.0)),
    ]
    [row] = export(episodes, "--what=preferences")
    assert row["chosen"][0]["content"] == "best"
    assert row["rejected"][0]["content"] == "worst"
    assert row["margin"] == 8.0
    assert row["rejected_provenance"]["episode"] == "c"
    assert "nothing to export: 0 rows of --what preferences, from 4 judged actions in 3 episodes" in export(
        episodes, "--what=preferences", "--margin=9", "--overwrite", fails=True
    )


def test_rows_are_balanced_by_kind_and_bounded(export: Any) -> None:
    episodes = [episode(f"r{n}", turn(f"r{n}", 9.0)) for n in range(5)]
    episodes += [episode(f"c{n}", turn(f"c{n}", 9.0), kind="classification") for n in range(2)]
    rows = export(episodes, "--what=sft", "--balance")
    assert sorted(row["provenance"]["kind"] for row in rows) == ["classification"] * 2 + ["regression"] * 2
    assert export(episodes, "--what=sft", "--balance") == rows
    assert len(export(episodes, "--what=sft", "--most=3")) == 3


def test_the_blamed_agent_is_the_one_that_explains_most_failures(
    export: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = {"name": "out.csv", "kind": "any"}
    other = file | {"name": "end.csv"}
    roles = [
        {"name": "first", "produces": [file]},
        {"name": "second", "requires": [file], "produces": [other]},
    ]
    missing = [{"name": "out.csv", "code": "missing", "detail": ""}]
    failed = episode(
        "a",
        turn("nothing", 2.0, "first") | {"checks": missing},
        turn("little", 4.0, "second") | {"checks": missing},
        success=False,
    )
    rows = export([failed | {"roles": roles}], "--what=prm", "--agent=blamed")
    assert [row["provenance"]["agent"] for row in rows] == ["first"]
    assert "of first, which explains 1 of 1 failed episode" in capsys.readouterr().out
    assert "no episode has the agent 'third'; they have first, second" in export(
        [failed | {"roles": roles}], "--what=prm", "--agent=third", "--overwrite", fails=True
    )


def test_whole_episodes_keep_everything_and_get_their_provenance(export: Any) -> None:
    episodes = [episode("a", turn("x", 5.0)), episode("b", turn("y", 5.0), success=False)]
    [row] = export(episodes, "--what=episodes", "--succeeded")
    assert row["turns"] == episodes[0]["turns"]
    assert row["provenance"]["episode"] == "a"


def test_nothing_is_overwritten_unasked_and_options_that_do_nothing_are_refused(export: Any) -> None:
    episodes = [episode("a", turn("x", 9.0))]
    export(episodes, "--what=sft")
    assert "exists: name another place" in export(episodes, "--what=sft", fails=True)
    assert "from 0 to 10" in export(episodes, "--what=sft", "--min-score=11", fails=True)
    assert "--min-score chooses" in export(episodes, "--what=prm", "--min-score=3", fails=True)


def test_a_recording_is_never_the_place_of_its_own_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "episodes.jsonl"
    path.write_text(json.dumps(episode("a", turn("x", 9.0))) + "\n", encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--what=episodes", "--out", str(path), "--overwrite"])
    assert "is what is exported" in capsys.readouterr().err
    assert path.read_bytes() == before
    main([str(tmp_path), "--what=episodes"])
    assert (tmp_path / "export-episodes.jsonl").is_file()
