"""Which backend is chosen, and what is said of it."""

import logging

import pytest

import conf
from sandbox.base import SandboxError, SandboxSpec


@pytest.fixture
def no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


def test_without_a_daemon_programs_run_locally_and_one_line_says_so(
    no_docker: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sandbox.auto")
    backend = conf.build("sandbox", conf.load("sandbox", "auto", limits={"output_kb": 1}))
    result = backend.open(SandboxSpec()).run("print('x' * 5000)")
    backend.close()
    assert result.truncated
    assert backend.name.startswith("local-")
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"sandbox: {backend.name}, which holds ")
    assert "docker: no Docker daemon answers" in line
    assert "\n" not in line


def test_nothing_runs_where_nothing_isolates_unless_told_to(
    no_docker: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(mode: str) -> None:
        raise SandboxError("the kernel cannot")

    monkeypatch.setattr("sandbox.local._verify", fail)
    with pytest.raises(
        SandboxError, match=r"programs cannot be isolated here: docker: .*; local: .*the kernel"
    ):
        conf.build("sandbox", conf.load("sandbox", "auto"))
    backend = conf.build("sandbox", conf.load("sandbox", "auto", allow_unisolated=True))
    assert (backend.name, backend.guarantees) == ("local-none", frozenset())
    assert backend.open(SandboxSpec()).run("print(1)").stdout == "1\n"
    backend.close()
    assert "WITHOUT ISOLATION" in caplog.text


@pytest.mark.docker
def test_with_a_daemon_and_its_image_programs_run_in_containers() -> None:
    try:
        conf.build("sandbox", conf.load("sandbox", "docker")).close()
    except SandboxError as error:
        pytest.skip(str(error))
    backend = conf.build("sandbox", conf.load("sandbox", "auto"))
    assert backend.name == "docker"
    backend.close()
