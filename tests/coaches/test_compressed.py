"""Recorded episodes that are compressed."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from coaches import episodes, score
from coaches.recording import compressed
from coaches.traces import files
from conf import ConfigError

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".xz": lzma.compress}
ROW = {"id": "e", "turns": [{"agent": "a", "action": "naïve"}], "outcome": {"success": True}}


@pytest.mark.parametrize(("suffix", "compress"), COMPRESSIONS.items())
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_episodes_are_read_whatever_the_compression_and_the_encoding(
    suffix: str, compress: Callable[[bytes], bytes], encoding: str, tmp_path: Path
) -> None:
    path = tmp_path / f"e.jsonl{suffix}"
    path.write_bytes(compress(f"{json.dumps(ROW, ensure_ascii=False)}\n\n".encode(encoding)))
    [(row, one)] = episodes.read(path)
    assert row == ROW
    assert one.turns[0].action == "naïve"


@pytest.mark.parametrize(("suffix", "compress"), COMPRESSIONS.items())
def test_a_file_that_ends_early_or_is_damaged_is_one_line(
    suffix: str, compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    whole = compress("\n".join(json.dumps(ROW | {"id": f"e{n}"}) for n in range(400)).encode())
    path = tmp_path / f"e.jsonl{suffix}"
    for content in (whole[: len(whole) // 2], whole[:20] + bytes(40) + whole[60:], whole[:7]):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"e\.jsonl") as caught:
            list(episodes.read(path))
        assert "\n" not in str(caught.value)
        assert isinstance(files.start(path), str)


@pytest.mark.parametrize("suffix", ["", *COMPRESSIONS])
def test_results_are_named_after_the_file_without_its_suffixes(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a.b.jsonl{suffix}"
    assert compressed.stem(path) == "a.b"
    path.write_bytes(COMPRESSIONS.get(suffix, bytes)(json.dumps(ROW).encode()))
    monkeypatch.chdir(tmp_path)
    score.main([str(path), "coach=outcome"])
    assert (tmp_path / "a.b.scored.jsonl").is_file()
