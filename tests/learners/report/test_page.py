"""The page of a report: its data, and that nothing recorded becomes markup."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.corpus.cases import path_of
from coaches import episodes
from conf import ConfigError
from learners.report import contents, reading
from learners.report.page import page

ROOT = Path(__file__).parents[3]
CORPUS = path_of("public")
HOSTILE = (
    "</script><script>document.title='broken'</script><img src=x onerror=alert(1)> $title ${1} \\u2028\u2028"
)


def block(text: str, name: str) -> Any:
    """Returns the data that a page holds under ``name``."""
    found = re.search(rf'<script type="text/plain" id="{name}">([^<]*)</script>', text)
    assert found is not None
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def write(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def corpus() -> str:
    return page([reading.read(CORPUS)])


def test_the_index_has_a_row_and_the_blocks_the_details_of_every_episode(corpus: str) -> None:
    index = block(corpus, "index")
    [run] = index["runs"]
    rows = [row for row, _ in episodes.read(CORPUS)]
    assert [row["id"] for row in rows] == run["index"]["id"]
    assert {len(column) for column in run["index"].values()} == {len(rows)}
    last = block(corpus, f"block-0-{(len(rows) - 1) // index['per_block']}")
    assert len(last) == (len(rows) - 1) % index["per_block"] + 1
    assert last[-1]["turns"][0]["action"] == rows[-1]["turns"][0]["action"]


def test_recorded_text_appears_nowhere_outside_the_compressed_data(tmp_path: Path) -> None:
    turn = {"agent": HOSTILE, "action": HOSTILE, "observation": HOSTILE}
    path = write(
        tmp_path / "episodes.jsonl", {"id": HOSTILE, "task": HOSTILE, "kind": HOSTILE, "turns": [turn]}
    )
    text = page([reading.read(path)])
    assert "document.title='broken'" not in text
    assert block(text, "block-0-0")[0]["turns"][0]["action"] == HOSTILE
    assert text.count("<script>") == 1


def test_the_policy_admits_the_script_of_the_page_alone(corpus: str) -> None:
    [script] = re.findall(r"<script>(.*?)</script>", corpus, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{digest}'" in corpus
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", corpus)


def test_the_title_is_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "<b>run"
    folder.mkdir()
    write(folder / "episodes.jsonl", {"turns": [{"agent": "a", "action": "b"}]})
    assert "<title>&lt;b&gt;run" in page([reading.read(folder)])


def test_the_title_of_a_run_names_what_trained_it_and_who_played(tmp_path: Path) -> None:
    write(tmp_path / "episodes.jsonl", {"turns": [{"agent": "a", "action": "b"}]})
    assert reading.read(tmp_path).title == tmp_path.name
    team = {"a": {"model": "tiny"}, "b": {"model": "big"}, "c": {"model": "tiny"}}
    write(tmp_path / "metadata.json", {"algorithm": "grpo", "team": team})
    assert reading.read(tmp_path).title == f"{tmp_path.name} (grpo, tiny + big)"


def test_a_number_that_json_does_not_have_is_null() -> None:
    packed = contents.pack({"a": [float("nan"), float("inf"), 1.5]})
    assert json.loads(gzip.decompress(base64.b64decode(packed))) == {"a": [None, None, 1.5]}


def test_equal_runs_give_equal_pages(corpus: str) -> None:
    assert page([reading.read(CORPUS)]) == corpus


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("metrics.jsonl", "{", "metrics.jsonl, line 1 is not valid JSON"),
        ("config.yaml", "a: [", "config.yaml is not valid YAML"),
        ("episodes.jsonl", "", "has no episodes"),
        ("episodes.jsonl", "[1]\n", "episodes.jsonl, line 1: "),
    ],
)
def test_a_broken_run_folder_is_one_line(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    write(tmp_path / "episodes.jsonl", {"turns": [{"agent": "a", "action": "b"}]})
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=complaint) as caught:
        page([reading.read(tmp_path)])
    assert "\n" not in str(caught.value)


def test_a_folder_without_episodes_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no episodes\.jsonl"):
        reading.read(tmp_path)
    with pytest.raises(ConfigError, match="there is no such run or file"):
        reading.read(tmp_path / "none")


def test_a_report_needs_no_torch() -> None:
    program = "import sys, learners.report.page; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
