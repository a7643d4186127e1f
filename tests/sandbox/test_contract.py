"""Every backend against the conformance suite."""

from collections.abc import Iterator

import pytest

import conf
from sandbox import contract
from sandbox.attacks import ATTACKS, sessions
from sandbox.attacks.checks import SMALL
from sandbox.base import Backend
from tests.sandbox.backends import or_skip

SETTINGS = {
    "namespaces": ("local", {"mode": "namespaces"}),
    "bwrap": ("local", {"mode": "bwrap"}),
    "landlock": ("local", {"mode": "landlock"}),
    "docker": ("docker", {}),
}
ESSENTIAL = {
    "fork bomb", "a slow leak", "filling the disk", "endless output", "forged frames",
    "killing all processes", "changing processes outside", "the files of the machine",
    "writing where it must not", "executing what it wrote", "hard links", "sockets of every kind",
    "datagrams to sockets of the machine", "reading the process that launched it",
    "the launcher's memory", "forbidden system calls", "raising its own limits",
    "an artifact that kills all processes", "an artifact that forges the report",
    "ioctls of files, terminals, sockets and devices", "leases, and signals for what happens to files",
    "a share of the processor for each of its processes", "a lower score for the OOM killer",
    "shared memory that stays when it is not mapped",
    "nothing is left behind", "nothing leaks from one sandbox to another",
    "a session that claims that its program has ended", "a session that wakes itself",
}  # fmt: skip
"""Attacks that the fast tier runs on every backend. On ``namespaces``, it runs all but those on sessions and
those that take long."""
LONG = {
    "artifacts that cost their reader time or memory", "artifacts that name what is foreign",
    "overflowing the stack", "an interrupted session keeps its names",
}  # fmt: skip


def is_fast(backend: str, name: str) -> bool:
    behaviour = name not in contract.ATTACKS
    others = backend == "namespaces" and name not in sessions.ATTACKS and name not in LONG
    return (behaviour and name not in LONG) or name in ESSENTIAL or others


def marks(backend: str, name: str) -> list[pytest.MarkDecorator]:
    needs: pytest.MarkDecorator = getattr(pytest.mark, backend)
    return [needs] if is_fast(backend, name) else [needs, pytest.mark.slow]


CASES = [
    pytest.param(backend, name, id=f"{backend}-{name}", marks=marks(backend, name))
    for backend in SETTINGS
    for name in contract.CHECKS
]


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    name, settings = SETTINGS[request.param]
    built: Backend = or_skip(lambda: conf.build("sandbox", conf.load("sandbox", name, **settings)))
    yield built
    built.close()


@pytest.mark.parametrize(("backend", "name"), CASES, indirect=["backend"])
def test_a_backend_passes_the_check(backend: Backend, name: str) -> None:
    contract.verify(name, backend)


def test_the_essential_attacks_exist() -> None:
    assert set(contract.CHECKS) >= ESSENTIAL | LONG


def test_no_check_fails_because_the_machine_is_busy() -> None:
    """A program that has to end by itself has many times the time that it needs, and so has what follows."""
    attacks = {**ATTACKS, **sessions.ATTACKS}
    hasty = [name for name, each in attacks.items() if "timeout" not in each.ends and each.timeout < 100]
    assert hasty == []
    assert SMALL.timeout >= 100
