"""Who is taken for dead: only processes of this machine, and never one whose id came to another."""

import os
import subprocess
import sys

import pytest

from sandbox.host.owner import dead, here, owner


def test_a_process_is_its_own_and_alive() -> None:
    assert owner(os.getpid()) == owner(os.getpid()) != owner(os.getppid())
    assert not dead(owner(os.getpid()))


def test_a_process_that_ended_is_dead_even_before_its_parent_took_note() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = owner(process.pid)
    assert not dead(name)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert dead(name)
    process.communicate()
    assert dead(name)


def test_another_process_with_the_same_id_does_not_bring_the_owner_back() -> None:
    place, pid, started = owner(os.getpid()).rsplit(":", 2)
    assert dead(f"{place}:{pid}:{int(started) - 1}")


@pytest.mark.parametrize("name", ["another-machine:1:4194000:1", "gone", "", "::", "a:b:c:d"])
def test_what_is_not_of_this_machine_is_left_alone(name: str) -> None:
    assert not dead(name)


def test_what_is_no_process_id_is_left_alone() -> None:
    assert not dead(f"{here()}:../..:1")
    assert not dead(here())
