"""What of the machine is visible in a sandbox: never our own packages, wherever they are installed."""

from pathlib import Path

import pytest

from sandbox.isolation import view


def test_a_folder_with_a_hidden_part_is_replaced_by_its_other_parts(tmp_path: Path) -> None:
    for name in ("site/numpy", "site/envs/dsbench", "site/conf", "other"):
        (tmp_path / name).mkdir(parents=True)
    hidden = [str(tmp_path / "site/envs"), str(tmp_path / "site/conf")]
    assert list(view.without(str(tmp_path / "site"), hidden)) == [str(tmp_path / "site/numpy")]
    assert list(view.without(str(tmp_path / "other"), hidden)) == [str(tmp_path / "other")]
    assert list(view.without(hidden[0], hidden)) == []


def test_our_packages_are_hidden_where_they_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("envs", "sandbox", "numpy"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("site.getsitepackages", lambda: [str(tmp_path)])
    assert {str(tmp_path / "envs"), str(tmp_path / "sandbox")} <= set(view.hidden())
    assert str(tmp_path / "numpy") not in view.hidden()


def test_this_checkout_is_not_visible() -> None:
    checkout = str(Path(__file__).parents[3])
    assert not [path for path in view.visible() if (checkout + "/").startswith(path + "/")]


def lay_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes an installation with a linked folder of libraries; returns ``root``."""
    for folder in ("lib/python3/site/envs", "lib/python3/site/numpy", "apart/coaches", "bin"):
        (root / folder).mkdir(parents=True)
    (root / "lib64").symlink_to("lib")
    (root / "bin/python").symlink_to(root / "bin/python3")
    (root / "bin/python3").touch()
    (root / "lib/python3/site/coaches").symlink_to(root / "apart/coaches")
    paths = [f"{root}/bin/python", f"{root}/lib/python3/site", f"{root}/lib64", f"{root}/missing"]
    monkeypatch.setattr(view, "visible", lambda: [path for path in paths if Path(path).exists()])
    monkeypatch.setattr("site.getsitepackages", lambda: [f"{root}/lib64/python3/site"])
    return str(root)


def test_a_guest_s_root_has_links_and_their_targets_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = lay_out(tmp_path, monkeypatch)
    assert view.shown() == {
        f"{root}/bin/python": f"{root}/bin/python3",
        f"{root}/bin/python3": None,
        f"{root}/lib64": "lib",
        f"{root}/lib": None,
    }


def test_hidden_folders_are_masked_where_links_lead_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = lay_out(tmp_path, monkeypatch)
    assert view.masked() == [f"{root}/lib/python3/site/envs"]
    monkeypatch.setattr(view, "visible", lambda: [f"{root}/lib64", f"{root}/apart"])
    assert view.masked() == [f"{root}/apart/coaches", f"{root}/lib/python3/site/envs"]
