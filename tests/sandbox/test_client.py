"""The host's side of a guest, with the test as the guest."""

import socket
import time

import pytest

from sandbox.base import Limits
from sandbox.client import GuestSandbox


def pair(limits: Limits | None = None) -> tuple[GuestSandbox, socket.socket]:
    ours, theirs = socket.socketpair()
    return GuestSandbox(ours, limits or Limits()), theirs


def test_one_that_waits_for_a_request_is_alive_until_it_is_closed() -> None:
    box, guest = pair()
    with guest:
        assert box.alive()
        assert box.alive()
        box.close()
        assert not box.alive()


def test_one_whose_stream_ended_is_not_alive() -> None:
    box, guest = pair()
    guest.close()
    assert not box.alive()
    box.close()


def test_one_that_speaks_unasked_is_not_alive() -> None:
    box, guest = pair()
    with guest:
        guest.sendall(b"\0")
        assert not box.alive()
    box.close()


@pytest.mark.parametrize("limits", [Limits(idle=0.1), Limits(lifetime=0.1)])
def test_one_that_may_end_itself_any_moment_is_not_alive(limits: Limits) -> None:
    box, guest = pair(limits)
    with guest:
        assert box.alive()
        time.sleep(0.06)
        assert not box.alive()
    box.close()
