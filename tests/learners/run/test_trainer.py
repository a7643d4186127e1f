"""The training loop with scripted policies: what it counts, masks, records and calls."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

import conf
from coaches.base import CoachError, Verdict
from coaches.judging.learning import JudgedEpisode
from envs.types import Message, Turn
from learners.base import Algorithm
from learners.config import PARTS, RunConfig
from learners.errors import TrainingError
from learners.rollout.worker import LocalRolloutWorker
from learners.run.folder import RunFolder, open_folder
from learners.run.report import reporting
from learners.run.trainer import Trainer
from learners.runtimes.base import Parts
from learners.runtimes.local import Local
from learners.seeds import derive_seed
from learners.types import Completion, Metrics, Transition
from sandbox.base import SandboxError, SandboxSpec
from tests.fakes import FakeBackend, FakeSandbox, FakeScenario, program


class ScriptedPolicy:
    """Writes the right answer or, with probability one half, a wrong one; counts its updates."""

    learns = True

    def __init__(self, agent: str) -> None:
        self.name = agent
        self.updates: list[tuple[int, int]] = []
        self.published = 0

    def act(
        self, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        number = next(m.content for m in messages if "## Task: write " in m.content).split("write ")[1][0]
        good = random.Random(seed).random() < 0.5
        texts = {
            "maker": program(f"open('a.txt', 'w').write('{number if good else 'x'}')"),
            "changer": program("open('b.txt', 'w').write(open('a.txt').read())"),
            "teller": "done",
        }
        return Completion(texts[self.name], (1, 2), (3,), (-0.5,), len(self.updates), "stop")

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
        terms: object = None,
    ) -> Metrics:
        self.updates.append((len(transitions), sum(row is not None for row in advantages)))
        return {"rows": float(self.updates[-1][1])}

    def publish(self) -> None:
        self.published += 1

    def traffic(self) -> Metrics:
        return {}

    def reference_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        return [(-0.25,) * len(completion.token_ids) for completion in completions]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.updates), encoding="utf-8")

    def restore(self, path: Path) -> None:
        self.updates = [(seen, used) for seen, used in json.loads(path.read_text(encoding="utf-8"))]


class IdleGenerator:
    """Records when it slept; scripted policies do not sample from it."""

    trains = True
    lockstep = True

    def __init__(self) -> None:
        self.calls: list[str] = []

    def generate(self, *_: Any, **__: Any) -> Completion:
        raise AssertionError("a scripted policy asks for no sample")

    def sync(self, policy: str, version: int) -> Mapping[str, int]:
        raise AssertionError("a scripted policy has no weights")

    def sleep(self) -> None:
        self.calls.append("sleep")

    def wake(self) -> None:
        self.calls.append("wake")

    def close(self) -> None:
        self.calls.append("close")


class Recorder:
    """An algorithm that records the transitions it was called with."""

    def __init__(self, needs_reference: bool = False) -> None:
        self.needs_reference = needs_reference
        self.asked: list[Sequence[Transition]] = []

    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        self.asked.append(transitions)
        return [None if t.reward is None else [t.reward] for t in transitions]

    def token_weights(self, transitions: Sequence[Transition]) -> list[float]:
        return [1.0] * len(transitions)

    def loss(self, logprobs: torch.Tensor, batch: Any) -> tuple[torch.Tensor, Metrics]:
        raise AssertionError("a scripted policy asks for no loss")


class FilesCoach:
    """Gives 10 for a turn that adds a file, else 0; no verdict for agents in ``mute``."""

    def __init__(self, mute: Sequence[str] = ()) -> None:
        self.mute = mute

    def judge(self, history: Sequence[Turn]) -> Verdict:
        if history[-1].agent in self.mute:
            raise CoachError("no word")
        return Verdict(10.0 if len(history[-1].files_after) > len(history[-1].files_before) else 0.0, "files")


class LeakyBackend(FakeBackend):
    """Fails to open every third sandbox."""

    def open(self, spec: SandboxSpec) -> FakeSandbox:
        if len(self.opened) % 3 == 2:
            self.opened.append(FakeSandbox(spec))
            raise SandboxError("the daemon went away")
        return super().open(spec)


def settings(run_dir: Path, **changes: Any) -> RunConfig:
    """Two steps of four episodes. Parts are only named here: tests pass the objects to ``trained``."""
    whole: Any = OmegaConf.load(conf.ROOT / "config.yaml")
    del whole["defaults"], whole["hydra"]
    base = {
        **{group: {"name": f"tests.{group}"} for group in PARTS},
        "env": {"name": "fake"},
        "steps": 2,
        "run_dir": str(run_dir),
        "rollout": {"tasks": 2, "episodes": 2, "concurrency": 1},
        "evaluation": {"every": 2, "tasks": None, "episodes": 1},
        "checkpoint": {"every": 1, "keep": 1},
    }
    config = OmegaConf.merge(whole, base, changes)
    assert isinstance(config, DictConfig)
    return RunConfig.read(config)


def trained(config: RunConfig, **parts: Any) -> tuple[list[dict[str, Any]], Parts, RunFolder]:
    scenario = FakeScenario()
    whole: dict[str, Any] = {
        "scenario": scenario,
        "coach": FilesCoach(),
        "team": {role.name: ScriptedPolicy(role.name) for role in scenario.roles},
        "generator": IdleGenerator(),
        "algorithm": Recorder(),
        "runtime": Local(Local.Config(torch_threads=1)),
    }
    backend = parts.pop("backend", None) or FakeBackend()
    whole |= parts
    worker = LocalRolloutWorker(
        scenario, backend, whole["coach"], whole["team"], deferred=config.rollout.deferred
    )
    made = Parts(rollout_worker=worker, **whole)
    with open_folder(config) as folder, reporting(config, folder.path, Console(quiet=True)) as reporter:
        Trainer(made, config, folder, reporter).run()
        return list(folder.rows("metrics")), made, folder


def test_a_run_evaluates_trains_and_evaluates_again(tmp_path: Path) -> None:
    rows, parts, folder = trained(settings(tmp_path / "run"))
    assert [(row["phase"], row["step"]) for row in rows] == [
        ("eval", 0),
        ("train", 1),
        ("train", 2),
        ("eval", 2),
    ]
    assert rows[0]["episodes"] == 2
    assert rows[1]["episodes"] == 4
    assert 0.0 < rows[1]["score/maker"] <= 10.0
    policies: Any = parts.policies
    assert all(len(policy.updates) == 2 for policy in policies.values())
    episodes = list(folder.rows("episodes"))
    assert len(episodes) == 2 + 4 + 4 + 2
    assert len({(row["phase"], row["step"], row["id"]) for row in episodes}) == len(episodes)


def test_evaluations_are_not_coached_and_differ_in_their_seeds(tmp_path: Path) -> None:
    _, parts, folder = trained(settings(tmp_path / "run"))
    evaluated = [row for row in folder.rows("episodes") if row["phase"] == "eval"]
    assert all(turn["verdict"] is None for row in evaluated for turn in row["turns"])
    assert len({row["seed"] for row in evaluated}) == len(evaluated)
    algorithm: Any = parts.algorithm
    assert all(t.turn.task_id.startswith("train") for asked in algorithm.asked for t in asked)


def test_every_evaluation_plays_the_same_subset_of_the_held_out_tasks(tmp_path: Path) -> None:
    config = settings(tmp_path / "run", evaluation={"tasks": 1, "episodes": 2})
    rows, _, folder = trained(config)
    assert [row["episodes"] for row in rows if row["phase"] == "eval"] == [2, 2]
    assert len({row["task"] for row in folder.rows("episodes") if row["phase"] == "eval"}) == 1


def test_a_turn_without_a_verdict_is_masked_and_counted(tmp_path: Path) -> None:
    rows, parts, _ = trained(settings(tmp_path / "run"), coach=FilesCoach(mute=("teller",)))
    assert rows[1]["masked"] == 4
    assert "score/teller" not in rows[1]
    policies: Any = parts.policies
    assert all(trained_on == 0 for _, trained_on in policies["teller"].updates)
    assert all(trained_on == seen for seen, trained_on in policies["maker"].updates)


def test_a_lost_sandbox_drops_its_episode_and_is_counted(tmp_path: Path) -> None:
    rows, _, _ = trained(settings(tmp_path / "run"), backend=LeakyBackend())
    assert sum(row["lost"] for row in rows) > 0
    assert all(row["episodes"] + row["lost"] == (2 if row["phase"] == "eval" else 4) for row in rows)


def test_too_many_losses_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="2 of 2 episodes"):
        trained(settings(tmp_path / "run"), backend=FakeBackend(broken=True))


def test_an_error_that_is_not_a_lost_sandbox_ends_the_run(tmp_path: Path) -> None:
    class Broken(FilesCoach):
        def judge(self, history: Sequence[Turn]) -> Verdict:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trained(settings(tmp_path / "run"), coach=Broken())


def test_reference_logprobs_reach_an_algorithm_that_needs_them(tmp_path: Path) -> None:
    algorithm = Recorder(needs_reference=True)
    trained(settings(tmp_path / "run"), algorithm=algorithm)
    assert all(t.ref_logprobs == (-0.25,) for asked in algorithm.asked for t in asked)


def test_the_generator_sleeps_during_updates_and_then_gets_the_new_weights(tmp_path: Path) -> None:
    generator = IdleGenerator()
    _, parts, _ = trained(settings(tmp_path / "run"), generator=generator)
    assert generator.calls == ["sleep", "wake"] * 2
    policies: Any = parts.policies
    assert all(policy.published == 2 for policy in policies.values())


def test_a_shared_policy_learns_once_a_step_from_all_agents(tmp_path: Path) -> None:
    agents = [role.name for role in FakeScenario().roles]

    everybody = ScriptedPolicy("teller")  # says "done" for each of them
    rows, parts, _ = trained(settings(tmp_path / "run"), team=dict.fromkeys(agents, everybody))
    assert list(parts.policies) == ["teller"]
    taken = [len(asked) for asked in cast(Any, parts.algorithm).asked]
    assert [seen for seen, _ in everybody.updates] == taken
    assert all(row["rows/teller"] for row in rows if row["phase"] == "train")


def test_seeds_of_different_places_differ_and_are_stable() -> None:
    places = [
        (0, "train", 0, 0),
        (0, "train", 0, 1),
        (0, "train", 1, 0),
        (0, "eval", 0, 0),
        (1, "train", 0, 0),
    ]
    seeds = [derive_seed(*place) for place in places]
    assert len(set(seeds)) == len(seeds)
    assert derive_seed(0, "train", 0, 0) == seeds[0]
    assert all(0 <= seed < 2**63 for seed in seeds)


class LikesOdd:
    """Scores odd tasks higher, and learns by counting what it saw."""

    def __init__(self) -> None:
        self.seen = 0

    def judge(self, history: Sequence[Turn]) -> Verdict:
        return Verdict(min(10.0, 2.0 + 2.0 * (history[-1].kind == "odd") + 0.01 * self.seen), "odd")

    def learn(self, episodes: Sequence[JudgedEpisode]) -> dict[str, float]:
        self.seen += sum(verdict is not None for one in episodes for verdict in one.verdicts)
        return {"seen": float(self.seen)}

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]


@pytest.mark.slow
def test_the_state_of_coach_and_monitor_survives_a_restart(tmp_path: Path) -> None:
    whole, _, _ = trained(settings(tmp_path / "whole", steps=4), coach=LikesOdd())
    trained(settings(tmp_path / "broken", steps=2), coach=LikesOdd())
    config = OmegaConf.load(tmp_path / "broken" / "config.yaml")
    OmegaConf.save(OmegaConf.merge(config, {"steps": 4}), tmp_path / "broken" / "config.yaml")
    coach = LikesOdd()
    rows, _, _ = trained(settings(tmp_path / "broken", steps=4, resume=True), coach=coach)
    assert [row for row in rows if row["phase"] == "train"] == [
        row for row in whole if row["phase"] == "train"
    ]
    steps = [row["seen"] for row in rows if row["phase"] == "train"]
    assert steps == sorted(set(steps))
    assert coach.seen == steps[-1]


def test_every_step_records_the_coach_s_bias_and_every_evaluation_whether_there_is_an_alarm(
    tmp_path: Path,
) -> None:
    rows, _, _ = trained(settings(tmp_path / "run"), coach=LikesOdd())
    for row in rows:
        if row["phase"] == "eval":
            assert row["alarm"] == 0.0
        else:
            assert row["coach/kind/odd"] > row["coach/kind/even"] + 1.9
            assert row["coach/role/maker"] > 0.0
