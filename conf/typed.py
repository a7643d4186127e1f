"""Settings -> a dataclass: types and ranges are checked, and a mistake is one line that names the setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, make_dataclass
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from conf.errors import ConfigError, unknown_setting
from conf.ranges import Range

T = TypeVar("T")
KINDS = {int: "an integer", float: "a number", str: "text", bool: "true or false", NoneType: "null"}


def typed(cls: type[T], node: Mapping[str, Any] | DictConfig, path: str = "") -> T:
    """Returns ``node`` as the dataclass ``cls``, whose fields may be dataclasses too.

    ``path`` is the place of ``node`` in the configuration, for messages. Numbers convert as in OmegaConf
    (``3`` is a float where one is expected, ``1.5`` is no integer); true and false are never numbers or text,
    and no number is infinite or NaN. A field's type may have a range (``conf.ranges``).

    Raises:
        ConfigError: a setting is unknown or missing, or a value has the wrong type or is out of range.
    """
    return _read(cls, to_dict(node), path)


def _read(cls: type[T], values: Mapping[str, Any], path: str) -> T:
    own = fields(cls)  # type: ignore[arg-type]  # T is a dataclass
    known = get_type_hints(cls)
    hints = {field.name: known[field.name] for field in own}
    if extra := [key for key in values if key not in hints]:
        raise ConfigError(unknown_setting(_join(path, str(extra[0])), dict.fromkeys(hints)))
    required = {field.name for field in own if field.default is MISSING and field.default_factory is MISSING}
    given = {key: value for key, value in values.items() if value != "???"}
    if missing := [key for key in hints if key in required and key not in given]:
        raise ConfigError(f"{_join(path, missing[0])} must be set")
    # OmegaConf cannot merge into nested dataclasses that are frozen, and says less about those that are not.
    nested = {
        key: _nested(hints[key], given[key], _join(path, key)) for key in given if _is_record(hints[key])
    }
    flat = {key: hints[key] for key in given if key not in nested}
    converted = _flat(cls.__name__, flat, {key: given[key] for key in flat}, path)
    ranges = get_type_hints(cls, include_extras=True)
    for key, value in converted.items():
        _check(ranges[key], value, _join(path, key))
    return cls(**converted, **nested)


def to_dict(node: Mapping[str, Any] | DictConfig) -> dict[str, Any]:
    """Returns ``node`` as dicts, lists and scalars, with interpolations resolved and missing values as
    ``???``.

    Raises:
        ConfigError: an interpolation cannot be resolved.
    """
    config = node if isinstance(node, DictConfig) else OmegaConf.create(dict(node))
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _nested(cls: type[Any], value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{path} is a group of settings and cannot be {_shown(value)}")
    return _read(cls, value, path)


def _flat(name: str, hints: Mapping[str, Any], values: dict[str, Any], path: str) -> dict[str, Any]:
    for key, hint in hints.items():
        _check_kind(hint, values[key], _join(path, key))
    try:
        schema = OmegaConf.structured(make_dataclass(name, hints.items()))
        merged = OmegaConf.to_object(OmegaConf.merge(schema, values))
    except OmegaConfBaseException as error:
        raise ConfigError(_reason(error, hints, values, path)) from None
    return {key: getattr(merged, key) for key in hints}


def _check_kind(hint: Any, value: Any, where: str) -> None:
    """Raises ``ConfigError`` for what OmegaConf would convert, or let through within a list or mapping."""
    if isinstance(value, list | dict) and get_origin(hint) in (list, dict):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _check_kind(get_args(hint)[-1], item, _join(where, str(key)))
    elif _mistakes_a_bool(hint, value) or (_scalars(hint) and isinstance(value, list | dict)):
        raise ConfigError(_wrong(hint, value, where))


def _check(hint: Any, value: Any, where: str) -> None:
    """Raises ``ConfigError`` if a number in ``value`` is not finite, or outside the range of ``hint``."""
    if isinstance(value, float) and not isfinite(value):
        raise ConfigError(f"{where} must be a finite number, not {value}")
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        _check(arguments[0], value, where)
        for limits in arguments[1:]:
            if isinstance(limits, Range) and (mistake := limits.mistake(value)):
                raise ConfigError(f"{where} {mistake}, not {value}")
    elif get_origin(hint) in (Union, UnionType):
        for choice in arguments:
            if value is not None:
                _check(choice, value, where)
    elif isinstance(value, list | dict):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _check(arguments[-1] if arguments else Any, item, _join(where, str(key)))
    elif is_dataclass(value):
        hints = get_type_hints(type(value), include_extras=True)
        for field in fields(value):
            _check(hints[field.name], getattr(value, field.name), _join(where, field.name))


def _reason(
    error: OmegaConfBaseException, hints: Mapping[str, Any], values: Mapping[str, Any], path: str
) -> str:
    key = str(error.full_key or "")
    where = _join(path, key)
    if isinstance(error, ConfigKeyError):
        return f"there is no setting {where}"
    if isinstance(error, MissingMandatoryValue):
        return f"{where} must be set"
    if key in hints and _takes_list(hints[key]) and not isinstance(values[key], list):
        return f"{where} must be a list, such as [{values[key]}], not {_shown(values[key])}"
    if key in hints and _scalars(hints[key]):
        return _wrong(hints[key], values[key], where)
    return f"{where}: {str(error).splitlines()[0]}"


def _wrong(hint: Any, value: Any, where: str) -> str:
    return f"{where} must be {' or '.join(KINDS[kind] for kind in _scalars(hint))}, not {_shown(value)}"


def _mistakes_a_bool(hint: Any, value: Any) -> bool:
    """Whether ``value`` is a boolean where none is expected, or a number where only a boolean is."""
    kinds = _scalars(hint)
    if isinstance(value, bool):
        return bool(kinds) and bool not in kinds
    return isinstance(value, int | float) and set(kinds) - {NoneType} == {bool}


def _scalars(hint: Any) -> tuple[type, ...]:
    """The types that ``hint`` allows, in order; none where it is more than a choice of scalars."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return kinds if all(kind in KINDS for kind in kinds) else ()


def _takes_list(hint: Any) -> bool:
    return any(get_origin(kind) is list for kind in (hint, *get_args(hint)))


def _shown(value: Any) -> str:
    """``value`` as a configuration writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _is_record(hint: Any) -> bool:
    return isinstance(hint, type) and is_dataclass(hint)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key
