"""What a runtime is, and the parts that it assembles."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from coaches.base import AnyCoach
from envs.base import Scenario
from learners.base import Algorithm, Generator, RolloutWorker
from learners.config import RunConfig
from learners.policy import Policy

log = logging.getLogger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")


class Runtime(Protocol):
    """Execution backend: places components and runs them concurrently."""

    restarts: int
    """How often a run that raised ``LostError`` is rebuilt, to continue from its newest checkpoint."""

    def assemble(self, config: RunConfig) -> Parts:
        """Builds everything that ``config`` names; cheap parts first: mistakes show before a model loads.

        Raises:
            ConfigError: a part is not available, or its settings are invalid.
        """
        ...

    def map(
        self, fn: Callable[[In], Out], items: Iterable[In], *, limit: int, groups: int | None
    ) -> list[Out | Exception]:
        """Runs ``fn`` on every item, at most ``limit`` at once; results in the order of the items.

        ``groups``: into how many groups the items are dealt, one item to each in turn. The next items of a
        group start together, as participants of one ``learners.rollout.lockstep`` session, once all of its
        last ones have ended. None: each item starts as soon as a slot is free.

        An ``Exception`` takes the place of the result where ``fn`` raised it.
        """
        ...

    def each(self, fn: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
        """Runs ``fn`` on every item, concurrently where the items live in different processes.

        Raises:
            Exception: the first that ``fn`` raised.
        """
        ...

    def close(self) -> None:
        """Ends every process that this runtime has started."""
        ...


@dataclass(frozen=True)
class Parts:
    """Everything that a run is made of."""

    scenario: Scenario
    rollout_worker: RolloutWorker
    coach: AnyCoach
    team: Mapping[str, Policy]
    """By agent, in the order of play; agents may share a policy."""
    generator: Generator
    algorithm: Algorithm
    runtime: Runtime

    @property
    def policies(self) -> Mapping[str, Policy]:
        """Each policy that learns once, by its own name."""
        return {policy.name: policy for policy in self.team.values() if policy.learns}

    def close(self) -> None:
        """Ends the generator, every sandbox and every process, each even if another one cannot be ended.

        Raises:
            Exception: what the last of them raised.
        """
        with ExitStack() as stack:
            stack.callback(gc.unfreeze)  # see ``learners.run.build.build``
            stack.callback(self.runtime.close)
            stack.callback(self.rollout_worker.close)
            stack.callback(self.generator.close)


@contextmanager
def closed_on_error() -> Iterator[ExitStack]:
    """Yields a stack whose callbacks are called if the block raises.

    What they raise is logged: it must not hide why the block ended.
    """
    stack = ExitStack()
    try:
        yield stack
    except BaseException:
        try:
            stack.close()
        except Exception as error:
            log.warning("not everything could be closed: %s", error)
        raise
