"""The configuration as data, and how a name in it becomes an object.

A part (environment, coach, sandbox, generator, runtime, algorithm) is one Python file and one YAML file.
The YAML's ``name`` is the module, and the module defines exactly one public class with a nested ``Config``
dataclass. Types are in that dataclass and values in the YAML, each value in one place: values that the parts
of a group share are in the group's ``base.yaml``, which is not a part itself.

>>> load("env", "dsbench").name
'dsbench'
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from conf.errors import ConfigError as ConfigError
from conf.errors import unknown, unplaced
from conf.extras import EXTRAS, MissingExtraError
from conf.siblings import require_siblings as require_siblings
from conf.typed import to_dict as to_dict
from conf.typed import typed as typed

ROOT = Path(__file__).parent
BASE = "base"
"""Name of the YAML with what the parts of a group share; they inherit it by ``defaults: [base]``."""
METHODS = {
    "envs": ("grade",),
    "sandbox": ("open",),
    "learners": ("advantages",),
    "learners.generators": ("generate",),
    "learners.models": ("architecture",),
    "learners.runtimes": ("assemble",),
    "learners.weights": ("load",),
}
"""Package -> the method by which its parts are told from other ones. Not all parts of ``coaches`` are
coaches: ``coaches.judging.inner`` knows which must be."""

_YAML = (".yaml", ".yml")


def cache_dir() -> Path:
    """Returns the folder for results that are expensive to make again: ``$COACHGYM_CACHE`` or
    ``~/.cache/coachgym``."""
    return Path(os.environ.get("COACHGYM_CACHE") or Path.home() / ".cache" / "coachgym")


def names(group: str) -> list[str]:
    """Returns the parts of ``conf/<group>``: its YAML files except ``base.yaml``, which the others inherit
    from."""
    return sorted(path.stem for path in (ROOT / group).glob("*.yaml") if path.stem != BASE)


def load(group: str, name: str, /, **overrides: Any) -> DictConfig:
    """Returns ``conf/<group>/<name>.yaml``, with what it inherits and with ``overrides``.

    ``name`` may also be the path of another YAML, ``my_conf/env/ledger.yaml``, or a module without a YAML,
    ``my_parts.ledger``: then ``overrides`` are all of its settings.

    Raises:
        ConfigError: there is no such part, or an override names a key that it does not have.
    """
    if name in names(group):
        node = _read(group, name)
    elif isinstance(name, str) and name.endswith(_YAML):
        node = _read(group, name)
        if not isinstance(OmegaConf.select(node, "name"), str):
            raise ConfigError(f"{group}: {name}: must have a name, the module of the part")
    elif isinstance(name, str) and "." in name and all(map(str.isidentifier, name.split("."))):
        return _of_module(name, overrides)
    else:
        raise ConfigError(unknown(f"{group} called {name!r}", names(group), name=str(name)))
    OmegaConf.set_struct(node, True)
    for key, value in overrides.items():
        try:
            OmegaConf.update(node, key, value)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{group}={name}: {unplaced(error)}") from None
    return node


def fill_defaults(group: str, node: Mapping[str, Any] | DictConfig) -> DictConfig:
    """Returns ``node`` with the keys that it leaves out taken from ``conf/<group>/<node.name>.yaml``,
    recursively.

    A nested node is a mapping with a ``name``, alone or in a list: a part that wraps others of its group can
    name them and change some of their values. A node under the name of another group, such as ``sandbox``,
    belongs to that group. A name may be the path of a YAML. A dotted name has none, and its node is taken as
    it is.

    Raises:
        ConfigError: there is no such YAML.
    """
    complete: Any = OmegaConf.create(dict(node))
    if "." not in complete.name or complete.name.endswith(_YAML):
        defaults = load(group, complete.name)
        OmegaConf.set_struct(defaults, False)  # ``build`` rejects unknown keys, and knows their types
        complete = OmegaConf.merge(defaults, complete, {"name": defaults.name})
    values = OmegaConf.to_container(complete)
    assert isinstance(values, dict)
    return OmegaConf.create(
        {str(key): _fill_nested(group_of(str(key), group), value) for key, value in values.items()}
    )


def add_missing(group: str, node: Mapping[str, Any] | DictConfig) -> DictConfig:
    """Returns ``node``, which an earlier version may have written, with the settings that its part has got
    since then: their values are those of the first YAML with its ``name``.

    Settings within settings are left alone: not all of these groups have a fixed set of keys.
    """
    yamls = (load(group, name) for name in names(group))
    known: Any = next((yaml for yaml in yamls if yaml.name == node["name"]), {})
    missing = OmegaConf.to_container(known) if known else {}  # interpolations are those of the whole run
    return OmegaConf.create(cast(dict[str, Any], missing) | dict(node))


def plugin_class(package: str, name: str) -> type[Any]:
    """Returns the public class with a nested ``Config`` of module ``package.name``, or of a dotted ``name``.

    Raises:
        ConfigError: there is no such module, or it does not define exactly one such class.
    """
    path = name if "." in name else f"{package}.{name}"
    module = _import(path)
    classes = [
        value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and hasattr(value, "Config")
        and not key.startswith("_")
    ]
    if len(classes) != 1:
        defined = ", ".join(cls.__name__ for cls in classes) or "none"
        raise ConfigError(
            f"{path} must define exactly one public class with a nested Config; it has {defined}"
        )
    return classes[0]


def require_method(cls: type[Any], *names: str) -> None:
    """Raises ``ConfigError`` if a class has none of the methods ``names``, at least one of which it needs."""
    if names and not any(hasattr(cls, name) for name in names):
        raise ConfigError(f"{cls.__module__}.{cls.__qualname__} has no method {' or '.join(names)}")


def build(package: str, node: Mapping[str, Any] | DictConfig, **parts: Any) -> Any:
    """Builds the part that ``node["name"]`` names: ``Class(Config(**node), **parts)``.

    Every key of ``node`` except ``name`` is checked against the types of ``Class.Config``.

    Raises:
        ConfigError: an unknown or missing key, a value of the wrong type or out of range, or a module that is
        not a plug-in.
    """
    config = check(package, node)
    return plugin_class(package, node["name"])(config, **parts)


def check(package: str, node: Mapping[str, Any] | DictConfig, path: str = "") -> Any:
    """Returns the ``Class.Config`` of the part that ``node["name"]`` names, and builds nothing.

    ``path``: the place of ``node`` in the configuration, for messages; without it they name the part.

    Raises:
        ConfigError: as ``build``.
    """
    cls = plugin_class(package, node["name"])
    require_method(cls, *METHODS.get(package, ()))
    values = {key: value for key, value in to_dict(node).items() if key != "name"}
    try:
        return typed(cls.Config, values, path)
    except ConfigError as error:
        raise ConfigError(str(error) if path else f"{package} {node['name']!r}: {error}") from None


def _read(group: str, name: str) -> DictConfig:
    """Returns a YAML merged over those that its ``defaults`` name, as Hydra does without a ``_self_``."""
    path = Path(name).expanduser() if name.endswith(_YAML) else ROOT / group / f"{name}.yaml"
    try:
        node = OmegaConf.load(path)
    except OSError as error:
        raise ConfigError(f"{group}: {path}: cannot be read: {error.strerror}") from None
    except (YAMLError, UnicodeDecodeError, OmegaConfBaseException) as error:
        raise ConfigError(f"{group}: {path}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{group}: {path}: must be a mapping of settings")
    inherited = [_read(group, _beside(path, parent)) for parent in node.pop("defaults", [])]
    merged = OmegaConf.merge(*inherited, node)
    assert isinstance(merged, DictConfig)
    return merged


def _of_module(name: str, values: Mapping[str, Any]) -> DictConfig:
    """Returns the node of a module without a YAML, whose settings are ``values``."""
    node = OmegaConf.create({"name": name})
    for key, value in values.items():
        OmegaConf.update(node, key, value)
    return node


def _beside(path: Path, parent: str) -> str:
    """Returns the path of the YAML called ``parent`` in the folder of ``path``, or its name in ``conf``."""
    own = path.with_name(f"{parent}.yaml")
    return str(own) if own.is_file() else parent


def group_of(key: str, group: str) -> str:
    """Returns the group of a node under ``key`` of a part of ``group``."""
    return key if (ROOT / key).is_dir() else group


def _fill_nested(group: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_fill_nested(group, item) for item in value]
    return fill_defaults(group, value) if isinstance(value, Mapping) and "name" in value else value


def _import(path: str) -> ModuleType:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not (path == error.name or path.startswith(error.name + ".")):
            package = (error.name or "").partition(".")[0]
            if package in EXTRAS:
                raise MissingExtraError(path, package) from None
            raise  # the plug-in exists; something else that it needs does not
        raise ConfigError(f"there is no module {path!r}") from None
