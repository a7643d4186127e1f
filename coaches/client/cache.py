"""A cache of verdicts by content, on disk and shared by all processes: the same question is paid for once."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from coaches.base import CoachError, Usage, Verdict
from conf import ConfigError
from conf.errors import reason
from conf.text import loads


def digest(question: Mapping[str, Any]) -> str:
    """Returns the key of a question: the SHA-256 of everything that the reply depends on."""
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


class VerdictCache:
    """A folder of JSON files that are written atomically. Safe for many processes and threads.

    It stores verdicts only: no failures, and nothing of the question.
    """

    def __init__(self, folder: Path | None) -> None:
        """``folder``: created if missing; None: nothing is cached.

        Raises:
            ConfigError: the folder cannot be written.
        """
        self._folder = folder
        self._lock = threading.Lock()
        self._pending: dict[str, Future[Verdict]] = {}
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=folder).close()
            except OSError as error:
                raise ConfigError(
                    f"the cache of verdicts cannot be written: {reason(error)} (see COACHGYM_CACHE)"
                ) from error

    def once(self, key: str, reach: Callable[[], Verdict]) -> Verdict:
        """Returns the verdict stored under ``key``, or the result of ``reach``, which is then stored.

        Threads that ask the same question concurrently share one result or one error. Without a folder,
        ``reach`` is called every time.
        """
        if self._folder is None:
            return reach()
        with self._lock:
            leads = key not in self._pending
            shared = self._pending.setdefault(key, Future())
        if not leads:
            return _as_cached(shared.result())
        try:
            verdict = self._read(key)
            if verdict is None:
                verdict = reach()
                self._write(key, verdict)
            shared.set_result(verdict)
            return verdict
        except BaseException as error:
            shared.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._pending[key]

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / key[:2] / f"{key}.json"

    def _read(self, key: str) -> Verdict | None:
        try:
            values = loads(self._path(key).read_text(encoding="utf-8"))
            return _as_cached(Verdict(**{**values, "usage": Usage(**values["usage"]), "parts": ()}))
        except (FileNotFoundError, ValueError, TypeError, KeyError, CoachError):
            return None  # missing or damaged: ask again

    def _write(self, key: str, verdict: Verdict) -> None:
        path = self._path(key)
        path.parent.mkdir(exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
        try:
            os.close(handle)
            Path(draft).write_text(json.dumps(asdict(verdict)), encoding="utf-8")
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise


def _as_cached(verdict: Verdict) -> Verdict:
    return replace(verdict, usage=verdict.usage and replace(verdict.usage, cached=True))
