"""The files of one episode, in a sandbox that is opened only when needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from envs.episode.sessions import content, digest
from sandbox.base import Backend, FileInfo, Result, Sandbox, SandboxError, SandboxSpec
from sandbox.host.recovery import RecoveringSandbox


class Workspace:
    """A ``Sandbox`` that is opened at its first use; until then it lists the files that it starts with."""

    def __init__(
        self,
        backend: Backend,
        spec: SandboxSpec,
        files: Mapping[str, Path | bytes],
        begin: Callable[[Sandbox], None] | None = None,
    ) -> None:
        """``files``: the files at the start: path -> path on the host, or content. ``begin`` prepares a new
        sandbox, in which it leaves these files; None: they are written."""
        self._backend = backend
        self._begin = begin or self._write
        self._spec = spec
        self._files = files
        self._listing: tuple[FileInfo, ...] | None = None
        self._sandbox: Sandbox | None = None
        self.closed = False

    @property
    def opened(self) -> bool:
        return self._sandbox is not None

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        return self._open().run(code, timeout=timeout, seed=seed, session=session)

    def end_session(self, session: str) -> None:
        if self._sandbox is not None:
            self._sandbox.end_session(session)

    def read(self, path: str) -> bytes:
        if self._sandbox is None and not self.closed and path not in self._files:
            raise FileNotFoundError(f"there is no {path!r}")  # nothing has run that could have written it
        return self._open().read(path)

    def write(self, path: str, data: bytes) -> None:
        self._open().write(path, data)

    def list(self) -> tuple[FileInfo, ...]:
        if self._sandbox is not None:
            return self._sandbox.list()
        if self._listing is None:
            self._listing = tuple(_info(name, source) for name, source in sorted(self._files.items()))
        return self._listing

    def close(self) -> None:
        self.closed = True
        if self._sandbox is not None:
            self._sandbox.close()

    def _open(self) -> Sandbox:
        if self.closed:
            raise SandboxError("the episode's sandbox is closed")
        if self._sandbox is None:
            self._sandbox = RecoveringSandbox(lambda: self._backend.open(self._spec))
            try:
                self._begin(self._sandbox)
            except BaseException:
                self.close()
                raise
        return self._sandbox

    def _write(self, box: Sandbox) -> None:
        for name, source in self._files.items():
            box.write(name, content(source))


def _info(name: str, source: Path | bytes) -> FileInfo:
    data = content(source)
    return FileInfo(name, len(data), digest(data))
