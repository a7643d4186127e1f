"""The configuration as data, and the one way from a name in it to an object.

A part (environment, coach, sandbox, generator, runtime, algorithm) is one Python file and one YAML file.
The YAML's ``name`` is the module; the module defines exactly one public class with a nested ``Config``
dataclass. Types live in that dataclass, values in the YAML, each value in one place: values that the parts of
a group share are in the group's ``base.yaml``, which is no part itself.

>>> load("env", "dsbench").name
'dsbench'
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conf.errors import ConfigError as ConfigError
from conf.extras import EXTRAS, MissingExtraError
from conf.typed import typed as typed

ROOT = Path(__file__).parent
BASE = "base"
"""Name of the YAML that holds what the parts of its group share; they inherit it by ``defaults: [base]``."""


def cache_dir() -> Path:
    """Where what was made or paid for once is kept: ``$COACHGYM_CACHE``, else ``~/.cache/coachgym``."""
    return Path(os.environ.get("COACHGYM_CACHE") or Path.home() / ".cache" / "coachgym")


def names(group: str) -> list[str]:
    """The parts of ``conf/<group>``: its YAML files, except ``base.yaml``, which the others inherit from."""
    return sorted(path.stem for path in (ROOT / group).glob("*.yaml") if path.stem != BASE)


def load(group: str, name: str, /, **overrides: Any) -> DictConfig:
    """Reads ``conf/<group>/<name>.yaml``, with what it inherits, and sets ``overrides`` in it.

    Raises:
        ConfigError: there is no such part, or an override names a key it does not have.
    """
    known = names(group)
    if name not in known:
        raise ConfigError(f"there is no {group} called {name!r}; there are: {', '.join(known)}")
    node = _read(group, name)
    OmegaConf.set_struct(node, True)
    for key, value in overrides.items():
        try:
            OmegaConf.update(node, key, value)
        except OmegaConfBaseException:
            raise ConfigError(
                f"{group}={name} has no setting {key!r}; it has: {', '.join(map(str, node))}"
            ) from None
    return node


def filled(group: str, node: Mapping[str, Any] | DictConfig) -> DictConfig:
    """``node`` with what it leaves out, taken from ``conf/<group>/<node.name>.yaml``; nodes in it alike.

    A node in a node is a mapping with a ``name``, alone or in a list: a part that wraps others of its group
    can name them and change some of their values. A node under the name of another group, such as
    ``sandbox``, is of that group. A dotted name has no YAML here, and is taken as it is.

    Raises:
        ConfigError: there is no such YAML.
    """
    whole: Any = OmegaConf.create(dict(node))
    if "." not in whole.name:
        base = load(group, whole.name)
        OmegaConf.set_struct(base, False)  # ``build`` tells what is unknown, with the types at hand
        whole = OmegaConf.merge(base, whole, {"name": base.name})
    values = OmegaConf.to_container(whole)
    assert isinstance(values, dict)
    return OmegaConf.create(
        {str(key): _filled_within(_group_of(str(key), group), value) for key, value in values.items()}
    )


def choose(group: str, words: Sequence[str]) -> DictConfig:
    """The node that a command line's ``coach=rules coach.delivered=9`` asks for, for ``group="coach"``.

    Raises:
        ConfigError: a word is no such setting, or none names the part.
    """
    node: Any = OmegaConf.create({})
    for word in words:
        if not word.startswith((f"{group}=", f"{group}.")) or "=" not in word:
            raise ConfigError(
                f"{word!r} is no setting of a {group}: write {group}=<name> or {group}.<key>=<value>"
            )
    try:
        for word in sorted(words, key=lambda word: not word.startswith(f"{group}=")):
            key, value = word.split("=", 1)
            OmegaConf.update(node, f"{group}.name" if key == group else key, _yaml(value), force_add=True)
    except (OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{group}: {str(error).splitlines()[0]}") from None
    if group not in node or "name" not in node[group]:
        raise ConfigError(f"no {group} is named: write {group}=<name>")
    return filled(group, node[group])


def plain(node: DictConfig) -> dict[str, Any]:
    """``node`` as dicts, lists and scalars."""
    values = OmegaConf.to_container(node, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def plugin(package: str, name: str) -> type[Any]:
    """The one public class with a nested ``Config`` of module ``package.name``, or of a dotted ``name``.

    Raises:
        ConfigError: no such module, or it does not define exactly one such class.
    """
    path = name if "." in name else f"{package}.{name}"
    module = _import(path)
    found = [
        value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and hasattr(value, "Config")
        and not key.startswith("_")
    ]
    if len(found) != 1:
        names = ", ".join(c.__name__ for c in found) or "none"
        raise ConfigError(f"{path} must define exactly one public class with a nested Config; it has {names}")
    return found[0]


def build(package: str, node: Mapping[str, Any] | DictConfig, **parts: Any) -> Any:
    """Builds the part that ``node["name"]`` names: ``Class(Config(**node), **parts)``.

    Every key of ``node`` but ``name`` is checked against the types of ``Class.Config``.

    Raises:
        ConfigError: an unknown key, a wrong type, a missing value, or a module that is no plug-in.
    """
    cls = plugin(package, node["name"])
    values = {str(key): value for key, value in node.items() if key != "name"}
    try:
        config = typed(cls.Config, values)
    except ConfigError as error:
        raise ConfigError(f"{package} {node['name']!r}: {error}") from None
    return cls(config, **parts)


def _read(group: str, name: str) -> DictConfig:
    """A YAML of a group merged over those that its ``defaults`` name, as Hydra does without a ``_self_``."""
    node = OmegaConf.load(ROOT / group / f"{name}.yaml")
    assert isinstance(node, DictConfig)
    inherited = [_read(group, parent) for parent in node.pop("defaults", [])]
    merged = OmegaConf.merge(*inherited, node)
    assert isinstance(merged, DictConfig)
    return merged


def _group_of(key: str, group: str) -> str:
    return key if (ROOT / key).is_dir() else group


def _filled_within(group: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_filled_within(group, item) for item in value]
    return filled(group, value) if isinstance(value, Mapping) and "name" in value else value


def _yaml(text: str) -> Any:
    """A value of the command line: ``3`` is a number, ``null`` nothing, ``{name: rules}`` a node."""
    return OmegaConf.from_dotlist([f"value={text}"]).value


def _import(path: str) -> ModuleType:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not (path == error.name or path.startswith(error.name + ".")):
            package = (error.name or "").partition(".")[0]
            if package in EXTRAS:
                raise MissingExtraError(path, package) from None
            raise  # the plug-in exists; something else that it needs does not
        raise ConfigError(f"there is no module {path!r} to plug in") from None
