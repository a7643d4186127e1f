"""The card of exported rows: what they are, how they were chosen, where they come from, and their licences.

It opens with the metadata of a data set's card on a hub: as ``README.md`` beside the rows, it makes them one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

UNKNOWN = "–"
COLUMNS = {
    "prompt": "what the agent read, as messages (for `prm`, as one text)",
    "completion": "the action",
    "chosen": "the better action after this prompt",
    "rejected": "the worse one",
    "margin": "by how much the better one is better, in points of a coach's scores or of the outcome's score",
    "completions": "the action, as the only step",
    "labels": "whether it scores 5 or more",
    "chat_template_kwargs": "the arguments of the chat template that made the prompt",
    "score": "the mean score of the action, from 0 to 10; for `counterfactuals`, that of the outcome",
    "n": "how often this action was taken after this prompt",
    "provenance": "run, episode, turn (its index, from 0), weights, coach, task and licence",
    "rejected_provenance": "those of the rejected action",
}
"""Column -> what is in it. Rows of whole episodes have those of ``episodes.jsonl`` too."""


def card(
    name: str, what: str, summary: str, options: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> str:
    """Returns the card of ``rows``, in Markdown.

    Args:
        name: of the file of rows.
        what: a row is (``benchmarks.export.rows.KINDS``).
        summary: one line about the rows.
        options: how they were chosen, as on the command line.
        rows: all of them.
    """
    sources = [row["provenance"] for row in rows]
    licences = sorted({str(one["licence"] or "unknown") for one in sources})
    head = {
        "license": "other",
        "license_name": "; ".join(licences),
        "configs": [{"config_name": what, "data_files": name}],
    }
    tasks = Counter((one["task"], one["kind"], one["licence"]) for one in sources)
    won = Counter((one["task"], one["kind"], one["licence"]) for one in sources if one.get("success"))
    runs = Counter((one["run"], one.get("agent"), one["model"], _coach(one)) for one in sources)
    return "\n".join(
        [
            f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---",
            f"# {name}\n",
            f"{summary}. Made by coachgym {sources[0]['coachgym']}, `python -m benchmarks.export`, with:\n",
            *(f"- `{option}`" for option in options),
            "\n## Tasks\n",
            *_table(
                ("task", "kind", "rows", "of successful episodes", "licence"),
                ((task, kind, n, won[task, kind, own], own) for (task, kind, own), n in _by_name(tasks)),
            ),
            "\n## Where they come from\n",
            *_table(("run", "agent", "model", "coach", "rows"), ((*key, n) for key, n in _by_name(runs))),
            "\n## Columns\n",
            *(f"- `{column}`: {text}" for column, text in COLUMNS.items() if column in rows[0]),
            "",
        ]
    )


def _coach(source: Mapping[str, Any]) -> str | None:
    """Returns the run's coach; None for an action that nobody has judged."""
    judged = source.get("judge", "") is not None  # whole episodes have no judge of their own
    coach: str | None = source["coach"] if judged else None
    return coach


def _by_name(counts: Counter[Any]) -> list[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda item: str(item[0]))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    cells = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return [f"| {' | '.join(row)} |" for row in cells]


def _cell(value: object) -> str:
    """Returns a value as it stands in a table, whatever a recording calls its tasks and agents."""
    text = " ".join(str(UNKNOWN if value in (None, "") else value).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
