"""Verdicts kept by content, so that the same question is paid for once: on disk, for all processes."""

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


def digest(question: Mapping[str, Any]) -> str:
    """The name of a question: the SHA-256 of all that an answer depends on."""
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


class VerdictCache:
    """A folder of JSON files, each of which is whole or not there. Safe with many processes and threads.

    Only verdicts are kept, never failures, and nothing of what was asked.
    """

    def __init__(self, folder: Path | None) -> None:
        """``folder``: made where it does not exist; None: nothing is kept.

        Raises:
            ConfigError: it cannot be written.
        """
        self._folder = folder
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[Verdict]] = {}
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=folder).close()
            except OSError as error:
                raise ConfigError(
                    f"the cache of verdicts cannot be written: {error} (COACHGYM_CACHE)"
                ) from error

    def once(self, key: str, reach: Callable[[], Verdict]) -> Verdict:
        """The verdict kept under ``key``, or else the one that ``reach`` gives.

        Threads that ask the same at once share one answer, or one failure; without a folder each asks anew.
        """
        if self._folder is None:
            return reach()
        with self._lock:
            leads = key not in self._under_way
            shared = self._under_way.setdefault(key, Future())
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
                del self._under_way[key]

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / key[:2] / f"{key}.json"

    def _read(self, key: str) -> Verdict | None:
        try:
            values = json.loads(self._path(key).read_text(encoding="utf-8"))
            return _as_cached(Verdict(**{**values, "usage": Usage(**values["usage"]), "parts": ()}))
        except (FileNotFoundError, ValueError, TypeError, KeyError, CoachError):
            return None  # what is not there, or is not what was written, is asked for again

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
