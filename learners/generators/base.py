"""What generators that only sample have in common."""

from __future__ import annotations

from collections.abc import Mapping

from learners.errors import TrainingError


class InferenceOnly:
    """Base of a ``learners.base.Generator`` without weights of ours: subclasses add ``generate``."""

    trains = False
    lockstep = False

    def sync(self, policy: str, version: int) -> Mapping[str, int]:
        """Raises ``TrainingError``: there are no weights to update."""
        raise TrainingError(f"{type(self).__name__} is for inference: it cannot take weights")

    def sleep(self) -> None:
        """Nothing of ours uses memory."""

    def wake(self) -> None:
        """Always ready."""

    def close(self) -> None:
        """Nothing to end."""
