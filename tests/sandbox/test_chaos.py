"""The host is killed at random moments, with eight concurrent episodes: no resource of it may be left."""

import contextlib
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.guest.processes import descendants
from sandbox.host.daemon import RUN, connect
from sandbox.host.leftovers import work_folders
from sandbox.host.owner import owner
from sandbox.host.users import BLOCK, block
from tests.sandbox.test_contract import SETTINGS

ROOT = Path(__file__).parents[2]
KILLS, SECONDS = 20, 10.0
HOST = """
import os, random, sys, threading, traceback
import conf
from sandbox.base import Limits, SandboxError, SandboxSpec
name, settings, seed = sys.argv[1], eval(sys.argv[2]), int(sys.argv[3])
try:
    backend = conf.build("sandbox", conf.load("sandbox", name, **settings))
except SandboxError as error:
    print("refused:", error, flush=True)
    sys.exit()
limits = Limits(timeout=5.0, memory_mb=64, processes=16, disk_mb=4, output_kb=4, file_mb=2)
programs = (
    "print(1)",
    "import time; time.sleep(0.3)",
    "import os, time\\nif os.fork() == 0: os.setsid()\\ntime.sleep(30)",
    "import signal\\nfor number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)\\nwhile True: pass",
    "import os\\nfor n in range(3): os.fork()\\nwhile True: open('f', 'wb').write(bytes(1 << 18))",
    "import os\\nfor n in range(50): os.mkdir('d'); os.chdir('d'); open('f', 'w').write('x')",
)
playing = threading.Event()
def play(number):
    draw = random.Random(seed * 8 + number)
    while True:
        box = backend.open(SandboxSpec(limits=limits))
        box.write("data", bytes(1 << 16))
        for turn in range(draw.randrange(1, 4)):
            box.run(draw.choice(programs), timeout=draw.choice((0.2, 1.0)))
            playing.set()
        box.list()
        box.close()
def safely(number):
    try: play(number)
    except BaseException:
        traceback.print_exc()
        os._exit(3)  # an episode failed, and not because this was killed
for number in range(8): threading.Thread(target=safely, args=(number,)).start()
playing.wait()
print(getattr(backend, "_run", ""), flush=True)
"""


@dataclass(frozen=True)
class Killed:
    """A host that was killed."""

    at: float
    run: str
    """The label of its containers; "" where it has none."""
    processes: dict[int, str]
    """Its descendants shortly before, by process id -> owner."""

    def leftovers(self) -> list[str]:
        """Returns what is left: known processes, processes of its own users, folders, containers."""
        names = [f"{who} {command(pid)}" for pid, who in self.processes.items() if owner(pid) == who]
        first = {block(pid) for pid in self.processes}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                names += [f"process {path.name}"] if path.stat().st_uid // BLOCK * BLOCK in first else []
            except FileNotFoundError:
                continue
        names += map(str, work_folders(self.processes))
        if self.run:
            with connect() as client:
                label = {"label": f"{RUN}={self.run}"}
                names += [item["Id"] for item in client.api.containers(all=True, filters=label)]
        return names


def command(pid: int) -> str:
    """Returns the command line of a process, for the message of a failure."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def kill_one(name: str, settings: object, draw: random.Random) -> Killed:
    """Starts a host, kills it at a random moment once a first program has run, and returns what is known of
    it."""
    started = [sys.executable, "-c", HOST, name, repr(settings), str(draw.randrange(10**6))]
    host = subprocess.Popen(started, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert host.stdout is not None
    with host.stdout:
        ready = host.stdout.readline().rstrip("\n")
        if ready.startswith("refused"):
            host.wait()
            pytest.skip(ready)
        time.sleep(draw.uniform(0, 1))
        below = {pid: who for pid in descendants(host.pid) if (who := owner(pid)) != "gone"}
        assert host.poll() is None, "an episode failed before anything was killed"
        host.send_signal(signal.SIGKILL)
        host.wait()
    return Killed(time.monotonic(), ready, below)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "backend",
    [pytest.param(name, marks=getattr(pytest.mark, name)) for name in SETTINGS],
)
def test_a_killed_host_leaves_nothing_behind(backend: str) -> None:
    draw = random.Random(backend)
    name, settings = SETTINGS[backend]
    more = {"starting": 4} if name == "docker" else {}
    killed: list[Killed] = []
    at_work = 0
    for number in range(KILLS + 1):
        if number < KILLS:
            killed.append(kill_one(name, {**settings, **more}, draw))
            at_work += bool(killed[-1].processes)
        while killed and (number == KILLS or time.monotonic() - killed[0].at > SECONDS):
            first = killed.pop(0)
            time.sleep(max(0.0, first.at + SECONDS - time.monotonic()))
            assert first.leftovers() == []
    assert at_work > KILLS / 2, "most were killed before they had started anything"
