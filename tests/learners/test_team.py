"""Teams whose members differ: other models, hosted colleagues, and agents that act without learning."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

import conf
from benchmarks.evaluate.reading import read
from coaches.base import BudgetError
from conf import ConfigError, commands
from learners import export
from learners.algorithms import contract
from learners.base import Weights
from learners.config import RunConfig
from learners.errors import TrainingError
from learners.run import checkpoint
from learners.run.build import build
from learners.run.evaluation import evaluation_of
from learners.run.run import train
from learners.runtimes import parts
from learners.runtimes.parts import load_weights
from learners.runtimes.team import team_of
from tests.coaches import endpoints as e
from tests.learners import timeless
from tests.learners.doubles import transition
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


@pytest.fixture(autouse=True)
def without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest of these runs."""
    monkeypatch.setattr("learners.run.run.plot", lambda run: run.path)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The weights of the newest run in this process, by policy, as it leaves them."""
    kept: dict[str, Any] = {}

    def spy(*args: Any, **kwargs: Any) -> dict[str, Weights]:
        loaded = load_weights(*args, **kwargs)
        kept.update(loaded)
        return loaded

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
    tmp_path: Path, loaded: dict[str, Any], capsys: pytest.CaptureFixture[str]
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
        # What was trained is evaluated, with the same colleagues, and written; the colleagues are not.
        evaluated = train(evaluation_of(whole, [f"run_dir={tmp_path / 'evaluated'}"]))
        export.main([str(whole), str(tmp_path / "out")])
    assert (broken / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert timeless.episodes(broken) == timeless.episodes(whole)
    for name in "ab":
        assert all(
            torch.equal(value, loaded[name].state()["model"][key]) for key, value in after[name].items()
        )
    assert [row["phase"] for row in rows(evaluated)] == ["eval"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b"]
    assert "not written, because it did not learn: a (toy)\n" in capsys.readouterr().out
    reading = read(evaluated)
    assert reading.models == {"a": "toy", "b": "tests.learners.parts.letters", "c": "colleague"}
    assert reading.label == "whole with a=toy, c=colleague"
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


def test_an_agent_that_does_not_exist_is_refused_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("learners.models.tiny.Tiny.load", load)
    words = ["env=mathchat", "learn=[verifyer]", f"run_dir={tmp_path / 'run'}"]
    with pytest.raises(ConfigError, match="learn names 'verifyer', but the agents of env mathchat"):
        train(commands.compose(words))
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_without_the_weights_of_an_agent_is_one_clear_line(tmp_path: Path) -> None:
    run = train(settings(tmp_path / "run", steps=1, learn=["b"], evaluation={"every": 0}))
    all_learn = evaluation_of(run, ["learn=[a,b]"])
    with pytest.raises(ConfigError, match="has no weights of a, which did not learn: leave it out of learn"):
        train(all_learn)


def test_rewards_of_agents_that_do_not_learn_count_in_returns_and_nowhere_else() -> None:
    """Whitening is over the learning agent's tokens alone, though ``adv_norm=all`` takes all agents'."""
    algorithm = conf.build(
        "learners", conf.load("algorithm", "reinforcepp", adv_norm="all", credit="team", gamma=1.0)
    )
    made = [
        transition(score, agent=agent, episode=f"e{n}", index=index, task=f"t{n}")
        for n, scores in enumerate([(1.0, 9.0), (4.0, 2.0), (2.0, 7.0)])
        for index, (agent, score) in enumerate(zip("ab", scores, strict=True))
    ]
    frozen = [replace(row, learns=row.turn.agent == "a") for row in made]
    found = contract.advantages(algorithm, frozen)
    assert [row is None for row in found] == [False, True] * 3
    totals = [10.0, 6.0, 9.0]
    mean = sum(totals) / 3
    deviation = (sum((x - mean) ** 2 for x in totals) / 3) ** 0.5
    flat = [row[0] for row in found if row is not None]
    assert flat == pytest.approx([(x - mean) / deviation for x in totals], abs=1e-6)


def test_what_an_algorithm_returns_for_an_agent_that_does_not_learn_is_ignored() -> None:
    class Careless:
        def advantages(self, transitions: Any) -> list[list[float] | None]:
            return [[1.0] * 99 for _ in transitions]

    careless: Any = Careless()
    assert contract.advantages(careless, [replace(transition(1.0), learns=False)]) == [None]
    with pytest.raises(ConfigError, match="row 0: has 99 entries for 3 tokens"):
        contract.advantages(careless, [transition(1.0)])


def test_a_colleague_that_is_gone_is_named_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "load_weights", None)
    made = settings(tmp_path / "run", team={"c": hosted("http://127.0.0.1:9/v1", model="colleague")})
    with pytest.raises(ConfigError, match=r"http://127.0.0.1:9/v1 does not serve colleague"):
        train(made)
    assert not (tmp_path / "run").exists()


def test_a_colleague_that_fails_loses_its_episodes_and_nothing_else(tmp_path: Path) -> None:
    count = iter(range(1000))

    def sometimes(handler: e.Handler) -> None:
        (e.status(500, "out of order") if next(count) in (3, 4, 5) else answer)(handler)

    with e.serving(sometimes) as server:
        team = {"c": hosted(server.url, deadline=0.5, backoff=0.3)}
        run = train(settings(tmp_path / "run", team=team, steps=1, rollout={"concurrency": 1}))
    assert sum(row["lost"] for row in rows(run)) >= 1
    assert rows(run)[-1]["phase"] == "eval"


def test_a_spent_budget_of_a_colleague_stops_the_run_with_a_checkpoint(tmp_path: Path) -> None:
    """Five tokens of five dollars a reply: the greeting and four episodes a step."""
    with e.serving(answer) as server:
        own = hosted(server.url, max_tokens=5)
        own["generator"].update({"max_cost": 40.0, "prices": {"prompt": 0.0, "completion": 1e6}})
        made = settings(tmp_path / "run", team={"c": own}, evaluation={"every": 0}, checkpoint={"every": 9})
        with pytest.raises(BudgetError, match=r"the budget of 40 USD is used up"):
            train(made)
    newest = checkpoint.latest(tmp_path / "run")
    assert newest is not None
    assert newest.step == 1
