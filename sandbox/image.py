"""The image that the ``docker`` backend runs: ``python -m sandbox.image build``.

The base is a registry's Python image when a registry answers, else Debian packages from this machine's own
mirror, which requires root and ``mmdebstrap`` but no network for the daemon. The libraries are those
installed here, in the same versions, so that what programs pickle can be checked against what the host
documents, and those that an environment adds (``--libraries``). The image's name is the hash of all that. It
contains nothing of this project and no setuid file, and is built for this machine's architecture."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from conf.arguments import Parser
from conf.extras import MissingExtraError

try:
    import docker  # type: ignore[import-untyped]
    from docker.errors import DockerException, ImageNotFound  # type: ignore[import-untyped]
except ModuleNotFoundError:
    if __name__ == "__main__":
        sys.exit(f"error: {MissingExtraError('python -m sandbox.image', 'docker')}")
    raise

from sandbox.base import SandboxError
from sandbox.host import daemon
from sandbox.host.libraries import STANDARD, installed, name_of

LABEL = "coachgym.libraries"
"""The image's label with the libraries' versions, as JSON."""
BASE = "python:3.11-slim"
_SITE = "/opt/site"
_SETTINGS = ("ENV PYTHONDONTWRITEBYTECODE=1", f"ENV PYTHONPATH={_SITE}", "WORKDIR /work", "USER 65534:65534")
_BARE = "RUN ! python -m pip --version || python -m pip uninstall -q -y pip setuptools wheel"
"""Leaves no library but those that programs may import."""
_STRIP = "find / -xdev -type f -perm /6000 -exec chmod a-s {} +"
_PACKAGE = "libgomp1"
"""Debian package for added libraries: wheels such as LightGBM's expect the system to provide it."""
_LEFT_OUT = ("doc", "man", "locale", "info", "lintian")
_GLIBC = ("2_28", "2_27", "2_17")


def tag(added: Sequence[str] = ()) -> str:
    """Returns the name of the image for the current recipe and versions, and the libraries ``added``."""
    here = installed()
    recipe = [here, platform.machine(), BASE, _BARE, _SETTINGS, _STRIP, _LEFT_OUT]
    if added:
        recipe += [_PACKAGE, *sorted(set(added))]
    return f"coachgym-sandbox:{hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]}"


def command(added: Sequence[str] = ()) -> str:
    """Returns the command that builds an image."""
    return " ".join(["python -m sandbox.image build", *(["--libraries", *added] if added else [])])


def versions(
    client: docker.DockerClient, name: str, built_here: bool, added: Sequence[str] = ()
) -> dict[str, str]:
    """Returns library -> version according to the image's label. Raises ``SandboxError`` when there is no
    such image."""
    try:
        labels = client.images.get(name).labels
    except ImageNotFound:
        how = f"build it with `{command(added)}`" if built_here else "pull or build it"
        raise SandboxError(f"the Docker image {name} is missing: {how}") from None
    labelled: dict[str, str] = json.loads(labels.get(LABEL, "{}"))
    return labelled


def build(base: str, client: docker.DockerClient, added: Sequence[str] = ()) -> str:
    """Builds the image unless it exists, and returns its tag. ``base``: ``registry``, ``debian``, ``auto``;
    ``added``: libraries beyond the standard ones.

    Raises ``DockerException``, ``subprocess.CalledProcessError`` or ``OSError``.
    """
    name = tag(added)
    try:
        client.images.get(name)
        return name
    except ImageNotFound:
        pass
    pulled = base != "debian" and _pull(client, must=base == "registry")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if pulled:
            _from_registry(root, name, client, added)
        else:
            _from_debian(root / "root", name, client, added)
    return name


def _pull(client: docker.DockerClient, must: bool) -> bool:
    try:
        client.images.pull(BASE)
    except DockerException as error:
        if must:
            raise
        print(f"no registry answers ({str(error).splitlines()[0][:120]}); building from Debian packages")
        return False
    return True


def _from_registry(folder: Path, name: str, client: docker.DockerClient, added: Sequence[str]) -> None:
    installed = _install(folder / "site", "3.11", added)
    steps = [
        f"FROM {BASE}",
        _BARE,
        f"COPY site {_SITE}",
        f"RUN python -m compileall -q -j0 {_SITE}; {_STRIP}",
    ]
    if added:
        steps.insert(1, f"RUN apt-get update && apt-get install -y --no-install-recommends {_PACKAGE}")
    (folder / "Dockerfile").write_text("\n".join([*steps, *_SETTINGS, ""]))
    client.images.build(path=str(folder), tag=name, labels={LABEL: json.dumps(installed)}, rm=True)


def _from_debian(root: Path, name: str, client: docker.DockerClient, added: Sequence[str]) -> None:
    if not shutil.which("mmdebstrap"):
        raise OSError("building from Debian packages needs mmdebstrap: apt-get install mmdebstrap")
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    sources = [
        path for path in Path("/etc/apt").glob("sources.list*") if path.is_file() and path.stat().st_size
    ]
    sources += [p for p in Path("/etc/apt/sources.list.d").glob("*") if p.suffix in (".list", ".sources")]
    packages = ",".join(["python3", *([_PACKAGE] if added else [])])
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in _LEFT_OUT]
    _run("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={packages}", *excluded,
         release["VERSION_CODENAME"].strip('"'), str(root), *map(str, sources))  # fmt: skip
    python = (root / "usr/bin/python3").readlink().name
    installed = _install(root / _SITE[1:], python.removeprefix("python"), added)
    _run("chroot", str(root), "python3", "-m", "compileall", "-q", "-j0", _SITE, f"/usr/lib/{python}")
    _run("chroot", str(root), "sh", "-c", f"{_STRIP}; ln -sf python3 /usr/bin/python")
    for folder in ("dev", "tmp", "var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir(parents=True)
    (root / "work").mkdir()
    _import(root, name, client, installed)


def _import(root: Path, name: str, client: docker.DockerClient, installed: Mapping[str, str]) -> None:
    changes = [
        *_SETTINGS,
        "ENV PATH=/usr/local/bin:/usr/bin:/bin",
        f"LABEL {LABEL}={json.dumps(json.dumps(installed))}",
    ]
    repository, version = name.split(":")
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.add(root, arcname=".")
        file.flush()
        client.api.import_image_from_file(file.name, repository=repository, tag=version, changes=changes)


def _install(target: Path, python: str, added: Sequence[str]) -> dict[str, str]:
    """Installs the libraries' wheels for another Python into a folder, in the versions that are installed
    here unless ``added`` pins another; a library that is not installed here gets a version that fits.

    Returns the libraries' versions.
    """
    own = {name_of(each) for each in added if "==" in each}
    pins = {item.metadata["Name"]: item.version for item in importlib.metadata.distributions()}
    pins = {name: version for name, version in pins.items() if name_of(name) not in own}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{name}=={version}\n" for name, version in sorted(pins.items())))
        file.flush()
        machine = platform.machine()
        platforms = [f"--platform=manylinux_{glibc}_{machine}" for glibc in _GLIBC]
        platforms += [f"--platform=manylinux2014_{machine}"]
        _run(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", f"--target={target}",
             *platforms, f"--python-version={python}", "--implementation=cp", "--only-binary=:all:",
             f"--constraint={file.name}", *STANDARD, *added)  # fmt: skip
    versions = {name_of(item.metadata["Name"]): item.version
             for item in importlib.metadata.distributions(path=[str(target)])}  # fmt: skip
    return dict(sorted(versions.items()))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("python -m sandbox.image", "Builds the image of docker sandboxes, or prints its name.")
    parser.add_argument("action", choices=["build", "name"], help="make the image, or print its name")
    parser.add_argument("--base", choices=["auto", "registry", "debian"], default="auto")
    parser.add_argument(
        "--libraries",
        nargs="+",
        default=[],
        metavar="NAME[==VERSION]",
        help="libraries that an environment adds",
    )
    given = parser.parse_args(arguments)
    try:
        name = tag([each for each in given.libraries if name_of(each)])
        if given.action == "build":
            client = daemon.new_client()
            build(given.base, client, given.libraries)
            print(*(f"{each} {version}" for each, version in versions(client, name, True).items()), sep="\n")
    except (SandboxError, DockerException, subprocess.CalledProcessError, OSError) as error:
        print(f"the image was not built: {error}", file=sys.stderr)
        return 1
    print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
