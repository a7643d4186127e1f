"""What of the machine is visible inside: our own packages never, wherever they are installed."""

from pathlib import Path

import pytest

from sandbox import jail


def test_a_folder_is_shown_by_its_parts_where_one_of_them_is_hidden(tmp_path: Path) -> None:
    for name in ("site/numpy", "site/envs/dsbench", "site/conf", "other"):
        (tmp_path / name).mkdir(parents=True)
    hidden = [str(tmp_path / "site/envs"), str(tmp_path / "site/conf")]
    assert list(jail._without(str(tmp_path / "site"), hidden)) == [str(tmp_path / "site/numpy")]
    assert list(jail._without(str(tmp_path / "other"), hidden)) == [str(tmp_path / "other")]
    assert list(jail._without(hidden[0], hidden)) == []


def test_our_packages_are_hidden_where_they_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("envs", "sandbox", "numpy"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("site.getsitepackages", lambda: [str(tmp_path)])
    assert {str(tmp_path / "envs"), str(tmp_path / "sandbox")} <= set(jail.hidden())
    assert str(tmp_path / "numpy") not in jail.hidden()


def test_nothing_visible_holds_this_checkout() -> None:
    checkout = str(Path(__file__).parents[2])
    assert not [path for path in jail.visible() if (checkout + "/").startswith(path + "/")]
