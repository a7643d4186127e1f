"""A bare fork server: the lower bound for running a snippet with its libraries loaded.

``python forkserver.py SOCKET PART…`` imports or runs the parts as a sandbox does its preload. Then it forks a
child for each JSON line ``{"code": …}`` from a Unix socket (``-``: from stdin) and replies with the child's
output. It has no isolation, no limits and no clean-up: never run unknown code in it. It uses only the
standard library because it is run as a file."""

from __future__ import annotations

import gc
import importlib
import json
import os
import socket
import sys
import traceback
from typing import NoReturn


def main() -> None:
    path, *parts = sys.argv[1:]
    if path != "-":
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(path)
        os.dup2(stream.fileno(), 0)
        os.dup2(stream.detach(), 1)
    for part in parts:
        if part.replace(".", "").isidentifier():
            importlib.import_module(part)
        else:
            exec(part, {"__name__": "__main__"})
    gc.collect()
    gc.freeze()  # otherwise a collection in a child would copy every page of the libraries
    _reply({})
    while line := sys.stdin.buffer.readline():
        source, sink = os.pipe()
        child = os.fork()
        if child == 0:
            _run_child(json.loads(line)["code"], sink)
        os.close(sink)
        with os.fdopen(source, "rb") as file:
            printed = file.read()
        failed = os.waitpid(child, 0)[1]
        _reply({"error" if failed else "stdout": printed.decode()})


def _run_child(code: str, sink: int) -> NoReturn:
    status = 1
    try:
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
        sys.stdout.flush()
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _reply(reply: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
