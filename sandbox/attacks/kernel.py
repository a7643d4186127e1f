"""Attacks through the kernel's interfaces: sockets, system calls, ioctls, /proc, /sys, limits."""

from __future__ import annotations

from sandbox.attacks.attack import Attack

ATTACKS = {
    "sockets of every kind": Attack(
        """
import socket
for family in range(1, 46):  # 16 is netlink, 17 raw packets, 40 the host of a virtual machine
    for kind in (1, 2, 3, 5):
        attempt(f"{family} {kind}", lambda: socket.socket(family, kind).fileno())
"""
    ),
    "datagrams to sockets of the machine": Attack(
        """
import socket
for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET, socket.SOCK_STREAM):
    for address in (SOCKET, ABSTRACT, "/dev/log", "/run/systemd/journal/socket"):
        try: one, other = socket.socketpair(socket.AF_UNIX, kind)
        except OSError: continue
        if kind != socket.SOCK_SEQPACKET:  # there the address is overlooked
            attempt("send", lambda: one.sendto(b"x", address))
            attempt("message", lambda: one.sendmsg([b"x"], [], 0, address))
        attempt("connect", lambda: one.connect(address) or 0)
        attempt("bind", lambda: one.bind("\\0" + str(os.getpid())) or 0)
        attempt("listen", lambda: one.listen() or 0)
"""
    ),
    "all descriptors": Attack("while True: os.dup(0)", ("error",)),
    "reading the process that launched it": Attack(
        """
for pid in (os.getppid(), 1, PID):
    for what in ("environ", "mem", "maps", "auxv", "fd/0", "fd/3", "root/etc/hostname", "stack", "cwd/x",
                 "task/1/mem", "syscall", "pagemap", "io"):
        attempt(what, lambda: open(f"/proc/{pid}/{what}", "rb").read(1))
    for what in ("fd", "map_files", "fdinfo", "ns"): attempt(what, lambda: os.listdir(f"/proc/{pid}/{what}"))
    for what in ("exe", "cwd", "root", "ns/net"): attempt(what, lambda: os.readlink(f"/proc/{pid}/{what}"))
"""
    ),
    "writes to files of processes in /proc": Attack(
        """
for pid in (os.getppid(), 1, PID):
    for what in ("oom_score_adj", "mem", "clear_refs", "timerslack_ns", "comm", "coredump_filter", "sched",
                 "autogroup", "loginuid", "attr/current", "uid_map", "setgroups", "fd/1", "cgroup"):
        attempt(what, lambda: open(f"/proc/{pid}/{what}", "wb").fileno())
"""
    ),
    "writes below /proc and /sys": Attack(
        """
until = time.monotonic() + 5
for top in ("/proc/sys", "/proc/bus", "/proc/irq", "/proc/fs", "/sys/kernel", "/sys/fs", "/sys"):
    for root, folders, names in os.walk(top):
        if time.monotonic() > until: break
        for name in names: attempt(name, lambda: os.open(os.path.join(root, name), os.O_WRONLY))
for name in ("sysrq-trigger", "kcore", "kmsg", "keys", "latency_stats", "mtrr", "scsi/scsi", "timer_list"):
    if os.path.isfile("/proc/" + name): attempt(name, lambda: os.open("/proc/" + name, os.O_RDWR))
for name in ("release_agent", "cgroup.procs", "memory.limit_in_bytes", "memory.max", "pids.max"):
    for root, folders, names in os.walk("/sys/fs/cgroup"):
        attempt(name, lambda: os.open(os.path.join(root, name), os.O_WRONLY))
"""
    ),
    "sockets in another interpreter": Attack(
        """
import subprocess
code = "import socket; socket.socket(); print('BREACH')"
subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
""",
        ("ok", "error"),
    ),
    "forbidden system calls": Attack(
        """
fields = (0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)  # clone_args with CLONE_NEWUSER
clone_args = b"".join(field.to_bytes(8, sys.byteorder) for field in fields)
calls = dict(
    socket=(41, 1, 1, 0), shmget=(29, 0, 4096, 0o1600), semget=(64, 0, 1, 0o1600), msgget=(68, 0, 0o1600),
    memfd=(319, b"x", 0), unshare=(272, 0x10000000), unshare_net=(272, 0x40000000), setns=(308, 0, 0),
    mount=(165, b"none", b"/tmp", b"tmpfs", 0, 0), umount=(166, b"/proc", 2), chroot=(161, b"."),
    ptrace=(101, 16, os.getppid(), 0, 0), keyctl=(250, 0, -3, 1), add_key=(248, b"user", b"x", b"y", 1, -3),
    bpf=(321, 0, b" " * 64, 64), perf=(298, b" " * 128, 0, -1, -1, 0), io_uring=(425, 8, bytes(120)),
    io_uring_enter=(426, 0, 1, 0, 0, 0), io_uring_register=(427, 0, 0, 0, 0), fsopen=(430, b"tmpfs", 0),
    open_tree=(428, -100, b"/", 1), open_tree_attr=(467, -100, b"/", 1, bytes(32), 32),
    fspick=(433, -100, b"/", 0), move_mount=(429, 0, b"", -100, b"/tmp", 4),
    userfaultfd=(323, 1), clone=(56, 0x10000011, 0, 0, 0, 0), by_handle=(304, -100, b" " * 64, 0),
    name_to_handle=(303, -100, b"/", bytes(136), bytes(8), 0), fanotify=(300, 0, 0), quota=(179, 0, 0, 0, 0),
    prlimit=(302, os.getppid(), 0, bytes(16), 0), syslog=(103, 3, bytes(64), 64), reboot=(169, 0, 0, 0, 0),
    module=(175, bytes(8), 8, b""), kexec=(246, 0, 0, 0, 0), swap=(167, b"/dev/zero", 0), acct=(163, b"x"),
    settime=(227, 0, bytes(16)), hostname=(170, b"x", 1), iopl=(172, 3), personality=(135, 0x0400000),
    pivot=(155, b".", b"."), clone3=(435, clone_args, 88), x32=(0x40000000 + 41, 1, 1, 0),
    modify_ldt=(154, 17, bytes(16), 16), syncfs=(306, 0), io_setup=(206, 1, bytes(8)),
    cachestat=(451, os.open(os.__file__, 0), bytes(16), bytes(64), 0),
    listmount=(458, bytes([24, *bytes(7), *[255] * 8, *bytes(8)]), bytes(64), 8, 0),
    slice=(314, 0, bytes([48, *bytes(15), os.getpriority(0, 0), *bytes(8), 225, 245, 5, *bytes(20)]), 0),
    watch=(294, 0), quota_of_descriptor=(443, 0, 0, 0, 0))
for name, arguments in calls.items(): attempt(name, lambda: call(*arguments))
"""
    ),
    "ioctls of files, terminals, sockets and devices": Attack(
        """
import json, socket
open("own", "w").write("x")
os.mkdir("folder")
read_only = ("own", "folder", ".", os.__file__, os.path.dirname(json.__file__))
places = [os.open(path, os.O_RDONLY) for path in read_only]
places += [os.open("own", os.O_RDWR), os.open("/dev/urandom", os.O_RDONLY), os.open("/dev/null", os.O_RDWR)]
places += [0, 1, 2, *os.pipe(), socket.socketpair()[0].detach(), os.pidfd_open(os.getpid())]
requests = dict(
    btrfs=(0x5000940e, 0x50009401, 0x50009417, 0x50009418, 0x5000940f, 0x5000943f, 0xc0189436, 0xc400941b),
    files=(0x40087602, 0x40086602, 0x40046602, 0x401c5820, 0x80086601, 0x801c581f, 0x40049409, 0x4020940d,
           0xc020660b, 0x80111500, 0x41009432, 0x40806685, 0x800c6613, 0xc0506617, 0xc0185879, 0xc0045877,
           0xc0045878, 1, 2),
    queues=(0x5452, 0x5460, 0x8901, 0x8902, 0x8903, 0x8904, 0x8906),
    terminals=(0x5412, 0x5402, 0x540e, 0x5410, 0x5414, 0x541c, 0x541d, 0x5422, 0x5423, 0x40045431),
    network=(0x8912, 0x8910, 0x8913, 0x8915, 0x8927, 0x8933, 0x8946, 0x8954, 0x89a0, 0x8be1),
    devices=(0x40085203, 0x40045201, 0x5204, 0x5206, 0x80045200, 0x5393, 0x1272, 0x125f),
    namespaces=(0xb701, 0xb702, 0xff01, 0xff04, 0xff08, 0xc050ff0b))
for name, numbers in requests.items():
    for number in numbers:
        for place in places:
            room = ctypes.create_string_buffer(4096)
            room[:8] = (os.getpid() if name == "queues" else place).to_bytes(8, "little")
            attempt(f"{name} {number:#x} {place}", lambda: libc.ioctl(place, ctypes.c_ulong(number), room))
""",
        then="""
if os.path.isfile("own") and open("own").read() != "x": print("changed")
for name in ("own", "folder"): os.unlink(name) if os.path.isfile(name) else os.rmdir(name)
""",
    ),
    "leases, and signals for what happens to files": Attack(
        """
import fcntl, json
open("own", "w").write("x")
for path in ("own", ".", os.__file__, os.path.dirname(json.__file__), sys.executable, "/dev/null"):
    file = os.open(path, os.O_RDONLY)
    for kind in (0, 1): attempt(f"lease {path}", lambda: fcntl.fcntl(file, 1024, kind))  # of readers, writers
    for number in (1025, 1026, 1037, 1038, 1039, 1040, 1041):  # F_GETLEASE, F_NOTIFY, hints, delegations
        attempt(f"{number} {path}", lambda: fcntl.fcntl(file, number, bytes(8)))
        attempt(f"{number} {path}", lambda: fcntl.fcntl(file, number, 0x8000003F))
read, write = os.pipe()
for number in (8, 10, 15):  # F_SETOWN, F_SETSIG, F_SETOWN_EX
    for target in (os.getpid(), -os.getpgid(0), os.getppid(), 1, PID, 64):
        attempt(f"{number} {target}", lambda: fcntl.fcntl(read, number, target))
        owner = bytes(4) + target.to_bytes(4, "little", signed=True)
        attempt(f"{number} {target}", lambda: fcntl.fcntl(read, number, owner))
"""
    ),
    "a lower score for the OOM killer": Attack(
        """
for path in ("self", "thread-self", str(os.getpid()), f"self/task/{os.getpid()}"):
    for name, values in (("oom_score_adj", ("0", "999", "-1000")), ("oom_adj", ("0", "-17"))):
        for value in values:
            try: open(f"/proc/{path}/{name}", "r+").write(value)
            except OSError: pass
if forks():
    try: open("/proc/self/oom_score_adj", "r+").write("0")
    except OSError: pass
try:
    if int(open("/proc/self/oom_score_adj").read()) < 1000: print("BREACH")
except OSError: pass
"""
    ),
    "system calls by int 0x80": Attack(
        """
import mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("53 b867010000 bb01000000 b901000000 31d2 cd80 5b c3"))  # socket, by int 0x80
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
if os.uname().machine != "x86_64": os.abort()
attempt("socket", lambda: ctypes.CFUNCTYPE(ctypes.c_int)(address)() if True else 0)
""",
        ("error",),
    ),
    "raising its own limits": Attack(
        """
import resource
for name in ("AS", "FSIZE", "NOFILE", "CORE"):
    which = getattr(resource, "RLIMIT_" + name)
    hard = resource.getrlimit(which)[1]
    attempt(name, lambda: resource.setrlimit(which, (hard + 1, hard + 1)))
attempt("root", lambda: os.setuid(0))
attempt("group", lambda: os.setgid(0))
attempt("groups", lambda: os.setgroups([0]))
attempt("nice", lambda: os.nice(-5))
attempt("real time", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
attempt("capabilities", lambda: call(126, (0x20080522).to_bytes(4, "little") + bytes(4), b"\\xff" * 24))
"""
    ),
    "countless timers and watches": Attack(
        """
import resource
kept = ctypes.c_int()
for number in range(200000):
    if call(222, 1, None, ctypes.byref(kept)): break
for number in range(1000):
    if call(294, 0) < 0: break  # inotify
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
for number in range(200000):
    if call(129, os.getpid(), signal.SIGRTMIN, b"\\0" * 8 + b"\\xff" * 4 + bytes(116)): break
""",
        ("ok", "error", "killed"),
        then="signal.setitimer(signal.ITIMER_REAL, 60)",
    ),
}
