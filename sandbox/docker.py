"""Sandboxes in containers, one for each episode: no network, no mount from the host, nothing that outlives
us.

The program inside is ``sandbox.inside.guest``, sent over the container's standard input, so that any image
with a Python serves. When this process ends, however it ends, that input closes, the guest ends, and the
daemon removes the container. Containers of processes that ended while the daemon did not run are removed at
the next start.

Not covered: flaws of the kernel, which is shared, unless ``runtime: runsc``; and CPU time within the timeout.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import os
import socket
import struct
import threading
import uuid
from dataclasses import dataclass
from typing import Any

import docker  # type: ignore[import-untyped]
from docker.errors import APIError, DockerException, ImageNotFound, NotFound  # type: ignore[import-untyped]
from docker.types import LogConfig, Ulimit  # type: ignore[import-untyped]

from sandbox import boot, image
from sandbox.base import GUARANTEES, Limits, Sandbox, SandboxError, SandboxSpec
from sandbox.client import GuestSandbox
from sandbox.owner import dead, owner
from sandbox.pool import Pool

_OWNER, _RUN = "coachgym.owner", "coachgym.run"
STARTUP = 120.0
"""Seconds for a container to start and import what it preloads."""
_OWN_MB = 256
"""What the interpreter with its libraries may take, beyond ``memory_mb``, which is the program's."""


class Docker:
    """Opens a container for each sandbox; ``DOCKER_HOST`` says which daemon."""

    @dataclass(frozen=True)
    class Config:
        image: str | None
        """None: what ``python -m sandbox.image build`` makes."""
        runtime: str | None
        """The daemon's runtime, such as ``runsc``; None: its default."""
        cpus: float
        pool: int
        """Containers kept ready for each kind of sandbox; as many as episodes at once hide the start."""
        starting: int
        """Containers that start at once; the imports of each take a core for a second."""
        limits: dict[str, float]
        """Of a sandbox whose spec has none."""

    name = "docker"
    known_gaps = frozenset[str]()
    guarantees = GUARANTEES

    def __init__(self, config: Config) -> None:
        """Raises ``SandboxError`` when no daemon answers, or it has not the image or the runtime."""
        self.limits = Limits.read(config.limits)
        self._config = config
        self._image = config.image or image.tag()
        self._run = uuid.uuid4().hex
        self._open: set[str] = set()
        self._lock = threading.Lock()
        with _client() as client:
            self.versions = _versions(client, self._image, built_here=config.image is None)
            if config.runtime is not None and config.runtime not in client.info()["Runtimes"]:
                raise SandboxError(f"the Docker daemon has no runtime {config.runtime!r}")
            _remove_orphans(client)
        self._pool = Pool(self._start, config.pool, config.starting)
        atexit.register(self.close)

    def open(self, spec: SandboxSpec) -> Sandbox:
        return self._pool.take(dataclasses.replace(spec, limits=spec.limits or self.limits))

    def close(self) -> None:
        atexit.unregister(self.close)
        self._pool.close()
        with self._lock:
            left = list(self._open)
        if left:
            with _client() as client:
                for container in left:
                    _remove(client, container)

    def _start(self, spec: SandboxSpec) -> GuestSandbox:
        limits = spec.limits or self.limits
        with _client() as client:
            container = None
            try:
                container = client.api.create_container(**self._settings(client, limits))["Id"]
                with self._lock:
                    self._open.add(container)
                params = {"stdin": 1, "stdout": 1, "stream": 1}
                channel = _Attached(client.api.attach_socket(container, params=params))
                client.api.start(container)
            except DockerException as error:
                if container:
                    self._end(container)
                raise SandboxError(f"no container: {_line(error)}") from None
        box = GuestSandbox(channel, limits, lambda: self._end(container))
        settings = dataclasses.asdict(limits) | {"work": "/work", "nproc": "off", "watch": []}
        del settings["timeout"]
        try:
            channel.sendall(boot.message(spec.preload, settings))
        except OSError as error:
            box.close()
            raise SandboxError(f"the container ended at once: {error}") from None
        box.wait(STARTUP)
        return box

    def _settings(self, client: docker.DockerClient, limits: Limits) -> dict[str, Any]:
        owned = "rw,nosuid,nodev,noexec,nr_inodes=4096,uid=65534,gid=65534,mode=0700"
        temporary = max(1, limits.disk_mb // 4)
        memory = f"{limits.memory_mb + limits.disk_mb + temporary + _OWN_MB}m"
        hosted = client.api.create_host_config(
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            pids_limit=limits.processes + 1,
            mem_limit=memory,
            memswap_limit=memory,
            nano_cpus=int(self._config.cpus * 1e9),
            ulimits=[
                Ulimit(name=name, soft=value, hard=value) for name, value in (("nofile", 256), ("core", 0))
            ],
            ipc_mode="private",
            shm_size="16m",
            tmpfs={"/work": f"{owned},size={limits.disk_mb}m", "/tmp": f"{owned},size={temporary}m"},
            log_config=LogConfig(
                type="none"
            ),  # the default writes what is printed to the host's disk, unbounded
            auto_remove=True,
            runtime=self._config.runtime,
        )
        return {
            "image": self._image,
            "entrypoint": ["python3", "-P", "-c", boot.PROGRAM],
            "user": "65534:65534",
            "working_dir": "/work",
            "environment": {**boot.ENVIRONMENT, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/work"},
            "labels": {_OWNER: owner(os.getpid()), _RUN: self._run},
            "stdin_open": True,
            "host_config": hosted,
        }

    def _end(self, container: str) -> None:
        with self._lock:
            self._open.discard(container)
        with contextlib.suppress(SandboxError), _client() as client:
            _remove(client, container)


class _Attached:
    """The two directions of an attached container as one stream: what comes back is wrapped by the daemon."""

    _HEAD = struct.Struct(">BxxxI")

    def __init__(self, attached: Any) -> None:
        self._holder = attached  # a file on the connection, which closes once both are closed
        self._stream: socket.socket = getattr(attached, "_sock", attached)
        self.settimeout, self.sendall = self._stream.settimeout, self._stream.sendall
        self._head, self._left = b"", 0

    def recv(self, size: int) -> bytes:
        while not self._left:
            part = self._stream.recv(self._HEAD.size - len(self._head))
            if not part:
                return b""
            self._head += part
            if len(self._head) == self._HEAD.size:
                self._left = self._HEAD.unpack(self._head)[1]
                self._head = b""
        data = self._stream.recv(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
        self._holder.close()
        self._stream.close()


@contextlib.contextmanager
def _client() -> Any:
    """A connection to the daemon; one for each thread and use, as they are not thread-safe."""
    try:
        client = docker.from_env(timeout=60)
    except DockerException as error:
        where = os.environ.get("DOCKER_HOST", "its usual socket")
        raise SandboxError(f"no Docker daemon answers at {where}") from error
    try:
        yield client
    finally:
        client.close()


def _versions(client: docker.DockerClient, name: str, built_here: bool) -> dict[str, str]:
    try:
        labels = client.images.get(name).labels
    except ImageNotFound:
        how = "build it with `python -m sandbox.image build`" if built_here else "pull or build it"
        raise SandboxError(f"the Docker image {name} is missing: {how}") from None
    except DockerException as error:
        raise SandboxError(f"the Docker daemon refuses: {_line(error)}") from error
    versions: dict[str, str] = json.loads(labels.get(image.LABEL, "{}"))
    return versions


def _remove(client: docker.DockerClient, container: str) -> None:
    """Returns when the container is gone. Raises ``SandboxError``."""
    try:
        client.api.remove_container(container, force=True)
    except NotFound:
        pass
    except APIError as error:
        if error.status_code != 409:  # its removal is under way
            raise SandboxError(f"the container {container} cannot be removed: {_line(error)}") from None
        with contextlib.suppress(NotFound):
            client.api.wait(container, timeout=10, condition="removed")


def _remove_orphans(client: docker.DockerClient) -> None:
    """Removes our containers whose owner, a process of this machine since it was booted, is gone."""
    for container in client.containers.list(all=True, filters={"label": _OWNER}, ignore_removed=True):
        if dead(container.labels[_OWNER]):
            _remove(client, container.id)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
