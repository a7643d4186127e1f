"""Which owners count as dead: only processes of this machine, also when their id was reused."""

import os
import subprocess
import sys

import pytest

from sandbox.host.owner import dead, here, owner


def test_a_process_has_a_unique_label_and_is_alive() -> None:
    assert owner(os.getpid()) == owner(os.getpid()) != owner(os.getppid())
    assert not dead(owner(os.getpid()))


def test_a_process_that_ended_is_dead_even_before_it_is_reaped() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = owner(process.pid)
    assert not dead(name)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert dead(name)
    process.communicate()
    assert dead(name)


def test_another_process_with_the_same_id_is_not_the_owner() -> None:
    place, pid, started = owner(os.getpid()).rsplit(":", 2)
    assert dead(f"{place}:{pid}:{int(started) - 1}")


@pytest.mark.parametrize("name", ["another-machine:1:4194000:1", "gone", "", "::", "a:b:c:d"])
def test_owners_on_other_machines_are_not_dead(name: str) -> None:
    assert not dead(name)


def test_invalid_process_ids_are_not_dead() -> None:
    assert not dead(f"{here()}:../..:1")
    assert not dead(here())
