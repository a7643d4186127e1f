"""Test doubles: a tiny scenario, and a backend without isolation for programs of the tests."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from envs.types import Outcome, Role, Split, Task, Turn
from sandbox.artifacts import ArtifactCheck, ArtifactSpec
from sandbox.base import FileInfo, Limits, Result, Sandbox, SandboxError, SandboxSpec, Status


class FakeSandbox:
    """A temporary folder in which programs run as plain child processes. Times are always 0."""

    def __init__(self, spec: SandboxSpec) -> None:
        self.spec = spec
        self.programs: list[str] = []
        self.closed = False
        self._folder = tempfile.TemporaryDirectory()
        self._root = Path(self._folder.name)

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        self._check_open()
        self.programs.append(code)
        command = [sys.executable, "-I", "-c", f"import random; random.seed({seed})\nexec({code!r})"]
        try:
            done = subprocess.run(
                command,
                cwd=self._root,
                capture_output=True,
                timeout=timeout or 30.0,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Result("timeout", None, "", "", False, 0.0, 0.0)
        status: Status = "error" if done.returncode else "ok"
        return Result(status, done.returncode, done.stdout.decode(), done.stderr.decode(), False, 0.0, 0.0)

    def end_session(self, session: str) -> None:
        raise SandboxError("no sessions")

    def read(self, path: str) -> bytes:
        self._check_open()
        if not (file := self._root / path).is_file() or file.is_symlink():
            what = "a link" if file.is_symlink() else "a folder" if file.is_dir() else "missing"
            raise FileNotFoundError(f"{path!r} is {what}, not a file")
        return file.read_bytes()

    def write(self, path: str, data: bytes) -> None:
        self._check_open()
        (self._root / path).write_bytes(data)

    def list(self) -> tuple[FileInfo, ...]:
        self._check_open()
        return tuple(
            FileInfo(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in sorted(self._root.iterdir())
            if path.is_file() and not path.name.startswith(".")
        )

    def close(self) -> None:
        self.closed = True
        self._folder.cleanup()

    def _check_open(self) -> None:
        if self.closed:
            raise SandboxError("closed")


class FakeBackend:
    """Opens ``FakeSandbox``es and records them. ``broken``: opening fails, as with a lost daemon."""

    name = "fake"
    guarantees: frozenset[str] = frozenset()
    known_gaps: frozenset[str] = frozenset()
    has_sessions = False
    versions: Mapping[str, str] = {}
    limits = Limits()

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.opened: list[FakeSandbox] = []

    def open(self, spec: SandboxSpec) -> FakeSandbox:
        if self.broken:
            raise SandboxError("no daemon")
        self.opened.append(FakeSandbox(spec))
        return self.opened[-1]

    def resources(self) -> frozenset[str]:
        return frozenset()

    def close(self) -> None:
        for sandbox in self.opened:
            sandbox.close()


class EchoSandbox(FakeSandbox):
    """Runs nothing: every program succeeds and prints a number that only its seed decides."""

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        self._check_open()
        self.programs.append(code)
        return Result("ok", 0, f"{random.Random(seed).random()}\n", "", False, 0.0, 0.0)

    def end_session(self, session: str) -> None:
        self._check_open()


class EchoBackend(FakeBackend):
    """Opens ``EchoSandbox``es: for tests that need many turns, and no program to run."""

    name = "echo"
    has_sessions = True

    def open(self, spec: SandboxSpec) -> EchoSandbox:
        self.opened.append(box := EchoSandbox(spec))
        return box


class FakeScenario:
    """``maker`` writes a.txt, ``changer`` turns it into b.txt, ``teller`` reports.

    An episode succeeds if ``b.txt`` contains the task's answer.
    """

    name = "fake"
    preload: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    timeout = 10.0

    def __init__(
        self,
        *,
        context: str = "full",
        style: str = "full",
        max_turns: int = 2,
        files: Mapping[str, Path] | None = None,
    ) -> None:
        self.context = context
        self.style = style
        a, b = ArtifactSpec("a.txt"), ArtifactSpec("b.txt")
        self.roles: tuple[Role, ...] = (
            Role("maker", "Write a.txt.", max_turns, produces=(a,)),
            Role("changer", "Turn a.txt into b.txt.", max_turns, requires=(a,), produces=(b,)),
            Role("teller", "Say what b.txt contains.", 1, can_run_code=False, requires=(b,)),
        )
        self._files = dict(files or {})

    def tasks(self, split: Split) -> Sequence[Task]:
        return [
            Task(f"{split}-{n}", f"## Task: write {n}", "odd" if n % 2 else "even", str(n), self._files)
            for n in (range(4) if split == "train" else range(4, 6))
        ]

    def check(
        self, task: Task, role: Role, files: Mapping[str, FileInfo], sandbox: Sandbox
    ) -> tuple[ArtifactCheck, ...]:
        return tuple(
            ArtifactCheck(spec.name, "ok" if spec.name in files else "missing")
            for spec in (*role.requires, *role.produces)
        )

    def grade(self, task: Task, turns: Sequence[Turn], sandbox: Sandbox | None) -> Outcome:
        names = {file.path for file in turns[-1].files_after}
        if sandbox is None or "b.txt" not in names:
            return Outcome(False, 0.0, {"fair": 0.0}, "missing")
        right = sandbox.read("b.txt").decode().strip() == task.answer
        return Outcome(right, float(right), {"fair": float(right)}, "ok" if right else "wrong")


def program(code: str) -> str:
    """An action that runs ``code``."""
    return f"```python\n{code}\n```"
