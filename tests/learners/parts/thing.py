"""An object for a process of its own. It imports little, because every such process has to import it."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from coaches.base import CoachError, History
from conf import ConfigError


class Thing:
    def __init__(self, number: int) -> None:
        if number < 0:
            raise ConfigError("too small")
        self.number = number

    def add(self, other: int) -> int:
        return self.number + other

    def raise_with_a_cause(self) -> None:
        raise CoachError("no verdict") from TimeoutError("late")

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def stop(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def answer_of(self, history: History) -> tuple[int, Any]:
        return len(history), history.answer

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
