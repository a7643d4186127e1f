"""Attacks on memory: of the machine, of the sandbox's own process, and of later programs."""

from __future__ import annotations

from sandbox.attacks.attack import ANY, STOPPED, Attack

_ROOM = "kept = b'x' * (MEMORY // 2 << 20)"
"""Memory that a later program must be able to allocate."""
_LIBRARIES = "import sys\nsys.libraries = bytearray(b'x') * (80 << 20)"
"""Memory that the sandbox has before its programs start, as libraries have."""
_REWRITE = """
import mmap
file = open("counter", "w+b")
file.truncate(4096)
counter = mmap.mmap(file.fileno(), 4096)
def rewrite(number, memory):
    for place in range(0, len(memory), 4096):
        memory[place] = 1
        if place % (1 << 20) == 0: counter[number * 8 : number * 8 + 8] = (place >> 20).to_bytes(8, "big")
def total(): return sum(int.from_bytes(counter[start : start + 8], "big") for start in range(0, 4096, 8))
def watch(most, seconds=4):
    until = time.monotonic() + seconds
    while time.monotonic() < until and total() <= most: time.sleep(0.01)
    if total() > most: print("BREACH", total(), "MB", flush=True)
"""
"""Counts the memory that all processes hold for themselves, in MB, because none gives any back."""
ATTACKS = {
    "a hundred gigabytes at once": Attack("bytearray(100 << 30); print('BREACH')", STOPPED),
    "a slow leak": Attack("x = [bytearray(8 << 20) for n in range(200)]; print('BREACH')", STOPPED),
    "a leak in shared memory": Attack(
        """
import mmap
kept = []
for number in range(200):
    kept.append(mmap.mmap(-1, 8 << 20))
    kept[-1].write(b"x" * (8 << 20))
print("BREACH")
""",
        STOPPED,
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
        then=_ROOM,
    ),
    "many small leaks": Attack(
        """
read, write = os.pipe()
for number in range(PROCESSES - 1):
    if forks():
        kept = []
        while True: kept.append(b"x" * (1 << 20))
os.close(write)
os.read(read, 1)
""",
        ANY,
        3,
        then=_ROOM,
    ),
    "rewriting the libraries' memory in every process": Attack(
        _REWRITE
        + """
for number in range(PROCESSES - 3):
    if forks():
        rewrite(number, sys.libraries)
        time.sleep(60)
watch(5 * MEMORY)
""",
        ANY,
        6,
        then=_ROOM,
        preload=(_LIBRARIES,),
    ),
    "rewriting the program's memory in every process": Attack(
        _REWRITE
        + """
shared = bytearray(b"x") * (MEMORY * 3 // 4 << 20)
for number in range(PROCESSES - 3):
    if forks():
        time.sleep(0.5)  # all of them share it, and measuring them takes long
        rewrite(number, shared)
        time.sleep(60)
watch(5 * MEMORY)
""",
        ANY,
        6,
        then=_ROOM,
    ),
    "shared memory that stays when it is not mapped": Attack(
        """
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_long, [ctypes.c_long] * 6
libc.munmap.argtypes = [ctypes.c_long] * 2
def keep(flags, file=-1, size=32 << 20):
    address = libc.mmap(0, size, 3, flags, file, 0)
    if address == -1: return 0
    ctypes.memset(address, 1, size)
    libc.munmap(address + 4096, size - 4096)
    return size >> 20
kept = sum(keep(flags) for flags in (0x21, 0x23, 0x4021, 0x8021, 0x100021) for number in range(5))
try: zero = os.open("/dev/zero", os.O_RDWR)
except OSError: zero = None
if zero: kept += sum(keep(0x1, zero) for number in range(20))
if kept > 5 * MEMORY: print("BREACH", kept, "MB")
""",
        ("ok", "killed"),
        then=_ROOM,
    ),
    "memory that outlives the program": Attack(
        """
import mmap
key = 0x5EC2E7
attempt("segment", lambda: call(29, key, 1 << 20, 0o1600))
attempt("semaphores", lambda: call(64, key, 1, 0o1600))
attempt("queue", lambda: call(68, key, 0o1600))
attempt("message queue", lambda: call(240, b"kept", os.O_CREAT | os.O_RDWR, 0o600, 0))
attempt("message queue as a file", lambda: os.open("/dev/mqueue/kept", os.O_CREAT | os.O_RDWR))
attempt("file in memory", lambda: call(319, b"kept", 0))
attempt("secret memory", lambda: call(447, 0))
attempt("locked", lambda: libc.mlockall(3))
attempt("key", lambda: call(248, b"user", b"kept", b"x", 1, -3))
""",
        then=_ROOM,
    ),
    "filling all files in memory": Attack(
        """
for folder in (".", "/tmp", "/dev/shm", "/run", "/run/lock", "/var/tmp"):
    for number in range(64):
        try: open(f"{folder}/f{number}", "wb").write(bytes(1 << 20))
        except OSError: break
""",
        ("ok", "killed"),
        then="import glob\nfor name in glob.glob('f*'): os.unlink(name)\n" + _ROOM,
    ),
    "mappings of every kind": Attack(
        """
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_long, [ctypes.c_long] * 6
def mapped(flags, size=10 << 30): return libc.mmap(0, size, 3, flags, -1, 0)
if libc.prctl(42, 0, 0, 0, 0) == 0: print("BREACH transparent huge pages")
attempt("transparent huge pages", lambda: libc.prctl(41, 0, 0, 0, 0))
attempt("unreserved", lambda: mapped(0x4022))
attempt("shared", lambda: mapped(0x4021))
attempt("growing", lambda: mapped(0x0122))
attempt("locked", lambda: mapped(0x2022))
attempt("huge", lambda: mapped(0x40022, MEMORY << 21))
kept = b""
try:
    for number in range(1 << 17): libc.mmap(0, 4096, 1 + number % 2, 0x22, -1, 0)
except MemoryError: pass
"""
    ),
    "making the launcher the OOM killer's first victim": Attack(
        """
import socket
def hold(kept=[]):
    try:
        while True:
            kept.append(socket.socketpair())
            for end in kept[-1]:
                end.setblocking(False)
                end.set_inheritable(True)
                try:
                    while True: end.send(bytes(1 << 16))
                except BlockingIOError: pass
    except OSError: return kept
for path in ("/proc/self/oom_score_adj", "/proc/self/oom_adj"):
    try: open(path, "w").write("0")
    except OSError: pass
for number in range(PROCESSES - 3):
    if forks():
        kept = hold()
        os.execv("/bin/sleep" if os.path.exists("/bin/sleep") else sys.executable, ["sleep", "30"])
    time.sleep(0.02)
time.sleep(0.5)
""",
        ("ok", "error", "killed"),
        then=_ROOM,
    ),
    "more than the limit in the kernel's buffers": Attack(
        """
import select, socket
read, write = os.pipe()
def fill():
    kept, total = [], 0
    try:
        while True:
            kept.append(socket.socketpair())
            for end in kept[-1]:
                end.setblocking(False)
                try:
                    while True: total += end.send(bytes(1 << 16))
                except BlockingIOError: pass
    except OSError: return total, kept
waiting = 0
for number in range(PROCESSES - 4):
    try: child = os.fork()
    except OSError: break
    if child == 0:
        total, kept = fill()
        os.write(write, total.to_bytes(8, "big"))
        time.sleep(600)
    waiting += 1
total, until = 0, time.monotonic() + 100
while waiting and time.monotonic() < until and total <= 4 * MEMORY << 20:
    if select.select([read], [], [], 0.1)[0]:
        total += int.from_bytes(os.read(read, 8), "big")
        waiting -= 1
    try: waiting -= os.waitpid(-1, os.WNOHANG)[0] > 0
    except ChildProcessError: break
if total > 4 * MEMORY << 20: print("BREACH", total >> 20, "MB")
""",
        ("ok", "error", "killed"),
        then=_ROOM,
    ),
    "huge pages held by a pipe": Attack(
        """
read, write = os.pipe()
page = ctypes.create_string_buffer(4096)
vector = (ctypes.c_size_t * 2)(ctypes.addressof(page), 4096)
attempt("vmsplice", lambda: call(278, write, vector, 1, 0))
"""
    ),
    "the launcher's memory": Attack(
        """
room = ctypes.create_string_buffer(64)
ours = (ctypes.c_size_t * 2)(ctypes.addressof(room), 64)
theirs = (ctypes.c_size_t * 2)(id(room), 64)
for pid in (os.getppid(), 1, PID):
    attempt("read", lambda: call(310, pid, ours, 1, theirs, 1, 0))
    attempt("write", lambda: call(311, pid, ours, 1, theirs, 1, 0))
    attempt("attach", lambda: call(101, 16, pid, 0, 0))
    attempt("seize", lambda: call(101, 0x4206, pid, 0, 0))
    attempt("compare", lambda: call(312, os.getpid(), pid, 1, 0, 0))
    for number in range(8):
        attempt("descriptor", lambda: call(438, os.pidfd_open(pid), number, 0))
    attempt("advise", lambda: call(440, os.pidfd_open(pid), theirs, 1, 21, 0))
"""
    ),
    "overflowing the stack": Attack(
        """
sys.setrecursionlimit(1 << 30)
def deeper(): deeper()
deeper()
""",
        ("error", "killed", "timeout"),
        10,
    ),
    "a program nested too deeply to be parsed": Attack("eval('(' * 100000)", STOPPED),
    "a gigantic command line": Attack(
        """
import resource
resource.setrlimit(resource.RLIMIT_STACK, (resource.getrlimit(resource.RLIMIT_STACK)[1],) * 2)
large = ["x" * (1 << 17)], ["x" * 100000] * 60, ["x"] * 10 ** 6
for arguments, environment in [(item, {}) for item in large] + [([], {"X": "x" * (8 << 20)})]:
    if forks():
        try: os.execve(sys.executable, [sys.executable, "-c", "1", *arguments], environment)
        finally: os._exit(0)
    os.wait()
os.environ.update((f"NAME{number}", "x" * 10000) for number in range(1000))
""",
        ("ok", "error", "killed"),
        then="if 'NAME1' in os.environ: print('it stayed')",
    ),
}
