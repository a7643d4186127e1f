"""The files that a recorded episode had, made again by running its programs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from coaches.replay.branches import ReplayError
from coaches.replay.stages import Stages
from envs.base import Scenario
from envs.episode import sessions
from envs.episode.sessions import content, digest
from envs.preloads import preload
from envs.sizes import sandbox_limits
from envs.types import Turn
from sandbox.base import Backend, Sandbox, SandboxError, SandboxSpec

Files = Mapping[str, bytes]
"""The files of one moment: path -> content."""
_SEED = 0
_MOST_MOMENTS = 256


class Programs:
    """Runs the programs of an episode one after another, each on the files that the one before left.

    Nothing else of the episode is played: no agent acts, nothing is checked or graded. A record does not tell
    the seed of its programs, so those that draw random numbers without one of their own leave other files.
    Programs that share an interpreter (``env.session=role``) are refused. What was run is kept, by the task
    and the programs, for the moments that were asked for last. Thread-safe.
    """

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, ...], Files] = OrderedDict()

    def close(self) -> None:
        """Ends the sandboxes."""
        self._stages.close()

    def moments(self, turns: Sequence[Turn]) -> list[Files]:
        """Returns the files before the first turn, and after each one.

        Raises:
            ReplayError: no environment has the task, its programs share an interpreter, or the sandbox was
                lost.
        """
        scenario, task, backend = self._stages.find(turns)
        if sessions.shares_interpreter(scenario):
            raise ReplayError("its programs share an interpreter")
        spec = _spec(scenario, backend)
        key: tuple[str, ...] = (task.id,)
        given = {name: content(source) for name, source in task.files.items()}
        moments = [self._get(key) or self._keep(key, given)]
        box: Sandbox | None = None
        try:
            for code in [turn.code for turn in turns]:
                if code is None:
                    moments.append(moments[-1])
                    continue
                key = (*key, code)
                if (known := self._get(key)) is not None:
                    if box is not None:
                        box.close()  # its files are those of the moment before
                        box = None
                    moments.append(known)
                    continue
                box = box or _opened(backend, spec, moments[-1])
                box.run(code, timeout=scenario.timeout, seed=_SEED)
                moments.append(self._keep(key, _read(box, moments[-1])))
        except SandboxError as error:
            raise ReplayError(f"its programs could not be run again: {error}") from error
        finally:
            if box is not None:
                box.close()
        return moments

    def _get(self, key: tuple[str, ...]) -> Files | None:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def _keep(self, key: tuple[str, ...], files: dict[str, bytes]) -> Files:
        with self._lock:
            kept = self._known.setdefault(key, MappingProxyType(files))
            while len(self._known) > _MOST_MOMENTS:
                self._known.popitem(last=False)
        return kept


def _spec(scenario: Scenario, backend: Backend) -> SandboxSpec:
    limits = sandbox_limits(scenario, backend)
    return SandboxSpec(preload(scenario), None if limits == backend.limits else limits, scenario.libraries)


def _opened(backend: Backend, spec: SandboxSpec, files: Files) -> Sandbox:
    box = backend.open(spec)
    try:
        for path, data in files.items():
            box.write(path, data)
    except BaseException:
        box.close()
        raise
    return box


def _read(box: Sandbox, before: Files) -> dict[str, bytes]:
    """Returns the files of a sandbox; those that did not change are the same objects as ``before``. What
    cannot be read, because it is gone or too large, is left out."""
    files: dict[str, bytes] = {}
    for file in box.list():
        old = before.get(file.path)
        if old is not None and digest(old) == file.sha256:
            files[file.path] = old
            continue
        try:
            files[file.path] = box.read(file.path)
        except (FileNotFoundError, ValueError):
            continue
    return files
