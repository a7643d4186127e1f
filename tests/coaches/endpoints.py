"""A chat endpoint on loopback that behaves as a test prescribes, including misbehaviour."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import conf
from coaches.llm import LLM

KEY = "sk-test-0123456789abcdefghijklmnop"
KEY_ENV = "COACHGYM_TEST_KEY"

Manner = Callable[["Handler"], None]
"""How to respond to one request."""


class Handler(BaseHTTPRequestHandler):
    """Responds to each POST with the next manner; the last one is repeated."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        self.body: dict[str, Any] = json.loads(self.rfile.read(length))
        server = self.server
        with server.lock:
            server.requests.append(self.body)
            server.authorizations.append(self.headers.get("authorization", ""))
            server.busy += 1
            server.most_busy = max(server.most_busy, server.busy)
            manner = server.manners.pop(0) if len(server.manners) > 1 else server.manners[0]
        try:
            manner(self)
        finally:
            with server.lock:
                server.busy -= 1

    def send(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        """Sends a complete response, as JSON unless ``headers`` say otherwise."""
        data = text.encode()
        self.send_response(status)
        for name, value in ({"content-type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None: ...


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, manners: list[Manner]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.manners = manners
        self.requests: list[dict[str, Any]] = []
        self.authorizations: list[str] = []
        self.lock = threading.Lock()
        self.busy = self.most_busy = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None: ...


@contextmanager
def serving(*manners: Manner) -> Iterator[Server]:
    """Yields a server that responds to each request with the next manner, and repeats the last one."""
    server = Server(list(manners))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def coach(server: Server | str, cache: Any = None, **changes: Any) -> LLM:
    """Returns the coach with default settings, short times and ``changes``, also of the endpoint."""
    node = conf.load("coach", "llm")
    node.cache, node.cache_dir = cache is not None, None if cache is None else str(cache)
    node.endpoint.base_url = server if isinstance(server, str) else server.url
    for name, value in ({"timeout": 5.0, "deadline": 20.0, "backoff": 0.01} | changes).items():
        part = node.endpoint if name in node.endpoint else node
        part[name] = value
    made: LLM = conf.build("coaches", node)
    return made


def verdict(score: Any = 7, rationale: str = "It works.", blame: str | None = "nobody") -> str:
    return json.dumps({"rationale": rationale, "blame": blame, "score": score})


def completion(content: Any, *, tokens: tuple[int, int] | None = (1000, 50), **choice: Any) -> str:
    whole = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"} | choice
    told = {} if tokens is None else {"usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}}
    return json.dumps({"id": "x", "object": "chat.completion", "choices": [whole]} | told)


def say(content: Any, **choice: Any) -> Manner:
    """A valid completion with ``content``."""
    return lambda handler: handler.send(200, completion(content, **choice))


def score(value: Any) -> Manner:
    """A valid completion with a valid verdict."""
    return say(verdict(value))


def status(code: int, message: str = "no", **headers: str) -> Manner:
    """An error as endpoints send it; ``retry_after="1"`` becomes a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.send(code, json.dumps({"error": {"message": message}}), named)


def raw(text: str, **headers: str) -> Manner:
    """Status 200 with any body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.send(200, text, named)


def stall(seconds: float) -> Manner:
    """Sends nothing for ``seconds``, then closes the connection."""

    def manner(handler: Handler) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return manner


def drip(handler: Handler) -> None:
    """Sends a byte every tenth of a second and never completes."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def half(handler: Handler) -> None:
    """Announces a body and closes the connection in the middle of it."""
    data = completion(verdict(9)).encode()
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[: len(data) // 2])
    handler.close_connection = True


def reset(handler: Handler) -> None:
    """Resets the connection without a response."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True
