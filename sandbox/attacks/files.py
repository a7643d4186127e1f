"""Attacks on files and the disk."""

from __future__ import annotations

from sandbox.attacks.attack import Attack

_EMPTY = "for name in os.listdir(): name.startswith('.') or os.unlink(name)"
_USABLE = """
open("after", "w").write("x")
if open("after").read() != "x": print("not usable")
"""
ATTACKS = {
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
        then=_EMPTY,
    ),
    "filling the disk in one call": Attack(
        """
done = 0
for number in range(16):
    try: os.posix_fallocate(os.open(f"f{number}", os.O_CREAT | os.O_RDWR), 0, 4 << 20)
    except OSError: break
    done += 4
if done > 24: print("BREACH", done)
""",
        then=_EMPTY,
    ),
    "filling the disk with files that have no name": Attack(
        """
done, kept = 0, []
for number in range(64):
    time.sleep(0.02)
    try:
        kept.append(open(f"f{number}", "wb", 0))
        os.unlink(f"f{number}")
        done += kept[-1].write(bytes(1 << 20))
    except OSError: break
if done > 24 << 20: print("BREACH", done)
""",
        ("ok", "killed"),
        then=_USABLE,
    ),
    "an inode flood": Attack(
        """
for number in range(40000):
    try: os.close(os.open(f"i{number}", os.O_CREAT))
    except OSError: break
else: print("BREACH")
""",
        ("ok", "killed"),
        then=_EMPTY,
    ),
    "a sparse giant": Attack("open('s', 'wb').truncate(10 << 30); print('BREACH')", ("error",)),
    "countless sparse files": Attack(
        """
for number in range(900):
    try: open(f"s{number}", "wb").truncate(DISK << 20)
    except OSError: break
""",
        ("ok", "killed"),
    ),
    "sparse files that are just small enough to be read": Attack(
        """
for number in range(50):
    try: open(f"s{number}", "wb").truncate(DISK // 2 << 20)
    except OSError: break
open("terabyte", "wb")
try: os.truncate("terabyte", 1 << 40)
except OSError: pass
""",
        ("ok", "killed"),
    ),
    "a hundred thousand files in as many processes as there may be": Attack(
        """
for process in range(PROCESSES // 2):
    if forks():
        os.mkdir(f"d{process}")
        for number in range(100000 // (PROCESSES // 2)):
            try: os.close(os.open(f"d{process}/{number}", os.O_CREAT))
            except OSError: break
        os._exit(0)
try:
    while True: os.wait()
except OSError: pass
""",
        ("ok", "killed"),
        then="import shutil\nfor name in os.listdir(): name.startswith('.') or shutil.rmtree(name)",
    ),
    "hard links": Attack(
        """
for path in (SECRET, os.__file__, sys.executable, "/etc/passwd", "/dev/null", "/proc/self/environ"):
    attempt(path, lambda: os.link(path, "mine"))
    attempt(path, lambda: os.link(path, "mine", follow_symlinks=False))
    if os.path.exists("mine"): print("BREACH", path)
open("own", "w").write("x")
for number in range(3000):
    try: os.link("own", f"own{number}")
    except OSError: break
""",
        ("ok", "killed"),
        then=_EMPTY + "\n" + _USABLE,
    ),
    "very deep folders": Attack(
        """
for number in range(3000):
    try:
        os.mkdir("d")
        os.chdir("d")
    except OSError: break
""",
        ("ok", "killed"),
    ),
    "folders without access rights": Attack(
        """
for mode in (0, 0o100, 0o200, 0o300, 0o400, 0o444):
    os.mkdir(f"d{mode}")
    os.makedirs(f"d{mode}/e/f")
    open(f"d{mode}/e/g", "w")
    os.chmod(f"d{mode}/e", mode)
    os.chmod(f"d{mode}", mode)
    os.close(os.open(f"f{mode}", os.O_CREAT, mode))
os.umask(0o777)
os.mkdir("after all")
""",
        then=_USABLE,
    ),
    "long and unprintable names": Attack(
        """
for name in (b"new\\nline", b"\\xff\\xfe", b"tab\\t", b"\\x1b[2J", b"-rf", b"a" * 255, b"\\xe2\\x80\\xae",
             b" ", b'"', b"'", b"\\\\", b"*", b"\\xed\\xa0\\x80", b"\\xc0\\xaf", b"\\xc3\\xa9" * 127, b"..."):
    open(name, "w").write("x")
path = ""
for depth in range(7):
    path += "\\u00e9" * 120 + "/"
    os.mkdir(path)
for number in range(600): open(path + "\\u00e9" * 120 + str(number), "w")
""",
        ("ok", "killed"),
    ),
    "removing all access rights": Attack("os.mkdir('d'); os.chmod('d', 0); os.chmod('.', 0)", then=_USABLE),
    "replacing the work folder": Attack(
        """
here = os.getcwd()
for action in (
    lambda: os.rmdir(here),
    lambda: os.rename(here, here + "2"),
    lambda: os.rename(here, "/tmp/moved"),
    lambda: os.symlink("/etc", here),
    lambda: os.rename("/tmp", here),
    lambda: os.rmdir("/tmp"),
    lambda: os.mkdir("/work2"),
):
    attempt("replaced", lambda: action() or 0)
""",
        then=_USABLE,
    ),
    "other kinds of files in place of regular ones": Attack(
        """
for make in (
    os.mkfifo,
    os.mkdir,
    lambda name: os.symlink("/dev/zero", name),
    lambda name: os.symlink(name, name),
    lambda name: os.mknod(name, 0o60600, os.makedev(1, 1)),
    lambda name: os.mknod(name, 0o20600, os.makedev(1, 3)),
    lambda name: os.mknod(name, 0o140600),
):
    for number in range(5):
        try: make(f"{number}{id(make)}")
        except OSError: pass
for pid in (1, os.getpid(), os.getppid()): os.makedirs(f".{pid}.draft", exist_ok=True)
"""
    ),
    "acquiring rights": Attack(
        """
open("x", "w").write("#!/bin/sh\\nid\\n")
for mode in (0o4755, 0o2755, 0o6777, 0o1777): os.chmod("x", mode)
actions = (
    lambda: os.chown("x", os.getuid() + 1, -1),
    lambda: os.setxattr("x", "security.capability", bytes(20)),
    lambda: os.setxattr("x", "trusted.x", b"x"),
)
before = os.stat("x").st_uid
for action in actions:
    try: action()  # perhaps answered as if done
    except OSError: pass
if os.stat("x").st_uid != before or os.listxattr("x"): print("BREACH")
""",
    ),
    "locks and leases on what the host reads": Attack(
        """
import fcntl
open("held", "w").write("x")
file = open("held", "r+")
fcntl.flock(file, fcntl.LOCK_EX)
fcntl.lockf(file, fcntl.LOCK_EX)
try: fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
except OSError: pass
if forks(): time.sleep(60)
""",
        then="if open('held').read() != 'x': print('held')",
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
    "names, sizes and targets of the machine's files": Attack(
        """
for path in (SECRET, *(os.path.join(OURS, name) for name in ("envs", "sandbox", "README.md", "setup.cfg"))):
    attempt(path, lambda: os.stat(path).st_size)
    attempt(path, lambda: os.readlink(path))
    attempt(path, lambda: os.access(path, os.F_OK) or -1)
    attempt(path, lambda: os.statvfs(path).f_blocks)
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
    "searching for a writable place": Attack(
        """
own = (os.getcwd(), os.path.realpath("/tmp"), os.path.realpath("/dev/shm"), "/proc")
until = time.monotonic() + 6
for root, folders, names in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(root, name) not in own]
    if time.monotonic() > until: break
    attempt(root, lambda: os.open(os.path.join(root, "left"), os.O_CREAT | os.O_WRONLY))
    attempt(root, lambda: os.open(root, os.O_TMPFILE | os.O_WRONLY))
    for name in names[:5]:
        if root != "/dev": attempt(name, lambda: os.open(os.path.join(root, name), os.O_WRONLY))
"""
    ),
    "executing what it wrote": Attack(
        """
import subprocess
open("x", "w").write(f"#!{sys.executable}\\nprint('BREACH')\\n")
os.chmod("x", 0o700)
subprocess.run(["./x"])
""",
        ("error",),
    ),
    "modules for later programs": Attack(
        """
for name in ("json", "os", "pickle", "encodings", "sitecustomize", "usercustomize", "atexit"):
    open(name + ".py", "w").write("print('taken over')")
site = f".local/lib/python3.{sys.version_info[1]}/site-packages"
os.makedirs(site)
open(site + "/x.pth", "w").write("import os; print('taken over')")
for name in (".bashrc", ".profile", ".pythonrc"): open(name, "w").write("echo taken over")
""",
        then="import atexit, io, json, os; assert json.dumps([]) == '[]'",
    ),
}
