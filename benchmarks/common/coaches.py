"""The coaches that a command line compares, with their settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import conf
from conf import ConfigError, commands


def nodes(words: Sequence[str], *, config_dir: Path | None = None) -> dict[str, Mapping[str, Any]]:
    """Returns name -> configuration node of every coach, with its settings ``name.key=value``.

    ``coach=a,b`` names coaches by their own names, and ``strict=llm`` calls one ``strict``.

    Raises:
        ConfigError: no coach is named, a name is taken twice, or an override is invalid or belongs to none.
    """
    parsed = commands.parse(words)
    named = [pair for one in parsed for pair in _named(one.key_or_group, commands.choices(one))]
    names = [name for name, _ in named]
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            "name each coach once: coach=rules,outcome, or a=llm b=llm for one with two settings"
        )
    settings = {name: [f"coach={coach}"] for name, coach in named}
    for word, override in zip(words, parsed, strict=True):
        key = override.key_or_group
        if "." not in key:
            continue
        owner = max((name for name in names if key.startswith(f"{name}.")), key=len, default=None)
        if owner is None:
            raise ConfigError(f"{word!r} is not a setting of {', '.join(names)}: write <coach>.<key>=<value>")
        settings[owner].append(word.replace(owner, "coach", 1))
    parts = {"coach": commands.REQUIRED}
    composed = {
        name: commands.compose_parts(own, parts, config_dir=config_dir).coach
        for name, own in settings.items()
    }
    return {name: conf.to_dict(conf.fill_defaults("coach", node)) for name, node in composed.items()}


def _named(key: str, coaches: Sequence[str]) -> list[tuple[str, str]]:
    """Returns (name, coach) of the coaches that ``key=coaches`` names; a setting of a coach names none."""
    if "." in key:
        return []
    for coach in coaches:
        if not all(part.isidentifier() for part in coach.split(".")):
            raise ConfigError(f"{key}={coach} names no coach; a setting is written <coach>.<key>=<value>")
    if key == "coach":
        return [(coach, coach) for coach in coaches]
    if len(coaches) > 1:
        raise ConfigError(f"{key}={','.join(coaches)} gives one name to several coaches")
    return [(key, coaches[0])]
