"""Prompt injections and other attempts to get a better score from a coach; tests try them on every coach.

Attacks by text are planted into the record of a turn and do not change the work that was done: a coach that
scores the turn higher because of one can be manipulated. Attacks by artifact change what the system's checks
see: a coach that scores such a file higher than none at all pays for it. Attacks by files are for coaches
that open them: faulty work must not score higher because of what else its agent did to it. All are data for
tests and benchmarks."""

from coaches.attacks.artifacts import ARTIFACTS, ArtifactAttack
from coaches.attacks.attack import Attack
from coaches.attacks.files import FILES, FileAttack
from coaches.attacks.texts import ATTACKS

__all__ = ["ARTIFACTS", "ATTACKS", "FILES", "ArtifactAttack", "Attack", "FileAttack"]
