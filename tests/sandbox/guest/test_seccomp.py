"""The tables of the filters, on every architecture: a small interpreter runs them."""

import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.guest import seccomp
from sandbox.guest.seccomp import ALLOW, DONE, ENOSYS, ENOTTY, EPERM, FCNTLS, IOCTLS, KILL, Line
from sandbox.guest.system_calls import DENIED, NOT_OURS, NUMBERS, UNDONE
from sandbox.host import boot

MACHINES = tuple(NUMBERS)
PID = 4321
ROOT = Path(__file__).parents[3]


def answer(lines: list[Line], machine: str, name: str | int, *arguments: int) -> int:
    """Returns what a filter answers to a system call. Numbers of calls may be given instead of names."""
    number = NUMBERS[machine][name] if isinstance(name, str) else name
    data = {0: number, 4: seccomp.ARCHITECTURES[machine]}
    data |= {16 + 8 * index: value & 0xFFFFFFFF for index, value in enumerate((*arguments, 0, 0, 0, 0))}
    value, at = 0, 0
    while True:
        code, if_true, if_false, operand = lines[at]
        at += 1
        if code == 0x20:
            value = data[operand]
        elif code == 0x54:
            value &= operand
        elif code == 0x06:
            return operand
        else:
            tests = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}
            at += if_true if tests[code] else if_false


@pytest.mark.parametrize("machine", MACHINES)
def test_what_no_program_needs_is_denied_on_every_architecture(machine: str) -> None:
    lines = seccomp.rules(machine)
    known = [name for name in DENIED if name in NUMBERS[machine]]
    assert set(DENIED) - set(known) <= {"modify_ldt", "inotify_init"}  # those exist on x86-64 only
    for name in known:
        assert answer(lines, machine, name) == EPERM, name
    assert {"modify_ldt", "sync", "syncfs", "inotify_init1", "io_setup", "cachestat"} <= set(DENIED)
    assert answer(lines, machine, "clone3") == ENOSYS
    assert answer(lines, machine, 0x40000000 + NUMBERS[machine]["socket"]) == EPERM
    other = next(each for each in MACHINES if each != machine)
    assert answer(lines, other, 0) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_the_only_ioctls_are_those_of_streams(machine: str) -> None:
    lines = seccomp.rules(machine)
    assert sorted(IOCTLS) == ["FIOCLEX", "FIONBIO", "FIONCLEX", "FIONREAD", "TCGETS", "TIOCGWINSZ"]
    allowed = {
        number
        for number in (*range(999), *range(0x5300, 0x5500))
        if answer(lines, machine, "ioctl", 3, number) == ALLOW
    }
    assert allowed == {0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451}
    for number in (
        0x5000940E, 0x50009401, 0x50009417, 0x50009418, 0x40087602, 0x40086602, 0x401C5820, 0x40049409,
        0x4020940D, 0xC0189436, 0xC0185879, 0x40045431, 0x8000_5401, 0xFFFF_5413,
    ):  # fmt: skip
        assert answer(lines, machine, "ioctl", 3, number) == ENOTTY, hex(number)
    assert answer(lines, machine, "ioctl", 3, 0x1_0000_5401) == ALLOW  # the kernel reads 32 bits, too


@pytest.mark.parametrize("machine", MACHINES)
def test_fcntl_knows_no_leases_no_notifications_and_no_signals(machine: str) -> None:
    lines = seccomp.rules(machine)
    allowed = {
        number
        for number in (*range(99), *range(1000, 1099))
        if answer(lines, machine, "fcntl", 3, number) == ALLOW
    }
    assert allowed == set(FCNTLS.values())
    for number in (8, 10, 15, 1024, 1025, 1026, 1036, 1038, 1039, 1040):
        assert answer(lines, machine, "fcntl", 3, number) == EPERM, number


@pytest.mark.parametrize("machine", MACHINES)
def test_shared_memory_needs_a_file(machine: str) -> None:
    lines = seccomp.rules(machine)
    for flags, allowed in {
        0x22: True, 0x2: True, 0x1: True, 0x20022: True, 0x4022: True, 0x3: True,
        0x21: False, 0x23: False, 0x4021: False, 0x8021: False, 0x40021: False, 0x100021: False,
    }.items():  # fmt: skip
        assert (answer(lines, machine, "mmap", 0, 4096, 3, flags) == ALLOW) == allowed, hex(flags)


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_with_arguments_are_denied_by_their_arguments(machine: str) -> None:
    lines = seccomp.rules(machine)
    for name, arguments, allowed in (
        ("clone", (0x11,), True), ("clone", (0x3D0F00,), True), ("clone", (0x10000011,), False),
        ("prlimit64", (0,), True), ("prlimit64", (PID,), False), ("sched_setscheduler", (1,), False),
        ("sched_setaffinity", (0,), True), ("setpriority", (0, 0), True), ("setpriority", (0, PID), False),
        ("setpriority", (2, 0), False), ("ioprio_set", (1, 0), True), ("ioprio_set", (1, PID), False),
        ("socketpair", (1, 1), True), ("socketpair", (1, 0x80805), True), ("socketpair", (1, 2), False),
        ("socketpair", (16, 1), False), ("kill", (PID,), True), ("setsid", (), True), ("chmod", (), True),
        ("prctl", (15,), True), ("prctl", (41, 0), False), ("prctl", (41, 1), False),
    ):  # fmt: skip
        if name in NUMBERS[machine]:
            expected = ALLOW if allowed else EPERM
            assert answer(lines, machine, name, *arguments) == expected, (name, arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_programs_stay_in_their_session_and_on_a_host_change_nothing(machine: str) -> None:
    assert answer(seccomp.rules_of_program(machine), machine, "setsid") == DONE
    assert answer(seccomp.rules_of_program(machine), machine, "kill", PID) == ALLOW
    lines = seccomp.rules_on_host(machine, PID)
    for name in UNDONE:
        assert name not in NUMBERS[machine] or answer(lines, machine, name) == DONE, name
    for name in NOT_OURS:
        assert answer(lines, machine, name) == EPERM, name
    for name in ("kill", "tgkill"):
        assert answer(lines, machine, name, PID) == ALLOW
        assert answer(lines, machine, name, PID + 1) == answer(lines, machine, name, -1) == EPERM


def test_streams_files_locks_and_processes_work_behind_the_filters() -> None:
    code = """
import fcntl, mmap, os, select, shutil, sqlite3, struct, subprocess, sys, tempfile
from sandbox.guest import seccomp
os.setsid()
seccomp.filter_system_calls()
seccomp.filter_program()
assert not sys.stdout.isatty() and shutil.get_terminal_size().columns
read, write = os.pipe()
os.write(write, b"four")
assert fcntl.ioctl(read, 0x541B, bytes(4)) == struct.pack("i", 4) and select.select([read], [], [], 0)[0]
os.set_blocking(read, False); os.set_inheritable(read, True); os.set_inheritable(read, False)
fcntl.fcntl(write, 1031, 8192)
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for journal in ("delete", "wal"):
        with sqlite3.connect(journal) as base:
            base.execute(f"pragma journal_mode={journal}")
            base.execute("create table t (x)")
    file = open("locked", "w+b")
    fcntl.flock(file, fcntl.LOCK_EX); fcntl.lockf(file, fcntl.LOCK_EX)
    file.truncate(4096)
    assert len(mmap.mmap(file.fileno(), 4096)) == 4096
    assert len(mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE)) == 4096
child = subprocess.run([sys.executable, "-c", "print(1)"], start_new_session=True, capture_output=True)
assert child.stdout == b"1\\n"
group = subprocess.Popen([sys.executable, "-c", "input()"], process_group=0, stdin=subprocess.PIPE)
os.killpg(group.pid, 9)
assert group.wait() == -9
print("done", os.getsid(0) == os.getpid())
print(seccomp.libc.prctl(42, 0, 0, 0, 0), seccomp.libc.prctl(41, 0, 0, 0, 0))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("done True\n1 -1\n", "")


def test_the_modules_of_a_guest_are_sent_to_containers() -> None:
    code = "import sys, sandbox.guest.main; print(*(name for name in sys.modules if '.guest.' in name))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name.rpartition(".")[2] for name in done.stdout.split()} <= set(boot._MODULES)
