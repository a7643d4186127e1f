"""Many environments at once share what does not differ."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

import envs
from envs.actions import parsing
from envs.pipeline import PipelineEnv
from tests.fakes import FakeBackend, FakeScenario, program


@pytest.mark.parametrize("name", ["dsbench", "mathchat"])
def test_environments_with_bundled_tasks_share_them(name: str) -> None:
    first, second = (envs.make(name, sandbox=FakeBackend()) for _ in range(2))
    for split in ("train", "heldout"):
        pairs = zip(first.scenario.tasks(split), second.scenario.tasks(split), strict=True)
        assert all(one is other for one, other in pairs)


@pytest.mark.parametrize("name", ["dsbench", "mathchat"])
def test_another_environment_takes_less_than_200_kb(name: str) -> None:
    backend = FakeBackend()
    kept = [envs.make(name, sandbox=backend)]
    kept[0].reset(seed=0)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for seed in range(2):
        kept.append(envs.make(name, sandbox=backend))
        kept[-1].reset(seed=seed)
        kept[-1].step("no program")
        kept[-1].last()
    gc.collect()
    each = (tracemalloc.get_traced_memory()[0] - before) / 2
    tracemalloc.stop()
    assert each < 200_000


def test_messages_that_an_agent_has_read_before_are_the_same_objects() -> None:
    env = PipelineEnv(FakeScenario(max_turns=3), FakeBackend())
    env.reset(seed=0)
    env.step(program("print(1)"))
    env.step(program("print(2)"))
    first, second = (turn.observation for turn in env.turns)
    assert len(second) == len(first) + 2
    assert all(one is other for one, other in zip(first, second, strict=False))
    env.close()


def test_a_new_episode_is_read_anew() -> None:
    env = PipelineEnv(FakeScenario(), FakeBackend())
    texts = []
    for task in ("train-0", "train-1"):
        env.reset(options={"task": task})
        texts.append(env.observe("maker")["messages"][1]["content"])
    assert ["write 0" in texts[0], "write 1" in texts[1]] == [True, True]
    env.reset(options={"task": "train-0"})
    before = env.observe("changer")
    env.step("prose of the maker")
    assert env.observe("changer") != before


@pytest.mark.parametrize(
    "text", ["", " a \n", "<think", "```python\nx = '<th'\n```\n", "<Thinks>a</Thinks> "]
)
def test_text_without_tags_is_its_own_text(text: str) -> None:
    assert parsing.strip_thinking(text) == parsing._spoken(text).text == text.strip()


@pytest.mark.parametrize("style", ["compact", "full"])
@pytest.mark.parametrize("watched", [("teller",), ("maker", "changer", "teller"), ()])
def test_an_observation_does_not_depend_on_what_was_read_before(style: str, watched: tuple[str, ...]) -> None:
    scenario = FakeScenario(max_turns=3)
    scenario.style = style
    env = PipelineEnv(scenario, FakeBackend())
    env.reset(seed=0)
    actions = [program("print(1)"), "<think>", "done", program("1 / 0"), program("print(2)"), "done", "end"]
    for action in actions:
        for agent in watched:
            env.observe(agent)
        env.step(action)
        for agent in env.possible_agents:
            fresh = env._write(env.task, env.turns, agent, ())
            assert env._read(agent) == fresh
    for turn in env.turns:
        assert turn.observation == env._write(env.task, env.turns[: turn.index], turn.agent, ())
