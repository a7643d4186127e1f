"""Plans of teams whose members differ: who costs what, and where."""

from __future__ import annotations

from dataclasses import replace

from learners.plan import run_config
from learners.planning import files, memory, timing
from learners.planning.assumptions import Assume, Hardware
from learners.planning.job import Job, read_jobs
from tests.learners.planning.jobs import ONE_GPU, composed, parts


def jobs(*words: str) -> tuple[list[Job], Hardware, Assume]:
    _, hardware, assume = parts(*words[:1])
    return read_jobs(run_config(composed(*words)), assume), hardware, assume


def test_policies_that_do_not_learn_have_weights_and_nothing_more() -> None:
    words = ("experiment=paper_dsbench_4b", "learn=[analyst]")
    (frozen, learner), hardware, assume = jobs(*words)
    (whole, _, _) = parts(words[0])
    assert (frozen.policies, frozen.trained_policies, learner.policies) == (2, 0, 1)
    assert set(memory.resident(frozen)) == {"weights"}
    assert memory.resident(learner) == memory.resident(whole)
    assert files.disk([frozen, learner])["checkpoints"] == files.disk([whole])["checkpoints"] / 3
    assert memory.gpus_needed([frozen, learner]) == memory.gpus_needed([whole]) == 6
    names = [device.name for device in memory.devices([frozen, learner], hardware, assume)]
    assert names[0].endswith("not trained")
    assert names[-1] == "host"


def test_adapters_that_do_not_learn_stay_on_the_same_base_without_moments() -> None:
    words = (f"experiment={ONE_GPU}", "learn=[analyst]")
    (job,), _, _ = jobs(*words)
    whole, _, _ = parts(words[0])
    assert memory.resident(job)["frozen base"] == memory.resident(whole)["frozen base"]
    assert memory.resident(job)["optimiser moments"] == memory.resident(whole)["optimiser moments"] / 3


def test_models_in_one_process_share_its_gpu_and_a_hosted_agent_has_none_of_it() -> None:
    own = "team.modeler.model=qwen3-4b"
    words = (f"experiment={ONE_GPU}", "weights=full", "team.analyst.generator=api", own)
    found, hardware, assume = jobs(*words)
    assert [(job.policies, list(job.turns)) for job in found] == [(1, ["data_engineer"]), (1, ["modeler"])]
    assert all(list(job.hosted) == ["analyst"] for job in found)
    apart = sum(memory.resident(found[1]).values())
    for device in memory.devices(found, hardware, assume)[:1]:
        assert device.phases[0].items["policies apart"] == apart
    times, without = (
        timing.estimate(one, hardware, assume) for one in (found, [replace(found[0], hosted={})])
    )
    assert sum(times.step.values()) > sum(without.step.values())
