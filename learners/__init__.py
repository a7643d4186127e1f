"""Trajectories -> weights."""

import conf

if not hasattr(conf, "require_siblings"):
    place = getattr(conf, "__file__", None) or next(iter(conf.__path__))
    raise ImportError(
        f"{place} is found before coachgym's own conf: rename it, or run elsewhere", name=__name__
    )
conf.require_siblings(__name__)

from conf.extras import MissingExtraError, require  # noqa: E402

try:
    require("learners", "torch", "transformers", "peft")
except MissingExtraError as missing:
    missing.name = __name__  # ``python -m`` then prints one line
    raise
