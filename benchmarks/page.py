"""Measures the page of a report in a browser: how long it takes to open, to filter and to search.

    python -m benchmarks.page runs/dsbench/<run>                       # repeated up to 10,000 episodes
    python -m benchmarks.page runs/dsbench/<run> --episodes 1216

The recorded episodes of a run, or of a file, are repeated under new ids until there are ``--episodes``; every
copy's actions differ, so that copies do not compress to nothing. The page is written to disk and opened in
headless Chromium without a network, in a new context each round. ``opened`` is the time until the first view
is there. The time of a view begins with the change of the address and ends when the browser has drawn it;
that of the search ends with its list. Exit code 1: a target is missed. Needs Chromium and the extra
``browser``.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common.command import make_parser, print_path, write_json
from benchmarks.common.machine import Machine, machine
from benchmarks.common.spread import Spread
from benchmarks.common.targets import Target, to_records
from conf import ConfigError, commands, extras
from conf.arguments import add_out, integer, require_new
from conf.tables import make_console, make_table
from learners.report import reading
from learners.report.page import page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FILTERS = {
    "failed": "#/episodes?result=failed",
    "failed regressions": "#/episodes?result=failed&kind=regression",
    "by score": "#/episodes?result=failed&sort=-score",
    "handoffs": "#/handoffs?phase=train",
    "overview": "#/overview",
}
"""Views whose drawing is measured."""
SEARCH = "#/episodes?text=nothing has this text"
"""A search that has to read everything."""
_DRAWN = """async (address) => {
  const main = document.getElementById("main");
  const changed = new Promise((done) => new MutationObserver((_, watcher) => {
    watcher.disconnect();
    done();
  }).observe(main, { childList: true }));
  const begun = performance.now();
  location.hash = address;
  await changed;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - begun;
}"""


@dataclass(frozen=True)
class Report:
    """One run of the benchmark."""

    machine: Machine
    episodes: int
    page_mb: float
    written_cpu_s: float
    """CPU seconds for reading the episodes and writing the page."""
    seconds: dict[str, Spread]
    """By what was done: ``opened``, the views of ``FILTERS``, and ``search``."""
    targets: Sequence[Target]


def measure(run: reading.Run, episodes: int, rounds: int) -> Report:
    """Writes the page about ``episodes`` episodes and opens it ``rounds`` times.

    Raises:
        ConfigError: there is no Chromium, or an episode is invalid.
    """
    extras.require("benchmarks.page", "playwright")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise ConfigError("benchmarks.page needs Chromium: there is no chromium and no google-chrome on PATH")
    from playwright import sync_api

    here = machine()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report.html")
        begun = time.process_time()
        path.write_text(_repeated(run, episodes, Path(folder)), encoding="utf-8")
        written = time.process_time() - begun
        size = path.stat().st_size / 1e6
        with sync_api.sync_playwright() as playwright:
            # Chromium's own sandbox cannot start as root, and the page's scripts are the project's own.
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            measured = [_round(browser, path.as_uri()) for _ in range(rounds)]
            browser.close()
    seconds = {name: Spread.of([one[name] for one in measured]) for name in measured[0]}
    slowest = max(seconds[name].median for name in FILTERS)
    targets = [
        Target("s until it is opened", seconds["opened"].median, 2.0),
        Target("s for the slowest view", slowest, 0.1),
    ]
    return Report(here, episodes, size, written, seconds, targets)


def _repeated(run: reading.Run, episodes: int, folder: Path) -> str:
    """Returns the page about the run's episodes, repeated."""
    path = folder / "episodes.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for row in islice(_copies(run), episodes):
            file.write(json.dumps(row) + "\n")
    return page([reading.read(path)])


def _copies(run: reading.Run) -> Iterator[dict[str, object]]:
    for copy in count():
        number = None
        for number, (row, _) in enumerate(reading.episodes_of(run)):
            turns = [
                turn | {"action": f"{turn['action']}\n# {copy} {number} {n}"}
                for n, turn in enumerate(row["turns"])
            ]
            yield dict(row) | {"id": f"{row.get('id', number)}-{copy}", "turns": turns}
        if number is None:
            raise ConfigError(f"{run.path} has no episodes")


def _round(browser: Browser, address: str) -> dict[str, float]:
    """Opens the page and every view; returns the seconds of each."""
    context = browser.new_context(offline=True)
    tab = context.new_page()
    begun = time.perf_counter()
    tab.goto(address)
    tab.wait_for_selector("main h2")
    seconds = {"opened": time.perf_counter() - begun}
    for name, view in FILTERS.items():
        seconds[name] = tab.evaluate(_DRAWN, view) / 1000
    begun = time.perf_counter()
    tab.evaluate(_DRAWN, SEARCH)
    tab.wait_for_selector("main caption")
    seconds["search"] = time.perf_counter() - begun
    context.close()
    return seconds


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. Errors are one line on stderr, and exit code 2."""
    parser = make_parser("page", __doc__)
    parser.add_argument("run", type=Path, help="folder of a run, or a file of episodes")
    parser.add_argument("--episodes", type=integer(1), default=10_000)
    parser.add_argument("--rounds", type=integer(1), default=5)
    add_out(parser, help="also write the numbers there, as JSON")
    given = parser.parse_args(arguments)
    require_new(given.overwrite, *filter(None, [given.out]))
    measured = measure(reading.read(given.run), given.episodes, given.rounds)
    console = make_console()
    about = f"{measured.episodes} episodes, {measured.page_mb:.1f} MB"
    title = f"{about}, written in {measured.written_cpu_s:.1f} CPU s, in Chromium"
    table = make_table(title, ["what", "ms", "quartiles"])
    for name, spread in measured.seconds.items():
        low, middle, high = (f"{1000 * value:.0f}" for value in (spread.low, spread.median, spread.high))
        table.add_row(name, middle, f"{low} to {high}")
    console.print(table)
    for target in measured.targets:
        console.print(target.line(), highlight=False)
    if given.out is not None:
        write_json(given.out, asdict(measured) | {"targets": to_records(measured.targets)})
        print_path(console, given.out)
    if not all(target.met for target in measured.targets):
        sys.exit(1)


if __name__ == "__main__":
    main()
