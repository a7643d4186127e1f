"""The sandbox protocol that every backend implements, and the records that cross it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, Protocol

from conf.ranges import Count, Positive
from sandbox.guest.session import MAX_SESSIONS as MAX_SESSIONS

Status = Literal["ok", "error", "timeout", "killed", "output_limit"]

GUARANTEES = frozenset({"net", "fs", "pids", "memory", "disk", "pidns"})
"""What a backend can guarantee against hostile code: no network; no file outside the work folder written and
no host file read; bounded processes; bounded memory; bounded disk; host processes invisible."""


class SandboxError(Exception):
    """The sandbox itself failed (never: the code in it). The episode is dropped and counted, not scored."""


class LostError(SandboxError):
    """A sandbox that was ready is gone: its process was killed, its daemon stopped, or its replies are
    invalid."""

    def __init__(self, reason: str, *, running: bool) -> None:
        super().__init__(f"the sandbox was lost: {reason}")
        self.running = running
        """A program was running, which may be what ended the sandbox: see ``sandbox.host.recovery``."""


@dataclass(frozen=True)
class Limits:
    """Limits of one sandbox, enforced against hostile code."""

    timeout: float = 30.0
    """Seconds of wall time for one execution, unless ``run`` is given its own."""
    memory_mb: int = 768
    processes: int = 64
    disk_mb: int = 64
    output_kb: int = 64
    """Kilobytes of stdout and of stderr that are kept: the head and the tail. Sixty-four times as much ends
    the program."""
    file_mb: int = 16
    """Largest file that ``read`` and ``write`` move, in megabytes."""
    idle: float = 3600.0
    """Seconds without a request after which the sandbox ends itself, in case its host has forgotten it."""
    lifetime: float = 14400.0
    """Seconds after which the sandbox ends itself in any case, as soon as no program runs."""

    @classmethod
    def read(cls, values: Mapping[str, float]) -> Limits:
        """Returns the limits in settings that define every one of them.

        Raises:
            SandboxError: a limit is missing, unknown or not positive.
        """
        names = [item.name for item in fields(cls)]
        if sorted(values) != sorted(names):
            raise SandboxError(f"limits must define exactly {', '.join(names)}; got {', '.join(values)}")
        if wrong := [name for name, value in values.items() if value <= 0]:
            raise SandboxError(f"limits must be positive: {', '.join(wrong)}")
        seconds = {"timeout", "idle", "lifetime"}
        given = {name: float(values[name]) if name in seconds else int(values[name]) for name in names}
        return cls(**given)  # type: ignore[arg-type]


@dataclass(frozen=True)
class LimitChanges:
    """Limits of one environment; None: those of the backend. ``Limits`` explains each."""

    timeout: Positive | None = None
    memory_mb: Count | None = None
    processes: Count | None = None
    disk_mb: Count | None = None
    output_kb: Count | None = None
    file_mb: Count | None = None
    idle: Positive | None = None
    lifetime: Positive | None = None

    def apply(self, limits: Limits) -> Limits:
        """Returns ``limits`` with these changes."""
        return replace(limits, **{name: value for name, value in vars(self).items() if value is not None})


@dataclass(frozen=True)
class SandboxSpec:
    """What a sandbox must provide; equal specs may share a pool."""

    preload: tuple[str, ...] = ()
    """Modules imported once, before any code runs, e.g. ``("numpy", "pandas")``. An entry that is not a
    module name is run as a program, for what libraries import only when they are first used; it must leave no
    threads."""
    limits: Limits | None = None
    """None: those of the backend."""
    libraries: tuple[str, ...] = ()
    """Libraries that programs need in addition to the standard ones: names as pip knows them, or
    ``name==version`` (``sandbox.host.libraries``)."""


@dataclass(frozen=True)
class Result:
    """What one execution did, as agent, coach and trace see it.

    ``Result("error", 1, "", "ValueError: Input X contains NaN.\\n", False, 0.21, 0.18)``
    """

    status: Status
    """``ok``: exit code 0. ``error``: any other. The sandbox ended programs with one of the other three."""
    exit_code: int | None
    stdout: str
    stderr: str
    truncated: bool
    """Part of the middle of stdout or stderr was left out (marked in the text)."""
    wall_s: float
    """Seconds; 0 in a recording that does not say how long it took."""
    cpu_s: float
    """As ``wall_s``, of all processes."""
    state_lost: bool = False
    """The variables of this program's session are gone. Either the program ended its process or did not stop
    when interrupted; or they were lost before it started: then it ran in a new session, and stderr says
    so."""
    losses: int = 0
    """How many sandboxes were lost before this result was obtained (``sandbox.host.recovery``)."""


@dataclass(frozen=True)
class FileInfo:
    """One regular file in the sandbox's work folder."""

    path: str
    size: int
    sha256: str


class Sandbox(Protocol):
    """One episode's isolated work folder and interpreter. Not thread-safe; every method blocks."""

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        """Runs ``code`` as one fresh program in the work folder. Code that fails is a ``Result``.

        ``session`` names an interpreter that keeps its variables from one program to the next, like that of a
        notebook; at most ``MAX_SESSIONS`` exist in a sandbox at once. ``seed`` fixes the global random state
        of ``random`` and, when preloaded, numpy; in a session, only when it starts.

        Raises:
            LostError: the sandbox was lost before it replied.
            SandboxError: it is closed.
            ValueError: one session too many.
        """
        ...

    def end_session(self, session: str) -> None:
        """Ends a session, with its variables and all its processes; a program that names it again starts a
        new one. Nothing happens if there is none.

        Raises:
            LostError: the sandbox was lost.
        """
        ...

    def read(self, path: str) -> bytes:
        """Returns the bytes of a regular file in the work folder (never a link, device or pipe).

        Raises:
            FileNotFoundError: there is no such regular file.
            ValueError: the file is larger than ``Limits.file_mb``, or ``path`` leaves the work folder.
            LostError: the sandbox was lost.
        """
        ...

    def write(self, path: str, data: bytes) -> None:
        """Creates or replaces a regular file in the work folder. Raises the same errors as ``read``."""
        ...

    def list(self) -> tuple[FileInfo, ...]:
        """Returns the regular files of the work folder, sorted by path, without hidden ones."""
        ...

    def close(self) -> None:
        """Ends every process and removes every file. Safe to call twice."""
        ...


class Backend(Protocol):
    """Opens sandboxes of one kind."""

    @property
    def name(self) -> str: ...

    @property
    def guarantees(self) -> frozenset[str]:
        """A subset of ``GUARANTEES``: what this backend guarantees on this machine."""
        ...

    @property
    def known_gaps(self) -> frozenset[str]:
        """The names of the checks in ``sandbox.contract`` that this backend is known to fail."""
        ...

    @property
    def has_sessions(self) -> bool:
        """Whether its sandboxes run programs in sessions."""
        ...

    @property
    def versions(self) -> Mapping[str, str]:
        """Names and versions of the libraries that programs can import."""
        ...

    @property
    def limits(self) -> Limits:
        """Limits of a sandbox whose spec has none."""
        ...

    def open(self, spec: SandboxSpec) -> Sandbox:
        """Opens a sandbox. Raises ``SandboxError`` when none can be started."""
        ...

    def resources(self) -> frozenset[str]:
        """Names what this backend holds outside of this process and its children, such as containers.

        Raises:
            SandboxError: that cannot be determined.
        """
        ...

    def close(self) -> None:
        """Ends every sandbox that this backend opened. Safe to call twice."""
        ...


def warning(backend: Backend) -> str:
    """Returns one line for a person about what ``backend`` does not isolate; "" where it guarantees
    everything."""
    if not backend.guarantees:
        return f"sandbox {backend.name}: programs run WITHOUT ISOLATION, and can do all that you can do"
    missing = ", ".join(sorted(GUARANTEES - backend.guarantees))
    return f"sandbox {backend.name}: not isolated: {missing}" if missing else ""
