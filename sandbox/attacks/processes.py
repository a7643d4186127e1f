"""Attacks by and on processes."""

from __future__ import annotations

from sandbox.attacks.attack import ENDLESS, Attack

ATTACKS = {
    "fork bomb": Attack("while True: forks()", ENDLESS, 1),
    "fork bomb of detached processes that ignore signals": Attack(
        """
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True:
    if forks(): os.setsid()
""",
        ENDLESS,
        1,
    ),
    "thread bomb": Attack(
        """
import threading
for number in range(2000): threading.Thread(target=time.sleep, args=(60,)).start()
print("BREACH")
""",
        ("error", *ENDLESS),
        1,
    ),
    "as many processes as there may be, left running": Attack(
        """
for number in range(PROCESSES * 2):
    if forks():
        os.setsid()
        while True: time.sleep(1)
""",
        then="""
children = []
while len(children) < PROCESSES // 2: children.append(os.fork() or os._exit(0))
for pid in children: os.waitpid(pid, 0)
""",
    ),
    "a sibling instead of a child": Attack(
        """
for number in range(3):
    if call(56, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:  # CLONE_PARENT
        os.setsid()
        while True:
            open("beat", "w").write(str(time.time()))
            time.sleep(0.01)
time.sleep(0.1)
""",
        ("ok", "error"),
        then="""
if os.path.exists("beat"):
    before = open("beat").read()
    time.sleep(0.1)
    if open("beat").read() != before: print("it goes on")
""",
    ),
    "children that are not waited for": Attack(
        """
for number in range(PROCESSES // 2):
    if forks(): os._exit(0)
time.sleep(0.1)
""",
        then="for number in range(PROCESSES // 2): os.waitpid(os.fork() or os._exit(0), 0)",
    ),
    "killing all processes": Attack(
        """
for number in range(1, 65):
    for pid in (os.getppid(), 1, PID):
        try: os.kill(pid, number)
        except OSError: pass
os.kill(-1, 9)
""",
        ("ok", "error", "killed"),
    ),
    "an interrupt for the process that launched it": Attack(
        """
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD, signal.SIGALRM):
    for pid in (os.getppid(), 1):
        for kill in (lambda: os.kill(pid, number), lambda: call(129, pid, number, b" " * 128)):
            try: kill()
            except OSError: pass
"""
    ),
    "signals by way of a pipe": Attack(
        """
import fcntl
for pid in (os.getppid(), 1, PID):
    for number in (0, signal.SIGKILL, signal.SIGSTOP, signal.SIGINT):
        read, write = os.pipe()
        try:
            fcntl.fcntl(read, 10, number)  # F_SETSIG
            fcntl.fcntl(read, fcntl.F_SETOWN, pid)
            fcntl.fcntl(read, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
            os.write(write, b"x")
        except OSError: pass
"""
    ),
    "changing processes outside": Attack(
        """
attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, PID, 19))
attempt("affinity", lambda: os.sched_setaffinity(PID, [0]))
attempt("signal", lambda: os.kill(PID, 0))
attempt("pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(PID), 0))
attempt("tkill", lambda: call(200, PID, 19))
"""
    ),
    "slowing down later programs": Attack(
        """
for pid in (os.getppid(), 1):
    attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
    attempt("affinity", lambda: os.sched_setaffinity(pid, [0]))
    attempt("idle", lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)))
    attempt("batch", lambda: os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0)))
    attempt("attributes", lambda: call(314, pid, (48).to_bytes(4, "little") + b"\\5" + bytes(43), 0))
    attempt("disk", lambda: call(251, 1, pid, 3 << 13))
attempt("user", lambda: os.setpriority(os.PRIO_USER, 0, 19))
""",
        then="if os.getpriority(os.PRIO_PROCESS, 0) > NICE or os.sched_getscheduler(0): print('slowed down')",
    ),
    "a share of the processor for each of its processes": Attack(
        """
import subprocess
def place():
    try: group = open("/proc/self/autogroup").read().split()[0]
    except OSError: group = "/"
    return os.getsid(0), group
read, write = os.pipe()
own = place()
for number in range(4):
    if forks():
        os.setsid()
        call(112)
        if forks(): call(112)
        if place() != own: os.write(write, b"setsid ")
        os._exit(0)
try: os.setsid()
except OSError: pass
if place() != own: os.write(write, b"itself ")
code = "import os; print(os.getsid(0))"
started = subprocess.run([sys.executable, "-c", code], start_new_session=True, capture_output=True, text=True)
if started.stdout.split() != [str(own[0])]: os.write(write, b"subprocess ")
for path in ("/proc/self/autogroup", "/proc/self/sched"):
    attempt(path, lambda: open(path, "r+").write("19"))
os.close(write)
while part := os.read(read, 99): print("BREACH", part)
"""
    ),
    "limits for the process that launched it": Attack(
        """
import resource
for name in ("CPU", "AS", "FSIZE", "NOFILE", "NPROC", "STACK"):
    which = getattr(resource, "RLIMIT_" + name)
    for pid in (os.getppid(), 1): attempt(name, lambda: resource.prlimit(pid, which, (0, 0)) and -1)
""",
        then="""
until = time.process_time() + 0.1
while time.process_time() < until: pass
open("file", "w").write("x")
""",
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
    "spinning on after a request to end": Attack(
        """
def burn(*_):
    while True: pass
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU): signal.signal(number, burn)
for number in range(4):
    if forks():
        os.setsid()
        os.kill(os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGTERM)
""",
        ("timeout",),
        0.5,
    ),
    "a program that never releases the interpreter": Attack("10 ** 10 ** 9", ("timeout", "error"), 0.5),
    "threads that never end": Attack(
        "import threading\nthreading.Thread(target=lambda: time.sleep(60)).start()", ("timeout",), 0.5
    ),
    "dumping its core": Attack(
        """
import resource
attempt("raise", lambda: resource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30)))
for number in (signal.SIGSEGV, signal.SIGQUIT, signal.SIGABRT, signal.SIGBUS):
    if forks(): os.kill(os.getpid(), number)
os.abort()
""",
        ("error",),
        then="print(end=''.join(name for name in os.listdir() if 'core' in name))",
    ),
    "replacing itself with another program": Attack(
        """
import subprocess
code = "import os; os.closerange(0, 3); os.fork(); os.fork(); os.setsid()\\nwhile True: pass"
subprocess.Popen([sys.executable, "-c", code])
os.execv(sys.executable, [sys.executable, "-c", code])
""",
        (*ENDLESS, "error"),
        0.5,
    ),
    "exiting at once": Attack("os._exit(77)", ("error",)),
    "a process outside can be noticed": Attack("attempt('seen', lambda: os.getpgid(PID))"),
}
