"""Settings of teams: how they are written, and what each mistake is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

import conf
import envs
from conf import ConfigError, commands
from envs.full.terms import Terms, rules
from learners.config import RunConfig
from learners.run.build import check
from learners.run.folder import CONFIG, read_config
from learners.runtimes.team import Team, read_team, told_tokens
from sandbox.base import Limits

AGENTS = ("data_engineer", "modeler", "analyst")


def read(*words: str, config_dir: Path | None = None) -> RunConfig:
    return RunConfig.read(commands.compose(words, config_dir=config_dir))


def team(*words: str) -> Team:
    config = read(*words)
    check(config)
    return read_team(config, "dsbench", AGENTS)


def test_a_part_is_chosen_by_its_name_and_changed_by_its_settings() -> None:
    own = read("team.analyst.model=toy", "team.analyst.model.max_new_tokens=7").team["analyst"].model
    assert own is not None
    assert own == conf.load("model", "toy", max_new_tokens=7)


def test_settings_alone_change_the_model_of_the_run() -> None:
    found = team("team.analyst.model.optimizer.lr=0.5", "model.max_new_tokens=50").policies
    assert found["analyst"].model == OmegaConf.merge(
        conf.load("model", "tiny", max_new_tokens=50), {"optimizer": {"lr": 0.5}}
    )
    assert found["modeler"].model == conf.load("model", "tiny", max_new_tokens=50)


def test_a_yaml_of_ones_own_chooses_parts_in_its_defaults(tmp_path: Path) -> None:
    for folder in ("model", "experiment"):
        (tmp_path / folder).mkdir()
    OmegaConf.save(conf.load("model", "toy", max_new_tokens=9), tmp_path / "model" / "mine.yaml")
    (tmp_path / "experiment" / "mixed.yaml").write_text(
        "# @package _global_\ndefaults:\n  - /model@team.analyst.model: mine\nlearn: [analyst]\n"
    )
    config = read("experiment=mixed", "team.analyst.model.update_tokens=99", config_dir=tmp_path)
    assert config.team["analyst"].model == conf.load("model", "toy", max_new_tokens=9, update_tokens=99)
    assert config.learn == ["analyst"]
    chosen = read("team.modeler.model=mine", config_dir=tmp_path).team["modeler"].model
    assert chosen is not None
    assert chosen.max_new_tokens == 9


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    config = read("team.analyst.generator=api", "team.modeler.model=toy", "learn=[modeler]")
    OmegaConf.save(OmegaConf.create(config.container()), tmp_path / CONFIG)
    assert RunConfig.read(read_config(tmp_path)) == config


def test_a_part_that_is_chosen_anew_replaces_that_of_the_run_that_is_evaluated() -> None:
    base = commands.compose(["team.analyst.model=toy", "team.modeler.generator=api"])
    changed = commands.compose_onto(base, ["team.analyst.model=tiny", "evaluation.tasks=1"])
    found = RunConfig.read(changed).team
    assert found["analyst"].model == conf.load("model", "tiny")
    assert found["modeler"] == RunConfig.read(base).team["modeler"]
    assert base.team.analyst.model.name == "toy"


def test_hosted_agents_have_their_own_policies_and_the_others_may_share_one() -> None:
    found = team("policies=shared", "team.modeler.generator=api")
    assert dict(found.owners) == {"data_engineer": "shared", "modeler": "modeler", "analyst": "shared"}
    assert {name: policy.learns for name, policy in found.policies.items()} == {
        "shared": True,
        "modeler": False,
    }
    all_named = team("policies=shared", "team.modeler.generator=api", "learn=[analyst,data_engineer]")
    assert all_named.policies["shared"].learns


def test_hosted_agents_with_the_same_settings_share_connections_limits_and_budget() -> None:
    hosted = [f"team.{agent}.generator=api" for agent in AGENTS[:2]]
    ((node, names),) = team(*hosted).hosted()
    assert (node.name, names) == ("api", ["data_engineer", "modeler"])
    apart = team(*hosted, "team.modeler.generator.endpoint.model=other").hosted()
    assert [names for _, names in apart] == [["data_engineer"], ["modeler"]]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["team.nobody.model=toy"], "team names 'nobody', but the agents of env dsbench are data_engineer, "),
        (["learn=[analist]"], "learn names 'analist', but the agents of env dsbench are data_engineer, mod"),
        (["learn=[1]"], "learn names '1', but the agents"),
        (["learn=[]"], "learn=.. trains no agent: set steps=0, or learn=null"),
        (["learn=analyst"], "learn must be a list, such as .analyst., not 'analyst'"),
        (["learn=[analyst,analyst]"], "learn names analyst more than once"),
        (["learn=[analyst]", "team.analyst.generator=api"], "learn names analyst, but team.analyst"),
        (["learn=[analyst]", "policies=shared"], "leaves out data_engineer, modeler, but with policies"),
        ([f"team.{agent}.generator=api" for agent in AGENTS], "no agent of this run learns: set steps=0"),
        (["team.analyst.generator=hf"], "generator=hf samples from weights"),
        (["team.analyst.generator=api", "team.analyst.model=toy"], "team.analyst.model has no effect"),
        (["generator=api", "steps=0", "team.analyst.model=toy"], "no effect: generator=api plays analyst"),
        (["policies=shared", "team.analyst.model=toy"], "with policies=shared one model plays all agents"),
        (["team.analyst.model.max_new_tokens=0"], "model.max_new_tokens must be at least 1, not 0"),
        (["team.analyst.model.max=1"], "there is no setting team.analyst.model.max; there are: dtype"),
        (["team.analyst.coach=rules"], "no setting team.analyst.coach; there are: model, gen"),
        (["team.analyst.model=none_such"], "there is no model called 'none_such'"),
        (["team.analyst=toy"], "team.analyst is a group of settings and cannot be 'toy'"),
        (["team=toy"], "a group of settings by agent and cannot be 'toy'"),
        (["team.analyst={model: toy}"], "a YAML chooses it in its defaults, by - /model@team"),
        (["team.analyst.model={name: no.where}"], "there is no module 'no.where'"),
        (["model=toy", "team.analyst.model=tiny"], "model=tiny reads env.style=compact, but agents"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_it(words: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        team(*words)
    assert "\n" not in str(caught.value)


def test_an_agent_called_shared_cannot_be_hosted_beside_a_shared_policy() -> None:
    config = read("policies=shared", "team.shared.generator=api")
    with pytest.raises(ConfigError, match="policies=shared gives this name to the others' policy"):
        read_team(config, "mine", ["shared", "other"])


def told(*words: str) -> Any:
    config: DictConfig = commands.compose(["model=toy", *words])
    scenario = conf.build("envs", config.env)
    read = RunConfig.read(config)
    return told_tokens(read, scenario, read_team(read, "dsbench", AGENTS))


def test_each_agent_is_told_the_length_of_its_own_replies() -> None:
    own = ["team.modeler.generator=api", "team.analyst.model.max_new_tokens=9"]
    lengths = told(*own)
    assert lengths == {"data_engineer": 64, "modeler": 4096, "analyst": 9}
    assert told() is None
    assert told(*own, "env.reply_tokens=5") is None
    terms = Terms(1.0, Limits(), (), True, 9, False, lengths)
    for role in envs.make("dsbench").scenario.roles:
        assert f"at most {lengths[role.name]} tokens" in rules(role, terms)
