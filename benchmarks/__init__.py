"""Commands that measure and compare."""

import sys

try:
    import conf
except ModuleNotFoundError as error:
    if error.name == "conf":
        raise
    raise ImportError(
        f"{error.name} is not installed: pip install -e . (without a network: docs/scaling.md)", name=__name__
    ) from None

if not hasattr(conf, "require_siblings"):
    place = getattr(conf, "__file__", None) or next(iter(conf.__path__))
    raise ImportError(
        f"{place} is found before coachgym's own conf: rename it, or run elsewhere", name=__name__
    )
conf.require_siblings(__name__)

from conf.extras import print_missing  # noqa: E402

if sys.argv[:1] == ["-m"]:  # a command starts; most of them import ``learners``, which needs an extra
    sys.excepthook = print_missing
