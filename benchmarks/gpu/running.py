"""Runs each part in a process of its own, within its time, and keeps what is known after every case."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.gpu.records import Case, Part, Settings

CHILD = ("-m", "benchmarks.gpu.child")
GRACE = 5.0
"""Seconds between asking a process to end and ending it."""
SHARES = {"device": 20, "update": 170, "training": 165, "attention": 35, "checkpoint": 30, "tests": 45}
"""Seconds of each part, roughly, in a run of all of them."""


@dataclass(frozen=True)
class Clock:
    """The time of a whole run."""

    end: float
    """In seconds of ``time.monotonic``."""

    def share(self, part: str, pending: Sequence[str]) -> float:
        """Returns the seconds of ``part``, the first of ``pending``: what others leave unused is shared."""
        left = self.end - time.monotonic()
        return max(0.0, left * SHARES[part] / sum(SHARES[name] for name in pending))


def run_parts(
    parts: Sequence[str], settings: Settings, seconds: float, keep: Callable[[Sequence[Part]], None]
) -> list[Part]:
    """Runs ``parts`` within ``seconds``; ``keep`` is called with all that is known whenever that is more."""
    clock, done = Clock(time.monotonic() + seconds), list[Part]()
    for number, name in enumerate(parts):
        own = replace(settings, part=name, seconds=clock.share(name, parts[number:]), rates=rates(done))
        for part in _growing(own):
            keep([*done, part])
        done.append(part)
    return done


def rates(parts: Sequence[Part]) -> dict[str, float]:
    """Returns the FLOP/s of matrix products that the part ``device`` has measured."""
    found = (case for part in parts if part.name == "device" for case in part.cases)
    return {case.name: value for case in found if isinstance(value := case.figures.get("FLOP/s"), float)}


def _growing(settings: Settings) -> Iterator[Part]:
    """Yields the part after each case, and once more at its end."""
    start, cases, died = time.monotonic(), list[Case](), ""
    yield Part(settings.part, "running", "", 0.0, ())
    log = Path(settings.folder) / f"{settings.part}.log"
    with log.open("wb") as output, _process(settings, output.fileno()) as (process, pipe):
        deadline = start + settings.seconds
        for line in _lines(pipe, deadline):
            cases.append(Case(**json.loads(line)))
            yield Part(settings.part, "running", "", time.monotonic() - start, tuple(cases))
        late = time.monotonic() >= deadline
        code = _ended(process, wait=0.0 if late else max(0.0, deadline - time.monotonic()))
    if late:
        died = f"stopped after {settings.seconds:.0f} s, its share of --seconds"
    elif code:
        died = _last_line(log) or f"its process ended with exit code {code}"
    yield Part.of(settings.part, tuple(cases), time.monotonic() - start, died)


@contextmanager
def _process(settings: Settings, output: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Starts the part's process, in a group of its own, which ends with the block; yields its pipe, too."""
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, *CHILD, str(writing), json.dumps(asdict(settings))],
            env=os.environ | {"HF_HUB_OFFLINE": "1"} | ({"OMP_NUM_THREADS": "1"} if settings.toy else {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[writing],
            start_new_session=True,
        )
    finally:
        os.close(writing)
    try:
        yield process, reading
    finally:
        os.close(reading)
        _end(process)


def _lines(pipe: int, deadline: float) -> Iterator[str]:
    """Yields whole lines until the other side closes the pipe or the deadline passes."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0 and selector.select(left):
            read = os.read(pipe, 2**16)
            if not read:
                return
            *lines, rest = (rest + read).split(b"\n")
            yield from (line.decode() for line in lines)


def _ended(process: subprocess.Popen[bytes], wait: float) -> int | None:
    with suppress(subprocess.TimeoutExpired):
        return process.wait(wait)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and all that it has started."""
    for number, wait in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")
