"""Attacks on what the host receives: output, frames, descriptors."""

from __future__ import annotations

from sandbox.attacks.attack import Attack

ATTACKS = {
    "endless output": Attack("while True: print('x' * 1000)", ("output_limit",)),
    "endless errors": Attack("while True: sys.stderr.write('x' * 1000)", ("output_limit",)),
    "a hundred megabytes of output": Attack("print('x' * (100 << 20))", ("output_limit", "error")),
    "a drip of output": Attack("while True: os.write(1, b'x')", ("output_limit", "timeout"), 1),
    "a gigantic traceback": Attack("raise ValueError('x' * (20 << 20))", ("output_limit", "error")),
    "a traceback without end": Attack(
        """
error = ValueError("x")
for number in range(100000):
    outer = ValueError("y" * 50)
    outer.__cause__, error = error, outer
raise error
""",
        ("output_limit", "error", "timeout"),
        3,
    ),
    "an exception that cannot be formatted": Attack(
        """
class Odd(Exception):
    def __str__(self): os._exit(5)
    __repr__ = __str__
raise Odd
""",
        ("error",),
    ),
    "output that is not text": Attack(
        "os.write(1, bytes(range(256)) * 400 + b'\\x1b]0;x\\7\\xed\\xa0\\x80'); os.write(2, b'\\xff' * 9999)"
    ),
    "forged frames": Attack(
        """
frame = (2).to_bytes(4, "big") + bytes(4) + b"{}"
for descriptor in range(3, 1024): attempt(descriptor, lambda: os.write(descriptor, frame))
"""
    ),
    "half a frame, then an exit": Attack(
        """
import json
text = json.dumps({"status": "ok", "exit_code": 0, "stdout": 6, "wall_s": 0, "cpu_s": 0}).encode()
frame = len(text).to_bytes(4, "big") + (6).to_bytes(4, "big") + text + b"forged"
for descriptor in range(1024):
    try: os.write(descriptor, frame + frame[:20])
    except OSError: pass
os._exit(0)
"""
    ),
    "the launcher's streams by their names": Attack(
        """
for pid in (1, os.getppid()):
    for number in range(8):
        for mode in ("rb", "wb"): attempt(number, lambda: open(f"/proc/{pid}/fd/{number}", mode).fileno())
for name in ("/dev/tty", "/dev/console", "/dev/pts/0", "/dev/pts/ptmx"):
    attempt(name, lambda: os.open(name, os.O_RDWR | os.O_NOCTTY) if "ptmx" not in name else -1)
"""
    ),
    "its own streams reversed": Attack(
        """
import fcntl
for number in (0, 1, 2):
    for mode in ("rb", "wb"):
        try: file = open(f"/proc/self/fd/{number}", mode, 0)
        except OSError: continue
        os.set_blocking(file.fileno(), False)
        try: file.read(10) if mode == "rb" else file.write(b"")
        except OSError: pass
    for size in (4096, 1 << 20):
        try: fcntl.fcntl(number, 1031, size)
        except OSError: pass
    os.set_blocking(number, False)
os.dup2(0, 1); os.dup2(1, 2)
"""
    ),
    "output to a full device": Attack(
        """
try: full = os.open("/dev/full", os.O_WRONLY)
except OSError: full = os.open("/dev/null", os.O_RDONLY)
os.dup2(full, 1); os.dup2(full, 2)
print("x" * 100000)
""",
        ("ok", "error"),
    ),
    "output after it closed": Attack(
        """
if forks():
    os.setsid()
    if forks():
        while True:
            try: os.write(1, b"later ")
            except OSError: pass
    os._exit(0)
os.close(1); os.close(2)
""",
        ("ok", "error", "output_limit"),
    ),
    "endless output while the interpreter exits": Attack(
        """
import atexit, threading
class Loud:
    def __del__(self):
        while True: os.write(1, b"x" * 100)
kept = Loud()
atexit.register(Loud)
""",
        ("output_limit",),
    ),
    "closing its output and sleeping": Attack("os.close(1); os.close(2); time.sleep(60)", ("timeout",), 0.5),
    "a child that holds the output open": Attack("if forks(): time.sleep(60)"),
    "changing the program runner": Attack(
        """
import gc
for thing in gc.get_objects():
    try:
        if isinstance(thing, dict) and "_install" in thing: thing.clear()
    except Exception: pass
for name in list(sys.modules):
    if name.startswith("sandbox"): sys.modules[name].__dict__.clear()
sys.stdout = sys.stderr = sys.stdin = None
import builtins
builtins.open = builtins.print = None
sys.excepthook = sys.exit
os.write = None
""",
        ("ok", "error"),
    ),
}
