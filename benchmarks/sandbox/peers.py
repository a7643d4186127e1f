"""Public sandboxes behind one line protocol, run as a file by whatever Python has them installed.

``python peers.py NAME SETTINGS``, with settings as a JSON object: starts one sandbox, and then runs in it
each JSON line ``{"code": …}`` of stdin. Times are taken in here, so that the pipe costs the peer nothing.
Standard library and the peers only."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Runner = tuple[Callable[[str], str], Callable[[], None]]
"""Runs code and returns what it printed; ends the sandbox."""
_WAIT = ["python3", "-c", "import signal as s; s.signal(s.SIGTERM, lambda *_: exit()); s.pause()"]


def llm_sandbox(settings: dict[str, Any]) -> Runner:
    """A Docker session in our image, which has no command of its own and needs none of its set-up.

    Without a network, as ours; without its other limits, which are off by default. The command ends at
    SIGTERM, so that closing does not take the ten seconds it takes otherwise."""
    from llm_sandbox import SandboxSession

    session = SandboxSession(
        lang="python", image=settings["image"], keep_template=True, skip_environment_setup=True,
        runtime_configs={"network_mode": "none", "command": _WAIT, "environment": settings["environment"]},
    )  # fmt: skip
    session.open()

    def run(code: str) -> str:
        done = session.run(code)
        if done.exit_code:
            raise RuntimeError(done.stderr)
        return str(done.stdout)

    return run, session.close


def swe_rex(settings: dict[str, Any]) -> Runner:
    """A local deployment, its ``execute``: the faster of its two ways by far. No isolation.

    Its Docker deployment needs a published port, and a server of its own in the image."""
    from swerex.deployment.local import LocalDeployment
    from swerex.runtime.abstract import Command

    loop = asyncio.new_event_loop()
    deployment = LocalDeployment()
    loop.run_until_complete(deployment.start())

    def run(code: str) -> str:
        command = Command(command=[settings["python"], "-c", code], env=settings["environment"], check=True)
        return str(loop.run_until_complete(deployment.runtime.execute(command)).stdout)

    return run, lambda: loop.run_until_complete(deployment.stop())


PEERS = {"llm-sandbox": llm_sandbox, "swe-rex": swe_rex}
"""By the name of the distribution."""


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer logs is no answer

    def say(**answer: object) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    name = sys.argv[1]
    try:
        started = time.perf_counter()
        run, close = PEERS[name](json.loads(sys.argv[2]))
        seconds = time.perf_counter() - started
        version = importlib.metadata.version(name)
    except Exception as error:  # whatever a peer raises is the reason why it is left out
        say(error=f"{type(error).__name__}: {error}")
        return
    say(seconds=seconds, version=version)
    try:
        while line := sys.stdin.buffer.readline():
            started = time.perf_counter()
            stdout = run(json.loads(line)["code"])
            say(stdout=stdout, seconds=time.perf_counter() - started)
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}")
    finally:
        close()


if __name__ == "__main__":
    main()
