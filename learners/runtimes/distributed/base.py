"""What the parts of a distributed run know of the processes that they live in, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

CLOSING = 60.0
"""Seconds that a process may take to close what it has open, before it is killed."""


class Pending(Protocol):
    """A call under way in another process."""

    def wait(self, timeout: float | None = None) -> Any:
        """Returns what the method returned.

        ``timeout``: in seconds, to wait less than the deadline of the call.

        Raises:
            LostError: the process died, or did not answer in time.
            Exception: what the method raised.
        """
        ...


class Handle(Protocol):
    """An object in a process of its own. May be sent to other processes."""

    name: str
    """For messages; unique within a run."""

    def start(self, method: str, *args: Any, **kwargs: Any) -> Pending:
        """Calls a method of the object without waiting for it."""
        ...

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """``start`` and ``wait``."""
        ...

    def address(self) -> str:
        """Returns ``host:port`` of a free port on the process's machine."""
        ...

    def kill(self) -> None:
        """Ends the process at once; calls under way in it are lost."""
        ...


@dataclass(frozen=True)
class Placement:
    """Where a process goes: to a bundle that was reserved, or (None) wherever resources are free."""

    bundle: int | None
    cpus: float
    gpus: float


class Cluster(Protocol):
    """Starts and ends processes."""

    def reserve(self, bundles: Sequence[tuple[float, float]]) -> None:
        """Reserves (CPUs, GPUs) on one machine per bundle; once, before ``spawn`` refers to the bundles.

        Raises:
            ConfigError: the cluster has too few resources.
        """
        ...

    def spawn(
        self,
        make: Callable[..., object],
        *args: Any,
        name: str,
        placement: Placement,
        threads: int = 1,
        deadline: float | None = None,
    ) -> Handle:
        """Runs ``make(*args)`` in a process of its own, which keeps the object.

        Args:
            threads: calls that run at once; further ones wait.
            deadline: seconds that a call may take; None: the runtime's default.

        Raises:
            LostError: the process did not start in time.
            Exception: what ``make`` raised.
        """
        ...

    def gather(self, pending: Sequence[Pending]) -> list[Any]:
        """Returns the results of all calls, in order.

        Raises:
            LostError: as soon as one process is lost. It takes precedence over other exceptions, which may
                merely be a consequence: whoever waits for the lost process fails too.
            Exception: what a method raised.
        """
        ...
