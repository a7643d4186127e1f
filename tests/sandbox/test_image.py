"""The Docker image: its name and its content."""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import docker  # type: ignore[import-untyped]
import pytest

import conf
from sandbox import image
from sandbox.base import Backend, SandboxError, SandboxSpec
from sandbox.host.daemon import connect

ROOT = Path(__file__).parents[2]
LOOK = """
import hashlib, json, os, sys
wanted, problems = set(map(tuple, json.loads(sys.argv[1]))), []
for root, dirs, names in os.walk("/"):
    dirs[:] = [each for each in dirs if os.path.join(root, each) not in ("/proc", "/sys", "/dev")]
    for path in (os.path.join(root, each) for each in names):
        if os.path.isfile(path) and not os.path.islink(path):
            info = os.stat(path)
            if info.st_mode & 0o6000: problems.append("rights " + path)
            if "coachgym" in path: problems.append("name " + path)
            if any(size == info.st_size for size, _ in wanted):
                if (info.st_size, hashlib.sha256(open(path, "rb").read()).hexdigest()) in wanted:
                    problems.append("content " + path)
print(json.dumps(problems))
"""


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    try:
        with connect() as connected:
            yield connected
    except SandboxError as error:
        pytest.skip(f"needs a Docker daemon: {error}")


def look(client: docker.DockerClient, name: str, ours: Sequence[Path]) -> list[str]:
    """Returns what must not be in an image: setuid files, and files of this project."""
    wanted = [(path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) for path in ours]
    command = ["python3", "-c", LOOK, json.dumps(wanted)]
    output = client.containers.run(name, command, user="0", network_mode="none", remove=True)
    problems: list[str] = json.loads(output)
    return problems


def test_the_name_depends_on_the_added_libraries() -> None:
    plain, added = image.tag(), image.tag(["lightgbm==4.6.0", "xgboost"])
    assert plain != added
    assert added == image.tag(["xgboost", "lightgbm==4.6.0", "xgboost"])
    assert added != image.tag(["lightgbm", "xgboost"])


def test_invalid_library_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("lightgbm>=4", "../wheel.whl", "git+https://host/x", "-r", "a b", ""):
        assert image.main(["name", f"--libraries={wrong}"]) == 1
        assert "is not a library" in capsys.readouterr().err


@pytest.mark.docker
def test_the_image_contains_nothing_of_this_project_and_no_setuid_file(client: docker.DockerClient) -> None:
    kinds = (".py", ".json", ".csv", ".txt", ".yaml", ".pkl", ".parquet")
    ours = [
        path
        for package in ("sandbox", "envs", "coaches", "learners", "conf")
        for path in (ROOT / package).rglob("*")
        if path.suffix in kinds and path.stat().st_size
    ]
    assert len(ours) > 50
    assert look(client, image.tag(), ours) == []


@pytest.mark.docker
def test_the_image_runs_as_nobody_with_a_plain_path_and_labels_its_versions(
    client: docker.DockerClient,
) -> None:
    built = client.images.get(image.tag())
    config = built.attrs["Config"]
    variables = dict(each.split("=", 1) for each in config["Env"])
    assert config["User"] == "65534:65534"
    assert config["WorkingDir"] == "/work"
    assert set(variables) == {"PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    assert all(part.startswith(("/usr/", "/bin")) for part in variables["PATH"].split(":"))
    assert {"numpy", "pandas", "scikit-learn"} <= image.versions(client, image.tag(), True).keys()


@pytest.mark.docker
@pytest.mark.slow
def test_the_image_is_built_on_a_base_from_a_registry(
    client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, tag = "coachgym-test-base:latest", "coachgym-test-image:latest"
    steps = f"FROM {image.tag()}\nUSER 0\nRUN cp /bin/true /bin/gives-rights && chmod u+s /bin/gives-rights\n"
    client.images.build(fileobj=io.BytesIO(steps.encode()), tag=base, rm=True)

    def install(target: Path, python: str, added: Sequence[str]) -> dict[str, str]:
        target.mkdir()
        (target / "tiny.py").write_text("number = 7\n")
        return {"tiny": "1.0"}

    def pull(client: docker.DockerClient, must: bool) -> bool:
        return True

    monkeypatch.setattr(image, "BASE", base)
    monkeypatch.setattr(image, "_install", install)
    monkeypatch.setattr(image, "_pull", pull)
    monkeypatch.setattr(image, "tag", lambda added=(): tag)
    try:
        assert any(each.startswith("rights") for each in look(client, base, []))
        assert image.build("registry", client) == tag
        assert look(client, tag, []) == []
        assert image.versions(client, tag, True) == {"tiny": "1.0"}
        program = "import os, tiny; print(tiny.number, os.path.exists(tiny.__cached__), os.getuid())"
        output = client.containers.run(tag, ["python3", "-c", program], network_mode="none", remove=True)
        number, compiled, user = output.decode().split()
        assert (number, compiled, user) == ("7", "True", "65534")
    finally:
        for name in (tag, base):
            client.images.remove(name, force=True)


@pytest.mark.docker
def test_an_image_without_a_library_says_how_to_build_one_that_has_it(client: docker.DockerClient) -> None:
    backend: Backend = conf.build("sandbox", conf.load("sandbox", "docker"))
    given: Backend = conf.build("sandbox", conf.load("sandbox", "docker", image=image.tag()))
    try:
        command = "python -m sandbox.image build --libraries no-such-library==4.6.0"
        with pytest.raises(SandboxError, match=command):
            backend.open(SandboxSpec(libraries=("no-such-library==4.6.0",)))
        with pytest.raises(SandboxError, match="is not a library"):
            backend.open(SandboxSpec(libraries=("no such",)))
        with pytest.raises(SandboxError, match="lacks no-such-library"):
            given.open(SandboxSpec(libraries=("no-such-library", "NumPy")))
        given.open(SandboxSpec(libraries=("NumPy", f"pandas=={given.versions['pandas']}"))).close()
    finally:
        backend.close()
        given.close()
