"""What is particular to containers: how they are set up, and that they go."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import conf
from sandbox.base import SandboxError, SandboxSpec
from sandbox.docker import _OWNER, _RUN, Docker, _client
from sandbox.owner import here

pytestmark = pytest.mark.docker
ROOT = Path(__file__).parents[2]


def docker(**settings: object) -> Docker:
    built: Docker = conf.build("sandbox", conf.load("sandbox", "docker", **settings))
    return built


@pytest.fixture(scope="module")
def backend() -> Iterator[Docker]:
    try:
        built = docker()
    except SandboxError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must run docker: {error}")
        pytest.skip(f"docker cannot run here: {error}")
    yield built
    built.close()


def containers(run: str) -> list[str]:
    with _client() as client:
        found = client.containers.list(all=True, filters={"label": f"{_RUN}={run}"}, ignore_removed=True)
        return [container.id for container in found]


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.05)


def test_the_container_has_every_restriction(backend: Docker) -> None:
    box = backend.open(SandboxSpec())
    [container] = containers(backend._run)
    with _client() as client:
        found = client.api.inspect_container(container)
    host = found["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] and host["AutoRemove"]  # noqa: PT018
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["LogConfig"]["Type"] == "none"
    assert host["PidsLimit"] == 65
    assert host["Memory"] == host["MemorySwap"] > 0
    assert host["IpcMode"] == "private"
    assert found["Mounts"] == []
    assert found["Config"]["User"] == "65534:65534"
    box.close()
    assert containers(backend._run) == []


def test_the_libraries_inside_are_those_outside(backend: Docker) -> None:
    box = backend.open(SandboxSpec(("numpy", "pandas", "sklearn")))
    result = box.run(
        "import numpy, pandas, sklearn; print(numpy.__version__, pandas.__version__, sklearn.__version__)"
    )
    box.close()
    versions = backend.versions
    assert result.stdout.split() == [versions[name] for name in ("numpy", "pandas", "scikit-learn")]


def test_no_file_of_the_image_gives_rights(backend: Docker) -> None:
    box = backend.open(SandboxSpec())
    code = "import os\nfor root, _, names in os.walk('/usr'):\n    for name in names:\n"
    code += "        if os.lstat(os.path.join(root, name)).st_mode & 0o6000: print(root, name)"
    assert box.run(code).stdout == ""
    box.close()


def test_a_container_goes_when_its_host_is_killed(backend: Docker) -> None:
    script = """
import conf
from sandbox.base import SandboxSpec
backend = conf.build("sandbox", conf.load("sandbox", "docker"))
box = backend.open(SandboxSpec())
print(backend._run, flush=True)
box.run("import os, time\\nif os.fork() == 0: os.setsid()\\ntime.sleep(60)", timeout=60)
"""
    host = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    run = host.stdout.readline().strip()
    assert len(containers(run)) == 1
    time.sleep(0.3)
    host.send_signal(signal.SIGKILL)
    host.wait()
    wait_for(lambda: containers(run) == [])


def test_a_closed_sandbox_holds_no_descriptor(backend: Docker) -> None:
    gc.disable()  # what only it would close is held for as long as it likes
    try:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(2):
            backend.open(SandboxSpec()).close()
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    finally:
        gc.enable()


def test_a_lost_container_is_an_error_and_not_a_result(backend: Docker) -> None:
    box = backend.open(SandboxSpec())
    with _client() as client:
        client.api.kill(containers(backend._run)[0])
    with pytest.raises(SandboxError):
        box.run("print(1)")


def test_closing_the_backend_removes_what_is_open_and_what_is_warm() -> None:
    backend = docker(pool=2)
    box = backend.open(SandboxSpec())
    wait_for(lambda: len(containers(backend._run)) == 3)
    backend.close()
    backend.close()
    assert containers(backend._run) == []
    with pytest.raises(SandboxError):
        box.run("1")
    with pytest.raises(SandboxError):
        backend.open(SandboxSpec())


def test_only_containers_whose_owner_is_dead_are_removed_at_the_start(backend: Docker) -> None:
    box = backend.open(SandboxSpec())
    with _client() as client:
        for name, owner in (("dead", f"{here()}:4194000:1"), ("foreign", "another-machine:1:1:1")):
            settings = {"labels": {_OWNER: owner, _RUN: f"{name}-{backend._run}"}}
            client.api.create_container(backend._image, ["true"], **settings)
    docker().close()
    try:
        assert containers(f"dead-{backend._run}") == []
        assert len(containers(f"foreign-{backend._run}")) == 1
        assert box.run("print(1)").stdout == "1\n"
    finally:
        with _client() as client:
            for container in containers(f"foreign-{backend._run}"):
                client.api.remove_container(container)
        box.close()


def test_a_missing_image_and_runtime_are_named(backend: Docker) -> None:
    with pytest.raises(SandboxError, match="no-such-image is missing: pull or build it"):
        docker(image="no-such-image")
    with pytest.raises(SandboxError, match="no runtime 'no-such-runtime'"):
        docker(runtime="no-such-runtime")
