"""Measures what recorded episodes take on disk: as they are written, and with everything written out.

    python -m benchmarks.recording runs/dsbench/<run>

A run writes once what repeats (``coaches.recording.repeats``). ``shared.jsonl`` grows with the kinds of tasks
and prompts, not with the episodes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.common.command import make_parser, print_path, write_json
from coaches.recording.repeats import SHARED
from conf import ConfigError, commands
from conf.arguments import add_out, require_new
from conf.tables import make_console
from learners.report import reading


@dataclass(frozen=True)
class Sizes:
    """Bytes of recorded episodes. They are counted, so that no machine is named."""

    episodes: int
    turns: int
    written: int
    """Of ``episodes.jsonl``."""
    shared: int
    """Of ``shared.jsonl``; 0 if there is none."""
    whole: int
    """Of the same episodes with everything written out."""

    @property
    def lines(self) -> list[str]:
        """The sizes in words."""
        each, shared, whole = (
            size / self.episodes / 1000 for size in (self.written, self.shared, self.whole)
        )
        return [
            f"{self.episodes} episodes, {self.turns} turns",
            f"episodes.jsonl: {each:.1f} kB an episode",
            f"{SHARED}: {self.shared / 1000:.1f} kB in all, {shared:.2f} an episode",
            f"everything written out: {whole:.1f} kB an episode, {whole / (each + shared):.1f} times as much",
        ]


def measure(run: reading.Run) -> Sizes:
    """Returns the sizes of a run's episodes. Raises ``ConfigError`` if one is invalid or there are none."""
    episodes = turns = whole = 0
    for row, _ in reading.episodes_of(run):
        episodes, turns = episodes + 1, turns + len(row["turns"])
        whole += len(json.dumps(row, ensure_ascii=False).encode()) + 1
    if not episodes:
        raise ConfigError(f"{run.path} has no episodes")
    shared = run.path.with_name(SHARED)
    return Sizes(
        episodes, turns, run.path.stat().st_size, shared.stat().st_size if shared.is_file() else 0, whole
    )


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. Errors are one line on stderr, and exit code 2."""
    parser = make_parser("recording", __doc__)
    parser.add_argument("run", type=Path, help="folder of a run, or a file of episodes")
    add_out(parser, help="also write the numbers there, as JSON")
    given = parser.parse_args(arguments)
    require_new(given.overwrite, *filter(None, [given.out]))
    sizes = measure(reading.read(given.run))
    console = make_console()
    for line in sizes.lines:
        console.print(line, highlight=False)
    if given.out is not None:
        write_json(given.out, asdict(sizes))
        print_path(console, given.out)


if __name__ == "__main__":
    main()
