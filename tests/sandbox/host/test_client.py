"""The host's side of a guest; the test acts as the guest."""

import socket
import time

import pytest

from sandbox.base import Limits, LostError
from sandbox.guest.frames import pack
from sandbox.host.client import GuestSandbox


def pair(limits: Limits | None = None) -> tuple[GuestSandbox, socket.socket]:
    ours, theirs = socket.socketpair()
    return GuestSandbox(ours, limits or Limits()), theirs


def test_a_waiting_sandbox_is_alive_until_it_is_closed() -> None:
    box, guest = pair()
    with guest:
        assert box.alive()
        assert box.alive()
        box.close()
        assert not box.alive()


def test_a_sandbox_whose_stream_ended_is_not_alive() -> None:
    box, guest = pair()
    guest.close()
    assert not box.alive()
    box.close()


def test_a_sandbox_that_sends_unsolicited_data_is_not_alive() -> None:
    box, guest = pair()
    with guest:
        guest.sendall(b"\0")
        assert not box.alive()
    box.close()


@pytest.mark.parametrize("limits", [Limits(idle=0.1), Limits(lifetime=0.1)])
def test_a_sandbox_that_may_soon_end_itself_is_not_alive(limits: Limits) -> None:
    box, guest = pair(limits)
    with guest:
        assert box.alive()
        time.sleep(0.06)
        assert not box.alive()
    box.close()


def test_a_program_that_the_guest_never_received_is_not_blamed() -> None:
    box, guest = pair()
    with guest:
        guest.sendall(pack({"ended": "nobody asked it for anything"}))
        with pytest.raises(LostError, match="nobody asked it for anything") as lost:
            box.run("1")
        assert not lost.value.running
    box, guest = pair()
    guest.close()
    with pytest.raises(LostError) as lost:
        box.run("1")
    assert not lost.value.running


def test_a_program_that_the_guest_may_have_received_may_be_blamed() -> None:
    box, guest = pair()
    guest.shutdown(socket.SHUT_WR)
    with guest, pytest.raises(LostError) as lost:
        box.run("1")
    assert lost.value.running


def test_the_patience_with_a_guest_grows_with_what_it_may_have_to_move() -> None:
    waited: list[float] = []

    class Silent(socket.socket):
        def settimeout(self, value: float | None) -> None:
            assert value is not None
            waited.append(value)
            super().settimeout(0.001)

    for megabytes in (64, 64_000):
        ours, theirs = socket.socketpair()
        limits = Limits(disk_mb=megabytes, file_mb=megabytes)
        box = GuestSandbox(Silent(fileno=ours.detach()), limits)
        with theirs, pytest.raises(LostError):
            box.list()
    assert waited[0] < 30
    assert max(waited) > 64_000 / 20
