"""The conformance suite of backends: what each must do and withstand. Ships with the package, for new
backends.

``for name in CHECKS: verify(name, backend)``. A backend lists in ``known_gaps`` the names of checks that it
fails; passing one of those is as much an error as failing any other."""

# ruff: noqa: PT018

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sandbox.attacks import checks, session_checks
from sandbox.attacks.checks import SMALL, Check
from sandbox.attacks.checks import sandbox as _open
from sandbox.base import Backend, FileInfo, Limits, SandboxError, SandboxSpec


def verify(name: str, backend: Backend) -> None:
    """Runs one check. Raises ``AssertionError`` when it fails, or passes although it is a known gap."""
    known = name in backend.known_gaps
    try:
        CHECKS[name](backend)
    except AssertionError:
        if not known:
            raise
    else:
        assert not known, f"{backend.name} passes {name!r}: it is not a gap any more"


# ---- behaviour


def _programs_end_as_python_programs_do(backend: Backend) -> None:
    with _open(backend) as box:
        fine = box.run("import sys\nprint('out'); print('err', file=sys.stderr)")
        assert (fine.status, fine.exit_code, fine.stdout, fine.stderr) == ("ok", 0, "out\n", "err\n")
        assert fine.wall_s > 0 and fine.cpu_s > 0 and not fine.truncated
        assert box.run("print(__name__)").stdout == "__main__\n"
        assert box.run("import sys; sys.exit(3)").exit_code == 3
        assert box.run("import sys; sys.exit('reason')").stderr == "reason\n"
        assert box.run("input()").stderr.endswith("EOFError: EOF when reading a line\n")
        failed = box.run("def f():\n    return 1 / 0\nf()")
        assert (failed.status, failed.exit_code) == ("error", 1)
        assert failed.stderr.splitlines()[0] == "Traceback (most recent call last):"
        assert 'File "<action>", line 2, in f' in failed.stderr and "return 1 / 0" in failed.stderr
        assert failed.stderr.endswith("ZeroDivisionError: division by zero\n")
        assert "SyntaxError" in box.run("if").stderr
        assert box.run("import atexit; atexit.register(print, 'end')").stdout == "end\n"
        assert (
            box.run(
                "import threading as t, time\nt.Thread(target=lambda: (time.sleep(.1), print('x'))).start()"
            ).stdout
            == "x\n"
        )


_AS_A_FILE = """
import glob, inspect, os, sys
class Model:
    size = 3
print(__file__ == sys.argv[0] == os.path.abspath(__file__), len(sys.argv))
print(os.path.dirname(__file__) == os.getcwd(), "class Model" in open(__file__).read())
print(inspect.getsource(Model).splitlines()[1].strip(), glob.glob("*"))
"""
_IN_PROCESSES = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
def square(x):
    return x * x
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
            print(method, *pool.map(square, range(4)))
else:
    print("imported as", __name__)
"""


def _a_program_is_a_file_while_it_runs(backend: Backend) -> None:
    with _open(backend) as box:
        result = box.run(_AS_A_FILE)
        assert result.stdout == "True 1\nTrue True\nsize = 3 []\n", result
        assert box.list() == ()
        kept = box.run("print(open(__file__).read())", session="a")  # as in a notebook, which has none
        assert kept.stderr.endswith("NameError: name '__file__' is not defined\n"), kept
        box.run("import os; os.unlink(__file__); os.makedirs(__file__ + '/x')")
        assert box.run("print(1)").stdout == "1\n"


def _processes_start_by_every_method(backend: Backend) -> None:
    with _open(backend) as box:
        result = box.run(_IN_PROCESSES)
        lines = result.stdout.splitlines()
        printed = [line for line in lines if not line.startswith("imported")]
        assert printed == [f"{method} 0 1 4 9" for method in ("fork", "spawn", "forkserver")], result
        assert {*lines} - {*printed} == {"imported as __mp_main__"}, result


_THREADS = """
import threading, zlib
together, done = threading.Barrier(40), []
def work():
    together.wait()
    done.append(len(zlib.compress(bytes(1 << 20))))
threads = [threading.Thread(target=work, daemon=True) for _ in range(40)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(done))
"""


def _forty_threads_compute_at_the_default_limits(backend: Backend) -> None:
    box = backend.open(SandboxSpec(limits=replace(Limits(), timeout=SMALL.timeout)))
    try:
        result = box.run(_THREADS)
        assert result.stdout == "40\n", result
    finally:
        box.close()


def _each_program_is_fresh_and_seeded(backend: Backend) -> None:
    with _open(backend) as box, _open(backend) as other:
        box.run("import builtins, json\nbuiltins.len = None; json.dumps = None; x = 1")
        assert box.run("import json\nprint(len(json.dumps([])))\nx").stderr.endswith(
            "name 'x' is not defined\n"
        )
        assert (
            box.run(
                "import tempfile, json.tool\nwith tempfile.TemporaryFile() as file: file.write(b'x')"
            ).status
            == "ok"
        )
        draw = "import random\nprint(random.random(), hash('a'))"
        first = box.run(draw, seed=5).stdout
        assert box.run(draw, seed=5).stdout == other.run(draw, seed=5).stdout == first
        assert box.run(draw, seed=6).stdout != first


def _long_output_keeps_head_and_tail(backend: Backend) -> None:
    with _open(backend) as box:
        result = box.run("print('HEAD' + 'x' * 20000 + 'TAIL')")
        assert result.status == "ok" and result.truncated
        assert result.stdout.startswith("HEADx") and result.stdout.endswith("xTAIL\n")
        assert "bytes left out" in result.stdout and len(result.stdout) < 9000
        assert box.run("import sys\nsys.stdout.buffer.write(b'a\\xff')").stdout == "a\ufffd"
        assert box.run("print('\\ud800 \\N{SNOWMAN}')").stdout == "\\ud800 \N{SNOWMAN}\n"


def _a_timeout_ends_a_program_and_keeps_its_output(backend: Backend) -> None:
    with _open(backend) as box:
        result = box.run("import time\nprint('before')\ntime.sleep(600)", timeout=2)
        assert (result.status, result.exit_code, result.stdout) == ("timeout", None, "before\n")
        assert 2 <= result.wall_s < 300


def _files_are_written_read_and_listed(backend: Backend) -> None:
    data = bytes(range(256)) * 4096
    with _open(backend) as box, _open(backend) as other:
        assert box.list() == ()
        box.write("b.bin", data)
        box.write("a/b.txt", b"hello")
        box.write("a/b.txt", b"bye")
        assert box.read("b.bin") == data and box.read("a/b.txt") == b"bye"
        assert box.list() == tuple(
            FileInfo(path, len(body), hashlib.sha256(body).hexdigest())
            for path, body in (("a/b.txt", b"bye"), ("b.bin", data))
        )
        assert (
            box.run("print(open('a/b.txt').read()); open('c', 'w').write('new'); open('.h', 'w')").stdout
            == "bye\n"
        )
        assert [file.path for file in box.list()] == ["a/b.txt", "b.bin", "c"]
        box.write("mine.py", b"x = 7")
        assert box.run("import mine; print(mine.x)").stdout == "7\n"
        assert other.list() == ()
        assert other.run("import glob; print(glob.glob('*'))").stdout == "[]\n"


def _invalid_paths_and_large_files_are_refused(backend: Backend) -> None:
    with _open(backend) as box:
        for path in ("../x", "/etc/passwd", "", "a//b", "a/./b", "..", "a/../../x", "a\0b"):
            _raises(ValueError, partial(box.read, path))
            _raises(ValueError, partial(box.write, path, b""))
        _raises(FileNotFoundError, lambda: box.read("none"))
        _raises(FileNotFoundError, lambda: box.read("none/none"))
        _raises(ValueError, lambda: box.write("big", bytes((4 << 20) + 1)))
        box.run("open('big', 'wb').write(bytes((4 << 20) + 1))")
        _raises(ValueError, lambda: box.read("big"))
        assert [(file.path, file.sha256) for file in box.list()] == [("big", "")]


_ODD_FILES = """
import os
open("real", "w").write("x")
for target, name in (("/etc/passwd", "link"), ("/etc", "dir"), ("/dev/zero", "zero"), ("real", "near")):
    os.symlink(target, name)
try: os.mkfifo("pipe")
except OSError: pass
for name in (b"new\\nline", b"\\xff\\xfe", b"tab\\t"): open(name, "w")
path = "."
for depth in range(300):
    path += "/d"
    os.mkdir(path)
"""
_DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    while True:
        open("beat", "w").write(str(time.time()))
        time.sleep(0.01)
time.sleep(0.2)
"""


def _links_pipes_and_unprintable_names_are_ignored(backend: Backend) -> None:
    with _open(backend) as box:
        box.run(_ODD_FILES)
        assert [file.path for file in box.list()] == ["real"]
        for name in ("link", "dir/passwd", "zero", "near", "pipe", "dir"):
            _raises(FileNotFoundError, partial(box.read, name))
        box.write("link", b"mine")
        assert box.read("link") == b"mine"


def _no_process_outlives_its_program(backend: Backend) -> None:
    with _open(backend) as box:
        box.run(_DAEMON)
        before = box.list()
        time.sleep(0.2)
        assert before and box.list() == before


_BURN = """
import os, time
def burn():
    while time.process_time() < 0.3: pass
read, write = os.pipe()
if (child := os.fork()) == 0:
    if os.fork() == 0:
        burn()
        os.write(write, b"done")
        time.sleep(60)
    os._exit(0)
os.waitpid(child, 0)
os.read(read, 4)
"""


def _processor_time_counts_every_process(backend: Backend) -> None:
    with _open(backend) as box:
        for session in (None, "a", "a"):
            result = box.run(_BURN, session=session)
            assert result.status == "ok" and 0.25 < result.cpu_s < 1, result
        assert box.run("").cpu_s < 0.2 > box.run("", session="a").cpu_s


def _memory_that_processes_share_counts_once(backend: Backend) -> None:
    with _open(backend, preload=("import sys\nsys.libraries = bytearray(b'x') * (80 << 20)",)) as box:
        result = box.run("""
import os, time
kept = bytearray(b"x") * (40 << 20)
for number in range(20):
    if os.fork() == 0: time.sleep(60)
time.sleep(0.3)
""")
        assert result.status == "ok", result


def _a_closed_sandbox_is_gone(backend: Backend) -> None:
    box = backend.open(SandboxSpec(limits=SMALL))
    box.close()
    box.close()
    _raises(SandboxError, lambda: box.run("1"))
    _raises(SandboxError, lambda: box.list())


def _the_host_s_environment_variables_are_not_visible(backend: Backend) -> None:
    with _open(backend) as box:
        variables = json.loads(box.run("import json, os; print(json.dumps(dict(os.environ)))").stdout)
    shared = {name for name, value in variables.items() if len(value) > 1 and os.environ.get(name) == value}
    assert shared <= {"PATH", "LANG", "HOME"}, shared


def _raises(kind: type[Exception], action: Callable[[], object]) -> None:
    try:
        action()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")


_BEHAVIOUR = (
    _programs_end_as_python_programs_do,
    _a_program_is_a_file_while_it_runs,
    _processes_start_by_every_method,
    _forty_threads_compute_at_the_default_limits,
    _each_program_is_fresh_and_seeded,
    _long_output_keeps_head_and_tail,
    _a_timeout_ends_a_program_and_keeps_its_output,
    _files_are_written_read_and_listed,
    _invalid_paths_and_large_files_are_refused,
    _links_pipes_and_unprintable_names_are_ignored,
    _no_process_outlives_its_program,
    _processor_time_counts_every_process,
    _memory_that_processes_share_counts_once,
    _a_closed_sandbox_is_gone,
    _the_host_s_environment_variables_are_not_visible,
)
ATTACKS: dict[str, Check] = {**checks.CHECKS, **session_checks.ATTACK_CHECKS}
"""Name -> check that an attack fails."""
CHECKS: dict[str, Check] = {
    **{check.__name__.strip("_").replace("_", " "): check for check in _BEHAVIOUR},
    **session_checks.BEHAVIOUR_CHECKS,
    **ATTACKS,
}
"""Name -> check."""
