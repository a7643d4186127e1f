"""Which backend is selected, and what is reported about it."""

import logging

import pytest

import conf
from sandbox import local
from sandbox.base import GUARANTEES, SandboxError, SandboxSpec, warning
from tests.fakes import FakeBackend
from tests.sandbox.backends import docker, or_skip


@pytest.fixture
def no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


def test_without_a_daemon_programs_run_locally_and_one_line_says_so(
    no_docker: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sandbox.auto")
    backend = or_skip(lambda: conf.build("sandbox", conf.load("sandbox", "auto", limits={"output_kb": 1})))
    result = backend.open(SandboxSpec()).run("print('x' * 5000)")
    backend.close()
    assert result.truncated
    assert backend.name.startswith("local-")
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"sandbox: {backend.name}, which guarantees ")
    assert "docker: no Docker daemon answers" in line
    assert "\n" not in line


def test_without_isolation_nothing_runs_unless_allowed(
    no_docker: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(mode: str) -> None:
        raise SandboxError("the kernel cannot")

    monkeypatch.setattr("sandbox.local._verify", fail)
    with pytest.raises(SandboxError) as refused:
        conf.build("sandbox", conf.load("sandbox", "auto"))
    line = str(refused.value)
    assert line.startswith("no backend here guarantees fs, memory, net, pids: docker: no Docker")
    for mode in ("namespaces", "bwrap", "landlock"):
        assert f"; local ({mode}): the kernel cannot" in line
    assert "\n" not in line
    backend = conf.build("sandbox", conf.load("sandbox", "auto", allow_unisolated=True))
    assert (backend.name, backend.guarantees) == ("local-none", frozenset())
    assert backend.open(SandboxSpec()).run("print(1)").stdout == "1\n"
    backend.close()
    assert "WITHOUT ISOLATION" in caplog.text


@pytest.fixture
def only_landlock(monkeypatch: pytest.MonkeyPatch) -> None:
    verify = local._verify
    or_skip(lambda: verify("landlock"))

    def fail(mode: str) -> None:
        if mode != "landlock":
            raise SandboxError("not here")
        verify(mode)

    monkeypatch.setattr(local, "_verify", fail)


@pytest.mark.landlock
def test_a_backend_that_guarantees_less_than_required_is_skipped(
    no_docker: None, only_landlock: None
) -> None:
    backend = or_skip(lambda: conf.build("sandbox", conf.load("sandbox", "auto", requires=["net"])))
    assert backend.name == "local-landlock"
    backend.close()
    with pytest.raises(SandboxError, match=r"local \(landlock\): not isolated: disk, pidns$"):
        conf.build("sandbox", conf.load("sandbox", "auto", requires=["disk", "net", "pidns"]))


@pytest.mark.landlock
def test_allow_unisolated_selects_the_best_available_with_a_warning(
    no_docker: None, only_landlock: None, caplog: pytest.LogCaptureFixture
) -> None:
    backend = conf.build("sandbox", conf.load("sandbox", "auto", requires=["disk"], allow_unisolated=True))
    assert backend.name == "local-landlock"
    backend.close()
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line.startswith(
        "sandbox: local-landlock, which guarantees fs, memory, net, pids; no backend here guarantees"
    )


def test_an_unknown_guarantee_is_refused() -> None:
    with pytest.raises(SandboxError, match=r"requires must be among disk, fs, .*; got gpu"):
        conf.build("sandbox", conf.load("sandbox", "auto", requires=["net", "gpu"]))


@pytest.mark.parametrize(
    ("guarantees", "line"),
    [
        (GUARANTEES, ""),
        (GUARANTEES - {"disk", "pidns"}, "sandbox fake: not isolated: disk, pidns"),
        (frozenset(), "sandbox fake: programs run WITHOUT ISOLATION, and can do all that you can do"),
    ],
)
def test_the_warning_names_what_is_not_isolated(guarantees: frozenset[str], line: str) -> None:
    backend = FakeBackend()
    backend.guarantees = guarantees
    assert warning(backend) == line


@pytest.mark.docker
def test_with_a_daemon_and_its_image_programs_run_in_containers() -> None:
    or_skip(docker).close()
    backend = conf.build("sandbox", conf.load("sandbox", "auto"))
    assert backend.name == "docker"
    backend.close()
