"""Whatever an agent writes: no error that is not ours, exactly one turn, and only its own words are run."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import conf
from conf.text import replace_unencodable
from envs.actions.parsing import Form, read_action
from envs.pipeline import PipelineEnv
from sandbox.base import Limits
from tests.fakes import EchoBackend, FakeScenario

WITHOUT_PROGRAM = {"prose", "unreadable", "cut_thought"}
CALL = '{"name": "python", "arguments": {"code": "print(1)"}}'
MARKUP = (
    "```", "```python", "```py\n", "```json", "~~~python\n", "````", "<think>", "</think>", "<tool_call>",
    "</tool_call>", CALL, '{"name": 3}', "[" * 50, '"""', "'''", "\\", "\n", "\r\n", "\r", "\x0b", "\u2028",
    "\0", "\ud800", "\ufeff", "print(1)", "x = 1", "def f():\n    return 1", "## Outcome: ok, score 1",
    "\\boxed{1}", " ", "\t", "DONE", "😀", "\x1b[31m",
)  # fmt: skip
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
ACTIONS = st.lists(st.sampled_from(MARKUP) | ANY_TEXT, max_size=14).map("".join) | st.lists(
    st.sampled_from(MARKUP), max_size=14
).map("\n".join)
STATEMENTS = (
    "x = 1", "print('</think>')", 'print("é")', "if 1:\n    pass", "# ## heading", '"""\n<think>\n"""',
)  # fmt: skip
PROGRAMS = st.lists(st.sampled_from(STATEMENTS), min_size=1, max_size=5).map("\n".join)


@given(action=ACTIONS, runs_code=st.booleans())
@settings(deadline=None)
def test_every_text_is_read_as_one_form(action: str, runs_code: bool) -> None:
    read = read_action(action, runs_code=runs_code)
    assert read.form in get_args(Form)
    assert (read.code is None) == (read.form in WITHOUT_PROGRAM)
    assert read.code is None or (runs_code and read.code.strip())
    assert (read.problem != "") == (read.form in ("unreadable", "cut_thought"))
    assert read == read_action(action, runs_code=runs_code)


@given(action=ACTIONS)
@settings(deadline=None)
def test_only_what_the_agent_wrote_is_run(action: str) -> None:
    read = read_action(action)
    if read.code is not None and read.form != "tool_call":  # whose code is JSON
        written = {line.strip() for line in action.splitlines()}
        text = "\n".join(action.splitlines())
        assert all(line.strip() in written or line in text for line in read.code.splitlines())


@given(program=PROGRAMS, before=st.sampled_from(["", "I count.\n", "<think>```python\n1/0\n```</think>\n"]))
@settings(deadline=None)
def test_a_program_in_its_block_is_run_exactly_as_it_is(program: str, before: str) -> None:
    assert read_action(f"{before}```python\n{program}\n```\nThat is all.").code == program


@given(actions=st.lists(ACTIONS, min_size=5, max_size=5))
@settings(deadline=None, max_examples=50)
def test_an_episode_of_any_texts_goes_to_its_end_and_loses_no_turn(actions: list[str]) -> None:
    env = PipelineEnv(FakeScenario(), EchoBackend())
    env.reset(seed=0)
    played = 0
    while env.agents:
        agent = env.agent_selection
        observation, _, terminated, _, _ = env.last()
        assert env.observation_space(agent).contains(observation)
        if terminated:
            env.step(None)
            continue
        env.step(actions[played])
        turn = env.turns[played]
        assert (turn.agent, turn.action) == (agent, replace_unencodable(actions[played]))
        form = read_action(turn.action, runs_code=turn.role.can_run_code).form
        assert turn.last == (form == "prose" or turn.attempt + 1 == turn.role.max_turns)
        turn.action.encode()
        played += 1
    assert played == len(env.turns) <= 5
    assert not env.outcome.success
    env.close()


@pytest.mark.parametrize("action", [None, 3, 1.5, b"x", ["x"], {"x": 1}, ("a",), True, object])
def test_what_is_no_text_is_a_type_error_and_costs_no_turn(action: Any) -> None:
    env = PipelineEnv(FakeScenario(), EchoBackend())
    env.reset(seed=0)
    with pytest.raises(TypeError, match="an action must be a text; got"):
        env.step(action)
    assert (env.turns, env.agent_selection) == ((), "maker")
    env.step("done")
    assert env.agent_selection == "changer"


def test_an_action_that_is_too_long_costs_no_turn_and_the_longest_is_taken() -> None:
    longest = (1 << 20) // 4
    env = PipelineEnv(FakeScenario(max_turns=1), EchoBackend(), limits=Limits(file_mb=1))
    assert env.action_space("maker").max_length == longest
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"at most {longest} characters; got {longest + 1}"):
        env.step("x" * (longest + 1))
    assert env.turns == ()
    for _ in range(3):
        env.step("##\n" * (longest // 3))
        agent = env.agent_selection
        assert env.observation_space(agent).contains(env.observe(agent))
    assert len(env.turns) == 3


@pytest.mark.slow
def test_the_longest_action_of_four_byte_characters_fits_into_a_sandbox() -> None:
    longest = (1 << 20) // 4
    with closing(conf.build("sandbox", conf.load("sandbox", "local"))) as backend:
        limits = replace(backend.limits, file_mb=1)
        env = PipelineEnv(FakeScenario(max_turns=1), backend, limits=limits)
        env.reset(seed=0)
        start, end = "```python\nprint(len('", "'))\n```"
        count = longest - len(start) - len(end)
        env.step(start + "😀" * count + end)
        result = env.turns[0].result
        assert result is not None
        assert (result.status, result.stdout) == ("ok", f"{count}\n")
        env.close()
