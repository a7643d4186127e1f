"""One thread that runs all inference engines, and the callers that wait for it.

Engines must not be used from several threads: vLLM's forward pass, for example, keeps its context in a global
variable, so that even two engines must take turns.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLong
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from learners.errors import TrainingError

log = logging.getLogger(__name__)

Result = TypeVar("Result")

CLOSING = 60.0
"""Seconds that closing waits at most."""


class Engine(Protocol):
    """Accepts requests at any time, and answers them over many steps."""

    def add(self, key: str, request: Any) -> None:
        """Accepts a request; raises if the request is invalid."""
        ...

    def step(self) -> Mapping[str, Any]:
        """Advances all accepted requests; returns the answers that are now complete, by key."""
        ...


@dataclass(frozen=True)
class _Work:
    """A request for an engine, or a command to run while no request is under way."""

    future: Future[Any]
    engine: Engine | None = None
    request: Any = None
    command: Callable[[], Any] | None = None
    last: bool = False


class Driver:
    """First come, first served; a command waits for all earlier requests, and later requests wait for it.

    Args:
        name: of the engines, for messages.
        deadline: seconds after which a waiting caller gives up.
    """

    def __init__(self, name: str, deadline: float) -> None:
        self._name = name
        self._deadline = deadline
        self._incoming: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._waiting: deque[_Work] = deque()
        self._running: dict[str, tuple[Engine, Future[Any]]] = {}
        self._count = 0
        self._lock = threading.Lock()
        self._closed = False
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ask(self, engine: Engine, request: Any) -> Any:
        """Returns the engine's answer; blocking. Requests of several threads are processed together.

        Raises:
            TrainingError: the engine failed, is closed, or gave no answer in time.
        """
        return self._wait(_Work(Future(), engine=engine, request=request))

    def call(self, command: Callable[[], Result]) -> Result:
        """Runs ``command`` in the engines' thread while no request is under way; returns its result.

        Raises:
            TrainingError: as for ``ask``.
            Exception: what ``command`` raised.
        """
        result: Result = self._wait(_Work(Future(), command=command))
        return result

    def close(self, last: Callable[[], None]) -> None:
        """Fails waiting callers, runs ``last`` in the engines' thread and ends it. May be called again."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._incoming.put(_Work(Future(), command=last, last=True))
        self._thread.join(min(self._deadline, CLOSING))
        if self._thread.is_alive():
            log.warning("%s did not end within %g s", self._name, CLOSING)

    def _wait(self, work: _Work) -> Any:
        with self._lock:
            if self._closed:
                raise TrainingError(f"{self._name} is closed")
            self._incoming.put(work)
        try:
            return work.future.result(self._deadline)
        except WaitedTooLong:
            if work.future.done():  # the work itself raised a timeout
                raise
            raise TrainingError(f"{self._name} gave no answer within {self._deadline:g} s") from None

    def _run(self) -> None:
        while (last := self._receive()) is None:
            self._admit()
            try:
                self._step()
            except BaseException as error:  # raised again in every waiting thread, or they would wait forever
                self._broken = error
                self._fail(f"{self._name} failed: {error}")
        self._fail(f"{self._name} is closed")
        try:
            last()
        except Exception as error:  # an earlier error matters more
            log.warning("%s did not end cleanly: %s", self._name, error)

    def _receive(self) -> Callable[[], Any] | None:
        """Queues incoming work, and waits for some only if idle. Returns the last command, if it came."""
        idle = not self._waiting and not self._running
        while True:
            try:
                work = self._incoming.get(block=idle)
            except queue.Empty:
                return None
            if work.last:
                return work.command
            self._waiting.append(work)
            idle = False

    def _admit(self) -> None:
        while self._waiting and not (self._waiting[0].command and self._running):
            work = self._waiting.popleft()
            try:
                if self._broken is not None:
                    raise TrainingError(f"{self._name} failed before: {self._broken}")
                if work.command is not None:
                    work.future.set_result(work.command())
                elif work.engine is not None:
                    self._count += 1
                    key = str(self._count)
                    work.engine.add(key, work.request)
                    self._running[key] = (work.engine, work.future)
            except BaseException as error:  # raised in the caller's thread
                work.future.set_exception(error)

    def _step(self) -> None:
        for engine in {id(engine): engine for engine, _ in self._running.values()}.values():
            for key, answer in engine.step().items():
                self._running.pop(key)[1].set_result(answer)

    def _fail(self, why: str) -> None:
        futures = [future for _, future in self._running.values()] + [work.future for work in self._waiting]
        self._running.clear()
        self._waiting.clear()
        for future in futures:
            future.set_exception(TrainingError(why))
