"""``python -m envs.dsbench.prepare`` on small copies of DSBench's layout."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from conf.commands import compose_parts
from envs.dsbench import prepare
from envs.dsbench.prepare import Needs
from tests.envs.dsbench.test_registry import FAULTS, OBESITY, RINGS, TITANIC, scenario, write


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["prepare", *words])
    with pytest.raises(SystemExit) as ended:
        prepare.main()
    return int(ended.value.code or 0)


def settings(text: str, after: str) -> list[str]:
    lines = text.splitlines()
    return shlex.split(lines[lines.index(after) + 1])


def test_a_download_is_reported_task_by_task_with_the_settings_that_play_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "my data's", TITANIC, OBESITY, FAULTS, RINGS)
    (root / "data/answers/titanic/test_answer.csv").write_text("PassengerId,Survived\n10,0\n11,1\n")
    latin = root / "data/data_resplit/playground-series-s4e4/train.csv"
    latin.write_bytes(latin.read_bytes().replace(b"word", b"w\xf6rd"))
    monkeypatch.setenv("COACHGYM_CACHE", str(tmp_path / "cache"))
    assert run(monkeypatch, str(root)) == 1
    said = capsys.readouterr()
    lines = said.out.splitlines()
    states = {line.split()[1].rstrip(":"): line.split()[0] for line in lines[:74]}
    assert len(states) == 74
    assert {name: state for name, state in states.items() if state != "absent"} == {
        "titanic": "unusable", OBESITY[0]: "ok", FAULTS[0]: "ok", RINGS[0]: "ok",
    }  # fmt: skip
    assert any(line.startswith("unusable  titanic: the ids in ") for line in lines)
    assert f"ok        {RINGS[0]}: 4 + 4 rows, 2 columns, 1 MB, cp1252" in lines
    assert (
        "3 of 74 tasks can be used, 0 of them with larger limits only; 1 cannot, and 70 are absent" in lines
    )
    words = settings(said.out, "settings for all of them:")
    node = compose_parts([word for word in words if word != "env=dsbench"], {"env": "dsbench"}).env
    built = scenario(Path(node.root), encodings=dict(node.encodings), unusable=node.unusable)
    assert [task.id for task in (*built.tasks("train"), *built.tasks("heldout"))] == [
        RINGS[0], OBESITY[0], FAULTS[0],
    ]  # fmt: skip


def test_a_large_task_states_the_limits_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path, OBESITY, RINGS)
    small = Needs(file_mb=1, disk_mb=100, memory_mb=768, artifact_mb=16)
    monkeypatch.setattr(prepare, "default_limits", lambda: small)
    test = root / "data/data_resplit/playground-series-s4e2/test.csv"
    test.write_text("id,a,b\n" + "".join(f"1{n},{n},{'x' * 600_000}\n" for n in range(4)))
    assert run(monkeypatch, str(root)) == 1
    said = capsys.readouterr().out
    assert "large     playground-series-s4e2: 4 + 4 rows, 2 columns, 3 MB; needs file_mb=3\n" in said
    assert "env.limits.file_mb=3" in settings(said, "settings for all of them:")
    assert f"env.tasks=[{RINGS[0]}]" in settings(said, "settings for those that fit into default limits:")


def test_needs_follow_from_files_and_matrices() -> None:
    mb = 1 << 20
    needs = Needs.of([100 * mb, 50 * mb, mb], [200 * mb, 100 * mb])
    assert needs == Needs(file_mb=200, disk_mb=151 + 600 + 16, memory_mb=604 + 900 + 256, artifact_mb=200)


def test_a_complete_download_ends_with_0_and_no_download_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prepare, "registry", lambda: dict.fromkeys([TITANIC[0], RINGS[0]]))
    assert run(monkeypatch, str(write(tmp_path, TITANIC, RINGS))) == 0
    assert "2 of 2 tasks can be used" in capsys.readouterr().out
    for path in (tmp_path / "nothing", tmp_path / "data/task"):
        assert run(monkeypatch, str(path)) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error: there is no folder ")
        assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    "damage", [b"", b"\x1f\x8b\x08\x00", b"\xff\xfe\x00", b"id,\0", b"not,the,columns\n1,2,3\n", b'"']
)
def test_a_damaged_file_is_a_line_of_the_report(
    tmp_path: Path, damage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COACHGYM_CACHE", str(tmp_path / "cache"))
    root = write(tmp_path / "download", OBESITY)
    for name in (
        "data_resplit/playground-series-s4e2/train.csv",
        "answers/playground-series-s4e2/test_answer.csv",
    ):
        path = root / "data" / name
        kept = path.read_bytes()
        path.write_bytes(damage)
        report = next(one for one in prepare.check(root) if one.state != "absent")
        assert report.state == "unusable"
        assert "\n" not in str(report)
        path.write_bytes(kept)
