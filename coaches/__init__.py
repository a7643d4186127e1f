"""Coaches: turn -> verdict, a score in [0, 10] with a rationale and, where something failed, the agent to
blame."""

import conf

if not hasattr(conf, "require_siblings"):
    place = getattr(conf, "__file__", None) or next(iter(conf.__path__))
    raise ImportError(
        f"{place} is found before coachgym's own conf: rename it, or run elsewhere", name=__name__
    )
conf.require_siblings(__name__)
