"""The revision is that of our own checkout, or none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from conf import ROOT, revision

WHO = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
}


def git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, env=WHO, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message=first")
    return tmp_path


def test_a_changed_file_that_git_tracks_makes_it_dirty_and_others_do_not(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert revision.checkout(repository) == (commit, False)
    (repository / "notes.txt").write_text("mine")
    assert revision.checkout(repository) == (commit, False)
    (repository / "a.py").write_text("2")
    assert revision.checkout(repository) == (commit, True)
    assert revision.Revision("1", commit, True).short == f"{commit[:12]}-dirty"


def test_a_package_within_somebody_elses_repository_is_not_of_its_commit(repository: Path) -> None:
    (repository / "site-packages").mkdir()
    assert revision.checkout(repository / "site-packages") == (None, None)


def test_a_hooks_variables_do_not_lead_to_another_repository(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = revision.checkout(ROOT.parent)
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(repository))
    assert revision.checkout(ROOT.parent) == ours


def test_without_git_a_repository_or_a_commit_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert revision.checkout(tmp_path) == (None, None)
    git(tmp_path, "init", "--quiet")
    assert revision.checkout(tmp_path) == (None, None)
    monkeypatch.setenv("PATH", "")
    assert revision.checkout(ROOT.parent) == (None, None)
    assert revision.Revision("1", None, None).short == ""
