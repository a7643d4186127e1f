"""Groups: which rows are compared in a pipeline whose later prompts differ."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest

import conf
from learners.algorithms.advantages import group_relative, kl_to_go, leave_one_out
from learners.algorithms.groups import groups
from learners.types import Transition
from tests.learners.doubles import completion, transition


def pipeline() -> list[Transition]:
    """Two tasks, three episodes of each. All solvers of a task read the same prompt. What an executor reads
    depends on its solver, and two solvers of the first task wrote the same; its second turn and the verifier
    read what nobody else does."""
    rows: list[Transition] = []
    for task in range(2):
        for e in range(3):
            seen = 100 * task + min(e, 1) if task == 0 else 100 * task + e
            prompts = [
                ("solver", 0, task),
                ("executor", 0, 1000 + seen),
                ("executor", 1, 2000 + 10 * task + e),
                ("verifier", 0, 3000 + 10 * task + e),
            ]
            for index, (agent, attempt, prompt) in enumerate(prompts):
                sampled = replace(completion(2, seed=len(rows)), prompt_ids=(7, prompt))
                rows.append(
                    transition(
                        float((7 * len(rows)) % 11),
                        agent=agent,
                        attempt=attempt,
                        index=index,
                        episode=f"e{task}{e}",
                        task=f"t{task}",
                        sampled=sampled,
                    )
                )
    return rows


def rewards(rows: list[Transition]) -> list[float | None]:
    return [t.reward for t in rows]


def names(rows: list[Transition], group: str) -> set[tuple[str, ...]]:
    """Every group, as agent, turn and its episodes."""
    groups_seen = set()
    for members in groups(rows, rewards(rows), group):
        first = rows[min(members)].turn
        assert {(rows[i].turn.agent, rows[i].turn.attempt) for i in members} == {(first.agent, first.attempt)}
        groups_seen.add((f"{first.agent} {first.attempt}", *sorted(rows[i].episode for i in members)))
    return groups_seen


def test_rows_of_a_turn_are_compared_though_their_inputs_differ() -> None:
    turns = ("solver 0", "executor 0", "executor 1", "verifier 0")
    tasks = (("e00", "e01", "e02"), ("e10", "e11", "e12"))
    assert names(pipeline(), "turn") == {(turn, *episodes) for turn in turns for episodes in tasks}


def test_by_prompt_only_identical_prompts_are_compared_and_later_agents_have_hardly_any() -> None:
    assert names(pipeline(), "prompt") == {
        ("solver 0", "e00", "e01", "e02"),
        ("solver 0", "e10", "e11", "e12"),
        ("executor 0", "e01", "e02"),
    }


def test_two_agents_with_the_same_prompt_are_not_compared() -> None:
    rows = [transition(1.0, agent=agent, sampled=completion(2, seed=3)) for agent in ("a", "b")]
    assert groups(rows, rewards(rows), "prompt") == []


@pytest.mark.parametrize("group", ["turn", "prompt"])
def test_an_unknown_value_is_in_no_group(group: str) -> None:
    rows = pipeline()
    values = [None if t.turn.agent == "solver" and t.episode in ("e00", "e01") else 1.0 for t in rows]
    advantages = group_relative(rows, values, group, deviation=False)
    for t, value in zip(rows, advantages, strict=True):
        if t.turn.agent == "solver":
            assert (value is None) == (t.episode in ("e00", "e01", "e02"))


@pytest.mark.parametrize("group", ["turn", "prompt"])
def test_values_within_groups_equal_a_slow_reference(group: str) -> None:
    rows = pipeline()
    plain = group_relative(rows, rewards(rows), group, deviation=False)
    scaled = group_relative(rows, rewards(rows), group, deviation=True)
    others = leave_one_out(rows, rewards(rows), group)
    alone = 0
    for i, me in enumerate(rows):
        pool = [
            (j, float(t.reward or 0.0))
            for j, t in enumerate(rows)
            if t.turn.agent == me.turn.agent
            and (
                t.completion.prompt_ids == me.completion.prompt_ids
                if group == "prompt"
                else (t.turn.task_id, t.turn.attempt) == (me.turn.task_id, me.turn.attempt)
            )
        ]
        if len(pool) == 1:
            assert plain[i] is scaled[i] is others[i] is None
            alone += 1
            continue
        mine, values = float(me.reward or 0.0), [value for _, value in pool]
        rest = [value for j, value in pool if j != i]
        assert plain[i] == pytest.approx(mine - statistics.mean(values))
        assert others[i] == pytest.approx(mine - statistics.mean(rest))
        assert scaled[i] == pytest.approx((mine - statistics.mean(values)) / statistics.pstdev(values))
    assert alone == (0 if group == "turn" else 16)


def test_equal_rewards_of_a_group_teach_nothing() -> None:
    rows = [transition(0.7, episode=f"e{i}") for i in range(3)]
    for values in (
        group_relative(rows, [0.1 * 7] * 3, "turn", deviation=True),
        leave_one_out(rows, [0.1 * 7] * 3, "turn"),
    ):
        assert values == pytest.approx([0.0] * 3, abs=1e-6)


@pytest.mark.parametrize("name", conf.names("algorithm"))
def test_a_blocked_action_is_not_trained_on_where_single_actions_are_credited(name: str) -> None:
    rows = [replace(row, ref_logprobs=row.completion.logprobs) for row in pipeline()]
    assert rows[3].verdict is not None
    rows[3] = replace(rows[3], verdict=replace(rows[3].verdict, blocked=True))
    by_credit = {
        credit: conf.build("learners", conf.load("algorithm", name, credit=credit)).advantages(rows)
        for credit in ("action", "agent", "team")
    }
    assert by_credit["action"][3] is None
    assert by_credit["agent"][3] is not None  # the sum of several rewards
    assert by_credit["team"][0] is not None


def test_the_kl_of_a_token_includes_all_later_tokens() -> None:
    sampled = replace(completion(3), logprobs=(-1.0, -2.0, -3.0))
    assert kl_to_go(transition(1.0, sampled=sampled, reference=(-1.5, -2.0, -2.0))) == [-0.5, -1.0, -1.0]
