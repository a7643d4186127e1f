"""Weights for engines: how many bytes they take in host memory, on disk and on a trainer's GPU."""

from __future__ import annotations

from dataclasses import replace

from learners.planning import files
from learners.planning.job import Job
from tests.learners.planning.jobs import ONE_GPU, PAPERS, parts


def job_of(name: str, *words: str) -> Job:
    return parts(f"experiment={name}", *words)[0]


def test_every_group_lends_one_model_in_the_dtype_of_its_engines() -> None:
    job = job_of(PAPERS[2])
    size = job.layout.groups * job.shapes.parameters * job.compute
    assert (job.layout.groups, job.compute, job.element) == (3, 2, 4)
    assert files.moved(job) == {"weights for engines": size, "copy of weights for engines": size}
    assert "weights for engines" not in files.disk([job])


def test_a_scratch_folder_is_disk_not_memory() -> None:
    job = job_of(PAPERS[2], "generator.scratch=/data/scratch")
    size = job.layout.groups * job.shapes.parameters * job.compute
    assert files.moved(job) == {"copy of weights for engines": size}
    assert files.disk([job])["weights for engines"] == size


def test_without_engines_nothing_is_lent() -> None:
    job = job_of(PAPERS[2])
    alone = replace(job, layout=replace(job.layout, engines=0))
    assert files.moved(alone) == {}


def test_only_whole_weights_of_one_rank_are_cast_on_its_gpu() -> None:
    job = job_of(PAPERS[2])
    one = replace(job, layout=replace(job.layout, ranks=1))
    assert files.cast(one) == {"copy of weights for engines": job.shapes.parameters * 2}
    assert files.cast(replace(one, layout=replace(one.layout, ranks=2))) == {}
    assert files.cast(job_of(ONE_GPU)) == {}


def test_of_an_adapter_its_own_parameters_are_lent() -> None:
    job = job_of(ONE_GPU)
    assert job.adapters is not None
    assert files.lent_bytes(job) == 4 * job.adapters.parameters
