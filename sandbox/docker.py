"""Sandboxes in containers, one per episode: no network, no mount from the host, nothing that outlives this
process.

The program inside is ``sandbox.guest.main``, sent over the container's standard input, so any image with a
Python works. A container that is no longer needed ends in one of these ways: its input closes when this
process ends, however that happens; its guest enforces the idle time and the lifetime; ``sandbox.host.reaper``
watches this process; at exit, this process removes its own containers; and every later start removes, by
their labels, containers whose process has ended and containers past their deadline.

Not covered: vulnerabilities of the shared kernel, unless ``runtime: runsc``; and CPU time within the timeout.
Where the daemon's kernel lacks Landlock (Linux 6.2), a program can also execute what it wrote, as itself, and
make the OOM killer end its own sandbox, which ``sandbox.host.recovery`` then attributes to it.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import itertools
import logging
import os
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any

from conf.ranges import Count, Natural, Positive
from sandbox import image
from sandbox.base import GUARANTEES, Limits, Sandbox, SandboxError, SandboxSpec
from sandbox.host import boot, daemon, reaper
from sandbox.host.client import GuestSandbox
from sandbox.host.libraries import missing, name_of
from sandbox.host.owner import owner
from sandbox.host.pool import Pool
from sandbox.host.users import users

STARTUP = 120.0
"""Seconds for a container to start and import what it preloads."""
SLACK = STARTUP + 600.0
"""Seconds past a sandbox's lifetime after which any process may remove its container: clocks differ."""
_OWN_MB = 256
"""Megabytes for the interpreter with its libraries, in addition to ``memory_mb``, which is the program's."""


class Docker:
    """Opens a container for each sandbox; ``sandbox.host.daemon`` says of which daemon."""

    @dataclass(frozen=True)
    class Config:
        image: str | None
        """None: what ``python -m sandbox.image build`` makes."""
        runtime: str | None
        """The daemon's runtime, such as ``runsc``; None: its default."""
        requires: list[str]
        """What the daemon must provide, among ``userns rootless seccomp apparmor selinux``."""
        cpus: Positive
        pool: Natural
        """Containers kept ready for each spec; as many as there are concurrent episodes hide the start."""
        starting: Count
        """How many start at once; the imports of each occupy a core for a second."""
        limits: dict[str, Positive]
        """Limits of a sandbox whose spec has none."""

    name = "docker"
    known_gaps = frozenset[str]()
    has_sessions = True
    guarantees = GUARANTEES

    def __init__(self, config: Config) -> None:
        """Connects to the daemon and removes abandoned containers.

        Raises:
            SandboxError: no daemon answers, or it lacks what is required.
            ConfigError: a setting is invalid.
        """
        self.limits = Limits.read(config.limits)
        self._config = config
        self._images: dict[tuple[str, ...], str] = {}
        """Requested libraries -> the image that has them."""
        self._run = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._open: set[str] = set()
        self._users: dict[str, int] = {}
        """Containers that may exist -> their users."""
        self._pending: dict[str, float] = {}
        """Containers that could not be removed, or may still appear -> when to stop trying."""
        self._closed = False
        with daemon.connect() as client:
            self._version = client.api.api_version
            info = client.info()
            daemon.require(info, config.runtime, config.requires)
            self._uids = daemon.uids(info)
            self.versions: dict[str, str] = {}
            self._find_image(client, ())
            daemon.remove_abandoned(client)
        self._pool = Pool(self._start, config.pool, config.starting)
        self._reaper = reaper.start(self._run)
        atexit.register(self.close)

    def open(self, spec: SandboxSpec) -> Sandbox:
        if spec.libraries not in self._images:
            with daemon.connect(self._version) as client:
                self._find_image(client, spec.libraries)
        return self._pool.take(dataclasses.replace(spec, limits=spec.limits or self.limits))

    def close(self) -> None:
        atexit.unregister(self.close)
        with self._lock:
            self._closed = True
        with contextlib.suppress(SandboxError):
            self._remove_all()  # first, so that starts in progress fail now rather than when they are done
        self._pool.close()
        try:
            self._remove_all()
        except SandboxError as error:
            logging.getLogger(__name__).warning(
                "the next start has to remove containers that are left: %s", error
            )
        self._reaper.kill()
        self._reaper.wait()

    def resources(self) -> frozenset[str]:
        with daemon.connect(self._version) as client:
            ours = client.api.containers(all=True, filters={"label": f"{daemon.RUN}={self._run}"})
        return frozenset(f"container {container['Id'][:12]} {container['State']}" for container in ours)

    def _find_image(self, client: daemon.Client, added: tuple[str, ...]) -> None:
        given = self._config.image
        name = given or image.tag([each for each in added if name_of(each)])
        versions = image.versions(client, name, given is None, added)
        if lacking := missing(added, versions):
            raise SandboxError(
                f"the Docker image {name} lacks {', '.join(lacking)}, according to its label {image.LABEL}"
            )
        self.versions.update(versions)
        self._images[added] = name

    def _start(self, spec: SandboxSpec) -> GuestSandbox:
        limits = spec.limits or self.limits
        name = f"coachgym-{self._run[:12]}-{next(self._numbers)}"
        with daemon.connect(self._version) as client:
            self._tidy(client)
            try:
                self._users[name] = user = users(self._uids).take()
            except OSError as error:
                raise SandboxError(error.strerror) from None
            settings = self._settings(client, self._images[spec.libraries], limits, user)
            channel = self._launch(client, name, settings)
        box = GuestSandbox(channel, limits, lambda: self._end(name))
        settings = dataclasses.asdict(limits) | {"work": "/work", "nproc": "off", "watch": []}
        del settings["timeout"]
        try:
            channel.sendall(boot.message(spec.preload, settings))
        except OSError as error:
            box.close()
            raise SandboxError(f"the container ended immediately: {error}") from None
        box.wait(STARTUP)
        return box

    def _launch(self, client: daemon.Client, name: str, settings: dict[str, Any]) -> daemon.Attached:
        """Starts a container and returns our end of its input and output. We choose the name, so that the
        container can be removed even if the daemon never told us that it exists."""
        with self._lock:
            if self._closed:
                raise SandboxError("the backend is closed")
            self._open.add(name)
        channel = None
        try:
            client.api.create_container(name=name, **settings)
            channel = daemon.Attached(client, name)
            client.api.start(name)
        except BaseException as error:
            if channel:
                channel.close()
            self._end(name, unsure=not isinstance(error, daemon.Refused))
            raise
        return channel

    def _settings(self, client: daemon.Client, image: str, limits: Limits, user: int) -> dict[str, Any]:
        temporary = max(1, limits.disk_mb // 4)
        hosted = daemon.host_config(
            client,
            memory_mb=limits.memory_mb + limits.disk_mb + temporary + _OWN_MB,
            processes=limits.processes + 1,
            cpus=self._config.cpus,
            tmpfs={"/work": limits.disk_mb, "/tmp": temporary},
            user=user,
            runtime=self._config.runtime,
        )
        deadline = int(time.time() + limits.lifetime + SLACK)
        return {
            "image": image,
            "entrypoint": ["python3", "-P", "-c", boot.PROGRAM],
            "user": f"{user}:{user}",
            "working_dir": "/work",
            "environment": {**boot.ENVIRONMENT, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/work"},
            "use_config_proxy": False,  # the user's proxies may contain passwords
            "labels": {
                daemon.OWNER: owner(os.getpid()),
                daemon.RUN: self._run,
                daemon.DEADLINE: str(deadline),
            },
            "stdin_open": True,
            "host_config": hosted,
        }

    def _end(self, name: str, unsure: bool = False) -> None:
        """Removes a container. ``unsure``: it may appear later than this attempt."""
        try:
            with daemon.connect(self._version) as client:
                gone = daemon.remove(client, name) or not unsure
        except SandboxError:
            gone = False
        with self._lock:
            if gone:
                self._forget(name)
            else:
                self._open.discard(name)
                self._pending[name] = time.monotonic() + daemon.TIMEOUT

    def _forget(self, name: str) -> None:
        """Gives back what belonged to a container that is gone. Needs the lock."""
        self._open.discard(name)
        self._pending.pop(name, None)
        if (user := self._users.pop(name, None)) is not None:
            users(self._uids).release(user)

    def _tidy(self, client: daemon.Client) -> None:
        """Retries removals that failed."""
        with self._lock:
            pending = dict(self._pending)
        for name, until in pending.items():
            with contextlib.suppress(daemon.Refused):
                if daemon.remove(client, name) or time.monotonic() > until:
                    with self._lock:
                        self._forget(name)

    def _remove_all(self) -> None:
        with self._lock:
            names = [*self._open, *self._pending]
        if not names:
            return
        with daemon.connect(self._version) as client:
            for name in names:
                with contextlib.suppress(daemon.Refused):
                    daemon.remove(client, name)
        with self._lock:
            for name in names:
                self._forget(name)
