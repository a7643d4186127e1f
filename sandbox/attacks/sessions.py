"""Attacks from within a session. ``SESSION`` defines ``CONTROLS``, the pipes between session and guest.
Processes and threads that they leave behind write to files, which must not change once the program has
ended."""

from __future__ import annotations

from sandbox.attacks.attack import ANY, ENDLESS, PREAMBLE, Attack

BEAT = """
def beat(name="beat"):
    fd = os.open(name, os.O_CREAT | os.O_WRONLY)
    while True:
        os.pwrite(fd, str(time.time_ns()).encode(), 0)
        time.sleep(0.005)
"""
SESSION = (
    PREAMBLE
    + BEAT
    + """
import stat, struct, threading
def is_pipe(fd):
    try: return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError: return False
CONTROLS = [fd for fd in range(3, 256) if is_pipe(fd)]
def send(data):
    for fd in CONTROLS:
        try: os.write(fd, data)
        except OSError: pass
def claim(number, status=0): send(struct.pack(">QB", number, status))
"""
)

ATTACKS = {
    "a session that claims that its program has ended": Attack(
        "for number in range(20): claim(number)\nbeat()", ENDLESS, 1
    ),
    "a session that claims so and continues": Attack(
        "threading.Thread(target=beat).start()\nclaim(1)\nbeat()", ANY, 1
    ),
    "a session that claims so for later programs": Attack(
        """
def lie():
    while True:
        for number in range(1, 5): claim(number, 77)
threading.Thread(target=lie).start()
""",
        ANY,
        1,
    ),
    "a session that sends without end": Attack("while True: send(b'x' * 65536)", ENDLESS, 1),
    "a session that sends half a report": Attack("send(bytes(3)); beat()", ENDLESS, 1),
    "a session whose pipes are full": Attack(
        """
for fd in CONTROLS:
    other = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_NONBLOCK)
    try:
        while True: os.write(other, bytes(4096))
    except OSError: pass
""",
        ANY,
        1,
    ),
    "a session that reads what is meant for the guest": Attack(
        """
def take(fd):
    mine = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    while True: os.read(mine, 1)
for fd in (1, 2, *CONTROLS):
    try: threading.Thread(target=take, args=(fd,), daemon=True).start()
    except OSError: pass
while True: print("x" * 100)
""",
        ANY,
        1,
    ),
    "a session that closes its descriptors and spins": Attack(
        "os.closerange(0, 256)\nwhile True: pass", ("timeout",), 0.5
    ),
    "a session that closes its descriptors": Attack("os.closerange(0, 256)", ("error", "timeout"), 0.5),
    "a session that ignores every signal": Attack(
        """
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
beat()
""",
        ("timeout",),
        0.5,
    ),
    "a session that stops itself": Attack("os.kill(os.getpid(), signal.SIGSTOP)", ("timeout",), 0.5),
    "a session that becomes another program": Attack(
        """
code = "import os, time\\nwhile True: open('beat', 'w').write(str(time.time()))"
for fd in CONTROLS: os.set_inheritable(fd, True)
os.execv(sys.executable, [sys.executable, "-c", code])
""",
        ("timeout", "error", "killed"),
        1,
    ),
    "a session that leaves a fork bomb": Attack(
        """
def bomb():
    while True:
        if forks(): os.setsid()
for number in range(4): threading.Thread(target=bomb, daemon=True).start()
time.sleep(0.3)
""",
        ANY,
        2,
    ),
    "a session that leaves threads printing": Attack(
        """
def chatter():
    while True: os.write(1, b"x" * 4096)
for number in range(4): threading.Thread(target=chatter, daemon=True).start()
""",
        ANY,
        2,
    ),
    "a session that wakes itself": Attack(
        """
class Event(ctypes.Structure):
    _fields_ = [("value", ctypes.c_void_p), ("signal", ctypes.c_int), ("rest", ctypes.c_char * 52)]
signal.signal(signal.SIGCONT, lambda *_: None)  # else newer kernels keep the timer quiet
event, timer = Event(None, signal.SIGCONT), ctypes.c_void_p()
libc.timer_create(1, ctypes.byref(event), ctypes.byref(timer))
libc.timer_settime(timer, 0, struct.pack("qqqq", 0, 10_000_000, 0, 10_000_000), None)
threading.Thread(target=beat, daemon=True).start()
""",
        ANY,
        2,
    ),
    "a session that forges the next program's result": Attack(
        """
import json
class Event(ctypes.Structure):
    _fields_ = [("value", ctypes.c_void_p), ("signal", ctypes.c_int), ("rest", ctypes.c_char * 52)]
signal.signal(signal.SIGCONT, lambda *_: None)
event, timer = Event(None, signal.SIGCONT), ctypes.c_void_p()
libc.timer_create(1, ctypes.byref(event), ctypes.byref(timer))
libc.timer_settime(timer, 0, struct.pack("qqqq", 0, 1_000_000, 0, 1_000_000), None)
text = json.dumps({"status": "ok", "exit_code": 0, "stdout": 6, "wall_s": 0, "cpu_s": 0}).encode()
frame = len(text).to_bytes(4, "big") + (6).to_bytes(4, "big") + text + b"forged"
def forge():
    old = set(os.listdir("/proc"))
    while True:
        for pid in set(os.listdir("/proc")) - old:
            for number in range(3, 16):
                try: os.write(os.open(f"/proc/{pid}/fd/{number}", os.O_WRONLY | os.O_NONBLOCK), frame)
                except OSError: pass
threading.Thread(target=forge, daemon=True).start()
""",
        ANY,
        2,
    ),
    "sessions' processes that wake each other": Attack(
        """
def wake(pid):
    threading.Thread(target=beat, daemon=True).start()
    while True: os.kill(pid, signal.SIGCONT)
me = os.getpid()
try: os.kill(me, 0)
except OSError: me = None
if me:
    for number in range(4):
        if forks(): wake(me)
    threading.Thread(target=wake, args=(0,), daemon=True).start()
""",
        ANY,
        2,
    ),
    "a session that hides a leak": Attack(
        """
for number in range(16):
    if forks():
        kept = b"x" * (60 << 20)
        open(f"f{number}", "w").write("x")
        time.sleep(60)
time.sleep(1.5)
if len([name for name in os.listdir() if name.startswith("f")]) == 16: print("BREACH", flush=True)
""",
        ANY,
        3,
    ),
}
"""Name -> attack."""
