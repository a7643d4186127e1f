"""Docker sandboxes: how containers are configured and removed."""

import gc
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf import ConfigError
from sandbox import image
from sandbox.base import Limits, LostError, SandboxError, SandboxSpec
from sandbox.docker import SLACK, Docker
from sandbox.host.daemon import DEADLINE, OWNER, RUN, connect, remove_run, require
from sandbox.host.owner import here, owner
from tests.sandbox.backends import docker, or_skip, wait_for

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def backend() -> Iterator[Docker]:
    built = or_skip(docker)
    yield built
    built.close()


def containers(run: str) -> list[str]:
    with connect() as client:
        ours = client.containers.list(all=True, filters={"label": f"{RUN}={run}"}, ignore_removed=True)
        return [container.id for container in ours]


@pytest.mark.docker
def test_the_container_has_every_restriction(backend: Docker) -> None:
    box = backend.open(SandboxSpec())
    [container] = containers(backend._run)
    with connect() as client:
        details = client.api.inspect_container(container)
    host = details["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] and host["AutoRemove"]  # noqa: PT018
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["LogConfig"]["Type"] == "none"
    assert host["PidsLimit"] == 65
    assert host["Memory"] == host["MemorySwap"] > 0
    assert host["IpcMode"] == "private"
    assert details["Mounts"] == []
    user = int(details["Config"]["User"].partition(":")[0])
    assert details["Config"]["User"] == f"{user}:{user}"
    assert all(f"uid={user},gid={user}," in options for options in host["Tmpfs"].values())
    box.close()
    assert containers(backend._run) == []


@pytest.mark.docker
def test_each_container_has_a_user_of_its_own(backend: Docker) -> None:
    """The kernel counts per user: one container must not use up what another needs."""
    boxes = [backend.open(SandboxSpec()) for _ in range(3)]
    users = {int(box.run("import os; print(os.getuid())").stdout) for box in boxes}
    assert len(users) == 3
    assert min(users) >= 20000
    for box in boxes:
        box.close()
    again = backend.open(SandboxSpec())
    assert int(again.run("import os; print(os.getuid())").stdout) not in users
    again.close()


@pytest.mark.docker
def test_libraries_in_containers_have_the_versions_of_the_host(backend: Docker) -> None:
    box = backend.open(SandboxSpec(("numpy", "pandas", "sklearn")))
    result = box.run(
        "import numpy, pandas, sklearn; print(numpy.__version__, pandas.__version__, sklearn.__version__)"
    )
    box.close()
    versions = backend.versions
    assert result.stdout.split() == [versions[name] for name in ("numpy", "pandas", "scikit-learn")]


@pytest.mark.docker
def test_no_file_of_the_image_is_setuid(backend: Docker) -> None:
    box = backend.open(SandboxSpec())
    code = "import os\nfor root, _, names in os.walk('/usr'):\n    for name in names:\n"
    code += "        if os.lstat(os.path.join(root, name)).st_mode & 0o6000: print(root, name)"
    assert box.run(code).stdout == ""
    box.close()


@pytest.mark.docker
def test_a_container_is_removed_when_its_host_is_killed(backend: Docker) -> None:
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


@pytest.mark.docker
def test_a_closed_sandbox_keeps_no_descriptor(backend: Docker) -> None:
    gc.disable()  # descriptors must not depend on garbage collection
    try:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(2):
            backend.open(SandboxSpec()).close()
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    finally:
        gc.enable()


@pytest.mark.docker
def test_a_lost_container_is_an_error_and_not_a_result(backend: Docker) -> None:
    box = backend.open(SandboxSpec())
    with connect() as client:
        client.api.kill(containers(backend._run)[0])
    with pytest.raises(SandboxError):
        box.run("print(1)")


@pytest.mark.docker
def test_closing_the_backend_removes_what_is_open_and_what_is_warm() -> None:
    backend = or_skip(lambda: docker(pool=2))
    box = backend.open(SandboxSpec())
    wait_for(lambda: len(containers(backend._run)) == 3)
    backend.close()
    backend.close()
    assert containers(backend._run) == []
    with pytest.raises(SandboxError):
        box.run("1")
    with pytest.raises(SandboxError):
        backend.open(SandboxSpec())


@pytest.mark.docker
def test_the_labels_give_owner_and_deadline(backend: Docker) -> None:
    box = backend.open(SandboxSpec(limits=Limits(lifetime=100)))
    with connect() as client:
        labels = client.api.inspect_container(containers(backend._run)[0])["Config"]["Labels"]
    box.close()
    assert labels[OWNER] == owner(os.getpid())
    assert 0 < int(labels[DEADLINE]) - (time.time() + 100 + SLACK - 30) < 60


@pytest.mark.docker
def test_a_start_removes_only_abandoned_containers(backend: Docker) -> None:
    box = backend.open(SandboxSpec())
    now, there = int(time.time()), "another-machine:1:1:1"
    stale = {
        "dead": {OWNER: f"{here()}:4194000:1", DEADLINE: str(now + 1000)},
        "overdue": {OWNER: there, DEADLINE: str(now - 10)},
    }
    wanted = {
        "elsewhere": {OWNER: there, DEADLINE: str(now + 1000)},
        "unlimited": {OWNER: there},
        "ours": {OWNER: owner(os.getpid()), DEADLINE: str(now - 10)},
        "nobody-s": {},
    }
    with connect() as client:
        for name, labels in (stale | wanted).items():
            marked = labels | {RUN: f"{name}-{backend._run}"}
            client.api.create_container(backend._images[()], ["true"], labels=marked)
    try:
        docker().close()
        assert [name for name in stale if containers(f"{name}-{backend._run}")] == []
        assert [name for name in wanted if containers(f"{name}-{backend._run}")] == list(wanted)
        assert box.run("print(1)").stdout == "1\n"
    finally:
        with connect() as client:
            for name in stale | wanted:
                remove_run(client, f"{name}-{backend._run}")
        box.close()


@pytest.mark.docker
def test_a_forgotten_guest_ends_and_its_container_is_removed(backend: Docker) -> None:
    for limits in (Limits(idle=0.5), Limits(lifetime=0.5)):
        box = backend.open(SandboxSpec(limits=limits))
        wait_for(lambda: containers(backend._run) == [])
        with pytest.raises(LostError):
            box.run("print(1)")


@pytest.mark.docker
def test_a_created_container_is_removed_when_its_host_is_killed(backend: Docker) -> None:
    script = """
import conf, time
from sandbox.host import daemon
from sandbox.base import SandboxSpec
daemon.Attached = lambda client, name: (print(backend._run, flush=True), time.sleep(60))
backend = conf.build("sandbox", conf.load("sandbox", "docker"))
backend.open(SandboxSpec())
"""
    host = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    run = host.stdout.readline().strip()
    assert len(containers(run)) == 1
    host.kill()
    host.wait()
    wait_for(lambda: containers(run) == [])


@pytest.mark.docker
def test_closing_while_containers_start_leaves_none() -> None:
    for delay in (0.0, 0.02, 0.1, 0.3):
        backend = or_skip(lambda: docker(pool=3, starting=2))
        failed: list[SandboxError] = []

        def take(backend: Docker = backend, failed: list[SandboxError] = failed) -> None:
            try:
                backend.open(SandboxSpec(("pandas", "sklearn.ensemble")))
            except SandboxError as error:
                failed.append(error)

        taker = threading.Thread(target=take)
        taker.start()
        time.sleep(delay)
        backend.close()
        taker.join(30)
        assert len(failed) == 1
        assert containers(backend._run) == []


@pytest.mark.docker
def test_a_warm_container_that_was_killed_is_not_handed_out() -> None:
    backend = or_skip(lambda: docker(pool=1))
    first = backend.open(SandboxSpec())
    [[start]] = backend._pool._kept.values()
    assert start.result(60).alive()
    warm, _ = containers(backend._run)  # the newest comes first
    with connect() as client:
        client.api.kill(warm)
    wait_for(lambda: len(containers(backend._run)) == 1)
    second = backend.open(SandboxSpec())
    assert second.run("print(2)").stdout == "2\n"
    assert first.run("print(1)").stdout == "1\n"
    backend.close()
    assert containers(backend._run) == []


def test_missing_features_of_the_daemon_are_refused_and_named() -> None:
    info = {
        "Runtimes": {"runc": {}},
        "SecurityOptions": ["name=seccomp,profile=default", "name=rootless"],
        "MemoryLimit": True,
        "PidsLimit": True,
    }
    require(info, None, [])
    require(info, "runc", ["seccomp", "rootless"])
    with pytest.raises(SandboxError, match="no runtime 'runsc'; it has runc"):
        require(info, "runsc", [])
    with pytest.raises(SandboxError, match=r"does not provide userns.*userns-remap"):
        require(info, None, ["seccomp", "userns"])
    with pytest.raises(SandboxError, match="does not provide seccomp"):
        require(info | {"SecurityOptions": ["name=seccomp,profile=unconfined"]}, None, ["seccomp"])
    with pytest.raises(SandboxError, match=r"would ignore limits \(PidsLimit\)"):
        require(info | {"PidsLimit": False}, None, [])
    with pytest.raises(ConfigError, match="got gvisor"):
        require(info, None, ["gvisor"])


def test_a_daemon_behind_ssh_is_refused_with_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://user@host")
    with pytest.raises(SandboxError, match="ssh -fnNT -L"):
        docker()


def use_context(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, host: str) -> None:
    """Makes a Docker context and chooses it, as ``docker context create`` and ``use`` do."""
    meta = folder / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
    meta.mkdir(parents=True)
    endpoint = {"Host": host, "SkipTLSVerify": False}
    described = {"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}
    (meta / "meta.json").write_text(json.dumps(described))
    (folder / "config.json").write_text(json.dumps({"currentContext": name}))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    for variable in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.docker
def test_the_chosen_docker_context_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_context(monkeypatch, tmp_path, "lab", os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    or_skip(docker).close()
    assert image.main(["build"]) == 0


def test_the_environment_decides_before_the_chosen_context(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_context(monkeypatch, tmp_path, "lab", "unix:///nowhere/lab.sock")
    expected = r"no Docker daemon answers at (http\+)?unix:///nowhere/lab.sock \(Docker context 'lab'\)"
    with pytest.raises(SandboxError, match=expected):
        docker()
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    with pytest.raises(SandboxError, match="there is no Docker context 'gone'"):
        docker()
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/host.sock")
    with pytest.raises(SandboxError, match=r"answers at unix:///nowhere/host\.sock$"):
        docker()


def test_a_context_that_is_damaged_or_behind_ssh_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_context(monkeypatch, tmp_path, "far", "ssh://user@host")
    with pytest.raises(SandboxError, match="ssh -fnNT -L"):
        docker()
    [meta] = tmp_path.glob("contexts/meta/*/meta.json")
    meta.write_text("{")
    with pytest.raises(SandboxError, match="Docker context 'far' cannot be read") as caught:
        docker()
    assert "\n" not in str(caught.value)


@pytest.mark.docker
def test_a_missing_image_and_runtime_are_named(backend: Docker) -> None:
    with pytest.raises(SandboxError, match="no-such-image is missing: pull or build it"):
        docker(image="no-such-image")
    with pytest.raises(SandboxError, match="no runtime 'no-such-runtime'"):
        docker(runtime="no-such-runtime")
    with pytest.raises(SandboxError, match="does not provide rootless"):
        docker(requires=["rootless"])
