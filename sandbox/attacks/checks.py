"""Checks of ``sandbox.contract``: attacks, what they leave behind, and leaks from one sandbox to another."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from sandbox.artifacts import ArtifactSpec, Kind, check_artifacts
from sandbox.attacks import ATTACKS, PREAMBLE
from sandbox.attacks.attack import PATIENT
from sandbox.attacks.canary import HIDE, LOOK
from sandbox.attacks.pickles import BOMBS, DEADLY, FOREIGN, TABLES, making
from sandbox.base import Backend, Limits, Sandbox, SandboxSpec
from sandbox.host.leftovers import leftovers, resources

SMALL = Limits(timeout=PATIENT, memory_mb=128, processes=24, disk_mb=8, output_kb=8, file_mb=4)
"""The limits that apply to the checks."""
Check = Callable[[Backend], None]


@contextlib.contextmanager
def sandbox(backend: Backend, preload: tuple[str, ...] = ()) -> Iterator[Sandbox]:
    """Opens a sandbox with small limits."""
    box = backend.open(SandboxSpec(preload, SMALL))
    try:
        yield box
    finally:
        box.close()


@contextlib.contextmanager
def nothing_left(backend: Backend, preload: tuple[str, ...] = ()) -> Iterator[None]:
    """Checks that what happens inside leaves nothing behind."""
    backend.open(
        SandboxSpec(preload, SMALL)
    ).close()  # from now on, the backend has the resources that it keeps
    before = resources(backend)
    yield
    new = leftovers(backend, before, PATIENT)
    assert not new, f"left behind: {', '.join(sorted(new))}"


def withstands(name: str) -> Check:
    """Returns a check that runs an attack, and that the sandbox stays usable and leaves nothing behind."""

    def check(backend: Backend) -> None:
        attack = ATTACKS[name]
        with (
            _surroundings() as known,
            nothing_left(backend, attack.preload),
            sandbox(backend, attack.preload) as box,
        ):
            result = box.run(known + PREAMBLE + attack.code, timeout=attack.timeout)
            assert "BREACH" not in result.stdout, result
            assert result.status in attack.ends, result
            after = box.run("print('unharmed')")
            assert (after.status, after.stdout, after.stderr) == ("ok", "unharmed\n", ""), after
            then = box.run(known + PREAMBLE + attack.then)
            assert (then.status, then.stdout, then.stderr) == ("ok", "", ""), then
            for file in box.list():
                with contextlib.suppress(FileNotFoundError, ValueError):  # locked, or too large
                    assert len(box.read(file.path)) == file.size
            box.write("new.txt", b"new")
            assert box.read("new.txt") == b"new"

    return check


def withstands_artifact(name: str) -> Check:
    """Returns a check that inspects an artifact whose program would run if it were loaded."""

    def check(backend: Backend) -> None:
        spec = ArtifactSpec("model.pkl", "estimator")
        with nothing_left(backend), sandbox(backend) as box:
            assert box.run(making(DEADLY[name])).status == "ok"
            [report] = check_artifacts([spec], {file.path: file for file in box.list()}, box)
            assert report.code == "foreign", report
            assert "builtins.exec" in report.detail, report
            assert box.run("print('unharmed')").stdout == "unharmed\n"

    return check


def judges_artifacts(
    programs: Mapping[str, str], kind: Kind, codes: Collection[str], timeout: float
) -> Check:
    """Returns a check that inspects artifacts that attack libraries, and that they change nothing for a sound
    one beside them."""

    def check(backend: Backend) -> None:
        limits = dataclasses.replace(SMALL, timeout=60.0, memory_mb=768, disk_mb=64)
        box = backend.open(SandboxSpec(("pandas", "sklearn.linear_model", "scipy.stats"), limits))
        try:
            box.run("import pandas\npandas.DataFrame({'a': range(30)}).to_pickle('sound.pkl')")
            for name, program in programs.items():
                made = box.run(making(program, "attack.pkl"))
                assert made.status == "ok", (name, made)
                specs = [ArtifactSpec("attack.pkl", kind, numeric=True), ArtifactSpec("sound.pkl", "table")]
                files = {file.path: file for file in box.list()}
                attack, sound = check_artifacts(specs, files, box, timeout=timeout)
                assert attack.code in codes, (name, attack)
                assert sound.code == "ok", (name, sound)
                assert len(json.dumps(dataclasses.asdict(attack), ensure_ascii=False).encode()) < 1 << 16
        finally:
            box.close()

    return check


def nothing_is_left_behind(backend: Backend) -> None:
    """Checks that closed sandboxes leave nothing behind, whatever they were doing."""
    with nothing_left(backend):
        for number in range(5):
            box = backend.open(SandboxSpec(limits=SMALL))
            box.write("file", bytes(1 << 20))
            box.run(f"import os, time\nif os.fork() == 0: os.setsid(); time.sleep(60)\nos._exit({number})")
            box.list()
            box.close()


def nothing_leaks_from_one_sandbox_to_another(backend: Backend) -> None:
    """Checks that neither memory nor files of a sandbox, open or closed, are visible in another one."""
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    look = LOOK.format(first=first, second=second, extra="")
    with sandbox(backend) as one:
        one.write("mine", (first + second).encode() * 1000)
        one.run(HIDE.format(first=first, second=second))
        with sandbox(backend) as other:
            _finds_nothing(other, look)
        own = one.run(look)
        assert "mine" in own.stdout, f"the search must find the sandbox's own text: {own}"
    with sandbox(backend) as later:
        _finds_nothing(later, look)
        held = LOOK.format(first=first, second=second, extra="held = (first + second) * 99")
        assert "memory" in later.run(held).stdout, "the search must find the sandbox's own text"


LOCKS = """
import fcntl, os
shared, device = open(os.__file__), os.open("/dev/urandom", os.O_RDWR)
"""


def no_lock_reaches_another_sandbox(backend: Backend) -> None:
    """Checks that locks of files that every sandbox opens pass nothing from one to another."""
    with sandbox(backend) as one, sandbox(backend) as other:
        held = one.run(LOCKS + "fcntl.flock(shared, 2 | 4); fcntl.lockf(device, 2 | 4)", session="holds them")
        assert held.status == "ok", held
        seen = other.run(LOCKS + "fcntl.flock(shared, 2 | 4); fcntl.lockf(device, 2 | 4)")
        assert seen.status == "ok", seen


UNSEEN = """
import mmap, os
before = os.stat("timed")
with open("timed", "r+b") as file: file.write(b"y")
os.utime("timed", ns=(before.st_atime_ns, before.st_mtime_ns))
with open("mapped", "r+b") as file, mmap.mmap(file.fileno(), 0) as data:
    seen = data[:]  # from now on, writing to this page tells some file systems nothing
    data[:] = seen.replace(b"x", b"y")
"""


def no_file_keeps_the_hash_of_what_it_held(backend: Backend) -> None:
    """Checks that a listing has the hashes of what files hold, whatever their size and times say."""
    with sandbox(backend) as box:
        for name in ("mapped", "timed"):
            box.write(name, b"x" * 100)
        box.list()
        time.sleep(0.1)  # a guest may keep the hashes of files that have not changed for a while
        box.list()
        result = box.run(UNSEEN)
        assert result.status == "ok", result
        for file in box.list():
            data = box.read(file.path)
            assert b"y" in data, file
            assert file.sha256 == hashlib.sha256(data).hexdigest(), file


_HOLD = """
kept = ctypes.c_int()
while not call(222, 1, None, ctypes.byref(kept)): pass
time.sleep(600)
"""
_NEED = """
until, timer = time.monotonic() + 3, ctypes.c_int()
while time.monotonic() < until:
    if call(222, 1, None, ctypes.byref(timer)): print("BREACH")
    else: call(226, timer.value)
    time.sleep(0.1)
"""


def what_is_counted_per_user_is_not_shared(backend: Backend) -> None:
    """Checks that a sandbox that holds all timers of its user leaves some for another one's user."""
    with sandbox(backend) as one, sandbox(backend) as other:
        holding = threading.Thread(target=lambda: one.run(PREAMBLE + _HOLD, timeout=4))
        holding.start()
        result = other.run(PREAMBLE + _NEED)
        holding.join()
        assert (result.status, result.stdout) == ("ok", ""), result


def _finds_nothing(box: Sandbox, look: str) -> None:
    result = box.run(look)
    pages, word, *places = result.stdout.split()
    assert result.status == "ok" and int(pages) > 100, result  # noqa: PT018
    assert (word, places) == ("pages", []), result


@contextlib.contextmanager
def _surroundings() -> Iterator[str]:
    """Yields lines of a program that name the targets of attacks, which must be unharmed in the end."""
    ours = str(Path(__file__).parents[2])
    with _outsider() as pid, _secret() as secret, _listening() as (path, abstract):
        yield (
            f"SECRET, OURS, PID, SOCKET, ABSTRACT = {secret!r}, {ours!r}, {pid}, {path!r}, {abstract!r}\n"
            f"MEMORY, PROCESSES, DISK = {SMALL.memory_mb}, {SMALL.processes}, {SMALL.disk_mb}\n"
            f"NICE = {os.getpriority(os.PRIO_PROCESS, 0)}\n"
        )


@contextlib.contextmanager
def _secret() -> Iterator[str]:
    """Yields the path of a host file that everyone may read. Checks afterwards that nothing about it has
    changed."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"secret")
        file.flush()
        path = Path(file.name)
        path.chmod(0o644)
        before = path.stat()
        yield file.name
        after = path.stat()
        assert (after.st_mode, after.st_size, after.st_mtime, after.st_nlink) == (
            before.st_mode,
            before.st_size,
            before.st_mtime,
            before.st_nlink,
        )
        assert (path.read_bytes(), os.listxattr(path)) == (b"secret", [])


@contextlib.contextmanager
def _outsider() -> Iterator[int]:
    """Yields the id of a host process. Checks afterwards that it still runs."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        yield process.pid
        assert process.poll() is None, "a process outside was killed"
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        assert state not in "Tt", "a process outside was stopped"
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _listening() -> Iterator[tuple[str, str]]:
    """Yields the addresses of two sockets that take datagrams from everyone. Checks that they received
    none."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        Path(folder).chmod(0o755)
        addresses = f"{folder}/socket", f"\0coachgym-{uuid.uuid4().hex}"
        sockets = [stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) for _ in addresses]
        for receiver, address in zip(sockets, addresses, strict=True):
            receiver.setblocking(False)
            receiver.bind(address)
        Path(addresses[0]).chmod(0o666)
        yield addresses
        for receiver in sockets:
            with contextlib.suppress(BlockingIOError):
                raise AssertionError(f"a socket outside got {receiver.recv(1 << 16)!r}")


CHECKS: dict[str, Check] = {
    **{name: withstands(name) for name in ATTACKS},
    **{f"an artifact that {name}": withstands_artifact(name) for name in DEADLY},
    "artifacts that name what is foreign": judges_artifacts(FOREIGN, "estimator", ("foreign",), 20),
    "tables that lie": judges_artifacts(TABLES, "table", ("unreadable", "columns", "text"), 20),
    "artifacts that cost their reader time or memory": judges_artifacts(
        BOMBS, "estimator", ("unreadable", "kind"), 2
    ),
    "nothing is left behind": nothing_is_left_behind,
    "what is counted per user is not shared": what_is_counted_per_user_is_not_shared,
    "nothing leaks from one sandbox to another": nothing_leaks_from_one_sandbox_to_another,
    "no lock reaches another sandbox": no_lock_reaches_another_sandbox,
    "no file keeps the hash of what it held": no_file_keeps_the_hash_of_what_it_held,
}
"""Name -> check."""
