"""Teams whose members differ: other models, hosted colleagues, and agents that act without learning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

import conf
from learners.base import Weights
from learners.config import RunConfig
from learners.errors import TrainingError
from learners.run import checkpoint
from learners.run.build import build
from learners.run.run import train
from learners.runtimes import parts
from learners.runtimes.parts import load_weights
from learners.runtimes.team import team_of
from tests.coaches import endpoints as e
from tests.learners.parts.settings import settings

TOY = conf.load("model", "toy", max_new_tokens=12)
KL = conf.load("algorithm", "reinforcepp", truncated="keep", kl="reward_k1", credit="team", gamma=0.5)


def rows(run: Path, name: str = "metrics") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / f"{name}.jsonl").read_text().splitlines()]


def hosted(url: str, **endpoint: Any) -> dict[str, Any]:
    """The settings of an agent that is hosted at ``url``."""
    node = conf.load("generator", "api")
    node.endpoint.update({"base_url": url, "timeout": 5.0, "deadline": 20.0, "backoff": 0.01, **endpoint})
    return {"generator": node}


def answer(handler: e.Handler) -> None:
    """A colleague whose texts depend on what it is asked, seed and all."""
    seed = handler.body["seed"]
    e.say(f"aha {'aeiou'[seed % 5] * (seed % 4)} {len(handler.body['messages'])}", tokens=(9, 5))(handler)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The weights of the newest run in this process, by policy, as it leaves them."""
    kept: dict[str, Any] = {}

    def spy(*args: Any, **kwargs: Any) -> dict[str, Weights]:
        kept.update(load_weights(*args, **kwargs))
        return {name: kept[name] for name in kept}

    monkeypatch.setattr(parts, "load_weights", spy)
    return kept


def initial(config: DictConfig) -> dict[str, Any]:
    """The weights with which a run begins, loaded once more."""
    read = RunConfig.read(config)
    scenario = parts.build_scenario(read)
    return load_weights(read, scenario, team_of(read, scenario).local, reference=False)


def unchanged(one: Any, other: Any) -> bool:
    """Whether two policies have the same weights, byte for byte."""
    mine, its = one.state()["model"], other.state()["model"]
    assert mine.keys() == its.keys()
    return all(mine[key].numpy().tobytes() == its[key].numpy().tobytes() for key in mine)


@pytest.mark.parametrize("way", ["full", "adapter"])
def test_only_the_named_agents_learn_and_the_others_keep_their_weights(
    way: str, tmp_path: Path, loaded: dict[str, Any]
) -> None:
    made = settings(
        tmp_path / "run", {"algorithm": KL, "weights": conf.load("weights", way)}, learn=["b"],
        team={"a": {"model": TOY}},
    )  # fmt: skip
    run = train(made)
    before = initial(made)
    assert {name: unchanged(loaded[name], before[name]) for name in "abc"} == {
        "a": True,
        "b": False,
        "c": True,
    }
    newest = checkpoint.latest(run)
    assert newest is not None
    assert [path.name for path in newest.path.glob("*.pt")] == ["b.pt"]
    metrics = rows(run)
    assert {key.split("/")[1] for row in metrics for key in row if key.startswith("loss/")} == {"b"}
    assert {key for row in metrics for key in row if key.startswith("score/")} == {
        f"score/{x}" for x in "abc"
    }
    for row in metrics:
        if row["phase"] == "train":
            assert row["trained"] == row["rows/b"] / (row["rows/b"] + row["rows_skipped/b"]) > 0.0


def test_an_agent_that_does_not_learn_has_no_optimiser_and_no_reference(tmp_path: Path) -> None:
    made = RunConfig.read(settings(tmp_path / "run", {"algorithm": KL}, learn=["b"]))
    built = build(made)
    owned = built.generator._policies  # type: ignore[attr-defined]
    assert {name: one.weights._frozen is not None for name, one in owned.items()} == {
        "a": False, "b": True, "c": False,
    }  # fmt: skip
    assert {agent: policy.learns for agent, policy in built.team.items()} == {
        "a": False,
        "b": True,
        "c": False,
    }
    assert list(built.policies) == ["b"]
    with pytest.raises(TrainingError, match="the policy a only acts here"):
        built.team["a"].save(tmp_path / "a.pt")
    built.close()


def test_a_mixed_team_trains_and_a_resumed_run_is_the_unbroken_one(
    tmp_path: Path, loaded: dict[str, Any]
) -> None:
    """One agent has another model and does not learn, one is hosted, and one learns."""
    with e.serving(answer) as server:

        def mixed(folder: str, **changes: Any) -> DictConfig:
            team = {"a": {"model": TOY}, "c": hosted(server.url, model="colleague")}
            return settings(tmp_path / folder, {"algorithm": KL}, team=team, learn=["b"], **changes)

        whole = train(mixed("whole", steps=4))
        after = {name: {k: v.clone() for k, v in loaded[name].state()["model"].items()} for name in "ab"}
        train(mixed("broken", steps=2))
        broken = train(mixed("broken", steps=4, resume=True))
    for name in ("metrics", "episodes"):
        assert (broken / f"{name}.jsonl").read_bytes() == (whole / f"{name}.jsonl").read_bytes()
    for name in "ab":
        assert all(
            torch.equal(value, loaded[name].state()["model"][key]) for key, value in after[name].items()
        )
    before = initial(mixed("whole"))
    assert (unchanged(loaded["a"], before["a"]), unchanged(loaded["b"], before["b"])) == (True, False)
    assert json.loads((whole / "metadata.json").read_text())["team"] == {
        "a": {"policy": "a", "model": "toy", "generator": "hf", "learns": False},
        "b": {"policy": "b", "model": "tests.learners.parts.letters", "generator": "hf", "learns": True},
        "c": {"policy": "c", "model": "colleague", "generator": "api", "learns": False},
    }
    asked = [turn for row in rows(whole, "episodes") for turn in row["turns"] if turn["agent"] == "c"]
    assert {turn["tokens"] for turn in asked} == {5}
    assert all(turn["action"].startswith("aha") for turn in asked)
