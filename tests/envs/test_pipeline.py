from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from envs import contract
from envs.pipeline import PipelineEnv
from envs.types import Task, Turn
from sandbox.base import FileInfo, Sandbox, SandboxError
from tests.fakes import FakeBackend, FakeScenario, program

WRITE_A = program("open('a.txt', 'w').write('2'); print('wrote a')")
WRITE_B = program("open('b.txt', 'w').write(open('a.txt').read())")
SUCCESS = [WRITE_A, "done", WRITE_B, "done", "2"]


def make(backend: FakeBackend | None = None, **settings: Any) -> PipelineEnv:
    return PipelineEnv(FakeScenario(**settings), backend or FakeBackend())


def start(env: PipelineEnv, task: str = "train-2", seed: int = 0) -> PipelineEnv:
    env.reset(seed=seed, options={"task": task})
    return env


def play(env: PipelineEnv, actions: Sequence[str]) -> PipelineEnv:
    for action in actions:
        env.step(action)
    return env


def user_text(env: PipelineEnv, agent: str) -> str:
    return "\n".join(m["content"] for m in env.observe(agent)["messages"] if m["role"] == "user")


@pytest.mark.parametrize("context", ["full", "previous"])
def test_the_environment_satisfies_its_contract(context: str) -> None:
    contract.check(lambda: make(context=context))


def test_a_team_that_hands_its_files_over_is_rewarded_with_the_outcome_at_the_end() -> None:
    env = play(start(make()), SUCCESS)
    assert env.outcome.success
    assert env.rewards == {"maker": 1.0, "changer": 1.0, "teller": 1.0}
    assert [turn.agent for turn in env.turns] == ["maker", "maker", "changer", "changer", "teller"]
    assert [turn.index for turn in env.turns] == [0, 1, 2, 3, 4]
    assert [turn.attempt for turn in env.turns] == [0, 1, 0, 1, 0]
    assert [turn.last for turn in env.turns] == [False, True, False, True, True]


def test_last_returns_exactly_the_sum_of_rewards_until_no_agent_is_left() -> None:
    env, actions = start(make()), iter(SUCCESS)
    due: dict[str, float] = defaultdict(float)
    received: dict[str, float] = defaultdict(float)
    while env.agents:
        agent = env.agent_selection
        _, reward, terminated, truncated, _ = env.last()
        assert reward == due[agent]
        received[agent] += reward
        due[agent] = 0.0
        env.step(None if terminated or truncated else next(actions))
        for name, value in env.rewards.items():
            due[name] += value
    assert received == {"maker": 1.0, "changer": 1.0, "teller": 1.0}


def test_a_dead_agent_accepts_only_none() -> None:
    env = play(start(make()), SUCCESS)
    assert env.agents == ["maker", "changer", "teller"]
    with pytest.raises(ValueError, match="dead"):
        env.step("one more")
    for left in (2, 1, 0):
        assert env.last()[2]
        env.step(None)
        assert len(env.agents) == left
        assert set(env.rewards) == set(env.infos) == set(env.terminations) == set(env.agents)


def test_an_episode_abandoned_among_its_dead_steps_does_not_affect_the_next() -> None:
    env = play(start(make()), SUCCESS)
    env.step(None)
    start(env)
    assert env.agent_selection == "maker"
    play(env, SUCCESS)
    order = []
    while env.agents:
        order.append(env.agent_selection)
        env.step(None)
    assert order == ["maker", "changer", "teller"]


def test_the_turn_stays_in_the_infos_and_the_episode_in_the_environment() -> None:
    env = start(make())
    env.step(WRITE_A)
    assert env.infos["maker"]["turn"] is env.turns[0]
    assert env.turns[0].observation[1].content.startswith("## Task: write 2\n")
    play(env, SUCCESS[1:])
    assert env.last()[4] == {"turn": env.turns[1], "outcome": env.outcome}
    while env.agents:
        env.step(None)
    env.close()
    assert len(env.turns) == 5
    assert env.outcome.failure_code == "ok"


@pytest.mark.parametrize(
    ("actions", "out"),
    [
        ([WRITE_A, "done", WRITE_B, "done", "2"], []),
        ([WRITE_A, WRITE_A, "done", "2"], ["maker"]),
        ([WRITE_A, "<think>", WRITE_B, "```bash", "2"], ["maker", "changer"]),
        (["done", "done", "<think>and then"], ["teller"]),
        (["done", "<think>", "done", "```python\n1\n```"], []),
    ],
)
def test_truncations_tell_turns_that_ran_out_from_an_end(actions: list[str], out: list[str]) -> None:
    env = start(make())
    for action in actions:
        assert not any(env.truncations.values())
        env.step(action)
    assert all(env.terminations.values())
    assert [agent for agent in env.agents if env.truncations[agent]] == out
    ends = {}
    while env.agents:
        ends[env.agent_selection] = env.last()[3]
        env.step(None)
    assert [agent for agent, truncated in ends.items() if truncated] == out
    env.reset(seed=1)
    assert not any(env.truncations.values())


def test_a_stage_ends_with_an_action_without_code() -> None:
    env = start(make())
    env.step("nothing to do")
    assert env.agent_selection == "changer"


def test_a_stage_ends_when_its_budget_is_spent() -> None:
    env = start(make(max_turns=3))
    seen = []
    for _ in range(4):
        seen.append(env.agent_selection)
        env.step(program("print(1)"))
    assert seen == ["maker", "maker", "maker", "changer"]


def test_code_of_a_role_that_cannot_run_code_is_not_run() -> None:
    backend = FakeBackend()
    env = play(start(make(backend)), ["skip", "skip", program("open('b.txt', 'w').write('2')")])
    assert backend.opened == []
    assert env.turns[-1].code is None
    assert env.turns[-1].result is None
    assert env.outcome.failure_code == "missing"


def test_several_blocks_run_as_one_program_and_thinking_does_not() -> None:
    backend = FakeBackend()
    env = start(make(backend))
    env.step(f"<think>{program('1 / 0')}</think>\n{program('x = 20')}\nthen\n{program('print(x + 1)')}")
    assert backend.opened[0].programs == ["x = 20\nprint(x + 1)"]
    assert env.turns[0].result is not None
    assert env.turns[0].result.stdout == "21\n"


@pytest.mark.parametrize("style", ["compact", "full"])
def test_thinking_is_not_shown_to_other_agents(style: str) -> None:
    env = start(make(style=style))
    env.step("<think>secret</think>" + WRITE_A)
    env.step("forgot the opening tag, secret</think>done")
    assert "secret" not in str(env.observe("changer"))
    assert "secret" not in str(env.observe("teller"))
    assert ("secret" in str(env.observe("maker"))) == (style == "compact")


def test_full_context_shows_all_earlier_agents_and_previous_only_one() -> None:
    full = play(start(make(context="full", style="compact")), SUCCESS[:-1])
    previous = play(start(make(context="previous", style="compact")), SUCCESS[:-1])
    assert "## From maker: ok; a.txt ok; printed wrote a" in user_text(full, "teller")
    assert "## From changer: ok; b.txt ok" in user_text(full, "teller")
    assert "## From maker" not in user_text(previous, "teller")
    assert "## From changer: ok; b.txt ok" in user_text(previous, "teller")
    assert "## From maker" in user_text(previous, "changer")


def test_no_agent_reads_what_later_agents_did() -> None:
    env = play(start(make()), SUCCESS[:-1])
    assert "b.txt" not in user_text(env, "maker")


def test_the_sandbox_is_opened_for_the_first_program_only() -> None:
    backend = FakeBackend()
    env = play(start(make(backend)), ["no code"])
    assert backend.opened == []
    play(env, [WRITE_B])
    assert len(backend.opened) == 1
    play(env, [WRITE_B, "done"])
    assert len(backend.opened) == 1


def test_an_episode_without_code_never_opens_a_sandbox_and_is_graded_without() -> None:
    backend = FakeBackend(broken=True)
    env = play(start(make(backend)), ["a", "b", "c"])
    assert env.outcome.failure_code == "missing"


def test_before_the_sandbox_is_opened_its_files_are_the_tasks(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"a,b\n1,2\n")
    env = start(make(files={"train.csv": tmp_path / "data.csv"}))
    play(env, ["no code", program("print(open('train.csv').read())")])
    assert [file.path for file in env.turns[0].files_before] == ["train.csv"]
    assert env.turns[0].files_after == env.turns[1].files_before == env.turns[1].files_after
    assert env.turns[1].result is not None
    assert env.turns[1].result.stdout == "a,b\n1,2\n\n"


def test_a_check_that_reads_a_file_opens_the_sandbox(tmp_path: Path) -> None:
    class Reading(FakeScenario):
        def check(self, task: Task, role: Any, files: Any, sandbox: Sandbox) -> tuple[()]:
            assert sandbox.read("train.csv") == b"x"
            return ()

    (tmp_path / "x").write_bytes(b"x")
    backend = FakeBackend()
    env = start(PipelineEnv(Reading(files={"train.csv": tmp_path / "x"}), backend))
    env.step("no code")
    assert len(backend.opened) == 1
    assert env.turns[0].files_before == (FileInfo("train.csv", 1, env.turns[0].files_before[0].sha256),)


def test_the_sandbox_is_closed_at_the_end_on_reset_and_on_close() -> None:
    backend = FakeBackend()
    env = play(start(make(backend)), SUCCESS)
    assert backend.opened[0].closed
    play(start(env), [WRITE_A])
    start(env)
    assert backend.opened[1].closed
    env.step(WRITE_A)
    env.close()
    env.close()
    assert backend.opened[2].closed


def test_a_lost_sandbox_is_an_error_and_gives_no_outcome() -> None:
    env = start(make(FakeBackend(broken=True)))
    with pytest.raises(SandboxError, match="no daemon"):
        env.step(WRITE_A)
    with pytest.raises(SandboxError):
        env.step("go on")
    with pytest.raises(RuntimeError, match="not over"):
        _ = env.outcome
    env.backend = FakeBackend()
    assert play(start(env), SUCCESS).outcome.success


@pytest.mark.parametrize("action", [None, 3, b"x"])
def test_an_action_that_is_not_a_text_is_a_type_error(action: Any) -> None:
    with pytest.raises(TypeError):
        start(make()).step(action)


def test_without_a_task_one_of_the_split_is_drawn() -> None:
    env = make()
    drawn: dict[str, set[str]] = {"train": set(), "heldout": set()}
    for split, seen in drawn.items():
        for seed in range(40):
            env.reset(seed=seed, options={"split": split})
            seen.add(env.task.id)
    assert drawn == {"train": {f"train-{n}" for n in range(4)}, "heldout": {"heldout-4", "heldout-5"}}


def test_resets_without_a_seed_continue_the_random_stream() -> None:
    def ids(seed: int) -> list[str]:
        env = make()
        env.reset(seed=seed)
        first = env.task.id
        rest = []
        for _ in range(8):
            env.reset()
            rest.append(env.task.id)
        return [first, *rest]

    assert ids(5) == ids(5)
    assert len(set(ids(5))) > 1
    assert ids(5) != ids(6)


def test_a_task_can_be_given_directly_or_by_its_id() -> None:
    env = make()
    env.reset(options={"task": "heldout-5"})
    assert env.task.answer == "5"
    env.reset(options={"task": dataclasses.replace(env.task, id="mine")})
    assert env.task.id == "mine"
    with pytest.raises(KeyError, match="nosuch"):
        env.reset(options={"task": "nosuch"})
    with pytest.raises(KeyError, match="there is no split 'test'; there are train, heldout"):
        env.reset(options={"split": "test"})


def test_a_split_without_tasks_is_an_error() -> None:
    class Empty(FakeScenario):
        def tasks(self, split: Any) -> list[Task]:
            return [] if split == "heldout" else list(super().tasks(split))

    with pytest.raises(KeyError, match="no heldout tasks"):
        PipelineEnv(Empty(), FakeBackend()).reset(options={"split": "heldout"})


def test_the_seed_reaches_the_program_and_differs_from_turn_to_turn() -> None:
    draw = program("import random; print(random.random())")

    def printed(seed: int) -> list[str]:
        turns = play(start(make(), seed=seed), [draw, draw, draw]).turns
        return [turn.result.stdout for turn in turns if turn.result]

    assert printed(1) == printed(1)
    assert len({*printed(1), *printed(2)}) == 6


def test_the_determinism_check_detects_a_random_environment() -> None:
    draw = program("import os; print(os.urandom(8))")
    with pytest.raises(AssertionError, match="differs"):
        contract.check_deterministic(make, lambda *_: draw)


def test_a_leaked_answer_is_detected() -> None:
    class Leaking(PipelineEnv):
        def observe(self, agent: str) -> dict[str, Any]:
            return {**super().observe(agent), "hint": self.task.answer}

    with pytest.raises(AssertionError, match="sees the answer"):
        contract.check_answer_is_hidden(lambda: Leaking(FakeScenario(), FakeBackend()))


def test_surrogates_and_nul_never_reach_a_turn() -> None:
    env = start(make())
    env.step("a\ud800\0b")
    assert env.turns[0].action == "a\ufffd\ufffdb"


def test_the_episode_can_be_rendered_as_text() -> None:
    env = play(start(make()), SUCCESS)
    assert env.render().startswith("## Task: write 2\n## maker: ok; a.txt ok; printed wrote a\n")
    assert env.render().endswith("## Outcome: ok, score 1")


def test_a_turn_is_frozen() -> None:
    turn: Turn = play(start(make()), [WRITE_A]).turns[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        turn.action = "other"  # type: ignore[misc]
