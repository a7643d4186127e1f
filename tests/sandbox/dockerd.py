"""A Docker daemon of the tests' own, to be stopped and killed as they like. Needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import docker  # type: ignore[import-untyped]
import pytest


class Dockerd:
    """Its files are in a folder of its own; ``start`` it before use."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options = folder, options
        self.host = f"unix://{folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        folder = self.folder
        (folder / "pid").unlink(missing_ok=True)  # a killed one leaves its own
        log = (folder / "log").open("ab")
        command = [
            "dockerd", "--host", self.host, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec",
            "--pidfile", f"{folder}/pid", "--bridge=none", "--iptables=false", *self.options,
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(docker.errors.DockerException), self.client() as client:
                client.ping()
                return
            ended = self._process.poll() is not None
            if ended or time.monotonic() > until:
                pytest.fail(f"no daemon: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Returns when it has ended, and so has its containerd, for which the next one would wait."""
        if self._process:
            containerd = (self.folder / "exec/containerd/containerd.pid").read_text()
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None
            until = time.monotonic() + 30
            while Path(f"/proc/{containerd}").exists():
                assert time.monotonic() < until, "containerd outlives its daemon"
                time.sleep(0.05)

    @contextlib.contextmanager
    def client(self) -> Iterator[docker.DockerClient]:
        client = docker.DockerClient(self.host, timeout=60)
        try:
            yield client
        finally:
            client.close()

    def load(self, name: str) -> None:
        """Copies an image from the daemon that ``DOCKER_HOST`` names."""
        theirs = docker.from_env(timeout=120)
        try:
            with self.client() as client:
                client.api.timeout = 120
                client.images.load(theirs.images.get(name).save(named=True))
        finally:
            theirs.close()


@contextlib.contextmanager
def dockerd(*options: str) -> Iterator[Dockerd]:
    """A running one, gone afterwards with all that was its."""
    if os.geteuid() or not shutil.which("dockerd"):
        pytest.skip("a Docker daemon of our own needs root, and dockerd")
    folder = Path(tempfile.mkdtemp(prefix="dockerd-"))
    daemon = Dockerd(folder, *options)
    try:
        daemon.start()
        yield daemon
    finally:
        with contextlib.suppress(docker.errors.DockerException), daemon.client() as client:
            for container in client.containers.list(all=True, ignore_removed=True):
                container.remove(force=True)
        daemon.end()
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for path in reversed([path for path in mounts if path.startswith(f"{folder}/")]):
            subprocess.run(["umount", "--lazy", path], check=True)  # what killed ones left
        shutil.rmtree(folder)


def certificates(folder: Path) -> None:
    """Writes an authority, and a key and certificate for either side of a connection on the loopback device.

    Skips the test where ``openssl`` is missing.
    """
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "rsa:2048", "-nodes")
    openssl(*new, "-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca-key.pem", "-out", "ca.pem")
    for name, usage in (("server", "serverAuth"), ("client", "clientAuth")):
        (folder / "extensions").write_text(f"subjectAltName=IP:127.0.0.1\nextendedKeyUsage={usage}\n")
        openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}-key.pem", "-out", f"{name}.csr")
        openssl(
            "x509", "-req", "-days", "2", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem",
            "-CAcreateserial", "-extfile", "extensions", "-out", f"{name}-cert.pem",
        )  # fmt: skip
    (folder / "client-key.pem").rename(folder / "key.pem")  # as Docker's clients expect them
    (folder / "client-cert.pem").rename(folder / "cert.pem")


@contextlib.contextmanager
def forwarded(address: str | tuple[str, int]) -> Iterator[None]:
    """Passes connections to ``address``, a path or a host and port, on to the daemon of ``DOCKER_HOST``, as
    ssh would."""
    target = os.environ["DOCKER_HOST"].removeprefix("unix://")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as there:
                there.connect(target)
                back = threading.Thread(target=_pass_on, args=(there, self.request))
                back.start()
                _pass_on(self.request, there)
                back.join()

    server: socketserver.ThreadingUnixStreamServer | socketserver.ThreadingTCPServer
    if isinstance(address, str):
        server = socketserver.ThreadingUnixStreamServer(address, Handler)
    else:
        server = socketserver.ThreadingTCPServer(address, Handler)
    server.daemon_threads = True
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def free_port() -> int:
    """Of the loopback device."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
