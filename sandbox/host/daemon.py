"""The Docker daemon: connections, streams into containers, and the removal of containers.

The daemon is that of Docker's own client: of ``DOCKER_HOST``, else of the context that ``DOCKER_CONTEXT`` or
``docker context use`` names, else the usual one. It listens at a socket here (``unix:///…``) or on another
machine (``tcp://…``, which needs ``DOCKER_TLS_VERIFY=1`` and ``DOCKER_CERT_PATH``, or a context's
certificates, unless nobody else can reach it). A daemon behind ssh is reached through a forwarded socket, see
``_FORWARD``."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import ssl
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import docker  # type: ignore[import-untyped]
from docker.context import ContextAPI  # type: ignore[import-untyped]
from docker.context.config import get_current_context_name  # type: ignore[import-untyped]
from docker.errors import APIError, DockerException, NotFound  # type: ignore[import-untyped]
from docker.tls import TLSConfig  # type: ignore[import-untyped]
from docker.types import LogConfig, Ulimit  # type: ignore[import-untyped]

from conf import ConfigError
from sandbox.base import SandboxError
from sandbox.host.owner import dead, here

OWNER, RUN, DEADLINE = "coachgym.owner", "coachgym.run", "coachgym.deadline"
"""Labels of our containers: the process that owns them (``sandbox.host.owner``), its run, and the time, in
seconds since 1970, after which any process may remove them."""
TIMEOUT = 60.0
"""Seconds for one reply of the daemon."""
_FORWARD = (
    "ssh:// is not supported: forward the daemon's socket,"
    " `ssh -fnNT -L /tmp/there.sock:/var/run/docker.sock HOST`, and set DOCKER_HOST=unix:///tmp/there.sock"
)
_OFFERS = {
    "userns": 'set "userns-remap": "default" in its daemon.json',
    "rootless": "run it as `dockerd-rootless-setuptool.sh install` sets it up",
    "seccomp": "run it on a kernel that has seccomp, without `--seccomp-profile unconfined`",
    "apparmor": "run it on a kernel that has AppArmor enabled",
    "selinux": "run it with `--selinux-enabled`",
}
"""Features that can be required of a daemon -> how to enable them."""
_LIMITS = ("MemoryLimit", "PidsLimit")

Client: TypeAlias = docker.DockerClient
Refused = APIError
"""The daemon replied that it refuses a request."""


@contextlib.contextmanager
def connect(version: str | None = None) -> Iterator[Client]:
    """Yields a connection for one thread and one use. ``version`` is that of the API; None: asks the daemon
    for it.

    Raises:
        SandboxError: the daemon cannot be reached, disappears while it is used, or refuses a request.
    """
    place = _place()
    try:
        client = _client(place, version or _newest_version(place))
    except (DockerException, OSError) as error:
        raise SandboxError(f"no Docker daemon answers at {place.name}") from error
    try:
        yield client
    except (DockerException, OSError) as error:
        raise SandboxError(f"the Docker daemon at {place.name}: {first_line(error)}") from error
    finally:
        client.close()


class _Place(NamedTuple):
    """Where a daemon is reached."""

    name: str
    host: str | None = None
    """None: what the environment variables say."""
    tls: TLSConfig | None = None


def new_client(**settings: Any) -> Client:
    """Returns a client of the daemon, which the caller closes. Raises what Docker's client raises, or
    ``SandboxError`` for a daemon that cannot be used."""
    return _connected(_place(), settings)


def _connected(place: _Place, settings: Mapping[str, Any]) -> Client:
    if place.host is None:
        return docker.from_env(**settings)
    return docker.DockerClient(place.host, tls=place.tls or False, **settings)


def _place() -> _Place:
    """Raises ``SandboxError``."""
    if host := os.environ.get("DOCKER_HOST"):
        place = _Place(host)
    elif (name := os.environ.get("DOCKER_CONTEXT") or get_current_context_name()) == "default":
        place = _Place("its usual socket")
    else:
        place = _of_context(name)
    if (place.host or place.name).startswith("ssh:"):
        raise SandboxError(_FORWARD)
    return place


def _of_context(name: str) -> _Place:
    try:
        context = ContextAPI.get_context(name)
    except Exception as error:  # the SDK raises bare ones for a damaged file
        raise SandboxError(f"the Docker context {name!r} cannot be read: {first_line(error)}") from None
    if context is None:
        raise SandboxError(
            f"there is no Docker context {name!r}: choose one with `docker context use`, or set DOCKER_HOST"
        )
    return _Place(f"{context.Host} (Docker context {name!r})", context.Host, context.TLSConfig)


def _client(place: _Place, version: str) -> Client:
    client = _connected(place, {"timeout": TIMEOUT, "version": version})
    client.api.trust_env = False  # REQUESTS_CA_BUNDLE would replace the authority of DOCKER_CERT_PATH
    client.api.post = functools.partial(
        client.api.post, timeout=TIMEOUT
    )  # attaching has no timeout of its own
    return client


def _newest_version(place: _Place) -> str:
    """Returns the newest version of the API that the daemon supports."""
    client = _client(place, docker.constants.MINIMUM_DOCKER_API_VERSION)
    try:
        return str(client.version(api_version=False)["ApiVersion"])
    finally:
        client.close()


def require(info: Mapping[str, Any], runtime: str | None, requires: Sequence[str]) -> None:
    """Checks the daemon's description of itself.

    Raises:
        SandboxError: it lacks a required feature, or would silently ignore our limits.
        ConfigError: ``requires`` names an unknown feature.
    """
    if unknown := sorted(set(requires) - set(_OFFERS)):
        raise ConfigError(f"requires must be among {', '.join(_OFFERS)}; got {', '.join(unknown)}")
    if runtime is not None and runtime not in info["Runtimes"]:
        known = ", ".join(sorted(info["Runtimes"]))
        raise SandboxError(f"the Docker daemon has no runtime {runtime!r}; it has {known}")
    offered = [dict(part.partition("=")[::2] for part in each.split(",")) for each in info["SecurityOptions"]]
    provided = {each.get("name") for each in offered if each.get("profile") != "unconfined"}
    for name in requires:
        if name not in provided:
            raise SandboxError(
                f"the Docker daemon does not provide {name}, which is required: {_OFFERS[name]}"
            )
    if lacking := [name for name in _LIMITS if not info[name]]:
        raise SandboxError(
            f"the Docker daemon would ignore limits ({', '.join(lacking)}); a rootless one needs cgroup v2"
        )


def uids(info: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Returns the uids that exist in a container, as first and count. ``info``: the daemon's description of
    itself."""
    remapped = any("name=userns" in each or "name=rootless" in each for each in info["SecurityOptions"])
    return [(0, 1 << 16 if remapped else 1 << 32)]


def host_config(client: Client, *, memory_mb: int, processes: int, cpus: float, tmpfs: Mapping[str, int],
                user: int, runtime: str | None) -> dict[str, Any]:  # fmt: skip
    """Returns the settings that isolate a container. ``tmpfs``: folder -> megabytes, of ``user``;
    nothing else is writable."""
    options = f"rw,nosuid,nodev,noexec,nr_inodes=4096,uid={user},gid={user},mode=0700"
    settings: dict[str, Any] = client.api.create_host_config(
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        pids_limit=processes,
        mem_limit=f"{memory_mb}m",
        memswap_limit=f"{memory_mb}m",
        nano_cpus=int(cpus * 1e9),
        ulimits=[Ulimit(name="nofile", soft=256, hard=256), Ulimit(name="core", soft=0, hard=0)],
        ipc_mode="private",
        shm_size="16m",
        tmpfs={path: f"{options},size={size}m" for path, size in tmpfs.items()},
        log_config=LogConfig(type="none"),  # the default writes what is printed to the host's disk, unbounded
        auto_remove=True,
        runtime=runtime,
    )
    return settings


class Attached:
    """The standard input and output of a container without a terminal, as one stream. Removes the headers
    that the daemon puts before each part of the output."""

    _HEAD = struct.Struct(">BxxxI")

    def __init__(self, client: Client, container: str) -> None:
        attached = client.api.attach_socket(container, params={"stdin": 1, "stdout": 1, "stream": 1})
        self._holder = attached  # a file on the connection; the connection closes once both are closed
        self._stream: socket.socket = getattr(attached, "_sock", attached)
        self.settimeout, self.sendall = self._stream.settimeout, self._stream.sendall
        self._head, self._left = b"", 0

    def recv(self, size: int) -> bytes:
        try:
            return self._recv(size)
        except ssl.SSLWantReadError:
            raise BlockingIOError from None  # as any other socket does

    def _recv(self, size: int) -> bytes:
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


def remove(client: Client, container: str) -> bool:
    """Removes a container and returns when it is gone; False if there was none. Raises what the client
    raises."""
    try:
        client.api.remove_container(container, force=True)
    except NotFound:
        return False
    except APIError as error:
        if error.status_code != 409:  # it is already being removed
            raise
        with contextlib.suppress(NotFound):
            client.api.wait(container, timeout=10, condition="removed")
    return True


def remove_run(client: Client, run: str) -> None:
    """Removes all containers of a run. Raises what the client raises."""
    for container in client.api.containers(all=True, filters={"label": f"{RUN}={run}"}):
        remove(client, container["Id"])


def remove_abandoned(client: Client) -> None:
    """Removes our containers whose owner has ended, as far as that can be determined from here, or whose
    deadline has passed. One that cannot be removed is left for the next start."""
    for container in client.api.containers(all=True, filters={"label": OWNER}):
        if abandoned(container["Labels"], time.time()):
            try:
                remove(client, container["Id"])
            except (DockerException, OSError) as error:
                logging.getLogger(__name__).warning("left a container behind: %s", first_line(error))


def abandoned(labels: Mapping[str, str], now: float) -> bool:
    """Returns whether any process may remove a container of ours with these labels."""
    if labels[OWNER].startswith(f"{here()}:"):
        return dead(labels[OWNER])
    deadline = labels.get(DEADLINE, "")
    return deadline.isdecimal() and int(deadline) < now


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
