"""Public sandboxes behind one line protocol, run as a file by any Python that has them installed.

``python peers.py NAME SETTINGS``, with settings as a JSON object, starts one sandbox and runs the code of
each JSON line ``{"code": …}`` of stdin in it. Times are measured here, so that the pipe costs the peer
nothing. Imports only the standard library and the peers."""

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
"""(runs code and returns its output, closes the sandbox)"""
_WAIT = ["python3", "-c", "import signal as s; s.signal(s.SIGTERM, lambda *_: exit()); s.pause()"]


def llm_sandbox(settings: dict[str, Any]) -> Runner:
    """A Docker session in our image, which has no command of its own and needs none of the session's set-up.

    It has no network, like ours, and no other limits, which are off by default. Its command ends at SIGTERM;
    otherwise closing the session would take ten seconds."""
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
    """``execute`` of a local deployment, by far the faster of its two ways to run code. No isolation.

    The Docker deployment would need a published port and a server in the image."""
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
"""Distribution name -> how to start it."""


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps the log output of peers out of the replies

    def reply(**fields: object) -> None:
        replies.write(json.dumps(fields) + "\n")
        replies.flush()

    name = sys.argv[1]
    try:
        started = time.perf_counter()
        run, close = PEERS[name](json.loads(sys.argv[2]))
        seconds = time.perf_counter() - started
        version = importlib.metadata.version(name)
    except Exception as error:  # any error is reported as the reason why the peer is left out
        reply(error=f"{type(error).__name__}: {error}")
        return
    reply(seconds=seconds, version=version)
    try:
        while line := sys.stdin.buffer.readline():
            started = time.perf_counter()
            stdout = run(json.loads(line)["code"])
            reply(stdout=stdout, seconds=time.perf_counter() - started)
    except Exception as error:
        reply(error=f"{type(error).__name__}: {error}")
    finally:
        close()


if __name__ == "__main__":
    main()
