"""What the parts of a run know of the processes that they live in: nothing but this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

CLOSING = 60.0
"""Seconds that a process may take to close what it holds, before it is ended all the same."""


class Pending(Protocol):
    """A call under way in another process."""

    def wait(self, timeout: float | None = None) -> Any:
        """What the method returned; ``timeout``: in seconds, where less than the call's deadline is wanted.

        Raises:
            LostError: the process died, or has not answered in time.
            Exception: what the method raised.
        """
        ...


class Handle(Protocol):
    """An object in a process of its own. May be sent to other processes."""

    name: str
    """For messages; no two processes of a run share one."""

    def start(self, method: str, *args: Any, **kwargs: Any) -> Pending:
        """Calls a method of the object, and does not wait."""
        ...

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """``start`` and ``wait``."""
        ...

    def address(self) -> str:
        """``host:port`` of a free port on the machine that the process runs on."""
        ...

    def kill(self) -> None:
        """Ends the process at once; what is under way in it is lost."""
        ...


@dataclass(frozen=True)
class Place:
    """Where a process goes: to a bundle that was reserved, or (None) wherever there is room."""

    bundle: int | None
    cpus: float
    gpus: float


class Cluster(Protocol):
    """Starts processes, and ends them."""

    def reserve(self, bundles: Sequence[tuple[float, float]]) -> None:
        """Keeps (CPUs, GPUs) together on a machine for each bundle; once, before ``spawn`` names them.

        Raises:
            ConfigError: the cluster has no room.
        """
        ...

    def spawn(
        self,
        make: Callable[..., object],
        *args: Any,
        name: str,
        place: Place,
        threads: int = 1,
        deadline: float | None = None,
    ) -> Handle:
        """``make(*args)`` in a process of its own.

        Args:
            threads: calls that run at once; more wait.
            deadline: seconds that a call may take; None: the runtime's.

        Raises:
            LostError: the process could not be started in time.
            Exception: what ``make`` raised.
        """
        ...

    def gather(self, pending: Sequence[Pending]) -> list[Any]:
        """What all of them returned, in order; as soon as one process is lost, that is raised.

        Raises:
            LostError: before anything that others raised, who may only have missed the one that is lost.
            Exception: what a method raised.
        """
        ...
