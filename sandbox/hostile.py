"""Programs that attack a sandbox, for ``sandbox.contract``. Each prints BREACH where it gets through.

They find set: SECRET, a file that everyone may read outside; OURS, the folder of this project; PID, a process
outside; and ``attempt(what, action)``, which reports a breach unless ``action`` raises or returns -1.
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.base import Status

PREAMBLE = """
import ctypes, os, signal, sys, time
def attempt(what, action):
    try:
        result = action()
    except (OSError, ValueError, MemoryError):
        return
    if result != -1:
        print("BREACH", what, result, flush=True)
def forks():
    try:
        return os.fork() == 0
    except OSError:
        return False
libc = ctypes.CDLL(None, use_errno=True)
"""


@dataclass(frozen=True)
class Attack:
    """A program, the ways in which it may end where the sandbox holds, and the seconds it gets."""

    code: str
    ends: tuple[Status, ...] = ("ok",)
    timeout: float = 10.0


_STOPPED: tuple[Status, ...] = ("error", "killed")
_ENDLESS: tuple[Status, ...] = ("timeout", "killed")

ATTACKS = {
    "fork bomb": Attack("while True: forks()", _ENDLESS, 1),
    "fork bomb of detached processes that ignore signals": Attack(
        """
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True:
    if forks(): os.setsid()
""",
        _ENDLESS,
        1,
    ),
    "thread bomb": Attack(
        """
import threading
for number in range(2000): threading.Thread(target=time.sleep, args=(60,)).start()
print("BREACH")
""",
        ("error", *_ENDLESS),
        1,
    ),
    "a hundred gigabytes at once": Attack("bytearray(100 << 30); print('BREACH')", _STOPPED),
    "a slow leak": Attack("x = [bytearray(8 << 20) for n in range(200)]; print('BREACH')", _STOPPED),
    "a leak in shared memory": Attack(
        """
import mmap
kept = []
for number in range(200):
    kept.append(mmap.mmap(-1, 8 << 20))
    kept[-1].write(b"x" * (8 << 20))
print("BREACH")
""",
        _STOPPED,
    ),
    "a leak spread over processes": Attack(
        """
read, write = os.pipe()
for number in range(16):
    if forks():
        kept = b"x" * (60 << 20)
        os.write(write, b".")
        time.sleep(60)
os.close(write)
held = 0
while part := os.read(read, 16):
    held += len(part)
    if held == 16: print("BREACH", flush=True)
""",
        ("ok", "error", "killed", "timeout"),
        3,
    ),
    "endless output": Attack("while True: print('x' * 1000)", ("output_limit",)),
    "endless errors": Attack("while True: sys.stderr.write('x' * 1000)", ("output_limit",)),
    "a hundred megabytes of output": Attack("print('x' * (100 << 20))", ("output_limit", "error")),
    "a gigantic traceback": Attack("raise ValueError('x' * (20 << 20))", ("output_limit", "error")),
    "filling the disk": Attack(
        """
done = 0
for number in range(64):
    time.sleep(0.02)
    try:
        with open(f"f{number}", "wb") as file: done += file.write(bytes(1 << 20))
    except OSError: break
if done > 24 << 20: print("BREACH", done)
""",
        ("ok", "killed"),
    ),
    "filling the disk at one blow": Attack(
        """
done = 0
for number in range(16):
    try: os.posix_fallocate(os.open(f"f{number}", os.O_CREAT | os.O_RDWR), 0, 4 << 20)
    except OSError: break
    done += 4
if done > 24: print("BREACH", done)
"""
    ),
    "an inode flood": Attack(
        """
for number in range(40000):
    try: os.close(os.open(f"i{number}", os.O_CREAT))
    except OSError: break
else: print("BREACH")
""",
        ("ok", "killed"),
    ),
    "a sparse giant": Attack("open('s', 'wb').truncate(10 << 30); print('BREACH')", ("error",)),
    "all descriptors": Attack("while True: os.dup(0)", ("error",)),
    "sockets of every kind": Attack(
        """
import socket
for family in range(1, 46):
    for kind in (1, 2, 3):
        attempt(f"{family} {kind}", lambda: socket.socket(family, kind).fileno())
"""
    ),
    "a look into the process that launched it": Attack(
        """
for pid in (os.getppid(), 1, PID):
    for what in ("environ", "mem", "maps", "fd/0", "fd/3", "root/etc/hostname", "stack", "cwd/x"):
        attempt(what, lambda: open(f"/proc/{pid}/{what}", "rb").read(1))
    attempt("descriptors", lambda: os.listdir(f"/proc/{pid}/fd"))
"""
    ),
    "the files of the machine": Attack(
        """
for path in (SECRET, "/etc/shadow", "/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/proc/kcore"):
    attempt(path, lambda: open(path, "rb").read(1))
for name in ("envs", "coaches", "learners", "benchmarks", "conf"):
    attempt(name, lambda: os.listdir(os.path.join(OURS, name)) or -1)
    try: print("BREACH", __import__(name))
    except (ImportError, OSError): pass  # not found, or found and not readable
"""
    ),
    "writing where it must not": Attack(
        """
for path in ("/x", "/etc/x", "/usr/x", "/usr/lib/x", sys.prefix + "/x", "/var/x", "/home/x", os.__file__,
             "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/x", "/dev/x", "/run/x"):
    attempt(path, lambda: open(path, "ab").fileno())
attempt("delete", lambda: os.unlink(os.__file__))
attempt("link", lambda: os.link(os.__file__, "mine"))
actions = (
    lambda: os.unlink(SECRET),
    lambda: open(SECRET, "w").close(),
    lambda: os.chmod(SECRET, 0o600),
    lambda: os.utime(SECRET, (0, 0)),
    lambda: os.truncate(SECRET, 0),
    lambda: os.setxattr(SECRET, "user.x", b"x"),
    lambda: os.chown(SECRET, os.getuid(), -1),
)
for action in actions:
    try: action()  # answered as if done, or done to a file inside: what counts is the one outside
    except OSError: pass
"""
    ),
    "running what it wrote": Attack(
        """
import subprocess
open("x", "w").write("#!/bin/sh\\necho BREACH\\n")
os.chmod("x", 0o700)
subprocess.run(["./x"])
""",
        ("error",),
    ),
    "another interpreter": Attack(
        """
import subprocess
code = "import socket; socket.socket(); print('BREACH')"
subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
""",
        ("ok", "error"),
    ),
    "killing everybody": Attack(
        """
for number in range(1, 65):
    for pid in (os.getppid(), PID):
        try: os.kill(pid, number)
        except OSError: pass
os.kill(-1, 9)
""",
        ("ok", "error", "killed"),
    ),
    "meddling with processes outside": Attack(
        """
attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, PID, 19))
attempt("affinity", lambda: os.sched_setaffinity(PID, [0]))
attempt("signal", lambda: os.kill(PID, 0))
attempt("pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(PID), 0))
attempt("tkill", lambda: libc.syscall(200, PID, 19))
"""
    ),
    "stopping itself": Attack("os.kill(os.getpid(), signal.SIGSTOP)", ("timeout",), 0.5),
    "ignoring signals and spinning": Attack(
        """
for number in (2, 15): signal.signal(number, signal.SIG_IGN)
while True: pass
""",
        ("timeout",),
        0.5,
    ),
    "closing its output and sleeping": Attack("os.close(1); os.close(2); time.sleep(60)", ("timeout",), 0.5),
    "a child that holds the output open": Attack("if forks(): time.sleep(60)"),
    "system calls it has no use for": Attack(
        """
calls = dict(
    socket=(41, 1, 1, 0), shmget=(29, 0, 4096, 0o1600), semget=(64, 0, 1, 0o1600), msgget=(68, 0, 0o1600),
    memfd=(319, b"x", 0), unshare=(272, 0x10000000), unshare_net=(272, 0x40000000), setns=(308, 0, 0),
    mount=(165, b"none", b"/tmp", b"tmpfs", 0, 0), umount=(166, b"/proc", 2), chroot=(161, b"."),
    ptrace=(101, 16, os.getppid(), 0, 0), keyctl=(250, 0, -3, 1), add_key=(248, b"user", b"x", b"y", 1, -3),
    bpf=(321, 0, b" " * 64, 64), perf=(298, b" " * 128, 0, -1, -1, 0), io_uring=(425, 8, bytes(120)),
    userfaultfd=(323, 1), clone=(56, 0x10000011, 0, 0, 0, 0), by_handle=(304, -100, b" " * 64, 0),
    prlimit=(302, os.getppid(), 0, bytes(16), 0), x32=(0x40000000 + 41, 1, 1, 0))
for name, arguments in calls.items():
    wide = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    attempt(name, lambda: libc.syscall(*wide))
"""
    ),
    "raising its own limits": Attack(
        """
import resource
for name in ("AS", "FSIZE", "NOFILE", "CORE"):
    which = getattr(resource, "RLIMIT_" + name)
    hard = resource.getrlimit(which)[1]
    attempt(name, lambda: resource.setrlimit(which, (hard + 1, hard + 1)))
attempt("root", lambda: os.setuid(0))
attempt("nice", lambda: os.nice(-5))
"""
    ),
    "forged frames": Attack(
        """
frame = (2).to_bytes(4, "big") + bytes(4) + b"{}"
for descriptor in range(3, 1024): attempt(descriptor, lambda: os.write(descriptor, frame))
"""
    ),
    "leaving at once": Attack("os._exit(77)", ("error",)),
    "overflowing the stack": Attack(
        """
sys.setrecursionlimit(1 << 30)
def deeper(): deeper()
deeper()
""",
        ("error", "killed", "timeout"),
    ),
    "locking everybody out": Attack("os.mkdir('d'); os.chmod('d', 0); os.chmod('.', 0)"),
    "a process outside can be noticed": Attack("attempt('seen', lambda: os.getpgid(PID))"),
}
"""Name -> attack. The numbers are those of x86-64; on other machines they are other harmless calls, or none.
"""
