"""Multi-agent environments for language models, as PettingZoo AEC environments.

Importing this package registers them with PettingZoo, and each of their roles with Gymnasium.

>>> env = make("mathchat")                                              # doctest: +SKIP
>>> env = pettingzoo.make("aec", "coachgym/mathchat-v0")                # doctest: +SKIP
>>> env = gymnasium.make("coachgym/mathchat-verifier-v0")               # doctest: +SKIP
"""

from __future__ import annotations

import conf

if not hasattr(conf, "require_siblings"):
    place = getattr(conf, "__file__", None) or next(iter(conf.__path__))
    raise ImportError(
        f"{place} is found before coachgym's own conf: rename it, or run elsewhere", name=__name__
    )
conf.require_siblings(__name__)

from envs.making import make  # noqa: E402
from envs.pipeline import PipelineEnv  # noqa: E402
from envs.registration import register, register_bundled  # noqa: E402
from envs.single_agent import SingleAgentEnv  # noqa: E402

__all__ = ["PipelineEnv", "SingleAgentEnv", "make", "register"]

register_bundled()
