"""The page: one file that needs no network, and in which no recorded text can become markup or code.

All data is compressed and in base64; the page's script reads it and creates every element by itself, with
texts as texts. A content security policy admits that one script, by its hash, and nothing from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from scipy import stats  # type: ignore[import-untyped]

from conf import ConfigError
from conf.revision import revision
from learners.report.contents import EPISODES_PER_BLOCK, Contents, contents, pack
from learners.report.reading import Run, episodes_of
from learners.report.tokens import MOST, Tokens, tokens

_FOLDER = Path(__file__).with_name("page")
_SCRIPTS = (
    "data",
    "elements",
    "charts",
    "overview",
    "handoffs",
    "episodes",
    "tokens",
    "trace",
    "compare",
    "main",
)
"""In the order in which they are joined."""


def page(runs: Sequence[Run], *, skipped: list[str] | None = None, most_tokens: int = MOST) -> str:
    """Returns the page about ``runs`` as HTML.

    Args:
        most_tokens: how many recorded tokens of each run it holds (``learners.report.tokens``).
        skipped: gets a message for every line that is no valid episode; None: such a line is an error.

    Raises:
        ConfigError: an episode is invalid, or there is none.
    """
    made = [contents(episodes_of(run, skipped=skipped)) for run in runs]
    for run, one in zip(runs, made, strict=True):
        if not one.blocks:
            raise ConfigError(f"{run.path} has no episodes")
    told = [
        tokens(
            run.tokens,
            list(zip(one.index["step"], one.index["id"], strict=True)),
            most=most_tokens,
            skipped=skipped,
        )
        for run, one in zip(runs, made, strict=True)
    ]
    return _html(runs, made, told)


def _html(runs: Sequence[Run], made: Sequence[Contents], told: Sequence[Tokens]) -> str:
    """Returns the page about ``runs``, whose episodes are ``made`` and whose tokens ``told``."""
    script = "\n".join((_FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}\n}})();\n'
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    index = {
        "version": revision().version,
        "per_block": EPISODES_PER_BLOCK,
        "t": [float(stats.t.ppf(0.975, df)) for df in range(1, len(runs))],
        "runs": [_run(*each) for each in zip(runs, made, told, strict=True)],
    }
    blocks = [("index", pack(index))]
    blocks += [(f"block-{n}-{k}", block) for n, one in enumerate(made) for k, block in enumerate(one.blocks)]
    blocks += [(f"tokens-{n}-{k}", block) for n, one in enumerate(told) for k, block in one.blocks.items()]
    return Template((_FOLDER / "index.html").read_text(encoding="utf-8")).substitute(
        title=escape(", ".join(run.name for run in runs)),
        digest=digest,
        style=(_FOLDER / "style.css").read_text(encoding="utf-8"),
        data="\n".join(f'<script type="text/plain" id="{name}">{text}</script>' for name, text in blocks),
        script=script,
    )


def _run(run: Run, made: Contents, told: Tokens) -> dict[str, Any]:
    return {
        "name": run.name,
        "config": dict(run.config),
        "metadata": run.metadata,
        "metrics": run.metrics,
        "timings": run.timings,
        "bias": run.bias,
        "index": dict(made.index) | ({"tokens": told.states} if any(told.states) else {}),
        "tokens": told.about,
    }
