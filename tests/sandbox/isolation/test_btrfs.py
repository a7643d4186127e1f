"""File systems that do more than Landlock sees: btrfs, on a loop device where this machine allows one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox.backends import local, or_skip

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.landlock, pytest.mark.slow]
CREATE = """
import ctypes, fcntl, os
libc = ctypes.CDLL(None, use_errno=True)
def ioctl(fd, number, *values):
    room = ctypes.create_string_buffer(b"".join(values), 4096)
    return libc.ioctl(fd, ctypes.c_ulong(number), room) == 0
here = os.open(".", os.O_RDONLY)
open("file", "w").write("x" * 100000)
source, target = os.open("file", os.O_RDONLY), os.open("copy", os.O_CREAT | os.O_RDWR)
print(
    ioctl(here, 0x5000940E, bytes(8), b"volume"),  # SUBVOL_CREATE
    ioctl(here, 0x50009418, bytes(56), b"volume2"),  # SUBVOL_CREATE_V2
    ioctl(here, 0x50009401, here.to_bytes(8, "little"), b"snapshot"),  # SNAP_CREATE
    ioctl(target, 0x40049409) or libc.ioctl(target, ctypes.c_ulong(0x40049409), source) == 0,  # FICLONE
    ioctl(source, 0x40086602, (0x40).to_bytes(8, "little")),  # FS_IOC_SETFLAGS
    *[name for name in ("volume", "volume2", "snapshot") if os.path.exists(name)],
)
"""


ON_BTRFS = """
import sys
from sandbox.base import SandboxSpec
from tests.sandbox.backends import local
backend = local(mode="landlock")
box = backend.open(SandboxSpec())
result = box.run(sys.argv[1])
print(result.stdout, result.stderr, *[file.path for file in box.list()])
backend.close()
"""


def on_btrfs(folder: Path, *command: str) -> str:
    """Returns the output of a command that sees a new btrfs as /tmp, where it also starts."""
    maker = shutil.which("mkfs.btrfs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if os.geteuid() or not maker:
        pytest.skip("needs root and mkfs.btrfs")
    image = folder / "image"
    with image.open("wb") as file:
        file.truncate(128 << 20)
    subprocess.run([maker, "-q", image], check=True)
    mount = 'mount -o loop "$0" /tmp && chmod 1777 /tmp && echo mounted && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, image, *command],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not done.stdout.startswith("mounted\n"):
        pytest.skip(f"needs the right to mount a loop device: {done.stderr}")
    assert not done.stderr
    return done.stdout.removeprefix("mounted\n")


def test_a_program_on_btrfs_makes_no_volumes_snapshots_or_clones(tmp_path: Path) -> None:
    or_skip(lambda: local(mode="landlock")).close()
    assert on_btrfs(tmp_path, sys.executable, "-c", ON_BTRFS, CREATE).split() == ["False"] * 5 + [
        "copy",
        "file",
    ]


def test_the_attack_succeeds_on_btrfs_without_a_sandbox(tmp_path: Path) -> None:
    done = on_btrfs(tmp_path, sys.executable, "-c", "import os; os.chdir('/tmp')\n" + CREATE).split()
    assert done == ["True"] * 5 + ["volume", "volume2", "snapshot"]
