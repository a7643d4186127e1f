"""What the machine sees of programs in local sandboxes: their share of processors and memory."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.base import Limits, SandboxSpec
from sandbox.guest.processes import descendants
from sandbox.local import MODES, Local
from tests.sandbox.backends import local, or_skip, wait_for

ROOT = Path(__file__).parents[3]
LOCAL = [pytest.param(mode, marks=getattr(pytest.mark, mode)) for mode in MODES]
MEMORY = Limits().memory_mb
LIBRARIES = "import sys\nsys.libraries = bytearray(b'x') * (100 << 20)"
REWRITE = """
import os, sys, time
def rewrite(memory):
    for place in range(0, len(memory), 4096): memory[place] = 1
    time.sleep(60)
"""
INHERITED = (
    REWRITE
    + """
for number in range(60):
    if os.fork() == 0: rewrite(sys.libraries)
time.sleep(4)
"""
)
SLOW_TO_MEASURE = (
    REWRITE
    + """
memory = bytearray(b"x") * (450 << 20)
for number in range(58):
    if os.fork() == 0:
        time.sleep(1)
        rewrite(memory)
time.sleep(8)
"""
)
UNMAPPED = """
import ctypes
libc = ctypes.CDLL(None)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_long, [ctypes.c_long] * 6
libc.munmap.argtypes = [ctypes.c_long] * 2
for number in range(30):
    size = 100 << 20
    address = libc.mmap(0, size, 3, 0x21, -1, 0)
    if address == -1: break
    ctypes.memset(address, 1, size)
    libc.munmap(address + 4096, size - 4096)
"""
HUGE = """
import ctypes
libc = ctypes.CDLL(None)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_long, [ctypes.c_long] * 6
libc.munmap.argtypes, libc.madvise.argtypes = [ctypes.c_long] * 2, [ctypes.c_long] * 3
size = 2 << 20
for number in range(1200):
    address = libc.mmap(0, 2 * size, 3, 0x22, -1, 0)
    place = (address + size - 1) // size * size
    libc.madvise(place, size, 14)
    ctypes.memset(place, 1, size)
    libc.munmap(place + 4096, address + 2 * size - place - 4096)
"""


@pytest.fixture(scope="module", params=LOCAL)
def backend(request: pytest.FixtureRequest) -> Iterator[Local]:
    built = or_skip(lambda: local(mode=request.param))
    yield built
    built.close()


def states(pids: set[int]) -> Iterator[tuple[str, str, str]]:
    """Yields the name, session and scheduling group of processes that still exist."""
    for pid in pids:
        with contextlib.suppress(OSError):
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition(" (")[2].rpartition(") ")
            group = Path(f"/proc/{pid}/autogroup")
            yield name, rest.split()[3], group.read_text() if group.exists() else ""


@pytest.mark.slow
def test_all_processes_of_a_program_share_one_scheduling_group(backend: Local) -> None:
    code = """
import os, subprocess, sys
name = "import ctypes, time; ctypes.CDLL(None).prctl(15, b'hostile'); time.sleep(60)"
for number in range(3):
    subprocess.Popen([sys.executable, "-c", name], start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: os.setsid()
        exec(name)
exec(name)
"""
    box, others = backend.open(SandboxSpec()), descendants(os.getpid())
    thread = threading.Thread(target=pytest.raises, args=(Exception, box.run, code), kwargs={"timeout": 60})
    thread.start()

    def hostile() -> list[tuple[str, str]]:
        seen = states(descendants(os.getpid()) - others)
        return [(session, group) for name, session, group in seen if name == "hostile"]

    wait_for(lambda: len(hostile()) == 10, 30)
    assert len(set(hostile())) == 1
    box.close()
    thread.join()


@pytest.mark.slow
def test_typical_programs_run_in_local_sandboxes(backend: Local) -> None:
    code = """
import multiprocessing, sqlite3, subprocess, sys, tempfile
import joblib, numpy as np, pandas as pd
from concurrent.futures import ThreadPoolExecutor
from sklearn.linear_model import LogisticRegression
frame = pd.DataFrame({"x": np.arange(40.0), "y": np.arange(40) % 2})
frame.to_csv("t.csv"); frame.to_pickle("t.pkl")
with sqlite3.connect("t.db") as base:
    frame.to_sql("t", base)
    assert len(pd.read_sql("select * from t", base)) == 40
model = LogisticRegression().fit(frame[["x"]], frame.y)
joblib.dump(model, "m.joblib", compress=3)
assert joblib.load("m.joblib").n_features_in_ == 1
np.save("a.npy", frame.x.to_numpy())
assert len(np.load("a.npy", mmap_mode="r+")) == 40
assert joblib.Parallel(2)(joblib.delayed(abs)(number) for number in (-1, 2)) == [1, 2]
joblib.Memory("cache", verbose=0).cache(len)("abc")
child = multiprocessing.get_context("fork").Process(target=print, args=("child",))
child.start(); child.join()
with ThreadPoolExecutor(2) as pool: assert list(pool.map(abs, [-1, 2])) == [1, 2]
done = subprocess.run([sys.executable, "-c", "input()"], input="x", text=True, start_new_session=True)
assert done.returncode == 0 and not sys.stdout.isatty()
with tempfile.NamedTemporaryFile("w") as file: file.write("x")
print("done")
"""
    box = backend.open(SandboxSpec(("numpy", "pandas", "sklearn.linear_model")))
    result = box.run(code, timeout=60)
    box.close()
    assert (result.stdout, result.stderr) == ("child\ndone\n", "")


HOST = f"""
import os, sys
from pathlib import Path
mode, preload, code, cgroup = sys.argv[1:]
Path(cgroup, "cgroup.procs").write_text(str(os.getpid()))
from sandbox.base import Limits, SandboxSpec
from tests.sandbox.backends import local
def megabytes(*names):
    return next(int(path.read_text()) >> 20 for name in names if (path := Path(cgroup, name)).exists())
backend = local(mode=mode)
box = backend.open(SandboxSpec((preload,), Limits(memory_mb={MEMORY})))
box.run("")
before = megabytes("memory.usage_in_bytes", "memory.current")
box.run(code, timeout=20)
print(megabytes("memory.max_usage_in_bytes", "memory.peak") - before)
backend.close()
"""


def counts_memory(root: Path) -> bool:
    controllers = root / "cgroup.subtree_control"
    here = "memory" in controllers.read_text().split() if controllers.exists() else root.name == "memory"
    return here and root.is_dir() and os.access(root, os.W_OK)


@pytest.fixture
def memory_cgroup() -> Iterator[Path]:
    """A memory control group of our own, which counts whatever its processes use."""
    roots = filter(counts_memory, map(Path, ("/sys/fs/cgroup/memory", "/sys/fs/cgroup")))
    if (root := next(roots, None)) is None:
        pytest.skip("needs the right to make a memory control group")
    group = root / f"coachgym-{os.getpid()}"
    group.mkdir()
    yield group
    wait_for(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


@pytest.mark.slow
@pytest.mark.parametrize("mode", LOCAL)
@pytest.mark.parametrize(
    "code", [INHERITED, SLOW_TO_MEASURE, UNMAPPED, HUGE], ids=["inherited", "slow", "shared", "huge"]
)
def test_a_program_uses_at_most_a_few_times_its_memory(mode: str, code: str, memory_cgroup: Path) -> None:
    or_skip(lambda: local(mode=mode)).close()
    done = subprocess.run(
        [sys.executable, "-c", HOST, mode, LIBRARIES, code, str(memory_cgroup)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert not done.stderr
    assert int(done.stdout) <= 4 * MEMORY  # twice, as seen; what a busy machine adds between two looks varies
