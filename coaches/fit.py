"""Fits the model of ``coach=learned`` on episodes whose faults are known by what replacing an action changed.

    python -m coaches.fit benchmarks/corpus/episodes/public.jsonl.xz --out model.json
    python -m coaches.score runs/x coach=counterfactual --out measured.jsonl
    python -m coaches.fit measured.jsonl --out mine.json --prm steps.jsonl
    python -m learners.reinforcepp coach=learned coach.path=mine.json

Episodes tell their faults by the key ``fault``, as those of the corpus do, or by verdicts of
``coach=counterfactual``; others are left out and counted. Their programs run again in a sandbox, because the
features include what audits find. The model is a logistic regression (scikit-learn), calibrated by turns of
tasks that it has not seen. ``--prm`` writes the same turns as rows for a process reward model, in TRL's form.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import conf
from coaches import episodes, learned, prm
from coaches.audit import Audit
from coaches.episodes import RecordedEpisode
from coaches.fitted import features, labels
from coaches.fitted.fitting import Labelled, fit
from coaches.recording.fields import BadRowError
from conf import ConfigError
from conf.arguments import Parser, add_out, integer, require_apart, require_new
from conf.counts import plural


@dataclass(frozen=True)
class Known:
    """An episode whose faults are known."""

    row: dict[str, Any]
    episode: RecordedEpisode
    faults: list[bool]
    """Of every turn."""


def known(paths: Sequence[Path], *, skip_bad: bool = False) -> tuple[list[Known], list[str]]:
    """Returns the episodes that have an outcome and tell their faults, and why others are left out.

    Raises:
        ConfigError: a file cannot be read, or a line of it is invalid and ``skip_bad`` is false.
    """
    pairs, left_out = episodes.read_all(paths, roles=None, skip_bad=skip_bad)
    found = []
    for row, one in pairs:
        try:
            faults = labels.faults(row, one)
        except BadRowError as error:
            raise ConfigError(f"episode {one.id}: {error}") from None
        if one.outcome is None or faults is None:
            what = "has no outcome" if one.outcome is None else "does not tell its faults"
            left_out.append(f"episode {one.id} {what}")
        else:
            found.append(Known(row, one, faults))
    if not found:
        raise ConfigError(f"no episode tells its faults{episodes.first_of(left_out)}")
    return found, left_out


def labelled(audit: Audit, found: Sequence[Known], *, threads: int) -> Labelled:
    """Returns the features and labels of every turn, once as ``coach=learned`` sees them and once without any
    finding.

    Whoever wrote the audits may have known these episodes, so that they find here what they would miss
    elsewhere: without the second half, the model would trust in nothing but findings.
    """

    def rows(one: Known) -> list[features.Array]:
        assert one.episode.outcome is not None
        evidence = learned.gather(audit, one.episode.turns, one.episode.outcome)
        return [features.table(evidence), features.table(replace(evidence, findings=()))]

    with ThreadPoolExecutor(threads, "fit") as pool:
        tables = list(pool.map(rows, found))
    return Labelled(
        np.concatenate([table for both in tables for table in both]),
        np.array([fault for one in found for fault in 2 * one.faults], np.bool_),
        np.array([one.episode.task_id for one in found for _ in 2 * one.faults], np.str_),
    )


def described(found: Sequence[Known]) -> dict[str, Any]:
    """Returns what a model says of its data; the hash does not depend on how the file is compressed."""
    lines = [json.dumps(one.row, sort_keys=True) for one in found]
    return {
        "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        "episodes": len(found),
        "tasks": len({one.episode.task_id for one in found}),
        "turns": sum(len(one.faults) for one in found),
        "faulty": sum(map(sum, (one.faults for one in found))),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. User errors print one line to stderr and exit with code 2."""
    from conf import commands

    parser = Parser("python -m coaches.fit", __doc__)
    parser.add_argument("episodes", type=Path, nargs="+", help="run folders, or files of episodes")
    add_out(parser, required=True)
    parser.add_argument("--prm", type=Path, metavar="FILE", help="write rows for a process reward model, too")
    parser.add_argument("--seed", type=integer(0), default=0)
    parser.add_argument("--threads", type=integer(1), default=4, help="episodes audited at once")
    parser.add_argument("--skip-bad", action="store_true", help="leave out invalid lines, and count them")
    options = parser.parse_args(arguments)
    with commands.one_line_errors(OSError):
        read = [episodes.file_of(path) for path in options.episodes]
        require_apart({"--out": options.out, "--prm": options.prm}, read)
        require_new(options.overwrite, options.out)
        if options.prm is not None:
            require_new(options.overwrite, options.prm, option="--prm")
        found, left_out = known(options.episodes, skip_bad=options.skip_bad)
        audit = learned.auditor(conf.to_dict(conf.load("coach", "learned"))["audit"])
        try:
            data = labelled(audit, found, threads=options.threads)
        finally:
            audit.close()
        model = fit(data, described(found), seed=options.seed)
        model.write(options.out)
        if options.prm is not None:
            _write_steps(options.prm, found)
    about, quality = model.data, model.held_out
    print(
        f"{options.out}: {plural(about['turns'], 'turn')} of {plural(about['episodes'], 'episode')}, "
        f"{about['faulty']} at fault; held-out tasks: log loss {quality['log_loss']:.3f} "
        f"(by the share alone {quality['log_loss_of_the_share']:.3f}), ECE {quality['ece_after']:.3f}"
    )
    if left_out:
        print(f"left out: {plural(len(left_out), 'episode')}{episodes.first_of(left_out)}")


def _write_steps(path: Path, found: Sequence[Known]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for one in found:
            for turn, fault in zip(one.episode.turns, one.faults, strict=True):
                if not turn.action.strip():
                    continue
                where = {"episode": one.episode.id, "agent": turn.agent, "turn": turn.index}
                row = prm.columns(turn, good=not fault) | {"provenance": where}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
