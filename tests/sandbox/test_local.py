"""What is particular to local sandboxes: modes, starting, ending."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import conf
from sandbox.base import GUARANTEES, Limits, SandboxError, SandboxSpec
from sandbox.hostile import ATTACKS, PREAMBLE
from sandbox.local import Local, _Nursery

ROOT = Path(__file__).parents[2]


def local(**settings: object) -> Local:
    backend: Local = conf.build("sandbox", conf.load("sandbox", "local", **settings))
    return backend


@pytest.fixture(scope="module", params=["namespaces", "landlock"])
def backend(request: pytest.FixtureRequest) -> Iterator[Local]:
    try:
        built = local(mode=request.param)
    except SandboxError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    yield built
    built.close()


def leftovers() -> set[str]:
    return {str(path) for path in Path(tempfile.gettempdir()).glob("sandbox-*")}


def processes(nursery: int) -> list[str]:
    """The processes below a nursery, and the nursery, that still are."""
    found = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if str(nursery) in line.split()[:2] and "ps -eo" not in line]


def test_the_mode_says_what_it_holds(backend: Local) -> None:
    missing = {"local-namespaces": set(), "local-landlock": {"disk", "pidns"}}[backend.name]
    assert backend.guarantees == GUARANTEES - missing
    assert backend.versions["numpy"]


def test_sandboxes_open_at_once_from_many_threads(backend: Local) -> None:
    said: list[str] = []

    def play(number: int) -> None:
        box = backend.open(SandboxSpec())
        box.write("n", str(number).encode())
        said.append(box.run("print(open('n').read())").stdout)
        box.close()

    threads = [threading.Thread(target=play, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said, key=int) == [f"{number}\n" for number in range(16)]


def test_sandboxes_do_not_see_each_other(backend: Local) -> None:
    one, two = backend.open(SandboxSpec()), backend.open(SandboxSpec())
    one.write("mine", b"secret")
    where = one.run("import os; print(os.path.abspath('mine'))").stdout.strip()
    assert two.run(f"print(open({where!r}).read())").status == "error"
    holder = threading.Thread(target=one.run, args=("import time; time.sleep(1)",))
    holder.start()
    two.run("import os\nos.kill(-1, 9)")
    holder.join()
    assert one.run("print(open('mine').read())").stdout == "secret\n"


def test_ending_one_sandbox_leaves_the_others_programs_alone(backend: Local) -> None:
    busy = backend.open(SandboxSpec())
    results: list[str] = []

    def run() -> None:
        for _ in range(20):
            results.append(busy.run("import os\nos.waitpid(os.fork() or os._exit(0), 0)").status)

    runner = threading.Thread(target=run)
    runner.start()
    while runner.is_alive():
        backend.open(SandboxSpec()).close()
    assert results == ["ok"] * 20


def test_preloaded_modules_are_there_and_numpy_is_seeded(backend: Local) -> None:
    box = backend.open(SandboxSpec(("numpy",)))
    code = "import sys; print('numpy' in sys.modules); import numpy; print(numpy.random.rand())"
    first = box.run(code, seed=3).stdout
    assert first.startswith("True\n")
    assert box.run(code, seed=3).stdout == first != box.run(code, seed=4).stdout


def test_a_module_that_cannot_be_preloaded_is_named(backend: Local) -> None:
    with pytest.raises(SandboxError, match="no_such_module"):
        backend.open(SandboxSpec(("no_such_module",)))


def test_a_program_never_outlives_the_host(backend: Local) -> None:
    mode = backend.mode
    script = f"""
import conf, sys, threading
from sandbox.base import SandboxSpec
backend = conf.build("sandbox", conf.load("sandbox", "local", mode={mode!r}))
box = backend.open(SandboxSpec())
print(backend._nurseries[()]._process.pid, flush=True)
box.run("import os, time\\nif os.fork() == 0: os.setsid()\\ntime.sleep(60)", timeout=60)
"""
    before = leftovers()
    host = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    nursery = int(host.stdout.readline())
    time.sleep(0.3)
    host.send_signal(signal.SIGKILL)
    host.wait()
    until = time.monotonic() + 5
    while (processes(nursery) or leftovers() - before) and time.monotonic() < until:
        time.sleep(0.05)
    assert processes(nursery) == []
    assert leftovers() - before == set()


def test_guests_end_when_their_launcher_is_killed() -> None:
    before = leftovers()
    backend = local(mode="auto")
    box = backend.open(SandboxSpec())
    os.kill(backend._nurseries[()]._process.pid, signal.SIGKILL)
    with pytest.raises(SandboxError):
        box.run("import time; time.sleep(30)")
    assert backend.open(SandboxSpec()).run("print(1)").stdout == "1\n"  # a new launcher
    backend.close()
    assert leftovers() == before


def test_closing_the_backend_ends_every_sandbox_and_removes_every_folder() -> None:
    before = leftovers()
    backend = local(mode="landlock")
    boxes = [backend.open(SandboxSpec()) for _ in range(3)]
    boxes[0].run("import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)")
    assert len(leftovers() - before) == 3
    backend.close()
    backend.close()
    assert leftovers() == before
    with pytest.raises(SandboxError):
        boxes[1].run("1")
    with pytest.raises(SandboxError):
        backend.open(SandboxSpec())


def test_an_unknown_mode_and_unknown_limits_are_refused() -> None:
    with pytest.raises(SandboxError, match="mode must be"):
        local(mode="magic")
    with pytest.raises(SandboxError, match="limits must give"):
        Limits.read({"timeout": 3})
    with pytest.raises(SandboxError, match="must be positive: disk_mb"):
        local(limits={"disk_mb": 0})


@pytest.mark.parametrize(
    "name",
    [
        "the files of the machine",
        "running what it wrote",
        "filling the disk at one blow",
        "a process outside can be noticed",
        "meddling with processes outside",
    ],
)
def test_attacks_get_through_where_nothing_isolates(name: str) -> None:
    """What shows that the attacks attack."""
    nursery = _Nursery("none", ())
    outsider = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with tempfile.NamedTemporaryFile() as secret:
        secret.write(b"x")
        secret.flush()
        known = f"SECRET, OURS, PID = {secret.name!r}, {str(ROOT)!r}, {outsider.pid}\n"
        result = nursery.open(Limits()).run(known + PREAMBLE + ATTACKS[name].code)
    nursery.close()
    outsider.kill()
    outsider.wait()
    assert "BREACH" in result.stdout
