"""Entry point of a guest whose sources came over its standard input, in a container or under bubblewrap.
Standard library only."""

from __future__ import annotations

import os

from sandbox.guest import landlock
from sandbox.guest.frames import pack, unpack
from sandbox.guest.preload import preload
from sandbox.guest.server import Guest
from sandbox.guest.settings import UNCONFINED, Confinement, Settings


def main() -> None:
    """Reads the settings from the first frame on standard input, and serves until the host is gone."""
    header, _ = unpack(lambda size: os.read(0, size), 0)
    sink = os.dup(1)
    os.dup2(2, 1)  # nothing but frames may reach the host
    try:
        preload(header["preload"])
    except ImportError as error:
        os.write(sink, pack({"ready": False, "error": f"cannot preload: {error}"}))
        return
    lifeline, _never_closed = os.pipe()
    settings = Settings(**header["settings"])
    Guest(0, sink, lifeline, settings, _restriction(settings.work)).serve()


def _restriction(work: str) -> Confinement:
    """Returns what confines every program further, where the kernel has Landlock.

    Programs can then neither write outside of their folders nor execute what they wrote there. Through /proc
    they could otherwise make themselves the last that the OOM killer takes, and the guest the first.
    """
    if landlock.version() < landlock.NEEDED:
        return UNCONFINED
    folders = filter(os.path.isdir, (work, "/tmp", "/dev/shm"))
    devices = filter(os.path.exists, ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"))
    programs = filter(os.path.isdir, (f"/{name}" for name in os.listdir("/")))
    rules = landlock.ruleset(
        dict.fromkeys(programs, landlock.LOAD)
        | dict.fromkeys(("/", "/dev"), landlock.READ)
        | dict.fromkeys(folders, landlock.CHANGE)
        | dict.fromkeys(devices, landlock.DEVICE)
    )
    return Confinement(lambda: landlock.restrict(rules), (rules,))
