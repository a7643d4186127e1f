"""Raw competition pages are cut down to what a modeller needs."""

from __future__ import annotations

import time

import pytest

from envs.dsbench.pages import MAX_CHARS, cut

MARKDOWN = """# Welcome

Predict the **price** of a house from [its features](https://example.org/data?x=(1)).

![banner](https://example.org/banner.png)

## Timeline

- **March 1** - Start Date.

### Final dates

All deadlines are at 11:59 PM UTC.

## Evaluation

RMSE between the logarithms. See https://example.org/rmse for details.

### Submission File

```
Id,SalePrice
# not a heading
1461,169000.1
```

Prizes
------
$10,000

## Dataset Description

- **LotArea** - lot size in square feet
"""
HTML = """<html><head><title>x</title><style>p {color: red}</style></head><body>
<nav>Overview Data Code</nav><script>steal()</script>
<h2>Description</h2><p>Who &amp; what <b>survives</b>?<br>Say so.</p>
<h2>Prizes</h2><ul><li>First: $1</li></ul>
<h2>Evaluation</h2><p>Accuracy.</p><pre>id,y
1,0</pre>
<table><tr><th>column</th><th>meaning</th></tr><tr><td>age</td><td>years</td></tr></table>
</body></html>"""


def test_a_page_of_markdown_keeps_problem_metric_format_and_columns() -> None:
    text = cut(MARKDOWN)
    for kept in (
        "**price** of a house from its features.",
        "RMSE",
        "1461,169000.1",
        "LotArea",
        "# not a heading",
    ):
        assert kept in text
    for lost in ("March", "11:59", "$10,000", "http", "banner", "Timeline", "Prizes"):
        assert lost not in text


def test_a_page_of_html_becomes_text() -> None:
    text = cut(HTML)
    for kept in ("Description:", "Who & what survives?\nSay so.", "Accuracy.", "id,y\n1,0", "age", "years"):
        assert kept in text
    for lost in ("<", "steal", "color", "Overview", "$1"):
        assert lost not in text


def test_what_is_too_long_loses_prose_before_metric_and_data() -> None:
    story = "\n\n".join(f"Chapter {n} of our long story. " + "word " * 60 for n in range(60))
    text = cut(f"{story}\n\n## Evaluation\n\nROC AUC.\n\n## Columns\n\n- age\n")
    assert len(text) <= MAX_CHARS
    assert text.endswith("Evaluation:\n\nROC AUC.\n\nColumns:\n\n- age")
    assert text.startswith("Chapter 0")
    assert len(cut("x" * 100_000)) <= MAX_CHARS


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("", ""),
        ("plain words", "plain words"),
        ("## Prizes\n\nAll of it.", "Prizes:\n\nAll of it."),
        ("a < b and c > d", "a < b and c > d"),
        ("```\nnever closed\n## Prizes", "```\nnever closed\n## Prizes"),
        ("<p>open <script>lost", "open"),
        ("\x00\ufeff", "\x00\ufeff"),
    ],
)
def test_odd_pages(page: str, text: str) -> None:
    assert cut(page).strip() == text.strip()


@pytest.mark.parametrize(
    "piece", ["[", "![", "[a](", "<!--", "<p", "**", "# ", "```\n", "\n\n", "<script>", "(((", "-" * 9 + "\n"]
)
def test_hostile_pages_take_time_linear_in_their_length(piece: str) -> None:
    started = time.process_time()
    assert len(cut(piece * 30_000)) <= MAX_CHARS
    assert time.process_time() - started < 5
