"""Plans of shipped experiments, for tests."""

from __future__ import annotations

from functools import lru_cache

from omegaconf import DictConfig

import conf
from conf.commands import compose
from learners.plan import arguments, run_config
from learners.planning.assumptions import Assume, Hardware
from learners.planning.job import Job, read_jobs

PAPERS = ("paper_mathchat_1.5b", "paper_mathchat_4b", "paper_dsbench_4b")
ONE_GPU = "dsbench_4b_1xh100"


def composed(*words: str) -> DictConfig:
    """What ``python -m learners.plan`` would get."""
    return compose(arguments(list(words)))


@lru_cache
def parts(*words: str) -> tuple[Job, Hardware, Assume]:
    config = composed(*words)
    assume = conf.typed(Assume, config.assume, "assume")
    (job,) = read_jobs(run_config(config), assume)
    return job, conf.typed(Hardware, config.hardware, "hardware"), assume
