"""A package that is not installed is reported in one line that names the extra to install."""

from __future__ import annotations

import configparser
import importlib
import logging
import subprocess
import sys

import pytest

import conf
from conf import ROOT, ConfigError
from conf.extras import EXTRAS, MissingExtraError, require
from sandbox.base import SandboxError


def hide(monkeypatch: pytest.MonkeyPatch, package: str, *importers: str) -> None:
    """Makes ``package`` impossible to import, for modules that import it too, which are imported anew."""
    for module in importers:
        parent, _, name = module.rpartition(".")
        monkeypatch.delattr(importlib.import_module(parent), name, raising=False)
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, package, None)


def test_every_extra_that_a_message_can_name_exists() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT.parent / "setup.cfg")
    assert set(EXTRAS.values()) <= set(settings["options.extras_require"])


@pytest.mark.parametrize("package", EXTRAS)
def test_what_is_missing_is_named_with_its_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, package)
    wanted = rf"^this part needs {package}, .* pip install 'coachgym\[{EXTRAS[package]}\]'$"
    with pytest.raises(MissingExtraError, match=wanted):
        require("this part", package)


def test_the_docker_backend_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "docker", "sandbox.docker", "sandbox.host.daemon", "sandbox.image")
    with pytest.raises(ConfigError, match=r"sandbox\.docker needs docker, .*coachgym\[docker\]'$"):
        conf.build("sandbox", conf.load("sandbox", "docker"))


def test_auto_goes_on_to_local_sandboxes_where_the_package_docker_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hide(monkeypatch, "docker", "sandbox.docker", "sandbox.host.daemon", "sandbox.image")
    caplog.set_level(logging.INFO, "sandbox.auto")
    try:
        backend = conf.build("sandbox", conf.load("sandbox", "auto"))
    except SandboxError as error:
        reasons = str(error)  # no local isolation on this machine either
    else:
        assert backend.name.startswith("local")
        backend.close()
        reasons = caplog.text
    assert "docker: sandbox.docker needs docker, which is not installed" in reasons


HIDDEN = """
import runpy, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "docker"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
command = sys.argv[1]
sys.argv = ["-m", *sys.argv[2:]]
runpy._run_module_as_main(command)
"""


@pytest.mark.parametrize(
    ("command", "package"),
    [
        ("learners.reinforcepp", "torch"),
        ("learners.export", "torch"),
        ("benchmarks.report", "torch"),
        ("benchmarks.learning", "torch"),
        ("sandbox.image", "docker"),
    ],
)
def test_a_command_without_its_extra_is_one_line(command: str, package: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN, command], cwd=ROOT.parent, capture_output=True, text=True, check=False
    )
    [line] = done.stderr.splitlines()
    assert f"needs {package}, which is not installed: pip install 'coachgym[{EXTRAS[package]}]'" in line
    assert done.returncode == 1
