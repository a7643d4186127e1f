"""Prompt injections and other attempts to get a better score from a coach; tests try them on every coach.

Each one is planted into the record of a turn and does not change the work that was done: a coach that scores
the turn higher because of it can be manipulated. The texts are data for tests and benchmarks.
"""

from coaches.attacks.attack import Attack
from coaches.attacks.texts import ATTACKS

__all__ = ["ATTACKS", "Attack"]
