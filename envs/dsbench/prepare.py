"""Checks a downloaded DSBench: ``python -m envs.dsbench.prepare PATH``.

Says of each of the 74 modelling tasks whether it can be used, how large it is, which limits it needs and what
is wrong; then which settings to put on the command line. Reads the files and writes none, apart from copies
in UTF-8 of files in another encoding (``COACHGYM_CACHE``). Nothing is downloaded.

States of a task:

    ok        can be used with the limits of conf/sandbox
    large     can be used with larger limits, which are listed
    unusable  a file is missing or damaged, ids do not fit, or the metric cannot score the answer
    absent    has no folder in the download

Exit code: 0 if all 74 tasks can be used, 1 if some cannot, 2 if PATH has no DSBench.
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import conf
from conf.arguments import Parser
from conf.stopping import quoted
from envs.dsbench import csvs
from envs.dsbench.csvs import EncodingError
from envs.dsbench.descriptions import read_descriptions
from envs.dsbench.registry import find_data, official, registry
from envs.dsbench.spec import Table
from envs.dsbench.tasks import make_task
from envs.types import Task

_MB = 1 << 20
_WORDS = {
    "file_mb": "env.limits.file_mb",
    "disk_mb": "env.limits.disk_mb",
    "memory_mb": "env.limits.memory_mb",
    "artifact_mb": "env.artifact_mb",
}


@dataclass(frozen=True)
class Needs:
    """Limits, in megabytes.

    What a program needs is an estimate for pandas (measured with version 3.0): reading a CSV takes up to four
    times its size, and a matrix of 64-bit numbers is held up to three times. One-hot columns come on top.
    """

    file_mb: int
    disk_mb: int
    memory_mb: int
    artifact_mb: int

    @classmethod
    def of(cls, sizes: Sequence[int], matrices: Sequence[int]) -> Needs:
        """Returns what a task needs whose files, and whose training and test features as 64-bit numbers, have
        these sizes in bytes."""
        largest, pair = max(*sizes, *matrices), sum(matrices)
        return cls(
            file_mb=_megabytes(largest),
            disk_mb=_megabytes(sum(sizes) + 2 * pair) + 16,
            memory_mb=_megabytes(4 * sum(sizes) + 3 * pair) + 256,
            artifact_mb=_megabytes(max(matrices)),
        )

    def largest(self, other: Needs) -> Needs:
        return Needs(**{name: max(value, getattr(other, name)) for name, value in asdict(self).items()})

    def beyond(self, other: Needs) -> dict[str, int]:
        """Returns the limits that are above those of ``other``."""
        return {name: value for name, value in asdict(self).items() if value > getattr(other, name)}


@dataclass(frozen=True)
class Report:
    """What was found of one task."""

    id: str
    state: str
    """``ok``, ``large``, ``unusable`` or ``absent``."""
    detail: str = ""
    needs: Needs | None = None
    encoding: str = ""
    """Of its files, if they are not UTF-8."""

    def __str__(self) -> str:
        return f"{self.state:<9} {self.id}" + (f": {self.detail}" if self.detail else "")


def main() -> None:
    parser = Parser("python -m envs.dsbench.prepare", __doc__)
    parser.add_argument("path", type=Path, help="folder into which DSBench was unpacked")
    parser.add_argument("--descriptions", metavar="PATH", help="JSON file for env.descriptions")
    options = parser.parse_args()
    from conf import commands  # not above: it loads Hydra

    with commands.one_line_errors():
        reports = []
        for report in check(options.path, options.descriptions):
            print(report, flush=True)
            reports.append(report)
        print("\n" + "\n".join(summary(reports, options.path, options.descriptions)))
    sys.exit(int(any(report.state in ("unusable", "absent") for report in reports)))


def check(root: Path, descriptions: str | None = None) -> Iterator[Report]:
    """Yields a report of each of DSBench's tasks, in the order of the registry.

    Raises:
        ConfigError: ``root`` has no DSBench, or the descriptions cannot be read.
    """
    texts = {} if descriptions is None else read_descriptions(descriptions)
    root = root.expanduser()
    resplit = find_data(root)
    limits = default_limits()
    for name in registry():
        if not (resplit / name).is_dir():
            yield Report(name, "absent")
        else:
            yield _check(root, name, texts, limits)


def default_limits() -> Needs:
    """Returns the limits in ``conf``: the smaller ones where sandboxes differ."""
    sandboxes = [conf.to_dict(conf.load("sandbox", name))["limits"] for name in ("local", "docker")]
    artifact = int(conf.load("env", "dsbench").artifact_mb)
    return Needs(
        **{
            name: min(int(limits[name]) for limits in sandboxes)
            for name in ("file_mb", "disk_mb", "memory_mb")
        },
        artifact_mb=artifact,
    )


def summary(reports: Sequence[Report], root: Path, descriptions: str | None) -> list[str]:
    """Returns lines with counts and the settings that play what can be used."""
    count = {
        state: sum(report.state == state for report in reports)
        for state in ("ok", "large", "unusable", "absent")
    }
    usable = [report for report in reports if report.needs is not None]
    lines = [
        f"{len(usable)} of {len(reports)} tasks can be used, {count['large']} of them with larger limits "
        f"only; {count['unusable']} cannot, and {count['absent']} are absent"
    ]
    if not usable:
        return lines
    words = ["env=dsbench", "env.source=official", f"env.root={quoted(str(root.expanduser().resolve()))}"]
    if encodings := {report.id: report.encoding for report in usable if report.encoding}:
        pairs = ", ".join(f"{name}: {encoding}" for name, encoding in encodings.items())
        words.append(f"env.encodings={{{pairs}}}")
    if descriptions is not None:
        words.append(f"env.descriptions={quoted(str(Path(descriptions).expanduser().resolve()))}")
    if count["unusable"]:
        words.append("env.unusable=skip")
    needs = default_limits()
    for report in usable:
        assert report.needs is not None
        needs = needs.largest(report.needs)
    larger = [f"{_WORDS[name]}={value}" for name, value in needs.beyond(default_limits()).items()]
    lines += ["", "settings for all of them:", shlex.join([*words, *larger])]
    if count["large"] and count["ok"]:
        small = [report.id for report in usable if report.state == "ok"]
        words = [word for word in words if word != "env.unusable=skip"]  # unusable ones are not chosen
        lines += ["", "settings for those that fit into default limits:"]
        lines.append(shlex.join([*words, f"env.tasks=[{', '.join(small)}]"]))
    return lines


def _check(root: Path, name: str, descriptions: Mapping[str, str], limits: Needs) -> Report:
    encoding, tried = "", {""}
    while True:
        encodings = {name: encoding} if encoding else {}
        try:
            table = official(root, [name], encodings, descriptions)[0].load()
            return replace(_report(table, make_task(table, "full"), limits), encoding=encoding)
        except conf.ConfigError as error:
            guess = error.guess if isinstance(error, EncodingError) else ""
            if guess in tried:
                return Report(name, "unusable", str(error).removeprefix(f"task {name}: "))
            encoding = guess
            tried.add(guess)


def _report(table: Table, task: Task, limits: Needs) -> Report:
    sizes = [path.stat().st_size for path in (table.train, table.test, table.sample)]
    features = max(len(csvs.header(table.test, table.spec.id)) - 1, 1)
    rows = [int(task.facts[key]) for key in ("n_train", "n_test")]
    needs = Needs.of(sizes, [8 * count * features for count in rows])
    detail = f"{rows[0]} + {rows[1]} rows, {features} columns, {_megabytes(sum(sizes))} MB"
    if table.encoding != "utf-8":
        detail += f", {table.encoding}"
    beyond = needs.beyond(limits)
    if beyond:
        detail += "; needs " + ", ".join(f"{name}={value}" for name, value in beyond.items())
    return Report(table.spec.id, "large" if beyond else "ok", detail, needs)


def _megabytes(size: int) -> int:
    return max(math.ceil(size / _MB), 1)


if __name__ == "__main__":
    main()
