"""The kernel's limits of a program."""

import resource

import pytest

from sandbox.guest.settings import Settings, set_rlimits


def test_a_program_gets_no_priority_that_its_user_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[int, tuple[int, int]] = {}
    monkeypatch.setattr(resource, "getrlimit", lambda which: (40, 40))
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)
    set_rlimits(Settings("/", 64, 8, 8, 8, 4, 60, 60, "off", []), 1 << 30)
    assert limits[resource.RLIMIT_RTPRIO] == limits[resource.RLIMIT_NICE] == (0, 0)
