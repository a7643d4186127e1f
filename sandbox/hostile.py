"""Programs that attack a sandbox, for ``sandbox.contract``. Each prints BREACH where it gets through."""

from __future__ import annotations

from dataclasses import dataclass, field

from sandbox.base import Status

ANY: frozenset[Status] = frozenset({"ok", "error", "timeout", "killed", "output_limit"})


@dataclass(frozen=True)
class Attack:
    """A program, and the ways in which it may end where the sandbox holds.

    The program finds in its text ``{secret}``, a file that everyone may read outside, ``{ours}``, the folder of
    this project, and ``{pid}``, a process outside.
    """

    code: str
    ends: frozenset[Status] = field(default=ANY)


def _ends(*statuses: Status) -> frozenset[Status]:
    return frozenset(statuses)


_TRY = """
import ctypes, os, signal, sys
def attempt(what, action):
    try:
        result = action()
    except (OSError, ValueError, MemoryError):
        return
    if result != -1:
        print("BREACH", what, result)
libc = ctypes.CDLL(None, use_errno=True)
"""

ATTACKS: dict[str, Attack] = {
    "fork bomb": Attack("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", _ends("timeout", "killed")),
    "fork bomb of detached processes that ignore signals": Attack(
        "import os, signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n"
        "while True:\n    try:\n        if os.fork() == 0: os.setsid()\n    except OSError: pass",
        _ends("timeout", "killed"),
    ),
    "thread bomb": Attack(
        "import threading, time\nfor n in range(2000): threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "print('BREACH')",
        _ends("error", "timeout", "killed"),
    ),
    "a hundred gigabytes at once": Attack("x = bytearray(100 << 30)\nprint('BREACH')", _ends("error", "killed")),
    "a slow leak": Attack(
        "x = []\nfor n in range(200): x.append(bytearray(8 << 20))\nprint('BREACH')", _ends("error", "killed")
    ),
    "a leak in shared memory": Attack(
        "import mmap\nx = []\nfor n in range(200):\n    x.append(mmap.mmap(-1, 8 << 20)); x[-1].write(b'x' * (8 << 20))\n"
        "print('BREACH')",
        _ends("error", "killed"),
    ),
    "a leak spread over processes": Attack(
        "import os, time\nread, write = os.pipe()\nfor n in range(16):\n    if os.fork() == 0:\n"
        "        x = bytearray(b'x') * (60 << 20); os.write(write, b'.'); time.sleep(60)\n"
        "os.close(write)\ngot = 0\nwhile part := os.read(read, 16): got += len(part); got >= 16 and print('BREACH', flush=True)",
        _ends("error", "killed", "ok", "timeout"),
    ),
    "endless output": Attack("while True: print('x' * 1000)", _ends("output_limit")),
    "endless errors": Attack("import sys\nwhile True: sys.stderr.write('x' * 1000)", _ends("output_limit")),
    "a hundred megabytes of output": Attack("print('x' * (100 << 20))", _ends("output_limit", "error")),
    "a gigantic traceback": Attack("raise ValueError('x' * (20 << 20))", _ends("output_limit", "error")),
    "filling the disk": Attack(
        "done = 0\nfor n in range(64):\n    try:\n        with open(f'f{{n}}', 'wb') as f: done += f.write(bytes(1 << 20))\n"
        "    except OSError: break\nif done > 24 << 20: print('BREACH', done)"
    ),
    "an inode flood": Attack(
        "import os\nfor n in range(40000):\n    try: os.close(os.open(f'i{{n}}', os.O_CREAT))\n    except OSError: break\n"
        "else: print('BREACH')"
    ),
    "a sparse giant": Attack("open('s', 'wb').truncate(10 << 30)\nprint('BREACH')", _ends("error", "killed")),
    "all descriptors": Attack("import os\nx = []\nwhile True: x.append(os.dup(0))", _ends("error")),
    "sockets of every kind": Attack(
        _TRY + "import socket\nfor family in range(1, 46):\n    for kind in (1, 2, 3):\n"
        "        attempt(f'{{family}} {{kind}}', lambda: socket.socket(family, kind).fileno())"
    ),
    "a look into the process that launched it": Attack(
        _TRY + "for what in ('environ', 'mem', 'maps', 'fd/0', 'fd/3', 'root/etc/hostname', 'cwd/x', 'stack'):\n"
        "    attempt(what, lambda: open(f'/proc/{{os.getppid()}}/{{what}}', 'rb').read(1))\n"
        "attempt('fds', lambda: os.listdir(f'/proc/{{os.getppid()}}/fd'))"
    ),
    "the files of the machine": Attack(
        _TRY + "for path in ({secret!r}, '/etc/shadow', '/dev/mem', '/dev/kmsg', '/dev/sda', '/dev/vda', '/proc/kcore'):\n"
        "    attempt(path, lambda: open(path, 'rb').read(1))\n"
        "attempt('ours', lambda: os.listdir({ours!r}))\nattempt('home', lambda: os.listdir('/root/.ssh'))\n"
        "for name in ('envs', 'coaches', 'learners', 'conf'):\n    try: __import__(name); print('BREACH', name)\n"
        "    except Exception: pass"
    ),
    "writing where it must not": Attack(
        _TRY + "import pathlib\nfor path in ('/x', '/etc/x', '/usr/x', '/usr/lib/x', sys.prefix + '/x', '/var/x', '/home/x',"
        " os.__file__, '/proc/sys/kernel/hostname', '/proc/sysrq-trigger', '/sys/x', '/dev/x', '/run/x'):\n"
        "    attempt(path, lambda: open(path, 'ab').fileno())\n"
        "attempt('delete', lambda: os.unlink(os.__file__))\nattempt('chmod', lambda: os.chmod(os.__file__, 0o777))"
    ),
    "running what it wrote": Attack(
        "import os, subprocess\nopen('x', 'w').write('#!/bin/sh\\necho BREACH\\n'); os.chmod('x', 0o700)\n"
        "subprocess.run(['./x'])",
        _ends("error"),
    ),
    "another interpreter": Attack(
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import socket; socket.socket(); print(\"BREACH\")'])"
    ),
    "killing everybody": Attack(
        "import os, signal\nfor n in range(1, 65):\n    for pid in (os.getppid(), {pid}):\n        try: os.kill(pid, n)\n"
        "        except OSError: pass\nos.kill(-1, 9)"
    ),
    "stopping itself": Attack("import os\nos.kill(os.getpid(), 19)", _ends("timeout")),
    "ignoring signals and spinning": Attack(
        "import signal\nfor n in (2, 15): signal.signal(n, signal.SIG_IGN)\nwhile True: pass", _ends("timeout")
    ),
    "closing its output and sleeping": Attack("import os, time\nos.close(1); os.close(2); time.sleep(60)", _ends("timeout")),
    "a child that holds the output open": Attack(
        "import os, time\nprint('early', flush=True)\nif os.fork() == 0: time.sleep(60)", _ends("ok")
    ),
    "system calls it has no use for": Attack(
        _TRY + "import platform\nassert platform.machine() == 'x86_64'\n"
        "calls = dict(socket=(41, 1, 1, 0), shmget=(29, 0, 4096, 0o1600), semget=(64, 0, 1, 0o1600), msgget=(68, 0, 0o1600),"
        " memfd=(319, b'x', 0), unshare=(272, 0x10000000), unshare_net=(272, 0x40000000), setns=(308, 0, 0),"
        " mount=(165, b'none', b'/tmp', b'tmpfs', 0, 0), umount=(166, b'/proc', 2), chroot=(161, b'.'),"
        " ptrace=(101, 16, os.getppid(), 0, 0), keyctl=(250, 0, -3, 1), add_key=(248, b'user', b'x', b'y', 1, -3),"
        " bpf=(321, 0, b' ' * 64, 64), perf=(298, b' ' * 128, 0, -1, -1, 0), io_uring=(425, 8, b'\\0' * 120),"
        " userfaultfd=(323, 1), clone=(56, 0x10000011, 0, 0, 0, 0), open_by_handle=(304, -100, b' ' * 64, 0),"
        " prlimit=(302, os.getppid(), 0, b'\\0' * 16, 0), x32=(0x40000000 + 41, 1, 1, 0))\n"
        "for name, (number, *rest) in calls.items():\n"
        "    rest = [ctypes.c_long(r) if isinstance(r, int) else r for r in rest]\n"
        "    attempt(name, lambda: libc.syscall(ctypes.c_long(number), *rest))"
    ),
    "raising its own limits": Attack(
        _TRY + "import resource\nfor name in ('AS', 'NPROC', 'FSIZE', 'NOFILE', 'CORE'):\n"
        "    which = getattr(resource, 'RLIMIT_' + name)\n    soft, hard = resource.getrlimit(which)\n"
        "    if hard != -1: attempt(name, lambda: resource.setrlimit(which, (hard + 1, hard + 1)))\n"
        "attempt('setuid', lambda: os.setuid(0))\nattempt('nice', lambda: os.nice(-5))"
    ),
    "forged frames": Attack(
        "import os\nfor fd in range(3, 1024):\n    try: os.write(fd, b'\\0\\0\\0\\x02\\0\\0\\0\\0{{}}'); print('BREACH', fd)\n"
        "    except OSError: pass"
    ),
    "leaving at once": Attack("import os\nos._exit(77)", _ends("error")),
    "overflowing the stack": Attack(
        "import sys\nsys.setrecursionlimit(1 << 30)\ndef f(): f()\nf()", _ends("error", "killed")
    ),
    "locking everybody out": Attack("import os\nos.mkdir('d'); os.chmod('d', 0)\nos.chmod('.', 0)", _ends("ok")),
    "a process outside can be noticed": Attack(
        "import os\ntry: os.kill({pid}, 0)\nexcept ProcessLookupError: pass\nexcept PermissionError: print('BREACH')"
    ),
}  # fmt: skip
