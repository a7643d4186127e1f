"""Docker daemons that stop and start again, and remote ones."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import image
from sandbox.base import Limits, LostError, SandboxError, SandboxSpec
from sandbox.docker import Docker
from sandbox.host.daemon import RUN, connect
from tests.sandbox.backends import docker, wait_for
from tests.sandbox.dockerd import Dockerd, certificates, dockerd, forwarded, free_port

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    certificates(folder)
    return folder


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def second(keys: Path, port: int) -> Iterator[Dockerd]:
    """Yields a daemon of our own with the image, also reachable at ``port`` with the keys."""
    try:
        with connect() as client:
            image.versions(client, image.tag(), built_here=True)
    except SandboxError as error:
        pytest.skip(f"needs a Docker daemon with the image: {error}")
    secure = [f"--tlscacert={keys}/ca.pem", f"--tlscert={keys}/server-cert.pem"]
    secure += [f"--tlskey={keys}/server-key.pem", "--tlsverify", f"--host=tcp://127.0.0.1:{port}"]
    with dockerd("--shutdown-timeout=3", *secure) as daemon:
        daemon.load(image.tag())
        yield daemon


class Load:
    """Threads that run one short episode after another until ``stop``."""

    def __init__(self, backend: Docker, threads: int) -> None:
        self.backend, self.going = backend, True
        self.played = 0
        self.lost: list[SandboxError] = []
        self.wrong: list[object] = []
        self.threads = [threading.Thread(target=self._play, args=(n,)) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def _play(self, thread: int) -> None:
        number = 0
        while self.going:
            number += 1
            try:
                self._episode(f"{thread}.{number}")
                self.played += 1
            except SandboxError as error:
                self.lost.append(error)
                time.sleep(0.1)
            except BaseException as error:
                self.wrong.append(error)
                raise

    def _episode(self, name: str) -> None:
        box = self.backend.open(SandboxSpec())
        try:
            box.write("name", name.encode())
            for step in range(3):
                result = box.run(f"import time\ntime.sleep(0.1)\nprint(open('name').read(), {step})")
                if (result.status, result.stdout) != ("ok", f"{name} {step}\n"):
                    self.wrong.append(result)
            if box.read("name") != name.encode():
                self.wrong.append(name)
        finally:
            box.close()

    def stop(self) -> None:
        self.going = False
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads), "an episode hangs"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_daemon_that_stops_under_load_only_costs_episodes(
    second: Dockerd, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", second.host)
    backend = docker(pool=2, starting=2)
    load = Load(backend, threads=4)
    try:
        wait_for(lambda: load.played >= 8, 60)
        before = threading.active_count()
        second.end(how)
        wait_for(lambda: len(load.lost) >= 8, 30)  # those that ran, and those that tried to start
        second.start()
        lost = len(load.lost)
        played = load.played
        wait_for(lambda: load.played >= played + 12, 60)
        assert len(load.lost) - lost <= 8, "it still loses episodes when the daemon is back"
        assert threading.active_count() <= before + 2
    finally:
        load.stop()
        backend.close()
    assert load.wrong == []
    with second.client() as client:
        assert client.containers.list(all=True, ignore_removed=True) == []


def test_a_backend_closes_while_its_daemon_is_away_and_the_next_start_cleans_up(
    second: Dockerd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", second.host)
    backend = docker(pool=1)
    box = backend.open(SandboxSpec())
    second.end(signal.SIGKILL)
    with pytest.raises(SandboxError):
        box.run("print(1)")
    box.close()
    backend.close()
    with pytest.raises(SandboxError, match="no Docker daemon answers"):
        docker()
    second.start()
    docker().close()
    with second.client() as client:
        assert client.containers.list(all=True, ignore_removed=True) == []


def serves(backend: Docker) -> None:
    """Checks that a sandbox works over this connection, and notices its end."""
    data = bytes(range(256)) * 12000
    limits = Limits(timeout=2.0)
    for _ in range(2):  # the second was warm, and must count as alive
        box = backend.open(SandboxSpec(limits=limits))
        box.write("data", data)
        assert box.read("data") == data
        assert box.run("print('x' * 20000)").stdout == "x" * 20000 + "\n"
        assert box.run("while True: pass", timeout=0.3).status == "timeout"
        box.close()
        wait_for(lambda: not backend._pool._starting, 30)
    box = backend.open(SandboxSpec(limits=limits))
    with connect() as client:
        for container in client.containers.list(filters={"label": f"{RUN}={backend._run}"}):
            container.kill()
    with pytest.raises(LostError):
        box.run("print(1)")
    backend.close()
    with connect() as client:
        assert client.containers.list(all=True, filters={"label": f"{RUN}={backend._run}"}) == []


def test_a_remote_daemon_is_reached_only_with_keys(
    second: Dockerd, keys: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
    with pytest.raises(SandboxError, match="no Docker daemon answers"):
        docker()
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(keys))
    monkeypatch.setenv(
        "REQUESTS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt"
    )  # applies to other servers only
    serves(docker(pool=1))


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_daemon_is_reached_through_a_forwarded_socket(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not os.environ.get("DOCKER_HOST", "").startswith("unix://"):
        pytest.skip("DOCKER_HOST is no socket that could be forwarded")
    if kind == "unix":
        address: str | tuple[str, int] = str(tmp_path / "docker.sock")
        host = f"unix://{address}"
    else:
        address = ("127.0.0.1", free_port())
        host = f"tcp://127.0.0.1:{address[1]}"
    with forwarded(address):
        monkeypatch.setenv("DOCKER_HOST", host)
        serves(docker(pool=1))
