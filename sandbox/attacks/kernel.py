"""Attacks through the kernel's interfaces: sockets, system calls, /proc, /sys, limits."""

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
    pivot=(155, b".", b"."), clone3=(435, clone_args, 88), x32=(0x40000000 + 41, 1, 1, 0))
for name, arguments in calls.items(): attempt(name, lambda: call(*arguments))
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
