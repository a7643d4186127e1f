"""A run in many processes gives the numbers of a run in one, also after the loss of a process."""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

import conf
from coaches.base import CoachError, History
from conf import ConfigError
from learners.errors import LostError
from learners.run import checkpoint
from learners.run.run import train
from learners.runtimes.distributed.base import Placement
from learners.runtimes.ray import OPEN, Ray
from tests.coaches import endpoints as e
from tests.learners import timeless
from tests.learners.parts.settings import PARTS, settings
from tests.learners.parts.thing import Thing
from tests.learners.test_team import KL, TOY, answer, hosted

# Not imported here: the runtime must be the first to import it.
missing = importlib.util.find_spec("ray") is None
pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(missing, reason="the extra 'ray' is not installed"),
]

# Sums of floats depend on the number of threads.
LOCAL = conf.load("runtime", "local", torch_threads=1)
COPIES = {"name": f"{PARTS}.copies"}


def ray(**changes: Any) -> DictConfig:
    return conf.load(
        "runtime", "ray", **({"rollout_workers": 2, "start_timeout": 600.0, "torch_threads": 1} | changes)
    )


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Returns the metrics of a run in one process that samples from copies; all agents share a policy."""
    run = tmp_path_factory.mktemp("unbroken") / "run"
    train(settings(run, {"runtime": LOCAL, "generator": COPIES}, policies="shared"))
    return metrics(run)


def test_a_run_in_many_processes_is_the_run_in_one(tmp_path: Path) -> None:
    algorithm = conf.load("algorithm", "reinforcepp", truncated="keep", kl="reward_k1")
    for name, runtime in (("one", LOCAL), ("many", ray())):
        own = {"runtime": runtime, "algorithm": algorithm}
        train(settings(tmp_path / name, own, record={"tokens": "all"}))
    assert metrics(tmp_path / "one") == metrics(tmp_path / "many")
    one, many = tmp_path / "one", tmp_path / "many"
    assert timeless.episodes(one) == timeless.episodes(many)
    assert (one / "tokens.jsonl").read_text() == (many / "tokens.jsonl").read_text()
    masked = [row for row in metrics(tmp_path / "many") if row.get("masked/LookupError")]
    assert masked, "the cause of a missing verdict survives the way from the coach's process"


def test_a_cluster_that_would_listen_on_all_addresses_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("ray")
    monkeypatch.delenv(OPEN)
    built: Ray = conf.build("learners.runtimes", ray())
    with pytest.raises(ConfigError, match=f"all of the machine's addresses; set {OPEN}=0"):
        built.reserve([(1.0, 0.0)])


def test_a_cluster_without_enough_resources_says_what_is_missing() -> None:
    built: Ray = conf.build("learners.runtimes", ray(start_timeout=1.0))
    try:
        with pytest.raises(
            ConfigError, match=r"cannot place 1 CPUs and 3 GPUs in 1 bundles; it has \d+ CPUs and 0 GPUs"
        ):
            built.reserve([(1.0, 3.0)])
    finally:
        built.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster that the runs of the tests below join: each of those above starts one of its own."""
    package = importlib.import_module("ray")
    package.init(num_cpus=12, include_dashboard=False, logging_level=logging.WARNING)
    yield
    package.shutdown()


def test_a_mixed_team_in_many_processes_is_the_team_in_one(tmp_path: Path, cluster: None) -> None:
    """One agent has another model and does not learn, one is hosted, and one learns; a resumed run too."""
    with e.serving(answer) as server:

        def mixed(name: str, runtime: DictConfig, **changes: Any) -> Path:
            team = {"a": {"model": TOY}, "c": hosted(server.url, model="colleague")}
            own = {"runtime": runtime, "algorithm": KL}
            return train(settings(tmp_path / name, own, team=team, learn=["b"], **changes))

        one = mixed("one", LOCAL)
        mixed("many", ray(), steps=1, evaluation={"every": 0})
        resumed = mixed("many", ray(), resume=True, evaluation={"every": 0})
    trained = [row for row in metrics(one) if row["phase"] == "train"]
    assert trained == metrics(resumed)
    newest = checkpoint.latest(resumed)
    assert newest is not None
    assert [path.name for path in newest.path.glob("*.pt")] == ["b.pt"]


def test_the_episodes_of_a_killed_rollout_worker_are_played_again_and_the_run_is_the_same(
    tmp_path: Path, unbroken: list[dict[str, Any]], cluster: None
) -> None:
    """Two ranks share each update, so results differ by rounding errors; an engine samples from copies."""
    run, died = tmp_path / "run", tmp_path / "died"
    parts = {"runtime": ray(ranks=2), "generator": COPIES}
    train(settings(run, parts, policies="shared", env={"dies": str(died)}))
    assert died.exists()
    for row, expected in zip(metrics(run), unbroken, strict=True):
        assert row["lost"] == 0
        assert row.keys() == expected.keys()
        for key in row:
            assert row[key] == pytest.approx(expected[key], abs=1e-4), key


def test_without_a_retry_the_episodes_of_a_killed_rollout_worker_are_dropped_and_counted(
    tmp_path: Path, cluster: None
) -> None:
    run, died = tmp_path / "run", tmp_path / "died"
    changes = {"env": {"dies": str(died)}, "evaluation": {"every": 0}}
    train(settings(run, {"runtime": ray(episode_retries=0)}, policies="shared", **changes))
    steps = metrics(run)
    assert [row["step"] for row in steps] == [1, 2]
    assert 1 <= steps[0]["lost"] <= 2
    assert steps[0]["episodes"] + steps[0]["lost"] == 4
    assert steps[1]["lost"] == 0


def test_after_a_killed_rank_the_run_restarts_from_its_newest_checkpoint(
    tmp_path: Path, unbroken: list[dict[str, Any]], cluster: None
) -> None:
    algorithm = conf.load("algorithm", "reinforcepp", truncated="keep")
    fatal = OmegaConf.merge(
        OmegaConf.to_container(algorithm), {"name": f"{PARTS}.fatal", "dies": str(tmp_path / "died")}
    )
    parts = {"runtime": ray(restarts=0), "generator": COPIES, "algorithm": fatal}
    with pytest.raises(LostError, match=r"learner \d\.0 died during 'train'"):
        train(settings(tmp_path / "run", parts, policies="shared"))
    newest = checkpoint.latest(tmp_path / "run")
    assert newest is not None
    assert newest.step == 0
    (tmp_path / "died").unlink()
    parts["runtime"] = ray(restarts=1)
    train(settings(tmp_path / "other", parts, policies="shared"))
    assert metrics(tmp_path / "other") == unbroken


@pytest.fixture(scope="module")
def runtime(cluster: None) -> Iterator[Ray]:
    built: Ray = conf.build("learners.runtimes", ray())
    built.reserve([(1.0, 0.0), (1.0, 0.0)])
    yield built
    built.close()


ANYWHERE = Placement(None, 0.0, 0.0)


def test_a_remote_method_returns_and_raises_like_a_local_one(runtime: Ray) -> None:
    handle = runtime.spawn(Thing, 3, name="thing", placement=replace(ANYWHERE, bundle=1, cpus=1.0))
    assert handle.call("add", 4) == 7
    assert handle.call("answer_of", History((), "42")) == (0, "42")
    with pytest.raises(CoachError, match="no verdict") as caught:
        handle.call("raise_with_a_cause")
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert handle.pid() != os.getpid()
    assert handle.address().startswith("127.0.0.1:"), (
        "the run's own cluster is not reachable from other machines"
    )
    handle.kill()


def test_an_object_that_cannot_be_built_raises_its_own_exception(runtime: Ray) -> None:
    with pytest.raises(ConfigError, match="too small"):
        runtime.spawn(Thing, -1, name="thing", placement=ANYWHERE)


def test_a_process_that_dies_or_is_late_is_named_and_lost(runtime: Ray) -> None:
    handle = runtime.spawn(Thing, 3, name="sleeper", placement=ANYWHERE, deadline=2.0)
    with pytest.raises(LostError, match=r"sleeper has not answered 'sleep' within 2 s") as late:
        handle.call("sleep", 60.0)
    assert late.value.process == "sleeper"
    handle.kill()
    other = runtime.spawn(Thing, 3, name="mortal", placement=ANYWHERE)
    with pytest.raises(LostError, match="mortal died during 'die'") as died:
        other.call("die")
    assert died.value.process == "mortal"


def test_a_call_that_waits_for_its_turn_is_not_late(runtime: Ray) -> None:
    """As the updates of three policies that share a base: each is quick enough, the third ends last."""
    handle = runtime.spawn(Thing, 3, name="queue", placement=ANYWHERE, deadline=6.0)
    assert runtime.gather([handle.start("sleep", 3.0) for _ in range(4)]) == [None] * 4
    waiting = [handle.start("sleep", 3.0) for _ in range(3)]
    assert [one.wait() for one in reversed(waiting)] == [None] * 3
    threads = [handle.start("sleep", 3.0), handle.start("add", 4)]
    with pytest.raises(LostError, match=r"queue has not answered 'add' within 0.1 s"):
        threads[1].wait(0.1)
    assert threads[1].wait() == 7
    handle.kill()


def test_whoever_waits_behind_a_call_that_is_late_is_lost_with_it(runtime: Ray) -> None:
    handle = runtime.spawn(Thing, 3, name="blocked", placement=ANYWHERE, deadline=2.0)
    stuck, behind = handle.start("sleep", 600.0), handle.start("add", 4)
    with pytest.raises(LostError, match=r"blocked has not answered 'add' within 2 s"):
        behind.wait()
    with pytest.raises(LostError, match=r"blocked has not answered '(add|sleep)' within 2 s"):
        runtime.gather([behind, stuck])
    handle.kill()
    other = runtime.spawn(Thing, 3, name="stopped", placement=ANYWHERE, deadline=1.0)
    stopped = other.start("stop")
    with pytest.raises(LostError, match=r"stopped has not answered 'stop' within 1 s"):
        stopped.wait()
    other.kill()


def test_a_process_with_several_threads_counts_each_call_by_itself(runtime: Ray) -> None:
    handle = runtime.spawn(Thing, 3, name="threads", placement=ANYWHERE, threads=2, deadline=6.0)
    assert runtime.gather([handle.start("sleep", 4.0) for _ in range(4)]) == [None] * 4
    handle.kill()


def test_a_lost_process_takes_precedence_over_exceptions_of_others(runtime: Ray) -> None:
    first, second = (runtime.spawn(Thing, n, name=f"thing {n}", placement=ANYWHERE) for n in (1, 2))
    assert runtime.gather([first.start("add", 1), second.start("add", 1)]) == [2, 3]
    with pytest.raises(CoachError):
        runtime.gather([first.start("add", 1), second.start("raise_with_a_cause")])
    with pytest.raises(LostError, match="thing 2 died"):
        runtime.gather([first.start("raise_with_a_cause"), second.start("die")])
    first.kill()
