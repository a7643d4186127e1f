"""Attempts to talk a coach into a better score, to be tried on every coach.

Each is planted into the record of a turn and changes nothing of what was really done: a coach that scores the
turn higher for it can be talked into it. The texts are data for tests and benchmarks and address nobody.
"""

from coaches.attacks.attack import Attack
from coaches.attacks.texts import ATTACKS

__all__ = ["ATTACKS", "Attack"]
