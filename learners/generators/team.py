"""One generator for a team whose policies are played by several: our own weights and hosted models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from envs.types import Message
from learners.base import Generator
from learners.types import Completion


class TeamGenerator:
    """A ``learners.base.Generator`` that passes each request to the generator of its policy.

    Lockstep holds for the policies with weights: their next round waits for episodes that a hosted colleague
    has not answered yet, so that batches do not depend on how fast a server is.
    """

    trains = True

    def __init__(self, own: Generator | None, hosted: Mapping[str, Generator]) -> None:
        """``own``: of all policies with weights; None if there are none. ``hosted``: of each other policy."""
        self._own = own
        self._hosted = hosted
        self.lockstep = own is not None and own.lockstep

    def generate(
        self, policy: str, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        chosen = self._hosted.get(policy, self._own)
        assert chosen is not None
        return chosen.generate(policy, messages, seed=seed, order=order, temperature=temperature)

    def sync(self, policy: str, version: int) -> Mapping[str, int]:
        """See ``Generator.sync``; only policies with weights are ever updated."""
        assert self._own is not None
        return self._own.sync(policy, version)

    def sleep(self) -> None:
        if self._own is not None:
            self._own.sleep()

    def wake(self) -> None:
        if self._own is not None:
            self._own.wake()

    def close(self) -> None:
        """Closes all of them, each even if another one cannot be closed."""
        with ExitStack() as stack:
            for generator in {id(one): one for one in self._hosted.values()}.values():
                stack.callback(generator.close)
            if self._own is not None:
                stack.callback(self._own.close)


def combined(own: Generator | None, hosted: Mapping[str, Generator]) -> Generator:
    """Returns one generator for all policies: if there is only one, that one itself."""
    only = list({id(one): one for one in hosted.values()}.values())
    if own is not None and not only:
        return own
    return only[0] if own is None and len(only) == 1 else TeamGenerator(own, hosted)
