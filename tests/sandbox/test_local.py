"""Local sandboxes: modes, start and end."""

import contextlib
import hashlib
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

from conf import ConfigError
from sandbox.attacks import ATTACKS, PREAMBLE
from sandbox.base import GUARANTEES, Limits, Sandbox, SandboxError, SandboxSpec
from sandbox.guest.processes import descendants
from sandbox.host.leftovers import work_folders
from sandbox.host.owner import dead, owner
from sandbox.local import MODES, Local, _ForkServer, _ForkServers
from tests.sandbox.backends import local, or_skip

ROOT = Path(__file__).parents[2]


@pytest.fixture(
    scope="module", params=[pytest.param(mode, marks=getattr(pytest.mark, mode)) for mode in MODES]
)
def backend(request: pytest.FixtureRequest) -> Iterator[Local]:
    built = or_skip(lambda: local(mode=request.param))
    yield built
    built.close()


def fork_server(backend: Local) -> int:
    """Returns the process id of the only fork server."""
    assert isinstance(backend._launcher, _ForkServers)
    [one] = backend._launcher._servers.values()
    return one._process.pid


def below(pid: int) -> dict[int, list[str]]:
    """Returns the descendants of a process: process id -> owner, name, parent."""
    processes = {}
    for each in descendants(pid):
        with contextlib.suppress(OSError):
            name, _, rest = Path(f"/proc/{each}/stat").read_text().partition(" (")[2].rpartition(") ")
            processes[each] = [owner(each), name, rest.split()[1]]
    return processes


def wait_until_gone(processes: dict[int, list[str]]) -> None:
    until = time.monotonic() + 20
    while alive := [process for process in processes.values() if not dead(process[0])]:
        assert time.monotonic() < until, alive
        time.sleep(0.05)


def launchers(processes: dict[int, list[str]], host: int) -> list[int]:
    """Returns the processes that start guests, and are neither a guest nor a program."""
    return [pid for pid, (_, name, parent) in processes.items() if name == "bwrap" or parent == str(host)]


@contextlib.contextmanager
def busy_host(mode: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[int, list[str]]]]:
    """Yields a host process whose sandbox runs a program and its detached child, and the host's
    descendants."""
    code = "import ctypes, os, time; ctypes.CDLL(None).prctl(15, b'hostile')\n"
    code += "if os.fork() == 0: os.setsid()\ntime.sleep(100)"
    script = f"""
import conf
from sandbox.base import SandboxSpec
backend = conf.build("sandbox", conf.load("sandbox", "local", mode={mode!r}))
backend.open(SandboxSpec()).run({code!r}, timeout=100)
"""
    host = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    try:
        until = time.monotonic() + 60
        while [name for _, name, _ in below(host.pid).values()].count("hostile") < 2:
            assert time.monotonic() < until
            assert host.poll() is None
            time.sleep(0.05)
        yield host, below(host.pid)
    finally:
        host.kill()
        host.wait()


def test_a_backend_declares_the_guarantees_of_its_mode(backend: Local) -> None:
    assert backend.name == f"local-{backend.mode}"
    assert backend.guarantees == GUARANTEES - ({"disk", "pidns"} if backend.mode == "landlock" else set())
    assert backend.versions["numpy"]


def test_sandboxes_open_at_once_from_many_threads(backend: Local) -> None:
    outputs: list[str] = []

    def play(number: int) -> None:
        box = backend.open(SandboxSpec())
        box.write("n", str(number).encode())
        outputs.append(box.run("print(open('n').read())").stdout)
        box.close()

    threads = [threading.Thread(target=play, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outputs, key=int) == [f"{number}\n" for number in range(16)]


def test_a_sandbox_cannot_access_another_one(backend: Local) -> None:
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


def test_preloaded_modules_are_imported_and_numpy_is_seeded(backend: Local) -> None:
    box = backend.open(SandboxSpec(("numpy",)))
    code = "import sys; print('numpy' in sys.modules); import numpy; print(numpy.random.rand())"
    first = box.run(code, seed=3).stdout
    assert first.startswith("True\n")
    assert box.run(code, seed=3).stdout == first != box.run(code, seed=4).stdout


def test_a_listing_shows_a_session_s_changes_that_alter_no_file_time(backend: Local) -> None:
    box = backend.open(SandboxSpec())
    code = "import mmap\nfile = open('x', 'w+b')\nfile.write(bytes(4096))\nfile.flush()\n"
    box.run(code + "mapped = mmap.mmap(file.fileno(), 4096)\nmapped[0] = 1", session="s")
    time.sleep(0.2)
    for value in range(2, 5):
        before = box.list()
        box.run(f"mapped[0] = {value}", session="s")  # no system call, and so no new file time
        assert box.list() != before
        assert box.list()[0].sha256 == hashlib.sha256(box.read("x")).hexdigest()
    box.close()


def test_the_error_names_a_module_that_cannot_be_preloaded(backend: Local) -> None:
    with pytest.raises(SandboxError, match="no_such_module"):
        backend.open(SandboxSpec(("no_such_module",)))


def test_a_program_does_not_outlive_the_host(backend: Local) -> None:
    with busy_host(backend.mode) as (host, processes):
        on_disk = work_folders(processes)
        assert len(on_disk) == (backend.mode == "landlock")
        host.kill()
        host.wait()
        wait_until_gone(processes)
    assert not any(map(os.path.exists, on_disk))


def test_a_program_does_not_outlive_a_host_and_launcher_killed_at_once(backend: Local) -> None:
    with busy_host(backend.mode) as (host, processes):
        for pid in (*launchers(processes, host.pid), host.pid):
            os.kill(pid, signal.SIGKILL)
        wait_until_gone(processes)


def test_guests_end_when_their_launcher_is_killed(backend: Local) -> None:
    others = below(os.getpid())
    fresh = local(mode=backend.mode)
    box = fresh.open(SandboxSpec())
    processes = {pid: process for pid, process in below(os.getpid()).items() if pid not in others}
    for pid in launchers(processes, os.getpid()):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(SandboxError):
        box.run("import time; time.sleep(30)")
    wait_until_gone(processes)
    assert fresh.open(SandboxSpec()).run("print(1)").stdout == "1\n"  # a new launcher
    fresh.close()


def test_a_sandbox_outlives_the_thread_that_opened_it(backend: Local) -> None:
    opened: list[Sandbox] = []
    thread = threading.Thread(target=lambda: opened.append(backend.open(SandboxSpec())))
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert opened[0].run("print(1)").stdout == "1\n"
    opened[0].close()


def test_close_returns_when_every_process_is_gone(backend: Local) -> None:
    others = below(os.getpid())
    fresh = local(mode=backend.mode)
    box = fresh.open(SandboxSpec())
    runner = threading.Thread(
        target=pytest.raises, args=(SandboxError, box.run, "import os, time\nos.fork()\ntime.sleep(60)")
    )
    runner.start()
    while (
        len(processes := {pid: each for pid, each in below(os.getpid()).items() if pid not in others}) < 4
        and runner.is_alive()
    ):
        time.sleep(0.02)
    fresh.close()
    assert [process for process in processes.values() if not dead(process[0])] == []
    runner.join()
    with pytest.raises(SandboxError):
        fresh.open(SandboxSpec())


@pytest.mark.landlock
def test_the_next_start_removes_the_folders_of_a_killed_launcher() -> None:
    dying, living = or_skip(lambda: local(mode="landlock")), local(mode="landlock")
    kept, lost = living.open(SandboxSpec()), dying.open(SandboxSpec())
    lost.run("import os\nfor _ in range(2000):\n    os.mkdir('d'); os.chdir('d')")
    process = fork_server(dying)
    os.kill(process, signal.SIGKILL)
    dying.close()
    assert len(work_folders([process])) == 1
    local(mode="landlock").close()
    assert work_folders([process]) == []
    assert len(work_folders([fork_server(living)])) == 1
    assert kept.run("print(1)").stdout == "1\n"
    living.close()


@pytest.mark.landlock
def test_closing_the_backend_ends_every_sandbox_and_removes_every_folder() -> None:
    backend = or_skip(lambda: local(mode="landlock"))
    boxes = [backend.open(SandboxSpec()) for _ in range(3)]
    boxes[0].run("import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)")
    process = fork_server(backend)
    assert len(work_folders([process])) == 3
    backend.close()
    backend.close()
    assert work_folders([process]) == []
    with pytest.raises(SandboxError):
        boxes[1].run("1")
    with pytest.raises(SandboxError):
        backend.open(SandboxSpec())


def test_an_unknown_mode_and_unknown_limits_are_refused() -> None:
    with pytest.raises(SandboxError, match="mode must be"):
        local(mode="magic")
    with pytest.raises(SandboxError, match="limits must define exactly"):
        Limits.read({"timeout": 3})
    with pytest.raises(ConfigError, match=r"limits\.disk_mb must be above 0"):
        local(limits={"disk_mb": 0})


@pytest.mark.parametrize(
    "name",
    [
        "the files of the machine",
        "executing what it wrote",
        "filling the disk in one call",
        "a process outside can be noticed",
        "changing processes outside",
    ],
)
def test_attacks_succeed_without_isolation(name: str) -> None:
    """Shows that the attacks are effective."""
    server = _ForkServer("none", ())
    outsider = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with tempfile.NamedTemporaryFile() as secret:
        secret.write(b"x")
        secret.flush()
        known = f"SECRET, OURS, PID = {secret.name!r}, {str(ROOT)!r}, {outsider.pid}\n"
        result = server.open(Limits()).run(known + PREAMBLE + ATTACKS[name].code)
    server.close()
    outsider.kill()
    outsider.wait()
    assert "BREACH" in result.stdout


def test_sessions_that_occupy_every_process_end_for_a_program() -> None:
    """Only a cgroup limits the guest's own forks; a failing ``os.fork`` simulates one."""
    script = """
import os, time
from unittest.mock import patch
from sandbox.guest.session import Session, Sessions
def start(seed):
    pipes = [os.pipe() for _ in range(4)]
    pid = fork()
    if pid == 0: time.sleep(60)
    return Session(pid, *(pipe[0] for pipe in pipes))
fork, full = os.fork, [True]
def refuse():
    if sessions.pids(): raise BlockingIOError("full")
    return fork()
sessions = Sessions(start)
session, lost = sessions.take("a", 0)
print(lost or "new", sessions.take("a", 0)[0] is session)
with patch("os.fork", refuse):
    child = sessions.fork()
    if child == 0: os._exit(0)
print(os.waitpid(child, 0)[1], len(sessions.pids()), sessions.due())
print(sessions.take("a", 0)[1], sessions.take("a", 0)[1] or "known")
sessions.end("a")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lost = "the session had been lost, with its variables: this is a new one"
    assert done.stdout == f"new True\n0 0 inf\n{lost} known\n"
