from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

import conf
from conf import ConfigError
from learners.config import PARTS, RunConfig
from learners.run.folder import open_folder, read_config


def settings(run_dir: Path | None, **changes: object) -> RunConfig:
    return RunConfig.read(composed(run_dir, **changes))


def composed(run_dir: Path | None, **changes: object) -> DictConfig:
    whole: Any = OmegaConf.load(conf.ROOT / "config.yaml")
    del whole["defaults"], whole["hydra"]
    parts = {group: {"name": f"tests.{group}"} for group in PARTS} | {"coach": {"name": "rules"}}
    base = {"steps": 3, "run_dir": None if run_dir is None else str(run_dir)}
    config = OmegaConf.merge(whole, parts, base, changes)
    assert isinstance(config, DictConfig)
    return config


def test_a_used_folder_is_never_overwritten(tmp_path: Path) -> None:
    with open_folder(settings(tmp_path)) as folder:
        folder.append("metrics", {"step": 1})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match="not empty"):
        open_folder(settings(tmp_path))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_refused_run_leaves_nothing_in_a_folder_of_others(tmp_path: Path) -> None:
    for made in ("mine.txt", "config.yaml"):
        (tmp_path / made).write_text("")
        before = sorted(tmp_path.iterdir())
        with pytest.raises(ConfigError, match="not empty"):
            open_folder(settings(tmp_path))
        assert sorted(tmp_path.iterdir()) == before


def test_a_folder_with_foreign_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="not empty"):
        open_folder(settings(tmp_path))
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert not (tmp_path / "config.yaml").exists()


def test_only_one_process_can_lock_a_folder(tmp_path: Path) -> None:
    with open_folder(settings(tmp_path)):
        program = (
            "import sys; from omegaconf import OmegaConf; from learners.config import RunConfig\n"
            "from learners.run.folder import open_folder\n"
            "open_folder(RunConfig.read(OmegaConf.load(sys.argv[1])))"
        )
        config = tmp_path.parent / f"{tmp_path.name}.yaml"
        config.write_text(OmegaConf.to_yaml(composed(tmp_path, resume=True)))
        done = subprocess.run([sys.executable, "-c", program, str(config)], capture_output=True, text=True)
    assert "is busy" in done.stderr
    with open_folder(settings(tmp_path, resume=True)):
        pass


def test_resuming_needs_the_same_settings_and_names_the_others(tmp_path: Path) -> None:
    open_folder(settings(tmp_path)).__exit__()
    with pytest.raises(ConfigError, match=r"other settings: seed=1 \(was 0\), steps=2 \(was 3\)$"):
        open_folder(settings(tmp_path, resume=True, seed=1, steps=2))
    with pytest.raises(
        ConfigError, match=r"other settings: algorithm.name=tests.other \(was tests.algorithm\)$"
    ):
        open_folder(settings(tmp_path, resume=True, algorithm={"name": "tests.other"}))


def test_a_resumed_run_may_have_more_steps_and_remembers_them(tmp_path: Path) -> None:
    open_folder(settings(tmp_path)).__exit__()
    open_folder(settings(tmp_path, resume=True, steps=5)).__exit__()
    assert read_config(tmp_path).steps == 5
    with pytest.raises(ConfigError, match=r"steps=4 \(was 5\)"):
        open_folder(settings(tmp_path, resume=True, steps=4))
    open_folder(settings(tmp_path, resume=True, steps=5)).__exit__()
    assert not list(tmp_path.glob("*tmp*"))


def test_resuming_without_a_name_finds_the_newest_run_of_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hf, paths = conf.load("generator", "hf"), []
    for steps in (3, 3, 4):
        with open_folder(settings(None, generator=hf, steps=steps)) as folder:
            paths.append(folder.path)
    assert paths[0].name.endswith("-algorithm-tests.model-rules-seed0")
    assert len(set(paths)) == 3
    with open_folder(settings(None, generator=hf, resume=True)) as folder:
        assert folder.path == paths[1]
    with open_folder(settings(None, generator=hf, resume=True, steps=4)) as folder:
        assert folder.path == paths[2], "not one that would have to grow"
    with open_folder(settings(None, generator=hf, resume=True, steps=5)) as folder:
        assert folder.path == paths[2]
    with pytest.raises(ConfigError, match="no run with this configuration"):
        open_folder(settings(None, generator=hf, resume=True, steps=2))
    named_as_before = paths[1].rename(paths[1].with_name(f"{paths[1].name[:15]}-rules-seed0"))
    for path in (paths[0], paths[2]):
        shutil.rmtree(path)
    with open_folder(settings(None, generator=hf, resume=True)) as folder:
        assert folder.path == named_as_before


def test_metadata_keeps_what_a_run_began_with_and_notes_what_is_different_later(tmp_path: Path) -> None:
    first = {
        "coachgym": {"version": "1", "commit": "a" * 40, "dirty": False},
        "python": "3.11",
        "tasks": ("t",),
    }
    other = first | {"coachgym": {"version": "2", "commit": "b" * 40, "dirty": True}}

    def described() -> Any:
        return json.loads((tmp_path / "metadata.json").read_text(encoding="utf-8"))

    with open_folder(settings(tmp_path)) as folder:
        folder.describe({"python": "3.9"}, step=None)  # of a process that ended before its first checkpoint
        folder.describe(first, step=None)
        folder.describe(first, step=2)
        assert described() == first | {"tasks": ["t"]}
        for step in (3, 5):
            folder.describe(other, step=step)
        noted = [{"after_step": 3, "coachgym": other["coachgym"]}]
        assert described() == first | {"tasks": ["t"], "resumed": noted}
        folder.describe(other | {"python": "3.12"}, step=7)
        folder.describe(first, step=9)
        last = {"after_step": 9, "coachgym": first["coachgym"], "python": "3.11"}
        assert described()["resumed"] == [*noted, {"after_step": 7, "python": "3.12"}, last]
        (tmp_path / "metadata.json").write_text("[")
        with pytest.raises(ConfigError, match=r"metadata\.json cannot be read"):
            folder.describe(first, step=9)


def test_resuming_a_named_folder_in_which_no_run_has_started_starts_one(tmp_path: Path) -> None:
    with open_folder(settings(tmp_path / "new", resume=True)) as folder:
        assert (folder.path / "config.yaml").exists()


def test_a_run_that_could_not_be_built_leaves_no_folder_behind(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with open_folder(settings(path)) as folder:
        folder.withdraw()
        assert not path.exists()
    with open_folder(settings(path)) as folder:
        (path / "notes.txt").write_text("mine")
        folder.withdraw()
        assert [entry.name for entry in path.iterdir()] == ["notes.txt"]
        (path / "notes.txt").unlink()
    with open_folder(settings(path)) as folder:
        folder.append("metrics", {"step": 1})
        folder.withdraw()
        assert (path / "config.yaml").exists()


def test_a_run_that_could_not_be_built_leaves_none_of_the_folders_around_it(tmp_path: Path) -> None:
    with open_folder(settings(tmp_path / "runs" / "mathchat" / "first")) as folder:
        folder.withdraw()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs").mkdir()
    with open_folder(settings(tmp_path / "runs" / "mathchat" / "first")) as folder:
        folder.withdraw()
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"], "a folder that was there stays"
    with (
        open_folder(settings(tmp_path / "runs" / "mathchat" / "first")) as folder,
        open_folder(settings(tmp_path / "runs" / "mathchat" / "second")),
    ):
        folder.withdraw()
    assert [path.name for path in (tmp_path / "runs" / "mathchat").iterdir()] == ["second"]


def test_a_folder_that_cannot_be_created_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        open_folder(settings(tmp_path / "file" / "run"))


@pytest.mark.parametrize("name", ["with spaces", "ünïcode-日本", "a'b", "deep/er/still", "x" * 200])
def test_a_folder_of_any_name_is_made_and_resumed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for run_dir, place in ((Path(name), tmp_path / name), (Path("~") / name, tmp_path / "home" / name)):
        open_folder(settings(run_dir)).__exit__()
        assert (place / "config.yaml").is_file()
        open_folder(settings(run_dir, resume=True)).__exit__()
        assert read_config(run_dir).steps == 3
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["file", "x" * 300, "nul\0", "~nobody-of-this-name/run"])
def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path, name: str, resume: bool) -> None:
    (tmp_path / "file").write_text("mine")
    path = Path(name) if name.startswith("~") else tmp_path / name
    with pytest.raises(ConfigError) as caught:
        open_folder(settings(path, resume=resume))
    assert "\n" not in str(caught.value)
    assert "run folder" in str(caught.value)
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("file", "mine")]


@pytest.mark.parametrize("text", ["", "[", "steps: [", "- 1", "\0"])
def test_a_damaged_configuration_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    for use in (lambda: read_config(tmp_path), lambda: open_folder(settings(tmp_path, resume=True))):
        with pytest.raises(ConfigError, match=r"config\.yaml cannot be read") as caught:
            use()
        assert "\n" not in str(caught.value)


def test_a_run_that_cannot_be_built_again_keeps_its_folder(tmp_path: Path) -> None:
    with open_folder(settings(tmp_path / "run")) as folder:
        folder.describe({}, step=None)
    with open_folder(settings(tmp_path / "run", resume=True)) as folder:
        folder.withdraw()
    open_folder(settings(tmp_path / "run", resume=True)).__exit__()


def test_rows_after_a_checkpoint_are_removed_on_resume(tmp_path: Path) -> None:
    with open_folder(settings(tmp_path)) as folder:
        folder.append("metrics", {"step": 1})
        remembered = folder.sizes()
        folder.append("metrics", {"step": 2})
        folder.append("episodes", {"id": "late"})
        folder.truncate(remembered)
        assert list(folder.rows("metrics")) == [{"step": 1}]
        assert list(folder.rows("episodes")) == []
