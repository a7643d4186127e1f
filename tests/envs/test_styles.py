"""Which style an environment writes, and who decides."""

from __future__ import annotations

from pathlib import Path

import pytest

import conf
import envs
from conf import ConfigError, commands
from envs.pipeline import PipelineEnv
from envs.styles import STYLES, style_of
from learners.config import RunConfig
from tests.fakes import FakeBackend, FakeScenario


def run(*words: str) -> RunConfig:
    return RunConfig.read(commands.compose(words))


@pytest.mark.parametrize("name", ["dsbench", "mathchat"])
def test_an_environment_made_by_hand_writes_for_language_models(name: str) -> None:
    env = envs.make(name, sandbox=FakeBackend())
    assert style_of(env.scenario) == "full"
    env = envs.make(name, sandbox=FakeBackend(), style="compact")
    assert style_of(env.scenario) == "compact"


@pytest.mark.parametrize(
    ("words", "style", "tokens"),
    [
        ((), "compact", 96),
        (("env=mathchat",), "compact", 96),
        (("model=smollm2",), "full", 256),
        (("model=qwen3-4b", "env=mathchat", "model.max_new_tokens=77"), "full", 77),
        (("generator=api", "steps=0"), "full", 4096),
        (("generator=api", "env.style=compact", "steps=0"), "compact", 4096),
        (("env.style=full", "env.reply_tokens=null"), "full", None),
        (("model=smollm2", "env.style=compact"), "compact", 256),
        (("experiment=paper_mathchat_4b",), "full", 4096),
    ],
)
def test_who_acts_decides_the_style_unless_it_is_set(
    words: tuple[str, ...], style: str, tokens: int | None
) -> None:
    env = run(*words).env
    assert (env.style, env.reply_tokens) == (style, tokens)
    assert style_of(conf.build("envs", conf.load("env", "mathchat", style=env.style))) == style


@pytest.mark.parametrize("key", ["env.style", "model.style"])
def test_an_unknown_style_is_one_line(key: str) -> None:
    group, package = ("env", "envs") if key == "env.style" else ("model", "learners.models")
    config = run(f"{key}=long")
    with pytest.raises(ConfigError, match="style must be compact or full; got 'long'") as error:
        conf.build(package, getattr(config, group))
    assert "\n" not in str(error.value)


def test_a_scenario_of_ones_own_may_choose_its_style() -> None:
    class Silent(FakeScenario):
        def __init__(self) -> None:
            super().__init__()
            del self.style

    assert style_of(Silent()) == "full"
    texts = []
    for scenario in (Silent(), FakeScenario(style="compact")):
        env = PipelineEnv(scenario, FakeBackend())
        env.reset(seed=0)
        texts.append(env.observe("maker")["messages"][0]["content"])
    assert "a program" in texts[0].lower()
    assert texts[1] == (
        "## Role: maker (1 of 3)\nWrite a.txt.\nFiles you must produce: a.txt\nNumber of turns: 2"
    )
    with pytest.raises(ConfigError, match="FakeScenario: style must be compact or full; got 'ful'"):
        PipelineEnv(FakeScenario(style="ful"), FakeBackend())


def test_styles_are_listed() -> None:
    assert STYLES == ("compact", "full")
    yaml = (Path(conf.ROOT) / "env" / "base.yaml").read_text(encoding="utf-8")
    assert all(f"{style}:" in yaml for style in STYLES)
