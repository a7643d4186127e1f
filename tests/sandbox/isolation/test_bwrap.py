"""Bubblewrap sandboxes: how they start, and what a program can see."""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from sandbox import contract
from sandbox.base import Limits, SandboxError, SandboxSpec
from sandbox.guest import landlock
from sandbox.guest.folder import MAX_FILES, MAX_VISITED
from sandbox.guest.processes import descendants
from sandbox.host import boot
from sandbox.host.recovery import RecoveringSandbox
from sandbox.local import Local
from tests.sandbox.backends import local, or_skip


def bwrap(**settings: object) -> Local:
    return local(mode="bwrap", **settings)


@pytest.fixture(scope="module")
def backend() -> Iterator[Local]:
    built = or_skip(bwrap)
    yield built
    built.close()


def output(backend: Local, code: str) -> list[str]:
    box = backend.open(SandboxSpec(limits=Limits(disk_mb=8)))
    result = box.run("import json, os\n" + code)
    box.close()
    assert result.status == "ok", result
    lines: list[str] = json.loads(result.stdout)
    return lines


@pytest.mark.bwrap
def test_a_program_has_no_privileges_and_cannot_get_any(backend: Local) -> None:
    lines = output(backend, "print(json.dumps(open('/proc/self/status').read().splitlines()))")
    status = dict(line.split(":\t", 1) for line in lines)
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert status["Groups"].split() == [] or os.geteuid()


@pytest.mark.bwrap
def test_a_program_sees_its_own_folder_and_python_read_only(backend: Local) -> None:
    lines = output(backend, "print(json.dumps(open('/proc/mounts').read().splitlines()))")
    writable = {line.split()[1] for line in lines if "rw" in line.split()[3].split(",")}
    assert writable == {"/episode", "/proc", "/dev/null", "/dev/random", "/dev/urandom"}
    assert not {"home", "var", "run", "sys"} & set(output(backend, "print(json.dumps(os.listdir('/')))"))


@pytest.mark.bwrap
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: other users keep their uid")
def test_root_runs_each_sandbox_as_a_unique_user(backend: Local) -> None:
    others = descendants(os.getpid())
    boxes = [backend.open(SandboxSpec()) for _ in range(2)]
    users = {user for pid in descendants(os.getpid()) - others for user in users_of(pid)}
    for box in boxes:
        box.close()
    assert len(users) == 2
    assert min(users) >= 20000


def users_of(pid: int) -> set[int]:
    """Returns the real, effective, saved and file system uids."""
    line = Path(f"/proc/{pid}/status").read_text().split("Uid:\t")[1].splitlines()[0]
    return set(map(int, line.split()))


@pytest.mark.bwrap
def test_warm_sandboxes_end_with_the_backend() -> None:
    others = descendants(os.getpid())
    backend = or_skip(lambda: bwrap(pool=2, starting=2))
    taken = backend.open(SandboxSpec())
    until = time.monotonic() + 60
    while len(guests := [pid for pid in descendants(os.getpid()) - others if in_own_namespace(pid)]) < 3:
        assert time.monotonic() < until, guests
        time.sleep(0.05)
    backend.close()
    assert descendants(os.getpid()) - others == set()
    with pytest.raises(SandboxError):
        taken.run("1")


def in_own_namespace(pid: int) -> bool:
    """Returns whether a process is in a pid namespace below ours."""
    try:
        return len(Path(f"/proc/{pid}/status").read_text().split("NSpid:")[1].splitlines()[0].split()) == 2
    except (OSError, IndexError):
        return False


FLOOD = """
import os
for number in range(10000): os.close(os.open(f"{os.urandom(8).hex()}", os.O_CREAT))
"""
"""What six of them leave can be visited, however late the guest looks on a busy machine."""


@pytest.mark.bwrap
def test_programs_that_leave_countless_files_are_killed_and_the_sandbox_answers(backend: Local) -> None:
    box = RecoveringSandbox(lambda: backend.open(SandboxSpec()))
    for _ in range(6):
        assert box.run(FLOOD).status == "killed"
        assert len(box.list()) == MAX_FILES
    count = box.run("import os; usage = os.statvfs('.'); print(usage.f_files - usage.f_ffree)")
    assert int(count.stdout) < MAX_VISITED
    tidied = box.run("import glob, os\nfor name in glob.glob('*'): os.unlink(name)")
    assert tidied.status == "ok"
    assert box.list() == ()
    box.close()


@pytest.mark.bwrap
def test_a_program_that_leaves_more_files_than_can_be_visited_is_scored(
    backend: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = boot.message

    def few(preload: Sequence[str], settings: Mapping[str, object]) -> bytes:
        return message(preload, settings).replace(b"MAX_VISITED = 1 << 16", b"MAX_VISITED =    300 ")

    monkeypatch.setattr(boot, "message", few)
    box = RecoveringSandbox(lambda: backend.open(SandboxSpec()))
    box.write("given", b"1")
    result = box.run(FLOOD.replace("10000", "500"))
    assert (result.status, result.stdout) == ("killed", ""), result
    assert [file.path for file in box.list()] == ["given"]
    assert box.run("print(open('given').read())").stdout == "1\n"
    box.close()


def test_a_missing_bwrap_is_an_error_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxError, match="bwrap is missing: install bubblewrap"):
        bwrap()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("bwrap: setting up uid map: Permission denied", "bwrap: setting up uid map: Permission denied"),
        ("bwrap: Unknown option --disable-userns", "install bubblewrap 0.8 or newer"),
    ],
)
def test_a_bwrap_that_may_not_start_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, reason: str
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text(f"#!/bin/sh\necho '{line}' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("sandbox.isolation.bwrap.local_users", lambda: None)
    with pytest.raises(SandboxError, match=reason) as caught:
        bwrap()
    assert "\n" not in str(caught.value)


@pytest.mark.bwrap
def test_without_landlock_the_gap_is_declared_and_real(
    backend: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = boot.message

    def without(preload: Sequence[str], settings: Mapping[str, object]) -> bytes:
        return message(preload, settings).replace(b"NEEDED = 3", b"NEEDED = 9")

    monkeypatch.setattr(landlock, "version", lambda: 0)
    monkeypatch.setattr(boot, "message", without)
    gapped = bwrap()
    gaps = gapped.known_gaps - backend.known_gaps
    assert {"executing what it wrote", "a lower score for the OOM killer"} < gaps
    for name in (*gaps, "writing where it must not", "the files of the machine"):
        contract.verify(name, gapped)
    gapped.close()
