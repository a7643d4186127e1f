"""Sends episodes to an OTLP/HTTP endpoint in the background. What it cannot take is counted, and never waited
for."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, Full, Queue
from urllib.parse import urlsplit, urlunsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

Episode = Callable[[], Sequence[ReadableSpan]]
"""Makes the spans of an episode, in the background thread."""
WAITING = 256
"""Episodes that may wait to be sent; more are lost."""
TIMEOUT = 10.0
"""Seconds for one episode, with all attempts."""
DRAIN = 10.0
"""Seconds for which the end of a run waits for what has not been sent yet, while the endpoint takes it."""
_ANNOUNCED = re.compile(r",? retrying in .*")
"""What the exporter says of its next attempt, which is over when a complaint is read."""
_LOGGER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


def address(endpoint: str) -> str:
    """Returns where spans are posted: an address without a path gets the path of the protocol."""
    parts = urlsplit(endpoint)
    return endpoint if parts.path.strip("/") else urlunsplit(parts._replace(path="/v1/traces"))


class Sender:
    """Sends one episode after the other, and keeps what the exporter complains of from the terminal."""

    def __init__(self, endpoint: str) -> None:
        """``endpoint``: its address; headers come from ``OTEL_EXPORTER_OTLP_HEADERS``."""
        self.address = address(endpoint)
        self._reason = _Reason()
        self._exporting = False
        self._exporter = OTLPSpanExporter(endpoint=self.address, timeout=TIMEOUT)

    @property
    def failing(self) -> bool:
        """Whether the endpoint refused the latest attempt, also while it is repeated."""
        return self._exporting and self._reason.complete

    @property
    def reason(self) -> str:
        """Why the latest episode that was lost was; "" if none was."""
        return self._reason.text

    def send(self, episode: Episode) -> bool:
        """Returns whether the endpoint has taken the spans; tries for at most ``TIMEOUT`` seconds."""
        self._reason.complete = self._exporting = False
        try:
            spans = episode()
            self._exporting = True
            return self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception as error:  # a run does not end because it is watched
            self._reason.tell(f"{type(error).__name__}: {error}")
            return False

    def stop(self) -> None:
        """Ends a wait between two attempts. No episode is sent any more."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Lets complaints go to the terminal again."""
        self._reason.remove()


class Endpoint:
    """One background thread, and a queue that never blocks."""

    def __init__(self, endpoint: str) -> None:
        """``endpoint``: as for ``Sender``."""
        self.given = 0
        self.sent = 0
        self.sender = Sender(endpoint)
        self._waiting: Queue[Episode] = Queue(WAITING)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="traces", daemon=True)
        self._thread.start()

    def add(self, episode: Episode) -> None:
        """Queues the spans of an episode, or loses it if the endpoint is too far behind."""
        self.given += 1
        with suppress(Full):  # it is counted: given, and never sent
            self._waiting.put_nowait(episode)

    def close(self) -> None:
        """Ends the thread, after at most ``DRAIN`` seconds and one."""
        self._closing.set()
        end = time.monotonic() + DRAIN
        while self._thread.is_alive() and not self.sender.failing and time.monotonic() < end:
            self._thread.join(0.05)
        self.sender.stop()
        self._thread.join(1.0)
        if not self._thread.is_alive():
            self.sender.close()

    def _send_all(self) -> None:
        while not (self._closing.is_set() and self.sender.failing):
            try:
                episode = self._waiting.get(timeout=0.05)
            except Empty:
                if self._closing.is_set():
                    return
                continue
            self.sent += self.sender.send(episode)


class _Reason(logging.Handler):
    """Keeps the first complaint about the latest episode that had one: it names the cause, later ones do not.

    It takes the exporter's complaints from the terminal.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""
        self.complete = False
        self._logger = logging.getLogger(_LOGGER)
        self._propagated = self._logger.propagate
        self._logger.addHandler(self)
        self._logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        complaint = " ".join(record.getMessage().split())
        self.tell(_ANNOUNCED.sub("", complaint))

    def tell(self, text: str) -> None:
        """Keeps ``text`` unless there has been another complaint about this episode."""
        if not self.complete:
            self.text, self.complete = text, True

    def remove(self) -> None:
        """Lets the logger be as it was."""
        self._logger.removeHandler(self)
        self._logger.propagate = self._propagated
