"""No two open sandboxes share a user, and none gets one that was in use a short time ago."""

import os

import pytest

from sandbox.base import SandboxSpec
from sandbox.host.daemon import uids
from sandbox.host.users import BLOCK, FRESH, Users, block, users
from tests.sandbox.backends import local, or_skip


def test_a_user_is_given_again_only_after_many_others() -> None:
    some = Users(1000, 300)
    first = some.take()
    some.release(first)
    following = []
    while (user := some.take()) != first:
        some.release(user)
        following.append(user)
    assert len(following) == 299 > FRESH


def test_the_user_of_an_open_sandbox_is_never_given_again() -> None:
    some = Users(1000, FRESH + 10, start=5)
    kept = {some.take() for _ in range(10)}
    assert len(kept) == 10
    with pytest.raises(OSError, match="10 sandboxes are open"):
        some.take()
    some.release(min(kept))
    assert some.take() not in kept


def test_processes_have_users_of_their_own_where_there_are_enough() -> None:
    assert abs(block(100) - block(101)) == BLOCK
    assert block(1 << 22) < 1 << 31
    assert users().take() // BLOCK * BLOCK == block(os.getpid())
    shared = users([(0, 1 << 16)]).take()
    assert 20000 <= shared < 60000
    assert users([(0, 1 << 16)]).take() != shared


def test_a_daemon_that_remaps_users_has_few() -> None:
    assert uids({"SecurityOptions": ["name=seccomp,profile=default"]}) == [(0, 1 << 32)]
    for option in ("name=userns", "name=rootless"):
        assert uids({"SecurityOptions": ["name=seccomp,profile=default", option]}) == [(0, 1 << 16)]


@pytest.mark.slow
@pytest.mark.landlock
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: other users keep their uid")
def test_more_sandboxes_than_a_launcher_once_had_users_for_do_not_share_any() -> None:
    backend = or_skip(lambda: local(mode="landlock"))
    code = "import os; print(os.getuid())"
    try:
        first = backend.open(SandboxSpec())
        user = first.run(code).stdout
        for _ in range(130):
            box = backend.open(SandboxSpec())
            assert box.run(code).stdout != user
            box.close()
        first.close()
    finally:
        backend.close()
