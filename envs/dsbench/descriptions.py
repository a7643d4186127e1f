"""Task descriptions from a JSON file of the user: the cleaned ones of MAPPA's release, or own ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conf import ConfigError
from conf.text import replace_unencodable

MAX_CHARS = 20_000
"""Longest description."""


def read_descriptions(path: str | Path) -> dict[str, str]:
    """Returns task id -> description.

    The file is one JSON object: task id -> ``{"cleaned_prompt": text, …}``, as in MAPPA's release, whose
    other fields (metric, columns) are wrong for some tasks and are not used; or task id -> text. The object
    may also be the value of the key ``cleaned_prompts``. Tasks that do not exist are ignored.

    Raises:
        ConfigError: the file cannot be read or has another layout.
    """
    file = Path(path).expanduser()
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"env.descriptions={path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"env.descriptions={path}: not JSON: {' '.join(str(error).split())[:200]}"
        ) from None
    if isinstance(content, dict) and isinstance(content.get("cleaned_prompts"), dict):
        content = content["cleaned_prompts"]
    if not isinstance(content, dict) or not content:
        raise ConfigError(
            f"env.descriptions={path}: must be an object of task ids; got {type(content).__name__} of "
            f"{len(content) if isinstance(content, list | dict) else 1}"
        )
    return {
        name: _description(f"env.descriptions={path}: {name:.80}", record) for name, record in content.items()
    }


def _description(where: str, record: Any) -> str:
    text = record.get("cleaned_prompt") if isinstance(record, dict) else record
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"{where}: must have a text as cleaned_prompt; got {text!r:.60}")
    if len(text) > MAX_CHARS:
        raise ConfigError(f"{where}: at most {MAX_CHARS} characters; got {len(text)}")
    return replace_unencodable(text.strip())
